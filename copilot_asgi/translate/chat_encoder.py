"""Events as what a chat client reads: a stream of chunks, or one whole completion.

Rule: ids and names of calls are sent once, for client libraries join whatever comes twice; so is the seal of the
thinking. Nothing follows the usage but the end.

Source: OpenAI API reference, "The chat completion chunk object"; ``reasoning_text`` and ``reasoning_opaque`` are
Copilot's keys.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.translate.conversation import Conversation, Seal, SealOrigin
from copilot_asgi.translate.events import (
    Annotation,
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
from copilot_asgi.translate.schema import freeform_input
from copilot_asgi.translate.seals import wrap
from copilot_asgi.translate.text_frame import TextFrame
from copilot_asgi.wire.dialect import ResponseProgress
from copilot_asgi.wire.sse import encode
from copilot_asgi.wire.stream import DONE

__all__ = ["ChatEncoder", "render_reply"]

_Object = dict[str, object]

_BETWEEN_THOUGHTS = "\n\n"
_TEXT_KEYS: Mapping[Kind, str] = MappingProxyType(
    {Kind.TEXT: "content", Kind.REFUSAL: "refusal", Kind.THINKING: "reasoning_text"}
)
_REASONS: Mapping[Finish, str] = MappingProxyType(
    {
        Finish.STOP: "stop",
        Finish.TOOL_CALLS: "tool_calls",
        Finish.LENGTH: "length",
        Finish.CONTEXT_FULL: "length",
        Finish.STOP_WORD: "stop",
        Finish.FILTER: "content_filter",
        Finish.PAUSED: "stop",
    }
)


class _Open:
    """A part that the client is being told. ``text`` is kept where it is wanted again at the end of the part.

    ``frame`` is there once the part has spoken: what it says then is told as it comes.
    """

    __slots__ = ("call", "frame", "freeform", "held", "is_kept", "is_text", "kind", "start", "text")

    def __init__(self, event: PartStarted, *, call: int, start: int, freeform: bool) -> None:
        self.kind = event.kind
        self.call = call
        self.start = start
        self.freeform = freeform
        self.held = freeform and not event.freeform
        self.is_text = event.kind is Kind.TEXT
        self.is_kept = self.held or event.kind is Kind.THINKING
        self.frame: TextFrame | None = None
        self.text: list[str] = []


class ChatEncoder:
    """One stream for one client; ``created`` is in unix seconds.

    ``prompt_tokens`` is an estimate, told when upstream never said how many there were.
    """

    ping = b": keep-alive\n\n"
    progress: ResponseProgress | None = None

    def __init__(self, conversation: Conversation, *, id: str, created: int, prompt_tokens: int) -> None:
        self._conversation = conversation
        self._head = {
            "id": id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": conversation.model,
        }
        # All chunks but the one that counts differ in their choice only; the rest is encoded once.
        tail: _Object = {"usage": None} if conversation.include_usage else {}
        before, _, after = encode(msgspec.json.encode({**self._head, "choices": [], **tail})).rpartition(b"[]")
        self._before, self._after = before + b"[", b"]" + after
        self._usage = Usage(input=prompt_tokens)
        self._freeform = {tool.name for tool in conversation.tools if tool.freeform}
        self._open: dict[int, _Open] = {}
        self._calls = 0
        self._length = 0
        self._annotations = 0
        self._told: set[Kind] = set()
        self._opaque = ""

    def encode(self, event: Event) -> bytes:
        """``event`` on the wire; empty where the client need not be told."""
        if isinstance(event, PartDelta):
            part = self._open[event.index]
            said = self._text(part, event.text) if event.text else b""
            return said if event.annotation is None else said + self._cite(part, event.annotation)
        match event:
            case Started():
                self._usage = event.usage or self._usage
                return self._chunk({"role": "assistant", "content": ""})
            case PartStarted():
                return self._begin(event)
            case PartFinished():
                return self._close(self._open.pop(event.index), event)
        return self._end(event)

    def _begin(self, event: PartStarted) -> bytes:
        freeform = event.freeform or event.name in self._freeform
        opened = self._open[event.index] = _Open(event, call=self._calls, start=self._length, freeform=freeform)
        if event.kind is not Kind.TOOL_CALL:
            return b""
        self._calls += 1
        if self._conversation.legacy_functions:
            return self._function(opened, {"name": event.name, "arguments": ""})
        body = {"custom": {"name": event.name, "input": ""}} if freeform else {}
        body = body or {"function": {"name": event.name, "arguments": ""}}
        kind = "custom" if freeform else "function"
        return self._call(opened, {"id": event.id, "type": kind, **body})

    def _text(self, part: _Open, text: str) -> bytes:
        if part.is_kept:
            part.text.append(text)
        if part.is_text:
            self._length += len(text)
        if part.frame is not None:
            return part.frame.around(text)
        return b"" if part.held else self._first_text(part, text)

    def _first_text(self, part: _Open, text: str) -> bytes:
        joins = part.kind is Kind.THINKING and part.kind in self._told
        self._told.add(part.kind)
        empty = self._piece(part, "")
        part.frame = TextFrame(empty) if empty else None
        return self._piece(part, _BETWEEN_THOUGHTS + text if joins else text)

    def _piece(self, part: _Open, text: str) -> bytes:
        is_call = part.kind is Kind.TOOL_CALL
        return self._arguments(part, text) if is_call else self._chunk({_TEXT_KEYS[part.kind]: text})

    def _arguments(self, part: _Open, text: str) -> bytes:
        if self._conversation.legacy_functions:
            return self._function(part, {"arguments": text})
        return self._call(part, {"custom": {"input": text}} if part.freeform else {"function": {"arguments": text}})

    def _call(self, part: _Open, fields: _Object) -> bytes:
        return self._chunk({"tool_calls": [{"index": part.call, **fields}]})

    def _function(self, part: _Open, fields: _Object) -> bytes:
        """The deprecated form has room for one call."""
        return b"" if part.call else self._chunk({"function_call": fields})

    def _cite(self, part: _Open, annotation: Annotation) -> bytes:
        cited = {"index": self._annotations, **_cited(annotation, part.start, self._length)}
        self._annotations += 1
        return self._chunk({"annotations": [cited]})

    def _close(self, part: _Open, event: PartFinished) -> bytes:
        if event.seal is not None:
            self._opaque = _sealed(event.seal, "".join(part.text))
        return self._arguments(part, freeform_input("".join(part.text))) if part.held and part.text else b""

    def _end(self, event: Finished) -> bytes:
        usage = event.usage or self._usage
        last: _Object = {"reasoning_opaque": self._opaque} if self._opaque else {}
        if event.detail and event.reason is Finish.FILTER and Kind.REFUSAL not in self._told:
            last["refusal"] = event.detail
        said = self._chunk(last) if last else b""
        finished = self._chunk({}, finish_reason=_reason(event.reason, self._conversation))
        counted = self._counted(usage) if self._conversation.include_usage else b""
        return said + finished + counted + DONE

    def _counted(self, usage: Usage) -> bytes:
        return encode(msgspec.json.encode({**self._head, "choices": [], "usage": _usage(usage)}))

    def _chunk(self, delta: _Object, *, finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return b"".join((self._before, msgspec.json.encode(choice), self._after))


def render_reply(reply: Reply, conversation: Conversation, *, id: str, created: int) -> bytes:
    """The whole completion."""
    choice = {
        "index": 0,
        "message": _message(reply, conversation),
        "logprobs": None,
        "finish_reason": _reason(reply.finish, conversation),
    }
    return msgspec.json.encode(
        {
            "id": id,
            "object": "chat.completion",
            "created": created,
            "model": conversation.model,
            "choices": [choice],
            "usage": _usage(reply.usage or Usage()),
        }
    )


def _message(reply: Reply, conversation: Conversation) -> _Object:
    text = _joined(reply.parts, Kind.TEXT)
    detail = reply.detail if reply.finish is Finish.FILTER else ""
    refusal = _joined(reply.parts, Kind.REFUSAL) or detail
    calls = [part for part in reply.parts if part.kind is Kind.TOOL_CALL]
    message: _Object = {"role": "assistant", "content": text or (None if calls or refusal else "")}
    message["refusal"] = refusal or None
    thoughts = [part for part in reply.parts if part.kind is Kind.THINKING]
    seal = next((_sealed(part.seal, part.text) for part in reversed(thoughts) if part.seal), "")
    optional: _Object = {
        "reasoning_text": _BETWEEN_THOUGHTS.join(part.text for part in thoughts if part.text),
        "reasoning_opaque": seal,
        "annotations": list(_citations(reply.parts)),
        **_calls(calls, conversation),
    }
    return message | {name: value for name, value in optional.items() if value}


def _joined(parts: Iterable[ReplyPart], kind: Kind) -> str:
    return "".join(part.text for part in parts if part.kind is kind)


def _calls(calls: list[ReplyPart], conversation: Conversation) -> _Object:
    if conversation.legacy_functions:
        return {"function_call": {"name": calls[0].name, "arguments": calls[0].text}} if calls else {}
    freeform = {tool.name for tool in conversation.tools if tool.freeform}
    return {"tool_calls": [_call(part, freeform=part.freeform or part.name in freeform) for part in calls]}


def _call(part: ReplyPart, *, freeform: bool) -> _Object:
    if not freeform:
        return {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.text}}
    text = part.text if part.freeform else freeform_input(part.text)
    return {"id": part.id, "type": "custom", "custom": {"name": part.name, "input": text}}


def _citations(parts: Iterable[ReplyPart]) -> Iterable[_Object]:
    end = 0
    for part in parts:
        if part.kind is Kind.TEXT:
            start, end = end, end + len(part.text)
            yield from (_cited(annotation, start, end) for annotation in part.annotations)


def _cited(annotation: Annotation, start: int, end: int) -> _Object:
    citation = {"url": annotation.url, "title": annotation.title, "start_index": start, "end_index": end}
    return {"type": "url_citation", "url_citation": citation}


def _sealed(seal: Seal, text: str) -> str:
    """Copilot's own seal as it is, another upstream's in its envelope, with the text it is bound to."""
    return seal.data if seal.origin is SealOrigin.CHAT else wrap(seal, text=text)


def _reason(finish: Finish, conversation: Conversation) -> str:
    reason = _REASONS[finish]
    return "function_call" if reason == "tool_calls" and conversation.legacy_functions else reason


def _usage(usage: Usage) -> _Object:
    prompt: _Object = {"cached_tokens": usage.cache_read}
    if usage.cache_write:
        prompt["cache_write_tokens"] = usage.cache_write
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": prompt,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
