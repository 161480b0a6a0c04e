"""The tools of a chat request and the choice among them, read and written.

Rule: written tools are functions, whatever they were: Copilot's chat endpoint knows nothing else. A choice that cannot
be kept is refused, for an answer without the tool that the client counts on is a wrong one.

Source: OpenAI API reference, "Create chat completion".
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeVar

import msgspec

from copilot_asgi.errors import BadRequest, TranslationError
from copilot_asgi.translate.conversation import (
    Conversation,
    Loss,
    Tool,
    ToolCall,
    ToolChoice,
    ToolChoiceMode,
)
from copilot_asgi.translate.ids import ToolNames
from copilot_asgi.translate.schema import FREEFORM_SCHEMA, for_openai, freeform_description, qualifies_for_strict
from copilot_asgi.wire.shallow import NOT_JSON, NULL, Fields, is_null

__all__ = ["Toolbox", "read_tools", "render_tools"]


_T = TypeVar("_T")


class Toolbox(msgspec.Struct, frozen=True):
    """What the request says of tools. ``legacy``: it did so in the deprecated words."""

    tools: tuple[Tool, ...] = ()
    choice: ToolChoice | None = None
    losses: tuple[Loss, ...] = ()
    legacy: bool = False


class _Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: msgspec.Raw = NULL
    strict: bool | None = None


class _Grammar(msgspec.Struct):
    definition: str
    syntax: str


class _TextFormat(msgspec.Struct):
    type: Literal["text", "grammar"]
    grammar: _Grammar | None = None


class _Custom(msgspec.Struct):
    name: str
    description: str | None = None
    format: _TextFormat | None = None


class _Tool(msgspec.Struct):
    type: str | None = None
    function: _Function | None = None
    custom: _Custom | None = None
    cache_control: msgspec.Raw = NULL
    copilot_cache_control: msgspec.Raw = NULL


class _Named(msgspec.Struct):
    name: str


class _Chosen(msgspec.Struct):
    """A tool in a choice: in the words of chat, or flat as some clients write it."""

    function: _Named | None = None
    custom: _Named | None = None
    name: str | None = None

    @property
    def tool(self) -> str:
        """The name of the tool."""
        return (self.function or self.custom or _Named(self.name or "")).name


class _Allowed(msgspec.Struct):
    mode: Literal["auto", "required"]
    tools: list[_Chosen]


class _Choice(_Chosen):
    allowed_tools: _Allowed | None = None


_Word = Literal["none", "auto", "required"]

_tools_decoder = msgspec.json.Decoder(list[_Tool])
_functions_decoder = msgspec.json.Decoder(list[_Function])
_choice_decoder = msgspec.json.Decoder(_Word | _Choice)


def read_tools(fields: Fields) -> Toolbox:
    """The tools and the choice. Raises ``BadRequest`` naming the field that is not as the API describes it."""
    present = {name: value for name, value in fields.items() if not is_null(value)}
    if "functions" in present and "tools" not in present:
        return _legacy(present)
    losses: list[Loss] = []
    tools: list[Tool] = []
    for given in _decoded(_tools_decoder, present, "tools") or ():
        tool = _tool(given)
        tools += [] if tool is None else [tool]
        losses += [Loss("tools", matters=True)] if tool is None else []
    return Toolbox(tuple(tools), _read_choice(present, "tool_choice"), tuple(dict.fromkeys(losses)))


def _legacy(fields: Fields) -> Toolbox:
    functions = _decoded(_functions_decoder, fields, "functions") or []
    tools = tuple(_function(function, cached=False) for function in functions)
    return Toolbox(tools, _read_choice(fields, "function_call"), legacy=True)


def _decoded(decoder: msgspec.json.Decoder[_T], fields: Fields, name: str) -> _T | None:
    if name not in fields:
        return None
    try:
        return decoder.decode(fields[name])
    except NOT_JSON:
        raise BadRequest(
            f"The field '{name}' is not what the API describes.", code="invalid_type", param=name
        ) from None


def _tool(given: _Tool) -> Tool | None:
    """``None`` for a tool that only OpenAI's servers would run."""
    cached = not (is_null(given.cache_control) and is_null(given.copilot_cache_control))
    if given.function is not None:
        return _function(given.function, cached=cached)
    custom = given.custom
    if custom is None:
        return None
    grammar = custom.format and custom.format.grammar
    return Tool(
        name=custom.name,
        description=custom.description or "",
        freeform=True,
        grammar=_grammar(grammar) if grammar else b"",
        cached=cached,
    )


