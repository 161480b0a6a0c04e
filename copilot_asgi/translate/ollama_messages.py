"""The ``messages`` of an Ollama chat request, as turns.

Rule: calls have no ids in most clients, so results belong to calls by name, then by order. Images are bare base64,
whose bytes tell their type.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.conversation import Image, Loss, Part, Role, Text, ToolCall, ToolResult, Turn
from copilot_asgi.translate.media import image_type, split_data_url
from copilot_asgi.translate.open_calls import OpenCalls
from copilot_asgi.wire.shallow import NOT_JSON, NULL, is_null, read_array, read_object, starts_with

__all__ = ["History", "images_of", "read_messages"]

_NAMELESS = "unknown"


class History(msgspec.Struct, frozen=True):
    """What the messages say: leading instructions, the turns, and what could not be kept."""

    system: tuple[Text, ...]
    turns: tuple[Turn, ...]
    losses: tuple[Loss, ...]


class _Function(msgspec.Struct):
    name: str
    arguments: msgspec.Raw = NULL


class _Call(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | None = None
    images: list[str] | None = None
    tool_calls: list[_Call] | None = None
    thinking: str | None = None
    tool_name: str | None = None
    name: str | None = None
    tool_call_id: str | None = None


_decoder = msgspec.json.Decoder(_Message)
_text_decoder = msgspec.json.Decoder(str)


def read_messages(messages: msgspec.Raw) -> History:
    """The conversation so far. Raises ``BadRequest`` naming the message that cannot be read."""
    try:
        listed = read_array(messages)
    except NOT_JSON:
        raise BadRequest("The field 'messages' must be a list.", code="invalid_type", param="messages") from None
    if not listed:
        raise BadRequest("The field 'messages' is empty.", code="empty_array", param="messages")
    reader = _Reader()
    for number, raw in enumerate(listed):
        try:
            reader.read(_decoder.decode(raw))
        except NOT_JSON:
            raise _refusal("A message is not what the API describes.", "invalid_type", number) from None
        except BadRequest as error:
            raise _refusal(error.message, error.code, number) from None
    return History(tuple(reader.system), tuple(reader.turns), tuple(dict.fromkeys(reader.losses)))


def images_of(images: Iterable[str]) -> tuple[Image, ...]:
    """Images as the API takes them, or as data URLs. Raises ``BadRequest`` for what is not an image."""
    return tuple(_image(*(split_data_url(each) or ("", each))) for each in images)


def _image(media_type: str, data: str) -> Image:
    return Image(media_type=image_type(media_type, data), data=data)


def _refusal(message: str, code: str | None, number: int) -> BadRequest:
    return BadRequest(message, code=code, param=f"messages[{number}]")


class _Reader:
    """Collects the turns, message by message."""

    def __init__(self) -> None:
        self.system: list[Text] = []
        self.turns: list[Turn] = []
        self.losses: list[Loss] = []
        self._calls = OpenCalls()

    def read(self, message: _Message) -> None:
        read = _ROLES.get(message.role)
        if read is None:
            raise BadRequest(f"A message has the role {message.role!r}, which is none.", code="invalid_value")
        turn = read(self, message)
        if turn.role is Role.SYSTEM and not self.turns:
            self.system += [part for part in turn.parts if isinstance(part, Text)]
        elif turn.parts:
            self.turns.append(turn)

    def instructions(self, message: _Message) -> Turn:
        return Turn(Role.SYSTEM, _texts(message))

    def user(self, message: _Message) -> Turn:
        return Turn(Role.USER, (*_texts(message), *images_of(message.images or ())) or (Text(""),))

    def assistant(self, message: _Message) -> Turn:
        """Thinking has no seal here, and no upstream takes it back without one."""
        self.losses += [Loss("messages.thinking", matters=False)] if message.thinking else []
        calls = [self._call(call) for call in message.tool_calls or ()]
        return Turn(Role.ASSISTANT, (*_texts(message), *images_of(message.images or ()), *calls))

    def tool(self, message: _Message) -> Turn:
        name, id = message.tool_name or message.name or "", message.tool_call_id or ""
        call_id = self._calls.answered(name, id=id) or self._calls.next_answered() or id or name or _NAMELESS
        return Turn(Role.USER, (ToolResult(call_id, (*_texts(message), *images_of(message.images or ()))),))

    def _call(self, call: _Call) -> Part:
        name = call.function.name
        return ToolCall(self._calls.asked(name, id=call.id or ""), name, _arguments(call.function.arguments))


def _texts(message: _Message) -> tuple[Text, ...]:
    return (Text(message.content),) if message.content else ()


def _arguments(value: msgspec.Raw) -> str:
    """The text of an object; some clients send it as a string, like OpenAI's."""
    if is_null(value):
        return "{}"
    if starts_with(value, b'"'):
        return _text_decoder.decode(value)
    msgspec.json.decode(value)
    read_object(value)
    return bytes(value).decode()


_ROLES: Mapping[str, Callable[[_Reader, _Message], Turn]] = MappingProxyType(
    {
        "system": _Reader.instructions,
        "user": _Reader.user,
        "assistant": _Reader.assistant,
        "tool": _Reader.tool,
    }
)
