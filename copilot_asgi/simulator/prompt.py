"""A model request in neutral words: who said what, which tools there are, what the answer must look like.

Rule: one reader a dialect (``read_chat``, ``read_responses``, ``read_messages``); whoever decides what to answer looks
at nothing else.
"""

import re

import msgspec

from copilot_asgi.simulator.access import Object, number, object_of, objects, string, strings

__all__ = ["Prompt", "Tool", "Turn", "read_chat", "read_messages", "read_responses"]

_DATA_URL = re.compile(r"^data:([^;,]+)[;,]")
_THINKING_EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function the model may call; ``freeform`` ones take text instead of JSON."""

    name: str
    schema: Object
    freeform: bool = False


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One message: its texts, the media types of its images, and results of tools."""

    role: str
    text: str = ""
    images: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    calls: int = 0

    @property
    def is_human(self) -> bool:
        """Whether a person says something here, and not only a tool."""
        return self.role == "user" and (bool(self.text) or not self.results)

    @property
    def size(self) -> int:
        """Bytes of its texts, plus a flat rate for each image."""
        return len(self.text.encode()) + sum(len(text.encode()) for text in self.results) + 3000 * len(self.images)


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a default answer depends on.

    ``choice`` is ``auto``, ``none`` or
    ``required``, ``forced`` the one tool that must be called. ``thinking`` is ``None`` when the request leaves it open;
    ``summary`` says whether thoughts may be shown. ``tool_bytes`` is the size of all tool definitions."""

    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()
    choice: str = "auto"
    forced: str = ""
    parallel: bool = True
    schema: Object | None = None
    thinking: bool | None = None
    summary: bool = True
    tool_bytes: int = 0
    max_tokens: int | None = None
    cache_marked: bool = False
    stream: bool = False

    @property
    def last_text(self) -> str:
        """What the person said last."""
        return next((turn.text for turn in reversed(self.turns) if turn.is_human), "")

    @property
    def results(self) -> tuple[str, ...]:
        """Tool results that have come since the model spoke last."""
        return tuple(result for turn in self._since_model() for result in turn.results)

    @property
    def images(self) -> tuple[str, ...]:
        """Media types of the images that have come since the model spoke last."""
        return tuple(image for turn in self._since_model() for image in turn.images)

    @property
    def all_images(self) -> tuple[str, ...]:
        """Media types of all images."""
        return tuple(image for turn in self.turns for image in turn.images)

    @property
    def ends_with_person(self) -> bool:
        """Whether a person has the last word, so that the request begins a turn."""
        spoken = [turn for turn in self.turns if turn.role not in {"system", "developer"}]
        return bool(spoken) and spoken[-1].is_human

    def _since_model(self) -> tuple[Turn, ...]:
        spoken = [index for index, turn in enumerate(self.turns) if turn.role == "assistant"]
        return self.turns[spoken[-1] + 1 :] if spoken else self.turns


def read_chat(fields: Object) -> Prompt:
    """The prompt of a chat completions request."""
    choice = fields.get("tool_choice")
    forced = string(object_of(object_of(choice).get("function")).get("name"))
    format_ = object_of(fields.get("response_format"))
    schema = object_of(object_of(format_.get("json_schema")).get("schema"))
    limit = number(fields.get("max_completion_tokens")) or number(fields.get("max_tokens"))
    thinks = string(fields.get("reasoning_effort")) in _THINKING_EFFORTS or number(fields.get("thinking_budget")) > 0
    return Prompt(
        turns=tuple(_chat_turn(message) for message in objects(fields.get("messages"))),
        tools=tuple(_function(object_of(tool.get("function"))) for tool in objects(fields.get("tools"))),
        choice=string(choice) or "auto",
        forced=forced,
        parallel=fields.get("parallel_tool_calls") is not False,
        schema=schema if format_.get("type") == "json_schema" else {} if format_.get("type") == "json_object" else None,
        thinking=True if thinks else None,
        tool_bytes=_size(fields.get("tools")),
        max_tokens=int(limit) or None,
        cache_marked=any("copilot_cache_control" in item for item in objects(fields.get("messages"))),
        stream=fields.get("stream") is True,
    )


def read_responses(fields: Object) -> Prompt:
    """The prompt of a responses request."""
    given = fields.get("input")
    items: list[Object] = [{"role": "user", "content": given}] if isinstance(given, str) else objects(given)
    choice = fields.get("tool_choice")
    format_ = object_of(object_of(fields.get("text")).get("format"))
    reasoning = object_of(fields.get("reasoning"))
    instructions = Turn(role="system", text=string(fields.get("instructions")))
    limit = int(number(fields.get("max_output_tokens")))
    return Prompt(
        turns=(instructions, *(_response_turn(item) for item in items)),
        tools=tuple(tool for given in objects(fields.get("tools")) for tool in _response_tools(given)),
        choice=string(choice) or "auto",
        forced=string(object_of(choice).get("name")),
        parallel=fields.get("parallel_tool_calls") is not False,
        schema=object_of(format_.get("schema"))
        if string(format_.get("type")) in {"json_schema", "json_object"}
        else None,
        thinking=_thinks(reasoning.get("effort")),
        summary="summary" in reasoning,
        tool_bytes=_size(fields.get("tools")),
        max_tokens=limit or None,
        stream=fields.get("stream") is True,
    )


def read_messages(fields: Object) -> Prompt:
    """The prompt of a messages request."""
    choice = object_of(fields.get("tool_choice"))
    kinds = {"any": "required", "none": "none"}
    format_ = object_of(object_of(fields.get("output_config")).get("format"))
    system = Turn(role="system", text=_texts(fields.get("system")))
    thinking = object_of(fields.get("thinking"))
    return Prompt(
        turns=(system, *(_message_turn(message) for message in objects(fields.get("messages")))),
        tools=tuple(
            Tool(name=string(tool.get("name")), schema=object_of(tool.get("input_schema")))
            for tool in objects(fields.get("tools"))
            if "input_schema" in tool
        ),
        choice=kinds.get(string(choice.get("type")), "auto"),
        forced=string(choice.get("name")) if choice.get("type") == "tool" else "",
        parallel=choice.get("disable_parallel_tool_use") is not True,
        schema=object_of(format_.get("schema")) if format_ else None,
        thinking=string(thinking.get("type")) in {"enabled", "adaptive"},
        summary=thinking.get("display") != "omitted",
        tool_bytes=_size(fields.get("tools")),
        max_tokens=int(number(fields.get("max_tokens"))) or None,
        cache_marked=b'"cache_control"' in msgspec.json.encode(fields),
        stream=fields.get("stream") is True,
    )


def _thinks(effort: object) -> bool | None:
    return None if effort is None else string(effort) in _THINKING_EFFORTS


def _size(tools: object) -> int:
    return len(msgspec.json.encode(tools)) if tools else 0


def _function(given: Object) -> Tool:
    return Tool(name=string(given.get("name")), schema=object_of(given.get("parameters")))


def _response_tools(given: Object) -> list[Tool]:
    match given.get("type"):
        case "function":
            return [_function(given)]
        case "custom":
            return [Tool(name=string(given.get("name")), schema={}, freeform=True)]
        case "namespace":
            return [_function(tool) for tool in objects(given.get("tools"))]
        case _:
            return []


def _chat_turn(message: Object) -> Turn:
    content = message.get("content")
    if message.get("role") == "tool":
        return Turn(role="tool", results=(_texts(content),))
    images = tuple(
        _media_type(string(object_of(part.get("image_url")).get("url")))
        for part in objects(content)
        if part.get("type") == "image_url"
    )
    calls = len(objects(message.get("tool_calls")))
    return Turn(role=string(message.get("role")), text=_texts(content), images=images, calls=calls)


def _response_turn(item: Object) -> Turn:
    match item.get("type", "message"):
        case "message":
            images = _input_images(item.get("content"))
            return Turn(role=string(item.get("role")), text=_texts(item.get("content")), images=images)
        case "function_call_output" | "custom_tool_call_output":
            output = item.get("output")
            return Turn(role="tool", results=(_texts(output),), images=_input_images(output))
        case "function_call" | "custom_tool_call":
            return Turn(role="assistant", calls=1)
        case _:
            return Turn(role="assistant")


def _message_turn(message: Object) -> Turn:
    content = message.get("content")
    blocks = objects(content)
    results = [block for block in blocks if block.get("type") == "tool_result"]
    sources = [*blocks, *(inner for block in results for inner in objects(block.get("content")))]
    images = tuple(
        string(object_of(block.get("source")).get("media_type")) for block in sources if block.get("type") == "image"
    )
    return Turn(
        role=string(message.get("role")),
        text=_texts(content),
        images=images,
        results=tuple(_texts(block.get("content")) for block in results),
        calls=sum(block.get("type") == "tool_use" for block in blocks),
    )


def _texts(content: object) -> str:
    """The text of a string, or of the parts of a list that have some."""
    if isinstance(content, str):
        return content
    found = [string(part.get("text")) for part in objects(content) if part.get("type") != "tool_result"]
    return "\n".join([*found, *strings(content)])


def _input_images(content: object) -> tuple[str, ...]:
    return tuple(
        _media_type(string(part.get("image_url"))) for part in objects(content) if part.get("type") == "input_image"
    )


def _media_type(url: str) -> str:
    match = _DATA_URL.match(url)
    return match[1] if match else "image at a URL"