def _grammar(grammar: _Grammar) -> bytes:
    return msgspec.json.encode({"type": "grammar", "syntax": grammar.syntax, "definition": grammar.definition})


def _function(given: _Function, *, cached: bool) -> Tool:
    return Tool(
        name=given.name,
        description=given.description or "",
        schema=b"" if is_null(given.parameters) else _sound(given.parameters),
        strict=given.strict,
        cached=cached,
    )


def _sound(schema: msgspec.Raw) -> bytes:
    """The text of a schema, once it is certain that there is nothing in it that nobody could read."""
    try:
        msgspec.json.decode(schema)
    except NOT_JSON:
        raise BadRequest("The parameters of a tool cannot be read.", code="invalid_type", param="tools") from None
    return bytes(schema)


_MODES: Mapping[str, ToolChoiceMode] = MappingProxyType({mode.value: mode for mode in ToolChoiceMode})


def _read_choice(fields: Fields, name: str) -> ToolChoice | None:
    given = _decoded(_choice_decoder, fields, name)
    if given is None:
        return None
    if isinstance(given, str):
        return ToolChoice(_MODES[given])
    if given.allowed_tools is not None:
        allowed = tuple(tool.tool for tool in given.allowed_tools.tools)
        return ToolChoice(_MODES[given.allowed_tools.mode], allowed=allowed)
    if not given.tool:
        raise BadRequest(f"The field '{name}' names no tool.", code="invalid_value", param=name)
    return ToolChoice(ToolChoiceMode.REQUIRED, name=given.tool)


def render_tools(conversation: Conversation, names: ToolNames) -> tuple[dict[str, object], list[Loss]]:
    """The fields about tools, and what they cannot say.

    Raises ``TranslationError`` when a tool is forced that this model cannot be given.
    """
    tools = _offered(conversation)
    choice = conversation.tool_choice
    if choice is not None:
        _refuse_missing(choice, tools)
    if not tools:
        return {}, []
    fields: dict[str, object] = {"tools": [_rendered(tool, names) for tool in tools]}
    if choice is not None:
        fields["tool_choice"] = _rendered_choice(choice, names)
    if conversation.parallel is not None:
        fields["parallel_tool_calls"] = conversation.parallel
    lenient = any(tool.strict and not _is_strict(tool) for tool in tools)
    return fields, [Loss("tools.strict", matters=True)] if lenient else []


def _offered(conversation: Conversation) -> tuple[Tool, ...]:
    """The tools that may be called, and those that history speaks of: some models insist on knowing them."""
    allowed = conversation.tool_choice.allowed if conversation.tool_choice else ()
    if not allowed:
        return conversation.tools
    called = {part.name for turn in conversation.turns for part in turn.parts if isinstance(part, ToolCall)}
    return tuple(tool for tool in conversation.tools if tool.name in called.union(allowed))


def _refuse_missing(choice: ToolChoice, tools: tuple[Tool, ...]) -> None:
    known = {tool.name for tool in tools}
    is_missing = choice.name not in known if choice.name else choice.mode is ToolChoiceMode.REQUIRED and not known
    if is_missing:
        raise TranslationError(
            "The tool that must be called cannot be offered to this model.",
            code="unsupported_value",
            param="tool_choice",
        )


def _rendered(tool: Tool, names: ToolNames) -> dict[str, object]:
    description = freeform_description(tool.description, tool.grammar) if tool.freeform else tool.description
    schema = FREEFORM_SCHEMA if tool.freeform else for_openai(tool.schema)
    function: dict[str, object] = {"name": names.to_upstream(tool.name)}
    if description:
        function["description"] = description
    function["parameters"] = msgspec.Raw(schema)
    if _is_strict(tool):
        function["strict"] = True
    return {"type": "function", "function": function}


def _is_strict(tool: Tool) -> bool:
    """Strict mode would refuse other schemas, or make optional properties required."""
    return tool.strict is True and qualifies_for_strict(tool.schema)


def _rendered_choice(choice: ToolChoice, names: ToolNames) -> object:
    if choice.name:
        return {"type": "function", "function": {"name": names.to_upstream(choice.name)}}
    return choice.mode.value
