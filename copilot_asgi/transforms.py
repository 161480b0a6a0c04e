"""Ready-made functions for the transform stage.

Rule: only what is changed is decoded; the history of a conversation is copied as bytes. Pure, and the same applied
twice is the same as once.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import ConfigError
from copilot_asgi.exchange import Exchange, Head, Part, Request
from copilot_asgi.translate.ollama_request import is_load_request
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.shallow import NOT_JSON, NULL, is_null, read_object

__all__ = ["add_response_headers", "add_system_prompt", "rename_models"]

_Changes = Mapping[str, bytes | None]
_NOTHING: _Changes = MappingProxyType({})

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")  # RFC 9110, 5.6.2
# They say how a message is framed, which is the server's to say.
_FRAMING = frozenset({"connection", "content-encoding", "content-length", "transfer-encoding", "upgrade"})

_string_decoder = msgspec.json.Decoder(str)


def add_system_prompt(text: str) -> Callable[[Request], Request]:
    """A function that puts ``text`` in front of a request's instructions, in any dialect; the client's own stay.

    A field that is not what its dialect promises is left for others to refuse. Raises ``ConfigError`` for no text.
    """
    if not text:
        raise ConfigError("add_system_prompt: the text is empty. Leave the transform out instead.")

    def add(request: Request) -> Request:
        changes = _SYSTEM_PROMPTS[request.dialect](request, text)
        return _replaced(request, changes) if changes else request

    return add


def rename_models(names: Mapping[str, str]) -> Callable[[Request], Request]:
    """A function that asks for another model where one of ``names`` is asked for."""
    others = dict(names)

    def rename(request: Request) -> Request:
        other = others.get(request.model, request.model)
        return request if other == request.model else _replaced(request, {"model": msgspec.json.encode(other)})

    return rename


def add_response_headers(headers: Mapping[str, str]) -> Callable[[Exchange, Part], Part]:
    """A function that sets headers of answers; one that is there already is replaced.

    Raises ``ConfigError`` for what is no header, or one that says how the message is framed.
    """
    pairs = tuple((_name(name), _value(name, value)) for name, value in headers.items())
    names = {name for name, _ in pairs}

    def add(exchange: Exchange, part: Part) -> Part:  # noqa: ARG001 - the shape of a response hook
        if not isinstance(part, Head):
            return part
        return Head(part.status, (*(pair for pair in part.headers if pair[0] not in names), *pairs))

    return add


def _replaced(request: Request, changes: _Changes) -> Request:
    """Some dialects say outside of the body that they stream; that stays what it was."""
    return msgspec.structs.replace(request.replace(changes), stream=request.stream)


def _in_messages(request: Request, text: str) -> _Changes:
    """The first message. A request without any asks nothing: it is not for a system prompt to make it a question."""
    turns = request.fields.get("messages", NULL)
    if is_null(turns) or bytes(turns) == b"[]":
        return _NOTHING
    return _change("messages", _put_first(turns, msgspec.json.encode({"role": "system", "content": text})))


def _in_system(request: Request, text: str) -> _Changes:
    own = request.fields.get("system", NULL)
    block = msgspec.json.encode({"type": "text", "text": text})
    return _change("system", _put_first(own, block) or _put_before(own, text))


def _in_instructions(request: Request, text: str) -> _Changes:
    return _change("instructions", _put_before(request.fields.get("instructions", NULL), text))


def _in_gemini(request: Request, text: str) -> _Changes:
    name = "system_instruction" if "system_instruction" in request.fields else "systemInstruction"
    own = request.fields.get(name, NULL)
    part = msgspec.json.encode({"text": text})
    if is_null(own):
        return {name: b'{"parts":[' + part + b"]}"}
    try:
        content = read_object(own)
    except NOT_JSON:
        return _NOTHING
    parts = _put_first(content.get("parts", msgspec.Raw(b"[]")), part)
    return _NOTHING if parts is None else {name: msgspec.json.encode({**content, "parts": msgspec.Raw(parts)})}


def _in_ollama(request: Request, text: str) -> _Changes:
    if request.form != "generate":
        return _in_messages(request, text)
    if is_load_request(request.fields):
        return _NOTHING
    return _change("system", _put_before(request.fields.get("system", NULL), text))


_SYSTEM_PROMPTS: Mapping[Dialect, Callable[[Request, str], _Changes]] = MappingProxyType(
    {
        Dialect.CHAT: _in_messages,
        Dialect.MESSAGES: _in_system,
        Dialect.RESPONSES: _in_instructions,
        Dialect.GEMINI: _in_gemini,
        Dialect.OLLAMA: _in_ollama,
        Dialect.EMBEDDINGS: lambda _, __: _NOTHING,
    }
)


def _change(name: str, value: bytes | None) -> _Changes:
    return _NOTHING if value is None else {name: value}


def _put_first(array: msgspec.Raw, item: bytes) -> bytes | None:
    """The array with ``item`` in front; ``None`` when it stands there already, or this is no array."""
    text = bytes(array)
    if not text.startswith(b"["):
        return None
    rest = text[1:].lstrip()
    if rest.startswith(item):
        return None
    return b"[" + item + (b"" if rest.startswith(b"]") else b",") + rest


def _put_before(own: msgspec.Raw, text: str) -> bytes | None:
    """``text``, an empty line, and the client's string; ``None`` when it begins so already, or is no string."""
    if is_null(own):
        return msgspec.json.encode(text)
    try:
        value = _string_decoder.decode(own)
    except NOT_JSON:
        return None
    if value == text or value.startswith(text + "\n\n"):
        return None
    return msgspec.json.encode(f"{text}\n\n{value}" if value else text)


def _name(name: str) -> bytes:
    lower = name.lower()
    if not _HEADER_NAME.fullmatch(lower) or lower in _FRAMING:
        raise ConfigError(f"add_response_headers: {name[:60]!r} is not a header that can be set.")
    return lower.encode()


def _value(name: str, value: str) -> bytes:
    if not value.isascii() or not value.isprintable():
        raise ConfigError(f"add_response_headers: the value of {name[:60]!r} must be printable ASCII text.")
    return value.encode()
