"""Neutral parts as content blocks of Anthropic's.

Rule: a block that upstream would refuse is never written: no empty text, no foreign signature, no id or name out of
its alphabet, no tool input that is not an object.
"""

from collections.abc import Iterator

import msgspec

from copilot_asgi.errors import TranslationError
from copilot_asgi.translate.conversation import (
    TOOL_ERROR,
    Document,
    Image,
    Part,
    Refusal,
    SealOrigin,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from copilot_asgi.translate.ids import ToolNames, tool_id
from copilot_asgi.translate.media import image_type
from copilot_asgi.translate.messages_cache import Block, mark
from copilot_asgi.translate.messages_reading import is_object
from copilot_asgi.translate.schema import freeform_arguments

__all__ = ["block_of", "input_of", "is_sayable"]

"""How the dialects without a flag for it say that a tool failed; the result's text begins with it."""

_PDF = "application/pdf"
_OURS = frozenset({SealOrigin.SIGNATURE, SealOrigin.REDACTED})


def is_sayable(part: Part) -> bool:
    """Whether upstream takes the part at all: texts that are not blank, and thinking that Anthropic sealed."""
    match part:
        case Text(text) | Refusal(text):
            return bool(text.strip())
        case Thinking(seal=seal):
            return seal is not None and seal.origin in _OURS
    return True


def block_of(part: Part, names: ToolNames) -> Iterator[Block]:
    """The block of a part, or none when there is nothing to say.

    Raises ``TranslationError`` for what no block can hold, ``BadRequest`` for an image of a type that upstream refuses.
    """
    if not is_sayable(part):
        return
    block = _block(part, names)
    if getattr(part, "cached", False):
        mark(block)
    yield block


def input_of(arguments: str) -> msgspec.Raw:
    """The arguments of a call as an object: what is another value, or no JSON, is wrapped, for its result must stay.

    ``null`` is no value here: models write it for a call without arguments.
    """
    if arguments.strip() in {"", "null"}:
        return msgspec.Raw(b"{}")
    if is_object(arguments):
        return msgspec.Raw(arguments.encode())
    try:
        wrapped: Block = {"value": msgspec.json.decode(arguments)}
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        wrapped = {"raw": arguments.encode("utf-8", "replace").decode()}
    return msgspec.Raw(msgspec.json.encode(wrapped))


def _block(part: Part, names: ToolNames) -> Block:
    match part:
        case Text(text) | Refusal(text):
            block: Block = {"type": "text", "text": text}
        case Image():
            block = {"type": "image", "source": _image_source(part)}
        case Document():
            block = _document(part)
        case Thinking():
            block = _thinking(part)
        case ToolCall():
            arguments = freeform_arguments(part.arguments) if part.freeform else part.arguments
            name = names.to_upstream(part.name)
            block = {"type": "tool_use", "id": tool_id(part.id), "name": name, "input": input_of(arguments)}
        case ToolResult():
            block = _tool_result(part, names)
        case _:
            raise TranslationError("Claude models do not listen to recordings.", param="messages")
    return block


def _thinking(part: Thinking) -> Block:
    assert part.seal is not None
    if part.seal.origin is SealOrigin.REDACTED:
        return {"type": "redacted_thinking", "data": part.seal.data}
    return {"type": "thinking", "thinking": part.text, "signature": part.seal.data}


def _image_source(image: Image) -> Block:
    if image.url:
        return {"type": "url", "url": image.url}
    return {"type": "base64", "media_type": image_type(image.media_type, image.data), "data": image.data}


def _document(document: Document) -> Block:
    block: Block = {"type": "document", "source": _document_source(document)}
    if document.name:
        block["title"] = document.name
    return block


def _document_source(document: Document) -> Block:
    if document.url:
        return {"type": "url", "url": document.url}
    if document.media_type != _PDF:
        raise TranslationError("Claude models read PDF files and plain text only.", param="messages")
    return {"type": "base64", "media_type": _PDF, "data": document.data}


def _tool_result(result: ToolResult, names: ToolNames) -> Block:
    parts, is_error = result.parts, result.is_error
    if parts and isinstance(parts[0], Text) and parts[0].text.startswith(TOOL_ERROR):
        parts = (Text(parts[0].text.removeprefix(TOOL_ERROR)), *parts[1:])
        is_error = True
    # A mark inside a result is refused; the result's own mark says the same.
    plain = (msgspec.structs.replace(part, cached=False) for part in parts)
    content = [block for part in plain for block in block_of(part, names)]
    block: Block = {"type": "tool_result", "tool_use_id": tool_id(result.call_id)}
    if content:
        block["content"] = content
    if is_error:
        block["is_error"] = True
    return block
