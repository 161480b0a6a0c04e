"""The tools of a Gemini request and the choice among them.

Rule: functions are served; what Google's own servers would run is named as lost.

Source: https://ai.google.dev/api/caching#Tool and #FunctionCallingConfig.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.camel import present, read_camel
from copilot_asgi.translate.chat_tools import Toolbox
from copilot_asgi.translate.conversation import Loss, Tool, ToolChoice, ToolChoiceMode
from copilot_asgi.translate.gemini_schema import json_schema
from copilot_asgi.wire.shallow import NOT_JSON, NULL, Fields, is_null, read_array, read_object

__all__ = ["read_tools"]

_FUNCTIONS = "functionDeclarations"
# Run by Google; the names are told to the client, others are not repeated.
_HOSTED = frozenset(
    {"codeExecution", "computerUse", "enterpriseWebSearch", "fileSearch", "googleMaps", "googleSearch"}
    | {"googleSearchRetrieval", "mcpServers", "retrieval", "urlContext"}
)
_MODES: Mapping[str, ToolChoiceMode | None] = MappingProxyType(
    {
        "": None,
        "MODE_UNSPECIFIED": None,
        "AUTO": ToolChoiceMode.AUTO,
        "VALIDATED": ToolChoiceMode.AUTO,
        "ANY": ToolChoiceMode.REQUIRED,
        "NONE": ToolChoiceMode.NONE,
    }
)
_LIMITED = frozenset({"ANY", "VALIDATED"})


class _Declaration(msgspec.Struct, rename="camel"):
    name: str
    description: str | None = None
    parameters: msgspec.Raw = NULL
    parameters_json_schema: msgspec.Raw = NULL


class _Calling(msgspec.Struct, rename="camel"):
    mode: str | None = None
    allowed_function_names: list[str] | None = None


class _ToolConfig(msgspec.Struct, rename="camel"):
    function_calling_config: msgspec.Raw = NULL


_declaration_decoder = msgspec.json.Decoder(_Declaration)
_config_decoder = msgspec.json.Decoder(_ToolConfig)
_calling_decoder = msgspec.json.Decoder(_Calling)


def read_tools(fields: Fields) -> Toolbox:
    """The functions and the choice; ``fields`` by their camelCase names. Raises ``BadRequest`` naming the field."""
    losses: list[Loss] = []
    try:
        tools = tuple(_tools(fields, losses))
    except NOT_JSON:
        raise _unreadable("tools") from None
    try:
        choice = _choice(fields)
    except NOT_JSON:
        raise _unreadable("toolConfig") from None
    return Toolbox(tools, choice, tuple(dict.fromkeys(losses)))


def _unreadable(name: str) -> BadRequest:
    return BadRequest(f"The field '{name}' is not what the API describes.", code="invalid_type", param=name)


def _tools(fields: Fields, losses: list[Loss]) -> Iterator[Tool]:
    for raw in read_array(fields["tools"]) if "tools" in fields else ():
        given = present(read_object(raw))
        others = sorted(given.keys() - {_FUNCTIONS})
        losses += [Loss(f"tools.{name}" if name in _HOSTED else "tools", matters=True) for name in others]
        for declaration in read_array(given.get(_FUNCTIONS, b"[]")):
            yield _function(read_camel(_declaration_decoder, declaration))


def _function(given: _Declaration) -> Tool:
    return Tool(name=given.name, description=given.description or "", schema=_parameters(given))


def _parameters(given: _Declaration) -> bytes:
    if not is_null(given.parameters_json_schema):
        msgspec.json.decode(given.parameters_json_schema)
        return bytes(given.parameters_json_schema)
    return b"" if is_null(given.parameters) else json_schema(bytes(given.parameters))


def _choice(fields: Fields) -> ToolChoice | None:
    config = read_camel(_config_decoder, fields["toolConfig"]) if "toolConfig" in fields else _ToolConfig()
    if is_null(config.function_calling_config):
        return None
    calling = read_camel(_calling_decoder, config.function_calling_config)
    word = (calling.mode or "").upper()
    if word not in _MODES:
        raise BadRequest("The function calling mode is none of the API's.", code="invalid_value", param="toolConfig")
    mode = _MODES[word]
    if mode is None:
        return None
    allowed = tuple(calling.allowed_function_names or ()) if word in _LIMITED else ()
    if mode is ToolChoiceMode.REQUIRED and len(allowed) == 1:
        return ToolChoice(mode, name=allowed[0])
    return ToolChoice(mode, allowed=allowed)
