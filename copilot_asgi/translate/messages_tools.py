"""The tools of a Messages request as neutral ones.

Rule: what the client runs itself becomes a function, also the tools whose schema only Anthropic's models know; what
Anthropic's servers would run is named as lost, and refused where the request makes no sense without it.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType

import msgspec

from copilot_asgi.translate.conversation import Tool, ToolChoice, ToolChoiceMode
from copilot_asgi.translate.messages_reading import Cache, Place
from copilot_asgi.wire.shallow import NULL, is_null

__all__ = ["WEB_SEARCH", "read_tool_choice", "read_tools", "read_web_search"]

# Keys of a tool that steer Anthropic's servers only.
_UNHEARD = ("allowed_callers", "defer_loading", "eager_input_streaming", "input_examples")
_SCREEN_TOOLS = ("browser_", "computer_")
_SERVER_TOOLS = ("advisor", "code_execution", "mcp_toolset", "tool_search_tool", "web_fetch")
_WEB_SEARCH = "web_search_"

WEB_SEARCH = "web_search"
"""The name under which a choice speaks of Anthropic's search of the web."""


class _Tool(msgspec.Struct):
    type: str | None = None
    name: str | None = None
    description: str | None = None
    input_schema: msgspec.Raw = NULL
    strict: bool | None = None
    cache_control: Cache | None = None
    allowed_callers: msgspec.Raw = NULL
    defer_loading: msgspec.Raw = NULL
    eager_input_streaming: msgspec.Raw = NULL
    input_examples: msgspec.Raw = NULL


class _WebSearch(msgspec.Struct):
    type: str | None = None
    allowed_domains: list[str] | None = None
    user_location: msgspec.Raw = NULL
    blocked_domains: msgspec.Raw = NULL
    max_uses: msgspec.Raw = NULL


class _Choice(msgspec.Struct):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Known(msgspec.Struct, frozen=True):
    """A tool that the client runs and Anthropic's models know by its type."""

    prefix: str
    name: str
    description: str
    schema: bytes


_listed = msgspec.json.Decoder(list[msgspec.Raw])
_tool = msgspec.json.Decoder(_Tool)
_web_search = msgspec.json.Decoder(_WebSearch)
_choice = msgspec.json.Decoder(_Choice)


def _schema(required: tuple[str, ...], /, **properties: Mapping[str, object]) -> bytes:
    return msgspec.json.encode({"type": "object", "properties": properties, "required": required})


_TEXT: Mapping[str, object] = MappingProxyType({"type": "string"})
_LINE: Mapping[str, object] = MappingProxyType({"type": "integer"})
_RANGE: Mapping[str, object] = MappingProxyType({"type": "array", "items": {"type": "integer"}})


def _command(*names: str) -> Mapping[str, object]:
    return {"type": "string", "enum": names}


def _editor(*commands: str) -> bytes:
    return _schema(
        ("command", "path"),
        command=_command(*commands),
        path=dict(_TEXT),
        file_text=dict(_TEXT),
        old_str=dict(_TEXT),
        new_str=dict(_TEXT),
        insert_line=dict(_LINE),
        insert_text=dict(_TEXT),
        view_range=dict(_RANGE),
    )


_EDIT = "View, create and edit text files."
# The first prefix that fits counts.
_KNOWN = (
    _Known(
        "bash_",
        "bash",
        "Run a command in a persistent bash session, or restart the session.",
        _schema((), command=dict(_TEXT), restart={"type": "boolean"}),
    ),
    _Known(
        "text_editor_20241022",
        "str_replace_editor",
        _EDIT,
        _editor("view", "create", "str_replace", "insert", "undo_edit"),
    ),
    _Known(
        "text_editor_20250124",
        "str_replace_editor",
        _EDIT,
        _editor("view", "create", "str_replace", "insert", "undo_edit"),
    ),
    _Known(
        "text_editor_",
        "str_replace_based_edit_tool",
        _EDIT,
        _editor("view", "create", "str_replace", "insert"),
    ),
    _Known(
        "memory_",
        "memory",
        "Read and write files below /memories, which outlive the conversation.",
        _schema(
            ("command",),
            command=_command("view", "create", "str_replace", "insert", "delete", "rename"),
            path=dict(_TEXT),
            file_text=dict(_TEXT),
            old_str=dict(_TEXT),
            new_str=dict(_TEXT),
            insert_line=dict(_LINE),
            insert_text=dict(_TEXT),
            old_path=dict(_TEXT),
            new_path=dict(_TEXT),
            view_range=dict(_RANGE),
        ),
    ),
)
_MODES: Mapping[str, ToolChoiceMode] = MappingProxyType(
    {
        "auto": ToolChoiceMode.AUTO,
        "any": ToolChoiceMode.REQUIRED,
        "tool": ToolChoiceMode.REQUIRED,
        "none": ToolChoiceMode.NONE,
    }
)


