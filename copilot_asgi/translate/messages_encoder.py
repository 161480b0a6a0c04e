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
from copilot_asgi.translate.seals import wrap
from copilot_asgi.translate.text_frame import TextFrame
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
_NO_ARGUMENTS = "null"
_DELTAS: Mapping[Kind, tuple[str, str]] = MappingProxyType(
    {
        Kind.TEXT: ("text_delta", "text"),
        Kind.REFUSAL: ("text_delta", "text"),
        Kind.THINKING: ("thinking_delta", "thinking"),
        Kind.TOOL_CALL: ("input_json_delta", "partial_json"),
    }
)


class MessagesEncoder:
    """Write an answer event by event. ``prompt_tokens`` is the client's view of its context until upstream counts."""

    ping: ClassVar[bytes] = sse.encode(b'{"type":"ping"}', event="ping")

    def __init__(
        self,
        conversation: Conversation,
        *,
        id: str,  # what every dialect calls it
        created: int,  # noqa: ARG002  # other dialects tell when the answer began
        prompt_tokens: int,
    ) -> None:
        self._model = conversation.model
        self._id = id
        self._blocks = 0
        self._parts: dict[int, _Part] = {}  # the first speaks
        self._refused = False
        self._usage = Usage(input=prompt_tokens)

    @property
    def progress(self) -> ResponseProgress | None:
        """An error event in this dialect need not fit to anything."""
        return None

    def encode(self, event: Event) -> bytes:
        """What the client is sent for an event; empty when it has to wait, or hears nothing of it."""
        if isinstance(event, PartDelta):
            return self._say(event)
        match event:
            case Started():
                written = [self._start(event)]
            case PartStarted():
                written = self._open(event)
            case PartFinished():
                written = self._close(event)
            case _:
                written = self._finish(event)
        return _framed(written)

    def _start(self, started: Started) -> Block:
        # Claude Code takes the size of its context from here: nothing is worse than a guess.
        if started.usage is not None and started.usage.input:
            self._usage = started.usage
        message = _message(self._id, self._model) | {"usage": _counts(self._usage)}
        return {"type": "message_start", "message": message}

    def _open(self, started: PartStarted) -> list[Block]:
        self._refused |= started.kind is Kind.REFUSAL
        self._parts[started.index] = part = _Part(started)
        is_announced = part.kind is Kind.TOOL_CALL and self._speaks(started.index)
        return self._begin(part, part.empty_block()) if is_announced else []

    def _say(self, delta: PartDelta) -> bytes:
        part = self._parts[delta.index]
        if part.frame is not None:
            return part.frame.around(delta.text) if delta.text else b""
        part.waiting.append(delta.text)
        return _framed(self._let_speak(part)) if self._speaks(delta.index) else b""

    def _close(self, finished: PartFinished) -> list[Block]:
        closing = self._parts[finished.index]
        closing.seal, closing.finished = finished.seal, True
        written: list[Block] = []
        while self._parts:
            index, part = next(iter(self._parts.items()))
            if part.kind is Kind.TOOL_CALL:
                written += self._begin(part, part.empty_block())
            written += self._let_speak(part)
            if not part.finished:
                break
            written += self._end(part)
            del self._parts[index]
        return written

    def _finish(self, finished: Finished) -> list[Block]:
        delta = _ending(finished.reason, finished.detail, refused=self._refused)
        usage = _counts(finished.usage or self._usage)
        return [{"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]

    def _speaks(self, index: int) -> bool:
        return next(iter(self._parts)) == index

    def _let_speak(self, part: "_Part") -> list[Block]:
        text = part.take()
        if not text:
            return []
        kind, field = _DELTAS[part.kind]
        begun = self._begin(part, part.empty_block())
        part.frame = TextFrame(_framed([self._delta({"type": kind, field: ""})]))
        return [*begun, self._delta({"type": kind, field: text})]

    def _end(self, part: "_Part") -> list[Block]:
        written = [] if part.seal is None else self._sealed(part, part.seal)
        if part.begun:
            written.append({"type": "content_block_stop", "index": self._blocks})
            self._blocks += 1
        return written

    def _sealed(self, part: "_Part", seal: Seal) -> list[Block]:
        """A signature ends the thinking that it signs; where nothing was thought aloud, the seal is all there is."""
        if not part.begun and seal.origin is not SealOrigin.SIGNATURE:
            return self._begin(part, _redacted(seal))
        signature = self._delta({"type": "signature_delta", "signature": _carried(seal, SealOrigin.SIGNATURE)})
        return [*self._begin(part, part.empty_block()), signature]

    def _begin(self, part: "_Part", block: Block) -> list[Block]:
        if part.begun:
            return []
        part.begun = True
        return [{"type": "content_block_start", "index": self._blocks, "content_block": block}]

    def _delta(self, delta: Block) -> Block:
        return {"type": "content_block_delta", "index": self._blocks, "delta": delta}


class _Part:
    """A part that is not complete; ``waiting`` is what it said while another one spoke.

    ``frame`` is there once the part has spoken: from then on it is told as it comes.
    """

    def __init__(self, started: PartStarted) -> None:
        self.kind = started.kind
        self.waiting: list[str] = []
        self.frame: TextFrame | None = None
        self.begun = False
        self.finished = False
        self.seal: Seal | None = None
        self._started = started
        self._told = False

    def take(self) -> str:
        """What can be told now, once.

        Arguments begin with what counts: a library that puts the answer together parses them at every event and stops
        at leading blanks. ``null`` is never told, for a call without arguments has an empty object.
        """
        text = "".join(self.waiting)
        if self.kind is Kind.TOOL_CALL and not self._told:
            text = text.lstrip()
            if _NO_ARGUMENTS.startswith(text.rstrip()):
                self.waiting = [text]
                return ""
        self._told = True
        self.waiting = []
        return text

    def empty_block(self) -> Block:
        """The block as it is before anything is in it."""
        match self.kind:
            case Kind.TEXT | Kind.REFUSAL:
                return {"type": "text", "text": ""}
            case Kind.THINKING:
                return {"type": "thinking", "thinking": "", "signature": ""}
            case _:
                return {"type": "tool_use", "id": self._started.id, "name": self._started.name, "input": {}}


def _framed(written: list[Block]) -> bytes:
    return b"".join([sse.encode(msgspec.json.encode(each), event=str(each["type"])) for each in written])


def render_reply(reply: Reply, conversation: Conversation, *, id: str, created: int) -> bytes:  # noqa: ARG001
    """A whole answer as a message: what a client would put together from the stream of it."""
    usage = reply.usage or Usage(input=estimate(conversation, model_id=conversation.model))
    refused = any(part.kind is Kind.REFUSAL for part in reply.parts)
    content = [block for part in reply.parts for block in _blocks(part, cut_short=reply.finish in _CUT_SHORT)]
    message = _message(id, conversation.model)
    message |= {"content": content, **_ending(reply.finish, reply.detail, refused=refused), "usage": _counts(usage)}
    return msgspec.json.encode(message)


def _blocks(part: ReplyPart, *, cut_short: bool) -> list[Block]:
    """The block of a part; none when it says nothing, or is a call that was cut off in its arguments."""
    if part.kind is Kind.TOOL_CALL:
        if cut_short and part.text and not is_object(part.text):
            return []
        return [{"type": "tool_use", "id": part.id, "name": part.name, "input": input_of(part.text)}]
    if part.kind is not Kind.THINKING:
        return [{"type": "text", "text": part.text}] if part.text else []
    if part.seal is not None and not part.text and part.seal.origin is not SealOrigin.SIGNATURE:
        return [_redacted(part.seal)]
    signature = "" if part.seal is None else _carried(part.seal, SealOrigin.SIGNATURE)
    return [{"type": "thinking", "thinking": part.text, "signature": signature}] if part.text or signature else []


def _redacted(seal: Seal) -> Block:
    return {"type": "redacted_thinking", "data": _carried(seal, SealOrigin.REDACTED)}


def _carried(seal: Seal, native: SealOrigin) -> str:
    """What Anthropic made is handed on as it is, what another vendor made in an envelope."""
    return seal.data if seal.origin is native else wrap(seal)


def _message(id: str, model: str) -> Block:
    """A message without content and end."""
    return {
        "id": f"msg_{id}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _ending(reason: Finish, detail: str, *, refused: bool) -> Block:
    """The reason, the word that stopped the model, and why it refused, where there is one."""
    if refused and reason is Finish.STOP:
        reason = Finish.FILTER
    ending: Block = {
        "stop_reason": _STOP_REASONS[reason],
        "stop_sequence": detail or None if reason is Finish.STOP_WORD else None,
    }
    if reason is Finish.FILTER and detail:
        ending["stop_details"] = {"type": "refusal", "category": None, "explanation": detail}
    return ending


def _counts(usage: Usage) -> Block:
    """Anthropic counts what a cache read or wrote beside the input, not within it."""
    counts: Block = {
        "input_tokens": max(usage.input - usage.cache_read - usage.cache_write, 0),
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
    }
    if usage.reasoning > 0:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return counts
