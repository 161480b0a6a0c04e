"""The blocks of an Anthropic answer as neutral events, whether they come one by one or all at once.

Rule: one block is open at a time and makes one part; a block that says nothing, or is a server tool's, makes none. How
the answer ended is told once, from all that was seen: a complete call is a call, whatever the reason given.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.translate.conversation import Seal, SealOrigin
from copilot_asgi.translate.events import (
    Annotation,
    Event,
    Finish,
    Finished,
    Kind,
    PartDelta,
    PartFinished,
    PartStarted,
    Started,
    Usage,
)
from copilot_asgi.translate.ids import ToolNames, tool_id
from copilot_asgi.translate.messages_reading import compact
from copilot_asgi.translate.messages_shapes import Block, Citation, Delta, Message, Stop, UsageCounts
from copilot_asgi.wire.shallow import is_null

__all__ = ["MessageReader"]

_FINISHES: Mapping[str, Finish] = MappingProxyType(
    {
        "end_turn": Finish.STOP,
        "max_tokens": Finish.LENGTH,
        "model_context_window_exceeded": Finish.CONTEXT_FULL,
        "pause_turn": Finish.PAUSED,
        "refusal": Finish.FILTER,
        "stop_sequence": Finish.STOP_WORD,
        "tool_use": Finish.STOP,
    }
)
_MAY_BE_CALLS = frozenset({Finish.STOP, Finish.STOP_WORD, Finish.PAUSED})
_KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "text": Kind.TEXT,
        "thinking": Kind.THINKING,
        "redacted_thinking": Kind.THINKING,
        "tool_use": Kind.TOOL_CALL,
    }
)
# The one type of delta that says more of a part of each kind, and its text.
_DELTAS: Mapping[Kind, tuple[str, str]] = MappingProxyType(
    {
        Kind.TEXT: ("text_delta", "text"),
        Kind.THINKING: ("thinking_delta", "thinking"),
        Kind.TOOL_CALL: ("input_json_delta", "partial_json"),
    }
)
_WEB_CITATIONS = frozenset({"web_search_result_location", "search_result_location"})


class MessageReader:
    """What has been read of one answer. ``stopped``: upstream said why it ends."""

    def __init__(self, *, names: ToolNames) -> None:
        self._names = names
        self._counts: UsageCounts | None = None
        self._stop = Stop()
        self._id = ""
        self._finished = 0
        self._called = False
        self._part: _Part | None = None

    @property
    def stopped(self) -> bool:
        """Whether upstream said why the answer ends."""
        return self._stop.stop_reason is not None

    def start(self, message: Message) -> Iterator[Event]:
        """The answer begins."""
        self._id = message.id or ""
        self._count(message.usage)
        yield Started(self._id, message.model or "", _usage(self._counts))

    def start_block(self, block: Block) -> Iterator[Event]:
        """A block begins; one that was not ended before does so now."""
        yield from self.end_block()
        kind = _KINDS.get(block.type)
        if kind is None:
            return
        is_call = kind is Kind.TOOL_CALL
        # A call's result cannot come back to an empty id, so one is made from where the call stands.
        id = block.id or (tool_id(f"call_{self._id}_{self._finished}") if is_call else "")
        part = _Part(self._finished, kind, block, id=id, name=self._names.to_client(block.name or ""))
        self._part = part
        self._called |= is_call
        yield from part.begin()

    def add(self, delta: Delta) -> Iterable[Event]:
        """More of the open block; what is not for its kind is passed over."""
        return () if self._part is None else self._part.add(delta)

    def end_block(self) -> Iterator[Event]:
        """The open block is complete."""
        part, self._part = self._part, None
        if part is not None:
            yield from part.end()
            self._finished += part.opened

    def stop(self, stop: Stop, usage: UsageCounts | None) -> None:
        """Why the answer ends, and the last word on its tokens."""
        if stop.stop_reason is not None:
            self._stop = stop
        self._count(usage)

    def end(self) -> Iterator[Event]:
        """The answer is complete."""
        yield from self.end_block()
        stop = self._stop
        reason = _FINISHES.get(stop.stop_reason or "", Finish.STOP)
        if self._called and reason in _MAY_BE_CALLS:
            reason = Finish.TOOL_CALLS
        explanation = stop.stop_details.explanation if stop.stop_details else None
        details = {Finish.STOP_WORD: stop.stop_sequence, Finish.FILTER: explanation}
        yield Finished(reason, _usage(self._counts), details.get(reason) or "")

    def _count(self, usage: UsageCounts | None) -> None:
        """Later numbers replace earlier ones; what is not said again stays."""
        if usage is None:
            return
        told = {name: value for name, value in msgspec.structs.asdict(usage).items() if value is not None}
        self._counts = msgspec.structs.replace(self._counts or UsageCounts(), **told)


class _Part:
    """One block on its way to be a part; it opens with the first thing that it says."""

    def __init__(self, index: int, kind: Kind, block: Block, *, id: str, name: str) -> None:
        self.opened = False
        self._index = index
        self._kind = kind
        self._block = block
        self._id = id
        self._name = name
        self._filled = False
        self._signature = block.signature
        self._delta_type, self._field = _DELTAS[kind]

    def begin(self) -> Iterator[Event]:
        """What the start of the block says already."""
        block = self._block
        if self._kind is Kind.TOOL_CALL:
            yield from self._open()
        yield from self._say(block.text if self._kind is Kind.TEXT else block.thinking)
        for citation in block.citations or ():
            yield from self._cite(citation)

    def add(self, delta: Delta) -> Iterable[Event]:
        """What a delta says."""
        if delta.type == self._delta_type:
            text: str | None = getattr(delta, self._field)
            if not text or not self.opened:
                return self._say(text)
            self._filled = True
            return (PartDelta(self._index, text),)  # nearly every event; two generators would take five times as long
        if delta.type == "signature_delta":
            self._signature = delta.signature
        if delta.type == "citations_delta" and delta.citation is not None:
            return self._cite(delta.citation)
        return ()

    def end(self) -> Iterator[Event]:
        """The seal of thinking, and the arguments of a call that were there from the start."""
        if self._kind is Kind.TOOL_CALL and not self._filled:
            yield from self._say("{}" if is_null(self._block.input) else compact(self._block.input))
        seal = self._seal()
        if seal is not None:
            yield from self._open()
        if self.opened:
            yield PartFinished(self._index, seal)

    def _open(self) -> Iterator[Event]:
        if not self.opened:
            self.opened = True
            yield PartStarted(self._index, self._kind, self._id, self._name)

    def _say(self, text: str | None) -> Iterator[Event]:
        if text:
            self._filled = True
            yield from self._open()
            yield PartDelta(self._index, text)

    def _cite(self, citation: Citation) -> Iterator[Event]:
        """A source on the web; the others point into documents that only the request knows."""
        url = citation.url or citation.source
        if self._kind is Kind.TEXT and citation.type in _WEB_CITATIONS and url:
            yield from self._open()
            yield PartDelta(self._index, annotation=Annotation(url, citation.title or ""))

    def _seal(self) -> Seal | None:
        if self._block.type == "redacted_thinking":
            return Seal(SealOrigin.REDACTED, self._block.data or "")
        if self._kind is Kind.THINKING and self._signature:
            return Seal(SealOrigin.SIGNATURE, self._signature)
        return None


def _usage(counts: UsageCounts | None) -> Usage | None:
    """The whole prompt is what no cache knew, what one knew, and what one learned."""
    if counts is None:
        return None
    read, written = counts.cache_read_input_tokens or 0, counts.cache_creation_input_tokens or 0
    details = counts.output_tokens_details
    return Usage(
        input=(counts.input_tokens or 0) + read + written,
        cache_read=read,
        cache_write=written,
        output=counts.output_tokens or 0,
        reasoning=(details and details.thinking_tokens) or 0,
    )
