"""The tools of a Responses request, and which of them the model may call.

Rule: what runs on OpenAI's servers has no counterpart elsewhere and is named as a loss; what the client runs itself is
kept. A tool inside a namespace goes by both names, joined by two underscores.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import BadRequest, TranslationError
from copilot_asgi.translate.conversation import Loss, Tool, ToolChoice, ToolChoiceMode
from copilot_asgi.translate.responses_fields import decoded, sound
from copilot_asgi.wire.shallow import NULL, is_null, read_object, starts_with

__all__ = ["in_namespace", "parse_tool_choice", "parse_tools"]

_KNOWN = frozenset({"type", "name", "description", "parameters", "strict", "format", "tools"})
_CALLABLE = frozenset({"function", "custom"})
_MODES: Mapping[str, ToolChoiceMode] = MappingProxyType({mode.value: mode for mode in ToolChoiceMode})


class _Grammar(msgspec.Struct):
    type: str = "text"


class _Tool(msgspec.Struct):
    type: str
    name: str | None = None
    description: str | None = None
    parameters: msgspec.Raw = NULL
    strict: bool | None = None
    format: msgspec.Raw = NULL
    tools: list[msgspec.Raw] | None = None


class _Choice(msgspec.Struct):
    type: str
    name: str | None = None
    mode: str = "auto"
    tools: list["_Choice"] | None = None


def in_namespace(namespace: str | None, name: str) -> str:
    """The one name of a tool that a client knows by two."""
    return f"{namespace}__{name}" if namespace else name


def parse_tools(values: Iterable[msgspec.Raw]) -> tuple[tuple[Tool, ...], tuple[Loss, ...]]:
    """The tools that the client runs, and what of the rest is lost; of two with one name the later counts.

    Raises ``BadRequest`` for a tool without a type, or without the name it needs.
    """
    tools: dict[str, Tool] = {}
    losses: list[Loss] = []
    for found in _flat(values, ""):
        if isinstance(found, Tool):
            tools[found.name] = found
        else:
            losses.append(found)
    return tuple(tools.values()), tuple(dict.fromkeys(losses))


def _flat(values: Iterable[msgspec.Raw], namespace: str) -> Iterator[Tool | Loss]:
    for value in values:
        tool = decoded(value, _Tool, param="tools")
        if tool.type == "namespace":
            yield from _flat(tool.tools or (), _name(tool))
        elif tool.type in _CALLABLE:
            yield _tool(tool, namespace)
            unknown = [name for name, given in read_object(value).items() if name not in _KNOWN and not is_null(given)]
            yield from (Loss(f"tools.{name}", matters=False) for name in unknown)
        else:
            yield Loss(f"tools.{tool.type}", matters=True)


def _tool(tool: _Tool, namespace: str) -> Tool:
    return Tool(
        name=in_namespace(namespace, _name(tool)),
        description=tool.description or "",
        schema=b"" if is_null(tool.parameters) else sound(tool.parameters, param="tools"),
        strict=tool.strict,
        freeform=tool.type == "custom",
        grammar=_grammar(tool.format),
        namespace=namespace,
    )


def _name(tool: _Tool) -> str:
    if not tool.name:
        message = f"A tool of type '{tool.type}' needs a name."
        raise BadRequest(message, code="missing_required_parameter", param="tools")
    return tool.name


def _grammar(value: msgspec.Raw) -> bytes:
    if is_null(value) or decoded(value, _Grammar, param="tools.format").type != "grammar":
        return b""
    return sound(value, param="tools.format")


def parse_tool_choice(value: msgspec.Raw, tools: tuple[Tool, ...]) -> tuple[ToolChoice, tuple[Loss, ...]]:
    """What ``tool_choice`` says about ``tools``, and what of it is lost.

    Raises ``BadRequest`` for what it cannot mean, ``TranslationError`` for a tool that only OpenAI's servers run.
    """
    if starts_with(value, b'"'):
        return ToolChoice(_mode(decoded(value, str, param="tool_choice"))), ()
    choice = decoded(value, _Choice, param="tool_choice")
    if choice.type == "allowed_tools":
        return _allowed(choice, tools)
    return ToolChoice(ToolChoiceMode.REQUIRED, name=_resolved(choice, tools)), ()


def _allowed(choice: _Choice, tools: tuple[Tool, ...]) -> tuple[ToolChoice, tuple[Loss, ...]]:
    """A choice among some tools; where OpenAI's servers would run all of them, none is left to call."""
    mode, listed = _mode(choice.mode), choice.tools or []
    names = tuple(_resolved(each, tools) for each in listed if each.type in _CALLABLE)
    losses = () if len(names) == len(listed) else (Loss("tool_choice.tools", matters=True),)
    if names or not listed:
        return ToolChoice(mode, allowed=names), losses
    if mode is ToolChoiceMode.REQUIRED:
        raise TranslationError("This model has none of the tools that it must choose from.", param="tool_choice")
    return ToolChoice(ToolChoiceMode.NONE), losses


def _mode(word: str) -> ToolChoiceMode:
    if word not in _MODES:
        raise BadRequest("The field 'tool_choice' has an unknown value.", code="invalid_value", param="tool_choice")
    return _MODES[word]


def _resolved(choice: _Choice, tools: tuple[Tool, ...]) -> str:
    """The name of the chosen tool; clients may leave its namespace out."""
    if choice.type not in _CALLABLE or not choice.name:
        raise TranslationError(f"This model has no tool of type '{choice.type}' to choose.", param="tool_choice")
    for tool in tools:
        if tool.name in {choice.name, in_namespace(tool.namespace, choice.name)}:
            return tool.name
    return choice.name
