"""What is looked at in the answers of a Responses endpoint, typed.

Rule: what is not named here is never decoded; what upstream leaves out or sets to null is ``None``.
"""

import msgspec

from copilot_asgi.translate.events import Annotation, Usage
from copilot_asgi.wire.shallow import NULL

__all__ = ["AnswerEvent", "AnswerItem", "AnswerPart", "AnswerResponse", "AnswerUsage", "Citation"]


class Citation(msgspec.Struct, gc=False):
    """A source; only those on the web mean something to other dialects."""

    type: str | None = None
    url: str | None = None
    title: str | None = None

    @property
    def annotation(self) -> Annotation | None:
        """The source in no dialect's words."""
        return Annotation(self.url, self.title or "") if self.type == "url_citation" and self.url else None


class AnswerPart(msgspec.Struct, gc=False):
    """A part of a message or a summary."""

    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    annotations: list[Citation] | None = None


class AnswerItem(msgspec.Struct, gc=False):
    """An output item, begun or done."""

    type: str | None = None
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    input: str | None = None
    phase: str | None = None
    encrypted_content: str | None = None
    content: list[AnswerPart] | None = None
    summary: list[AnswerPart] | None = None


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class AnswerUsage(msgspec.Struct):
    """Tokens as OpenAI counts them: cached ones within the input, reasoning within the output."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None

    @property
    def neutral(self) -> Usage:
        """The same in no dialect's words; reasoning that the sum shows to stand beside the output is added to it."""
        given, made = self.input_tokens_details or _InputDetails(), self.output_tokens_details or _OutputDetails()
        read, written = max(given.cached_tokens or 0, 0), max(given.cache_write_tokens or 0, 0)
        reasoning, output = max(made.reasoning_tokens or 0, 0), max(self.output_tokens or 0, 0)
        prompt = max(self.input_tokens or 0, 0)
        beside = reasoning and self.total_tokens == prompt + output + reasoning
        return Usage(
            input=max(prompt, read + written),
            cache_read=read,
            cache_write=written,
            output=output + (reasoning if beside else 0),
            reasoning=reasoning,
        )


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class AnswerResponse(msgspec.Struct, gc=False):
    """The response object; what ``error`` says is left to those who read errors."""

    id: str | None = None
    model: str | None = None
    status: str | None = None
    output: list[AnswerItem] | None = None
    usage: AnswerUsage | None = None
    incomplete_details: _Incomplete | None = None
    error: msgspec.Raw = NULL


class AnswerEvent(msgspec.Struct, gc=False):
    """An event of a stream; which fields it has depends on its type."""

    type: str = ""
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    delta: str | None = None
    text: str | None = None
    refusal: str | None = None
    arguments: str | None = None
    input: str | None = None
    part: AnswerPart | None = None
    item: AnswerItem | None = None
    annotation: Citation | None = None
    response: AnswerResponse | None = None
