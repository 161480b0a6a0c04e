"""Anthropic's messages and events, as far as anybody reads them.

Rule: what an answer does not say is ``None``; keys that are not here are passed over.

Source: https://docs.anthropic.com/en/api/messages-streaming.
"""

import msgspec

from copilot_asgi.translate.messages_reading import EMPTY_OBJECT, Count

__all__ = ["Block", "Citation", "Delta", "Message", "Stop", "StreamEvent", "UsageCounts", "WholeMessage"]


class _OutputDetails(msgspec.Struct):
    thinking_tokens: Count | None = None


class UsageCounts(msgspec.Struct):
    """Tokens; ``input_tokens`` are those that no cache had anything to do with."""

    input_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    output_tokens: Count | None = None
    output_tokens_details: _OutputDetails | None = None


class Citation(msgspec.Struct, gc=False):
    """What a text refers to: a page of the web has a ``url``, a search result a ``source``."""

    type: str | None = None
    url: str | None = None
    source: str | None = None
    title: str | None = None


class Block(msgspec.Struct, gc=False):
    """A content block, or how one begins."""

    type: str
    text: str | None = None
    citations: list[Citation] | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = EMPTY_OBJECT


class _StopDetails(msgspec.Struct):
    explanation: str | None = None


class Stop(msgspec.Struct, gc=False):
    """Why an answer ends."""

    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: _StopDetails | None = None


class Delta(Stop):
    """More of a content block, or why the answer ends."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    citation: Citation | None = None


class Message(Stop):
    """How an answer begins."""

    id: str | None = None
    model: str | None = None
    usage: UsageCounts | None = None


class WholeMessage(Message, kw_only=True):
    """A whole answer."""

    content: list[Block]


class StreamEvent(msgspec.Struct, gc=False):
    """Any event of a stream; which keys it has depends on its type."""

    type: str | None = None
    index: int | None = None
    message: Message | None = None
    content_block: Block | None = None
    delta: Delta | None = None
    usage: UsageCounts | None = None
