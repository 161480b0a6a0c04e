"""The parts of messages and tool results in a Responses request, read and written.

Rule: text stays text, media keeps its own bytes, and a reference to something on OpenAI's servers is refused, for
nobody else can open it.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterable

import msgspec

from copilot_asgi.errors import BadRequest, TranslationError
from copilot_asgi.translate.conversation import TOOL_ERROR, Audio, Document, Image, Refusal, Text
from copilot_asgi.translate.media import data_url, image_type, split_data_url

__all__ = ["Content", "input_part", "plain_parts", "result_content", "result_parts"]

"""How a result says that the tool failed, in dialects without a word for it."""

_ANY_DETAIL = "auto"
_DEFAULT_NAME = "document.pdf"
_TEXT_TYPES = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})


class _Recording(msgspec.Struct):
    data: str
    format: str


class _Part(msgspec.Struct):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    detail: str | None = None
    file_id: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None
    input_audio: _Recording | None = None


Content = str | list[_Part] | None
"""A text, or a list of typed parts."""

_Plain = Text | Image | Document | Audio | Refusal


def plain_parts(content: Content, *, where: str) -> tuple[_Plain, ...]:
    """The parts of a message; empty texts are left out. Raises ``BadRequest`` for what cannot be passed on."""
    if isinstance(content, str):
        return (Text(content),) if content else ()
    parts = (_part(part, f"{where}[{index}]") for index, part in enumerate(content or ()))
    return tuple(part for part in parts if part != Text(""))


def result_parts(content: Content, *, where: str) -> tuple[tuple[Text | Image | Document, ...], bool]:
    """The parts of a tool's result, and whether its first text says that the tool failed."""
    parts: list[Text | Image | Document] = []
    for part in plain_parts(content, where=where):
        if not isinstance(part, Text | Image | Document):
            raise BadRequest("A tool's output is text, images and files.", code="invalid_value", param=where)
        parts.append(part)
    first = parts[0] if parts else None
    if not isinstance(first, Text) or not first.text.startswith(TOOL_ERROR):
        return tuple(parts), False
    rest = first.text.removeprefix(TOOL_ERROR)
    return tuple([Text(rest)] * bool(rest) + parts[1:]), True


def _part(part: _Part, where: str) -> _Plain:
    if part.file_id:
        message = "A file id means something on OpenAI's servers only. Send the file itself."
        raise TranslationError(message, param=where)
    if part.type in _TEXT_TYPES:
        return Text(part.text or "")
    match part:
        case _Part(type="refusal"):
            return Refusal(part.refusal or "")
        case _Part(type="input_image", image_url=str(url)):
            return _image(url, (part.detail or "").removeprefix(_ANY_DETAIL))
        case _Part(type="input_file", file_url=str(url)) if url:
            return Document(url=url, name=part.filename or "")
        case _Part(type="input_file", file_data=str(data)):
            return _document(data, part.filename or "")
        case _Part(type="input_audio", input_audio=_Recording() as recording):
            return Audio(recording.data, recording.format)
    raise BadRequest(f"A part of type '{part.type}' cannot be read.", code="invalid_value", param=where)


def _image(url: str, detail: str) -> Image:
    found = split_data_url(url)
    return Image(media_type=found[0], data=found[1], detail=detail) if found else Image(url=url, detail=detail)


def _document(data: str, name: str) -> Document | Text:
    media_type, encoded = split_data_url(data) or ("application/pdf", data)
    if not media_type.startswith("text/"):
        return Document(media_type=media_type, data=encoded, name=name)
    try:
        body = b64decode(encoded, validate=True).decode("utf-8", "replace")
    except (Base64Error, ValueError):
        raise BadRequest("A file in the request is not base64.", code="invalid_value", param="input") from None
    return Text(f"{name}\n{body}" if name else body)


def input_part(part: Text | Image | Document | Audio) -> dict[str, object]:
    """What a user or a tool says, as Responses writes it. Raises ``BadRequest`` for an image that nobody can see."""
    match part:
        case Text(text):
            return {"type": "input_text", "text": text}
        case Image():
            url = part.url or data_url(image_type(part.media_type, part.data), part.data)
            return {"type": "input_image", "image_url": url, "detail": part.detail or _ANY_DETAIL}
        case Document(url="", data=data):
            url = data_url(part.media_type, data)
            return {"type": "input_file", "file_data": url, "filename": part.name or _DEFAULT_NAME}
        case Document(url=url):
            return {"type": "input_file", "file_url": url}
        case _:
            return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}


def result_content(parts: Iterable[Text | Image | Document], *, is_error: bool) -> str | list[dict[str, object]]:
    """A tool's result as Responses writes it: one text as such, anything else as a list."""
    marked = [*parts]
    if is_error:
        first = marked[0] if marked else Text("")
        rest = marked[1:] if isinstance(first, Text) else marked
        marked = [Text(TOOL_ERROR + (first.text if isinstance(first, Text) else "")), *rest]
    match marked:
        case []:
            return ""
        case [Text(text)]:
            return text
    return [input_part(part) for part in marked]
