"""Neutral events as Anthropic's stream or message.

Rule: one block is open at a time, numbered without gaps; of parallel calls the first speaks and the others wait. A part
that says nothing makes no block. There is one ``message_delta`` and one ``message_stop``, and neither without an end.

Source: https://docs.anthropic.com/en/api/messages-streaming.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import msgspec

from copilot_asgi.translate.conversation import Conversation, Seal, SealOrigin
from copilot_asgi.translate.events import (
    Event,
    Finish,
    Finished,
    Kind,
    PartDelta,
    PartFinished,
    PartStarted,
    Reply,
    ReplyPart,
    Started,
    Usage,
)
from copilot_asgi.translate.messages_blocks import input_of
from copilot_asgi.translate.messages_cache import Block
from copilot_asgi.translate.messages_reading import is_object
from copilot_asgi.translate.schema import freeform_arguments
from copilot_asgi.translate.seals import wrap
from copilot_asgi.translate.tokens import estimate
from copilot_asgi.wire import sse
from copilot_asgi.wire.dialect import ResponseProgress

__all__ = ["MessagesEncoder", "render_reply"]

_STOP_REASONS: Mapping[Finish, str] = MappingProxyType(
    {
        Finish.STOP: "end_turn",
        Finish.TOOL_CALLS: "tool_use",
        Finish.LENGTH: "max_tokens",
        Finish.CONTEXT_FULL: "model_context_window_exceeded",
        Finish.STOP_WORD: "stop_sequence",
        Finish.FILTER: "refusal",
        Finish.PAUSED: "pause_turn",
    }
)
_CUT_SHORT = frozenset({Finish.LENGTH, Finish.CONTEXT_FULL})
_DELTAS: Mapping[Kind, tuple[str, str]] = MappingProxyType(
    {
        Kind.TEXT: ("text_delta", "text"),
        Kind.REFUSAL: ("text_delta", "text"),
        Kind.THINKING: ("thinking_delta", "thinking"),
        Kind.TOOL_CALL: ("input_json_delta", "partial_json"),
    }
)


class MessagesEncoder:
    """Write an answer event by event. ``prompt_tokens`` is what the client sees of its context until upstream counts."""

    ping: ClassVar[bytes] = sse.encode(b'{"type":"ping"}', event="ping")

    def __init__(
        self,
        conversation: Conversation,
        *,
        id: str,  # noqa: A002  # what every dialect calls it
        created: int,  # noqa: ARG002  # other dialects tell when the answer began
        prompt_tokens: int,
    ) -> None:
        self._model = conversation.model
        self._id = id
        self._prompt_tokens = prompt_tokens
        self._blocks = 0
        self._parts: dict[int, _Open] = {}  # the first speaks
        self._refused = False

    @property
    def progress(self) -> ResponseProgress | None:
        """An error event in this dialect need not fit to anything."""
        return None

    def encode(self, event: Event) -> bytes:
        """What the client is sent for an event; empty when it has to wait, or hears nothing of it."""
        match event:
            case Started():
                written = [self._start(event)]
            case PartStarted():
                written = self._open(event)
            case PartDelta():
                written = self._say(event)
            case PartFinished():
                written = self._close(event)
            case Finished():
                written = self._finish(event)
        return b"".join(_event(block) for block in written)

    def _start(self, started: Started) -> Block:
        usage = started.usage or Usage(input=self._prompt_tokens)
        message = _message(self._id, self._model, content=[], usage=_counts(usage))
        return {"type": "message_start", "message": message}

    def _open(self, started: PartStarted) -> list[Block]:
        self._refused |= started.kind is Kind.REFUSAL
        self._parts[started.index] = part = _Open(started)
        return self._begin(part) if part.kind is Kind.TOOL_CALL and self._speaks(started.index) else []

    def _say(self, delta: PartDelta) -> list[Block]:
        part = self._parts[delta.index]
        if not delta.text:
            return []
        if not self._speaks(delta.index):
            part.waiting.append(delta.text)
            return []
        return [*self._begin(part), self._delta(part, delta.text)]

    def _close(self, finished: PartFinished) -> list[Block]:
        self._parts[finished.index].finish(finished.seal)
        written: list[Block] = []
        while self._parts:
            index, part = next(iter(self._parts.items()))
            written += self._let_speak(part)
            if not part.finished:
                break
            written += self._end(part)
            del self._parts[index]
        return written

    def _let_speak(self, part: "_Open") -> list[Block]:
        """What a part that had to wait has to say; a call is announced at once."""
        text = "".join(part.waiting)
        part.waiting.clear()
        written = self._begin(part) if part.kind is Kind.TOOL_CALL else []
        return [*written, self._delta(part, text)] if text else written

    def _speaks(self, index: int) -> bool:
        return next(iter(self._parts)) == index

    def _begin(self, part: "_Open") -> list[Block]:
        if part.begun:
            return []
        part.begun = True
        return [{"type": "content_block_start", "index": self._blocks, "content_block": part.empty_block()}]

    def _delta(self, part: "_Open", text: str) -> Block:
        kind, field = _DELTAS[part.kind]
        part.said.append(text if part.kind is Kind.THINKING else "")
        return {"type": "content_block_delta", "index": self._blocks, "delta": {"type": kind, field: text}}

    def _end(self, part: "_Open") -> list[Block]:
        ...

    def _finish(self, finished: Finished) -> list[Block]:
        ...
