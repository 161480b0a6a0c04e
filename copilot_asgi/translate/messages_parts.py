"""The content blocks of a Messages request as neutral parts.

Rule: a table says which block is read how, and who may say it. What a server tool did becomes a note, never a call:
nobody would answer it. A block that is not in the table would be lost history, so it is refused.

Source: https://docs.anthropic.com/en/api/messages.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.translate.conversation import (
    Document,
    Image,
    Part,
    Role,
    Seal,
    SealOrigin,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from copilot_asgi.translate.messages_reading import EMPTY_OBJECT, Cache, Place, compact
from copilot_asgi.translate.seals import unwrap
from copilot_asgi.wire.shallow import NULL, is_null

__all__ = ["read_content", "read_texts"]

_PDF = "application/pdf"
_SUMMARISED = ("title", "url")  # what a note tells of a server tool's result


class _Kind(msgspec.Struct):
    type: str


class _Text(msgspec.Struct):
    text: str
    cache_control: Cache | None = None
    citations: msgspec.Raw = NULL


class _Source(msgspec.Struct):
    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    content: str | list[msgspec.Raw] | None = None


class _Image(msgspec.Struct):
    source: _Source
    cache_control: Cache | None = None
    transformations: msgspec.Raw = NULL


class _Document(msgspec.Struct):
    source: _Source
    title: str | None = None
    context: str | None = None
    cache_control: Cache | None = None
    citations: msgspec.Raw = NULL


class _SearchResult(msgspec.Struct):
    content: list[_Text]
    source: str = ""
    title: str = ""
    cache_control: Cache | None = None
    citations: msgspec.Raw = NULL


class _ToolResult(msgspec.Struct):
    tool_use_id: str | None = None
    content: str | list[msgspec.Raw] | None = None
    is_error: bool | None = None
    cache_control: Cache | None = None


class _Cached(msgspec.Struct):
    cache_control: Cache | None = None


class _ToolReference(msgspec.Struct):
    tool_name: str


class _Thinking(msgspec.Struct):
    thinking: str | None = None
    signature: str | None = None


class _Redacted(msgspec.Struct):
    data: str


class _ToolUse(msgspec.Struct):
    name: str
    id: str | None = None
    input: msgspec.Raw = EMPTY_OBJECT
    cache_control: Cache | None = None


class _ServerResult(msgspec.Struct):
    content: object = None


class _Compaction(msgspec.Struct):
    content: str | None = None


_kind = msgspec.json.Decoder(_Kind)
_text = msgspec.json.Decoder(_Text)
_content = msgspec.json.Decoder(str | list[msgspec.Raw])
_image = msgspec.json.Decoder(_Image)
_document = msgspec.json.Decoder(_Document)
_search_result = msgspec.json.Decoder(_SearchResult)
_tool_result = msgspec.json.Decoder(_ToolResult)
_cached = msgspec.json.Decoder(_Cached)
_tool_reference = msgspec.json.Decoder(_ToolReference)
_thinking = msgspec.json.Decoder(_Thinking)
_redacted = msgspec.json.Decoder(_Redacted)
_tool_use = msgspec.json.Decoder(_ToolUse)
_server_result = msgspec.json.Decoder(_ServerResult)
_compaction = msgspec.json.Decoder(_Compaction)

_Reader = Callable[[msgspec.Raw, Place], Iterator[Part]]


def read_texts(raw: msgspec.Raw, place: Place) -> tuple[Text, ...]:
    """Content that may only be text: a string, or text blocks."""
    content = place.read(_content, raw)
    if isinstance(content, str):
        return (Text(content),)
    return tuple(_one_text(block, place.at(number)) for number, block in enumerate(content))


def read_content(role: Role, raw: msgspec.Raw, place: Place) -> Iterator[tuple[Role, Part]]:
    """Each part of a user's or assistant's content, and who says it: what a compaction left over, the system does."""
    content = place.read(_content, raw)
    if isinstance(content, str):
        yield role, Text(content)
        return
    for number, block in enumerate(content):
        kind, read = _reader(block, place.at(number), _READERS[role])
        speaker = Role.SYSTEM if kind == "compaction" else role
        yield from ((speaker, part) for part in read(block, place.at(number)))


def _reader(raw: msgspec.Raw, place: Place, readers: Mapping[str, _Reader]) -> tuple[str, _Reader]:
    kind = place.read(_kind, raw).type
    read = readers.get(kind) or (_server_tool_result if kind.endswith("_tool_result") else None)
    if read is None:
        raise place.refusal(f"Blocks of type '{kind[:64]}' cannot be carried over to this model's API.")
    return kind, read


def _one_text(raw: msgspec.Raw, place: Place) -> Text:
    block = place.read(_text, raw)
    _note_citations(block.citations, place)
    return Text(block.text, block.cache_control is not None)


def _read_text(raw: msgspec.Raw, place: Place) -> Iterator[Part]:
    yield _one_text(raw, place)


def _read_image(raw: msgspec.Raw, place: Place) -> Iterator[Part]:
    block = place.read(_image, raw)
    if not is_null(block.transformations):
        place.lose("messages.content.transformations", matters=False)
    source, cached = block.source, block.cache_control is not None
    match source.type:
        case "base64":
            yield Image(media_type=source.media_type or "", data=source.data or "", cached=cached)
        case "url":
            yield Image(url=source.url or "", cached=cached)
        case _:
            raise _foreign_source(place)


def _read_document(raw: msgspec.Raw, place: Place) -> Iterator[Part]:
    block = place.read(_document, raw)
    _note_citations(block.citations, place)
    source, cached = block.source, block.cache_control is not None
    name = block.title or ""
    match source.type:
        case "base64":
            yield Document(source.media_type or _PDF, data=source.data or "", name=name, cached=cached)
        case "url":
            yield Document(url=source.url or "", name=name, cached=cached)
        case "text":
            yield Text("\n".join(filter(None, (block.title, block.context, source.data))), cached)
        case "content":
            yield from _flattened(block, place)
        case _:
            raise _foreign_source(place)


def _flattened(block: _Document, place: Place) -> Iterator[Part]:
    """A document of blocks: its head line, then its blocks."""
    head = "\n".join(filter(None, (block.title, block.context)))
    parts = [Text(head)] if head else []
    yield from (*parts, *_inner(block.source.content, place.at("source.content")))


def _read_search_result(raw: msgspec.Raw, place: Place) -> Iterator[Part]:
    block = place.read(_search_result, raw)
    _note_citations(block.citations, place)
    lines = (block.title, block.source, *(part.text for part in block.content))
    yield Text("\n".join(filter(None, lines)), block.cache_control is not None)


def _read_tool_result(raw: msgspec.Raw, place: Place) -> Iterator[Part]:
    block = place.read(_tool_result, raw)
    content = block.content
    cached = block.cache_control is not None or (
        isinstance(content, list) and any(place.read(_cached, part).cache_control is not None for part in content)
    )
    # A breakpoint inside a result is the result's: there is no other place for it.
    parts = tuple(
        msgspec.structs.replace(part, cached=False)
        for part in _inner(content, place.at("content"))
        if isinstance(part, Text | Image | Document)
    )
    yield ToolResult(block.tool_use_id or "", parts, bool(block.is_error), cached)


def _inner(content: str | list[msgspec.Raw] | None, place: Place) -> Iterator[Part]:
    """What a tool result or a document consists of."""
    if isinstance(content, str):
        content, text = None, content
        yield from [Text(text)] if text else []
    for number, raw in enumerate(content or ()):
        _, read = _reader(raw, place.at(number), _INNER)
        yield from read(raw, place.at(number))


def _read_tool_reference(raw: msgspec.Raw, place: Place) -> Iterator[Part]:
    yield Text(place.read(_tool_reference, raw).tool_name)


def _lose_browser_state(_raw: msgspec.Raw, place: Place) -> Iterator[Part]:
    place.lose("messages.content.browser_state", matters=True)
    yield from ()


def _read_thinking(raw: msgspec.Raw, place: Place) -> Iterator[Part]:
    block = place.read(_thinking, raw)
    text, signature = block.thinking or "", block.signature or ""
    yield Thinking(text, _seal(SealOrigin.SIGNATURE, signature) if signature else None)


def _read_redacted(raw: msgspec.Raw, place: Place) -> Iterator[Part]:
    yield Thinking(seal=_seal(SealOrigin.REDACTED, place.read(_redacted, raw).data))


def _seal(native: SealOrigin, data: str) -> Seal:
    """What another kind of upstream sealed is in our envelope; everything else is Anthropic's own."""
    letter = unwrap(data)
    return letter[0] if letter else Seal(native, data)


