"""The ``messages`` of a chat request, as a neutral conversation.

Rule: the shapes of the API are read, those of its common dialects are tolerated, and anything else is refused by its
place. Neighbours of one role become one turn; tool results are the user's.

Source: OpenAI API reference, "Create chat completion"; reasoning keys are Copilot's own.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.conversation import (
    TOOL_ERROR,
    Audio,
    Document,
    Image,
    Loss,
    Part,
    Refusal,
    Role,
    Seal,
    SealOrigin,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from copilot_asgi.translate.media import split_data_url
from copilot_asgi.translate.seals import unwrap
from copilot_asgi.wire.shallow import NOT_JSON, NULL, is_null, read_array

__all__ = ["History", "read_messages"]

"""How the text of a failed tool's result begins, in dialects that have no flag for it."""

_PDF = "application/pdf"
# Their seals are bound to the text inside the envelope; what the client showed beside it may be longer.
_BOUND_TO_TEXT = frozenset({SealOrigin.SIGNATURE, SealOrigin.REDACTED})


class History(msgspec.Struct, frozen=True):
    """What the messages say: leading instructions, the turns, and what could not be kept."""

    system: tuple[Text, ...]
    turns: tuple[Turn, ...]
    losses: tuple[Loss, ...]


class _ImageUrl(msgspec.Struct):
    url: str | None = None
    detail: str | None = None


class _Recording(msgspec.Struct):
    data: str | None = None
    format: str | None = None


class _File(msgspec.Struct):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class _Part(msgspec.Struct):
    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    image_url: _ImageUrl | str | None = None
    input_audio: _Recording | None = None
    file: _File | None = None
    prompt_cache_breakpoint: msgspec.Raw = NULL
    cache_control: msgspec.Raw = NULL

    @property
    def is_cached(self) -> bool:
        """Whether the client marked a breakpoint here, by OpenAI's key or by the one that gateways borrowed."""
        return not (is_null(self.prompt_cache_breakpoint) and is_null(self.cache_control))


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Custom(msgspec.Struct):
    name: str | None = None
    input: str | None = None


class _Call(msgspec.Struct):
    id: str | None = None
    function: _Function | None = None
    custom: _Custom | None = None


class _Message(msgspec.Struct):
    role: str | None = None
    name: str | None = None
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    function_call: _Function | None = None
    audio: msgspec.Raw = NULL
    reasoning_text: str | None = None
    reasoning_content: str | None = None
    reasoning_opaque: str | None = None
    copilot_cache_control: msgspec.Raw = NULL


_decoder = msgspec.json.Decoder(_Message)


def read_messages(messages: msgspec.Raw) -> History:
    """The conversation so far. Raises ``BadRequest`` naming the message that cannot be read."""
    reader = _Reader()
    for number, raw in enumerate(_listed(messages)):
        try:
            reader.read(_decoder.decode(raw))
        except NOT_JSON:
            raise _refusal("A message is not what the API describes.", "invalid_type", number) from None
        except BadRequest as error:
            raise _refusal(error.message, error.code, number) from None
    turns = tuple(Turn(role, tuple(parts)) for role, parts in reader.turns)
    return History(tuple(reader.system), turns, tuple(dict.fromkeys(reader.losses)))


def _listed(messages: msgspec.Raw) -> list[msgspec.Raw]:
    try:
        listed = read_array(messages)
    except NOT_JSON:
        raise BadRequest("The field 'messages' must be a list.", code="invalid_type", param="messages") from None
    if not listed:
        raise BadRequest("The field 'messages' is empty.", code="empty_array", param="messages")
    return listed


def _refusal(message: str, code: str | None, number: int) -> BadRequest:
    return BadRequest(message, code=code, param=f"messages[{number}]")


class _Reader:
    """Collects the turns, message by message."""

    def __init__(self) -> None:
        self.system: list[Text] = []
        self.turns: list[tuple[Role, list[Part]]] = []
        self.losses: list[Loss] = []
        self._function_id = ""
        self._functions = 0

    def read(self, message: _Message) -> None:
        read = _ROLES.get(message.role or "")
        if read is None:
            raise BadRequest(f"A message has the role {message.role!r}, which is none.", code="invalid_value")
        if message.name and message.role != "function":
            self.losses.append(Loss("messages.name", matters=False))
        role, parts = read(self, message)
        if not is_null(message.copilot_cache_control) and parts:
            parts = [*parts[:-1], _cached(parts[-1])]
        self._add(role, parts)

    def instructions(self, message: _Message) -> tuple[Role, list[Part]]:
        parts = _content(message)
        if not all(isinstance(part, Text) for part in parts):
            raise BadRequest("Instructions may hold text only.", code="invalid_value")
        return Role.SYSTEM, [part for part in parts if part != Text("")]

    def user(self, message: _Message) -> tuple[Role, list[Part]]:
        return Role.USER, _content(message) or [Text("")]

    def assistant(self, message: _Message) -> tuple[Role, list[Part]]:
        if not is_null(message.audio):
            raise BadRequest("An answer in audio is kept by OpenAI only; send its text.", code="unsupported_value")
        said = [part for part in _content(message) if part != Text("")]
        refused = [Refusal(message.refusal)] if message.refusal else []
        calls = [_tool_call(call) for call in message.tool_calls or ()]
        return Role.ASSISTANT, [*_thinking(message), *said, *refused, *calls, *self._function_call(message)]

    def tool(self, message: _Message) -> tuple[Role, list[Part]]:
        return Role.USER, [_result(message.tool_call_id or "", message)]

    def function(self, message: _Message) -> tuple[Role, list[Part]]:
        return Role.USER, [_result(self._function_id, message)]

    def _function_call(self, message: _Message) -> list[ToolCall]:
        """The deprecated form has no ids: the same history must give the same ones each time."""
        call = message.function_call
        if call is None:
            return []
        self._functions += 1
        self._function_id = f"call_function_{self._functions}"
        return [ToolCall(self._function_id, _named(call.name), call.arguments or "")]

    def _add(self, role: Role, parts: list[Part]) -> None:
        if role is Role.SYSTEM and not self.turns:
            self.system += [part for part in parts if isinstance(part, Text)]
        elif self.turns and self.turns[-1][0] is role:
            self.turns[-1][1].extend(parts)
        elif parts:
            self.turns.append((role, list(parts)))