def read_tools(raw: msgspec.Raw, place: Place) -> tuple[Tool, ...]:
    """The tools that the client runs. Raises ``BadRequest`` for those that see a screen: no function can."""
    return tuple(_each(place.read(_listed, raw), place))


def read_web_search(raw: msgspec.Raw, place: Place) -> bytes | None:
    """Anthropic's search of the web as OpenAI's tool for it, which Copilot serves with some models."""
    tools = place.read(_listed, raw)
    for number, tool in enumerate(tools):
        given = place.at(number).read(_web_search, tool)
        if given.type is None or not given.type.startswith(_WEB_SEARCH):
            continue
        for key in ("blocked_domains", "max_uses"):
            if not is_null(getattr(given, key)):
                place.lose(f"tools.{key}", matters=True)
        filters = {"filters": {"allowed_domains": given.allowed_domains}} if given.allowed_domains else {}
        location = {} if is_null(given.user_location) else {"user_location": given.user_location}
        return msgspec.json.encode({"type": "web_search", **filters, **location})
    return None


def read_tool_choice(raw: msgspec.Raw, names: AbstractSet[str], place: Place) -> tuple[ToolChoice | None, bool | None]:
    """The choice, and whether several calls at once are allowed; ``names`` are those of all tools that may go on.

    Raises ``BadRequest`` when a tool is forced that is not among them.
    """
    given = place.read(_choice, raw)
    mode = _MODES.get(given.type)
    if mode is None:
        raise place.at("type").refusal(f"Unknown tool choice '{given.type[:64]}'.")
    name = given.name or "" if given.type == "tool" else ""
    parallel = False if given.disable_parallel_tool_use else None
    if given.type == "tool" and name not in names:
        raise place.at("name").refusal("The tool that must be called is not available to this model.")
    if not names and mode is ToolChoiceMode.REQUIRED:
        raise place.refusal("A tool must be called, but none of the tools is available to this model.")
    return (ToolChoice(mode, name), parallel) if names else (None, None)


def _each(tools: list[msgspec.Raw], place: Place) -> Iterator[Tool]:
    for number, raw in enumerate(tools):
        given = place.at(number).read(_tool, raw)
        kind = given.type or "custom"
        for key in _UNHEARD:
            if not is_null(getattr(given, key)):
                place.lose(f"tools.{key}", matters=False)
        if kind == "custom":
            yield _custom(given, place.at(number))
        elif kind.startswith(_SCREEN_TOOLS):
            raise place.at(number).refusal("Tools that see and touch a screen are not available to this model.")
        elif known := next((each for each in _KNOWN if kind.startswith(each.prefix)), None):
            yield _client_tool(given, known)
        elif not kind.startswith(_WEB_SEARCH):
            server = next((name for name in _SERVER_TOOLS if kind.startswith(name)), "unknown")
            place.lose(f"tools.{server}", matters=True)


def _custom(given: _Tool, place: Place) -> Tool:
    if not given.name:
        raise place.at("name").refusal("A tool needs a name.")
    return Tool(
        name=given.name,
        description=given.description or "",
        schema=b"" if is_null(given.input_schema) else place.at("input_schema").text(given.input_schema),
        strict=given.strict,
        cached=given.cache_control is not None,
    )


def _client_tool(given: _Tool, known: _Known) -> Tool:
    return Tool(
        name=given.name or known.name,
        description=known.description,
        schema=known.schema,
        cached=given.cache_control is not None,
    )
