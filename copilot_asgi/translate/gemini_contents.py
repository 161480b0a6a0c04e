"""The ``contents`` of a Gemini request, as turns.

Rule: a part says one thing, and its key says which. Calls and results often come without ids, then names and order
decide; what a model thought comes back inside its signatures only, as text it is shown but never sent on.

Source: https://ai.google.dev/api/caching#Content.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.camel import read_camel
from copilot_asgi.translate.conversation import Document, Image, Loss, Part, Role, Text, ToolCall, ToolResult, Turn
from copilot_asgi.translate.gemini_media import read_blob, read_file, signed_thinking
from copilot_asgi.translate.open_calls import OpenCalls
from copilot_asgi.wire.shallow import NOT_JSON, NULL, is_null, read_array, read_object

__all__ = ["History", "read_contents", "read_instruction"]

_ROLES: Mapping[str, Role] = MappingProxyType(
    {"": Role.USER, "user": Role.USER, "function": Role.USER, "model": Role.ASSISTANT}
)
# What a result says when it says nothing else: https://ai.google.dev/api/caching#FunctionResponse.
_PLAIN_KEYS = frozenset({"output", "result", "error"})


class History(msgspec.Struct, frozen=True):
    """The turns, and what could not be kept of them."""

    turns: tuple[Turn, ...]
    losses: tuple[Loss, ...]


class _Content(msgspec.Struct):
    role: str | None = None
    parts: list[msgspec.Raw] | None = None


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    inline_data: msgspec.Raw = NULL
    file_data: msgspec.Raw = NULL
    function_call: msgspec.Raw = NULL
    function_response: msgspec.Raw = NULL
    executable_code: msgspec.Raw = NULL
    code_execution_result: msgspec.Raw = NULL
    tool_call: msgspec.Raw = NULL
    tool_response: msgspec.Raw = NULL


class _Call(msgspec.Struct):
    name: str
    id: str | None = None
    args: msgspec.Raw = NULL


class _Response(msgspec.Struct):
    name: str | None = None
    id: str | None = None
    response: msgspec.Raw = NULL
    parts: list[msgspec.Raw] | None = None


_content_decoder = msgspec.json.Decoder(_Content)
_part_decoder = msgspec.json.Decoder(_Part)
_call_decoder = msgspec.json.Decoder(_Call)
_response_decoder = msgspec.json.Decoder(_Response)

# What Google's own servers ran: another model can make nothing of it.
_FOREIGN: Mapping[str, str] = MappingProxyType(
    {
        "executable_code": "executableCode",
        "code_execution_result": "codeExecutionResult",
        "tool_call": "toolCall",
        "tool_response": "toolResponse",
    }
)


def read_contents(contents: msgspec.Raw) -> History:
    """The conversation so far. Raises ``BadRequest`` naming the part that cannot be read."""
    try:
        listed = read_array(contents)
    except NOT_JSON:
        raise BadRequest("The field 'contents' must be a list.", code="invalid_type", param="contents") from None
    if not listed:
        raise BadRequest("The field 'contents' is empty.", code="empty_array", param="contents")
    reader = _Reader()
    turns = tuple(turn for number, raw in enumerate(listed) if (turn := reader.turn(raw, f"contents[{number}]")).parts)
    return History(turns, tuple(dict.fromkeys(reader.losses)))


def read_instruction(content: msgspec.Raw) -> tuple[Text, ...]:
    """The system instruction. Raises ``BadRequest`` unless it is text."""
    parts = _Reader().turn(content, "systemInstruction").parts
    texts = tuple(part for part in parts if isinstance(part, Text))
    if len(texts) < len(parts):
        raise BadRequest("Instructions may hold text only.", code="invalid_value", param="systemInstruction")
    return tuple(text for text in texts if text.text)


class _Reader:
    """Reads turns in order; remembers which calls wait for results."""

    def __init__(self) -> None:
        self.losses: list[Loss] = []
        self._calls = OpenCalls()

    def turn(self, raw: msgspec.Raw, place: str) -> Turn:
        """One content. What the user leaves empty stays an empty text; a model that said nothing has no parts."""
        try:
            content = read_camel(_content_decoder, raw)
        except NOT_JSON:
            raise BadRequest("A content is not what the API describes.", code="invalid_type", param=place) from None
        role = _ROLES.get(content.role or "")
        if role is None:
            raise BadRequest("The role of a content is neither user nor model.", code="invalid_value", param=place)
        parts: list[Part] = []
        for number, each in enumerate(content.parts or ()):
            parts += self._placed(each, role, f"{place}.parts[{number}]")
        return Turn(role, tuple(parts) or ((Text(""),) if role is Role.USER else ()))

    def _placed(self, raw: msgspec.Raw, role: Role, place: str) -> list[Part]:
        try:
            return list(self._part(read_camel(_part_decoder, raw), role))
        except NOT_JSON:
            raise BadRequest("A part is not what the API describes.", code="invalid_type", param=place) from None
        except BadRequest as error:
            raise BadRequest(error.message, code=error.code, param=place) from None

    def _part(self, part: _Part, role: Role) -> Iterator[Part]:
        if part.thought_signature:
            thought = signed_thinking(part.thought_signature)
            self.losses += [] if thought else [Loss("contents.thoughtSignature", matters=False)]
            yield from [thought] if thought else []
        if part.thought:
            self.losses += [] if part.thought_signature else [Loss("contents.thought", matters=False)]
            return
        if part.text:
            yield Text(part.text)
        for field, read in _KINDS.items():
            value = getattr(part, field)
            if not is_null(value):
                yield read(self, value, role)
        for field, name in _FOREIGN.items():
            self.losses += [] if is_null(getattr(part, field)) else [Loss(f"contents.{name}", matters=True)]

    def blob(self, raw: msgspec.Raw, role: Role) -> Part:  # noqa: ARG002 - one shape for all
        return read_blob(raw)

    def file(self, raw: msgspec.Raw, role: Role) -> Part:  # noqa: ARG002 - one shape for all
        return read_file(raw)

    def call(self, raw: msgspec.Raw, role: Role) -> Part:
        if role is not Role.ASSISTANT:
            raise BadRequest("Only the model calls functions.", code="invalid_value")
        given = read_camel(_call_decoder, raw)
        arguments = "{}" if is_null(given.args) else _object_text(given.args)
        return ToolCall(self._calls.asked(given.name, id=given.id or ""), given.name, arguments)

    def response(self, raw: msgspec.Raw, role: Role) -> Part:
        if role is not Role.USER:
            raise BadRequest("The model does not answer its own calls.", code="invalid_value")
        given = read_camel(_response_decoder, raw)
        name, id = given.name or "", given.id or ""
        call_id = self._calls.answered(name, id=id) or id or name
        text, is_error = _said(given.response)
        shown = tuple(part for each in given.parts or () for part in self._part(read_camel(_part_decoder, each), role))
        return _result(ToolResult(call_id, (text,) if text.text else (), is_error=is_error), shown)


_KINDS: Mapping[str, Callable[[_Reader, msgspec.Raw, Role], Part]] = MappingProxyType(
    {
        "inline_data": _Reader.blob,
        "file_data": _Reader.file,
        "function_call": _Reader.call,
        "function_response": _Reader.response,
    }
)


def _object_text(value: msgspec.Raw) -> str:
    """The text of an object, once it is certain that all of it can be read."""
    msgspec.json.decode(value)
    read_object(value)
    return bytes(value).decode()


def _said(response: msgspec.Raw) -> tuple[Text, bool]:
    """What a function gave back, and whether it says that it failed; a lone output is told without its wrapping."""
    if is_null(response):
        return Text(""), False
    text = _object_text(response)
    fields = read_object(response)
    if len(fields) != 1 or not fields.keys() <= _PLAIN_KEYS:
        return Text(text), False
    [(name, value)] = fields.items()
    said = msgspec.json.decode(value)
    return Text(said if isinstance(said, str) else bytes(value).decode()), name == "error"


def _result(result: ToolResult, shown: tuple[Part, ...]) -> ToolResult:
    """The result with the pictures and files that came beside it."""
    allowed = tuple(part for part in shown if isinstance(part, Text | Image | Document))
    if len(allowed) < len(shown):
        raise BadRequest("The result of a function may hold images and files only.", code="unsupported_value")
    return msgspec.structs.replace(result, parts=(*result.parts, *allowed))