def _read_tool_use(raw: msgspec.Raw, place: Place) -> Iterator[Part]:
    block = place.read(_tool_use, raw)
    arguments = "{}" if is_null(block.input) else compact(place.text(block.input))
    yield ToolCall(block.id or "", block.name, arguments, cached=block.cache_control is not None)


def _read_server_tool_use(raw: msgspec.Raw, place: Place) -> Iterator[Part]:
    place.lose("messages.content.server_tool_use", matters=True)
    block = place.read(_tool_use, raw)
    yield Text(f"[{block.name} was called with {compact(place.text(block.input))}]")


def _server_tool_result(raw: msgspec.Raw, place: Place) -> Iterator[Part]:
    place.lose("messages.content.server_tool_result", matters=True)
    found = list(_titles(place.read(_server_result, raw).content))
    yield Text("[Its result: " + ("; ".join(found) or "not kept") + "]")


def _titles(value: object) -> Iterator[str]:
    for item in value if isinstance(value, list) else ():
        if isinstance(item, dict):
            told = [item[key] for key in _SUMMARISED if isinstance(item.get(key), str)]
            yield from [" ".join(told)] if told else []


def _read_compaction(raw: msgspec.Raw, place: Place) -> Iterator[Part]:
    yield Text(place.read(_compaction, raw).content or "")


def _leave_out(_raw: msgspec.Raw, place: Place) -> Iterator[Part]:
    place.lose("messages.content", matters=False)
    yield from ()


def _note_citations(citations: msgspec.Raw, place: Place) -> None:
    if not is_null(citations):
        place.lose("messages.content.citations", matters=False)


def _foreign_source(place: Place) -> Exception:
    return place.at("source").refusal("Files kept by Anthropic are not available here. Send the data itself.")


_MEDIA: Mapping[str, _Reader] = MappingProxyType(
    {
        "text": _read_text,
        "image": _read_image,
        "document": _read_document,
        "search_result": _read_search_result,
    }
)
_INNER: Mapping[str, _Reader] = MappingProxyType(
    {**_MEDIA, "tool_reference": _read_tool_reference, "browser_state": _lose_browser_state}
)
_READERS: Mapping[Role, Mapping[str, _Reader]] = MappingProxyType(
    {
        Role.USER: MappingProxyType({**_MEDIA, "tool_result": _read_tool_result}),
        Role.ASSISTANT: MappingProxyType(
            {
                **_MEDIA,
                "thinking": _read_thinking,
                "redacted_thinking": _read_redacted,
                "tool_use": _read_tool_use,
                "server_tool_use": _read_server_tool_use,
                "mcp_tool_use": _read_server_tool_use,
                "mcp_tool_listing": _leave_out,
                "compaction": _read_compaction,
                "fallback": _leave_out,
            }
        ),
    }
)