_ROLES: Mapping[str, Callable[[_Reader, _Message], tuple[Role, list[Part]]]] = MappingProxyType(
    {
        "system": _Reader.instructions,
        "developer": _Reader.instructions,
        "user": _Reader.user,
        "assistant": _Reader.assistant,
        "tool": _Reader.tool,
        "function": _Reader.function,
    }
)


def _content(message: _Message) -> list[Part]:
    if isinstance(message.content, str):
        return [Text(message.content)]
    return [_part(part) for part in message.content or ()]


def _part(part: _Part) -> Part:
    read = _PARTS.get(part.type or "")
    if read is None:
        raise BadRequest(f"A message holds a part of type {part.type!r}, which is none.", code="invalid_value")
    found = read(part)
    return _cached(found) if part.is_cached else found


def _image(part: _Part) -> Part:
    given = part.image_url if isinstance(part.image_url, _ImageUrl) else _ImageUrl(part.image_url)
    if not given.url:
        raise BadRequest("An image has no 'url'.", code="missing_field")
    media_type, data = split_data_url(given.url) or ("", "")
    url = "" if data or media_type else given.url
    return Image(media_type=media_type, data=data, url=url, detail=given.detail or "")


def _audio(part: _Part) -> Part:
    given = part.input_audio or _Recording()
    if not given.data or not given.format:
        raise BadRequest("A recording needs 'data' and 'format'.", code="missing_field")
    return Audio(given.data, given.format)


def _file(part: _Part) -> Part:
    given = part.file or _File()
    if given.file_id:
        raise BadRequest("Copilot keeps no files; send the content as 'file_data'.", code="unsupported_value")
    if not given.file_data:
        raise BadRequest("A file has no 'file_data'.", code="missing_field")
    media_type, data = split_data_url(given.file_data) or (_PDF, given.file_data)
    if media_type.startswith("image/"):
        return Image(media_type=media_type, data=data)
    if media_type.startswith("text/"):
        return Text("\n".join(filter(None, (given.filename, _plain(data)))))
    return Document(media_type=media_type, data=data, name=given.filename or "")


def _plain(data: str) -> str:
    try:
        return b64decode(data, validate=True).decode("utf-8", "replace")
    except (Base64Error, ValueError):
        raise BadRequest("The data of a file is not base64.", code="invalid_value") from None


_PARTS: Mapping[str, Callable[[_Part], Part]] = MappingProxyType(
    {
        "text": lambda part: Text(part.text or ""),
        "refusal": lambda part: Refusal(part.refusal or ""),
        "image_url": _image,
        "input_audio": _audio,
        "file": _file,
    }
)


def _cached(part: Part) -> Part:
    """The same part with a breakpoint behind it, if it is of a kind that can have one."""
    if isinstance(part, Text | Image | Document | ToolCall | ToolResult):
        return msgspec.structs.replace(part, cached=True)
    return part


def _thinking(message: _Message) -> list[Thinking]:
    text = message.reasoning_text or message.reasoning_content or ""
    if not message.reasoning_opaque:
        return [Thinking(text)] if text else []
    opened = unwrap(message.reasoning_opaque)
    if opened is None:
        return [Thinking(text, Seal(SealOrigin.CHAT, message.reasoning_opaque))]
    seal, sealed_text = opened
    return [Thinking(sealed_text if seal.origin in _BOUND_TO_TEXT else text, seal)]


def _tool_call(call: _Call) -> ToolCall:
    if call.custom is not None:
        return ToolCall(call.id or "", _named(call.custom.name), call.custom.input or "", freeform=True)
    function = call.function or _Function()
    return ToolCall(call.id or "", _named(function.name), function.arguments or "")


def _named(name: str | None) -> str:
    if not name:
        raise BadRequest("A tool call has no name.", code="missing_field")
    return name


def _result(call_id: str, message: _Message) -> ToolResult:
    parts = [part for part in _content(message) if part != Text("")]
    allowed = [part for part in parts if isinstance(part, Text | Image | Document)]
    if len(allowed) < len(parts):
        raise BadRequest("The result of a tool may hold text, images and files only.", code="invalid_value")
    is_error = bool(allowed) and _is_marked(allowed[0])
    return ToolResult(
        call_id,
        (*map(_unmarked, allowed[:1]), *allowed[1:]),
        is_error=is_error,
        cached=any(part.cached for part in allowed),
    )


def _is_marked(part: Text | Image | Document) -> bool:
    return isinstance(part, Text) and part.text.startswith(TOOL_ERROR)


def _unmarked(part: Text | Image | Document) -> Text | Image | Document:
    if not isinstance(part, Text):
        return part
    return msgspec.structs.replace(part, text=part.text.removeprefix(TOOL_ERROR))
