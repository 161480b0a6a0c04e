"""Whether asking the same again would give the same answer, as far as the request says.

Rule: in doubt it would not. Requests that leave the temperature to the model, which is most of them, cost a look-up
or two.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.shallow import NOT_JSON, NULL, Fields, is_null, read_object

__all__ = ["is_repeatable"]

# The objects in which a dialect keeps what others say at the top level.
_SECTIONS: Mapping[Dialect, tuple[str, ...]] = MappingProxyType(
    {Dialect.GEMINI: ("generationConfig", "generation_config"), Dialect.OLLAMA: ("options",)}
)
_COUNTS = ("n", "candidateCount", "candidate_count")
# Searches, other servers, and conversations that go on elsewhere: the next answer may depend on more than the request.
_OPEN_ENDED = ("background", "conversation", "mcp_servers", "web_search_options")
_CLIENT_RUN = frozenset({b'"function"', b'"custom"', b"null"})
_GEMINI_CLIENT_RUN = frozenset({"functionDeclarations", "function_declarations"})

_number_decoder = msgspec.json.Decoder(float)
_tools_decoder = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


def is_repeatable(dialect: Dialect, fields: Fields) -> bool:
    """Whether a request is deterministic: for embeddings, or for one answer at temperature 0 without tools that act.

    Tools that the client runs itself do not count: the model only says that it wants them run.
    """
    if dialect is Dialect.EMBEDDINGS:
        return True
    settings = _settings(dialect, fields)
    if _number(settings.get("temperature", NULL)) != 0:
        return False
    if any(_number(settings.get(name, NULL)) not in {None, 1} for name in _COUNTS):
        return False
    if any(not is_null(fields.get(name, NULL)) for name in _OPEN_ENDED):
        return False
    return _runs_at_the_client(dialect, fields.get("tools", NULL))


def _settings(dialect: Dialect, fields: Fields) -> Fields:
    sections = _SECTIONS.get(dialect)
    if sections is None:
        return fields
    found = next((fields[name] for name in sections if name in fields), None)
    if found is None:
        return {}
    try:
        return read_object(found)
    except NOT_JSON:
        return {}


def _number(value: msgspec.Raw) -> float | None:
    """The number; ``None`` for null, and not a number (which equals nothing) for anything else."""
    if is_null(value):
        return None
    try:
        return _number_decoder.decode(value)
    except NOT_JSON:
        return float("nan")


def _runs_at_the_client(dialect: Dialect, tools: msgspec.Raw) -> bool:
    if is_null(tools):
        return True
    try:
        listed = _tools_decoder.decode(tools)
    except NOT_JSON:
        return False
    if dialect is Dialect.GEMINI:
        return all(tool.keys() <= _GEMINI_CLIENT_RUN for tool in listed)
    return all(bytes(tool.get("type", NULL)) in _CLIENT_RUN for tool in listed)
