"""Chat answers: upstream's stream or whole answer as events, and events as what a chat client reads.

Rule: all choices are pieces of one answer (Copilot splits Claude's); the end of the bytes is no end of the answer.

Source: OpenAI API reference, "The chat completion chunk object"; further keys as Copilot sends them.
"""

import re
from contextlib import suppress

import msgspec

from copilot_asgi.errors import CopilotASGIError, MalformedResponse, StreamInterrupted
from copilot_asgi.translate.chat_assembly import Assembly, read_usage
from copilot_asgi.translate.chat_encoder import ChatEncoder, render_reply
from copilot_asgi.translate.events import Annotation, Event, Finish, Finished, Kind, Started, Usage
from copilot_asgi.translate.ids import ToolNames
from copilot_asgi.translate.messages_stream import decode_answer as decode_native
from copilot_asgi.wire.chat_shapes import Message, ToolCall, ToolFunction, finish_reason, text_of
from copilot_asgi.wire.error_body import error_under_success
from copilot_asgi.wire.shallow import NOT_JSON, NULL, is_null, starts_with
from copilot_asgi.wire.sse import Block, EventReader

__all__ = ["ChatDecoder", "ChatEncoder", "decode_answer", "render_reply"]

_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]")
_SEED_LENGTH = 40
_ONE_FUNCTION = 0  # where the deprecated form has its only call


class _Citation(msgspec.Struct):
    url: str | None = None
    title: str | None = None


class _Annotation(msgspec.Struct):
    url_citation: _Citation | None = None


class _Delta(Message, gc=False):
    """What a chunk adds, or a whole message, with the keys for thinking that Copilot's upstreams use."""

    reasoning_text: str | None = None
    reasoning_content: str | None = None
    reasoning: object = None
    cot_summary: str | None = None
    thinking: object = None
    reasoning_opaque: str | None = None
    cot_id: str | None = None
    function_call: ToolFunction | None = None

    @property
    def thought(self) -> str:
        """Visible thinking."""
        told = self.reasoning_text or self.reasoning_content
        if told or not (self.reasoning or self.cot_summary or self.thinking):
            return told or ""
        others = (self.reasoning, self.cot_summary, self.thinking)
        return next((text for text in others if isinstance(text, str) and text), "")


class _Choice(msgspec.Struct, gc=False):
    index: int | None = None
    finish_reason: str | None = None
    delta: _Delta | None = None
    message: _Delta | None = None


class _Chunk(msgspec.Struct, gc=False):
    id: str | None = None
    created: int | float | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = NULL
    error: msgspec.Raw = NULL
    type: str | None = None


_decoder = msgspec.json.Decoder(_Chunk)
_annotations_decoder = msgspec.json.Decoder(list[_Annotation])


class ChatDecoder:
    """Upstream's stream as events. ``done``: the last event has been given, or no further one can come.

    Raises ``StreamInterrupted`` for what is no chat stream, ``UpstreamStatus`` for an error in it, ``ResponseTooLarge``
    for an event over the limit, though never before what came ahead of it has been given out: then with the next call.
    """

    def __init__(self, *, names: ToolNames) -> None:
        self.done = False
        self._events = EventReader()
        self._assembly = Assembly(names)
        self._failure: CopilotASGIError | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that ``chunk`` makes certain."""
        self._raise_failure()
        try:
            if not self.done:
                self._read_all(self._events.feed(chunk))
        except CopilotASGIError as failure:
            self._failure, self.done = failure, True
        events = self._assembly.take()
        if not events:
            self._raise_failure()
        return events

    def finish(self) -> list[Event]:
        """The last events, when upstream has ended.

        Raises ``StreamInterrupted`` when the answer is not complete, and what ``feed`` had to hold back.
        """
        self._raise_failure()
        # What is left may be an event without its empty line; of half an event nothing counts but what came before.
        with suppress(StreamInterrupted):
            self._read_all(self._events.finish())
        self._end(announced=False)
        return self._assembly.take()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _read_all(self, blocks: list[Block]) -> None:
        for name, data, _ in blocks:
            if not self.done:
                self._read(name, data.strip())

    def _read(self, name: str, data: bytes) -> None:
        if not data:
            return
        if data == b"[DONE]":
            self._end(announced=True)
            return
        try:
            chunk = _decoder.decode(data)
        except NOT_JSON:
            raise StreamInterrupted("GitHub Copilot sent an event that cannot be read.") from None
        if name == "error" or not is_null(chunk.error):
            raise error_under_success(data)
        self._add(chunk)

    def _add(self, chunk: _Chunk) -> None:
        assembly = self._assembly
        assembly.usage = read_usage(chunk.usage) or assembly.usage
        for position, choice in enumerate(chunk.choices or ()):
            if not assembly.started:
                _start(assembly, chunk)
            number = position if choice.index is None else choice.index
            delta = choice.delta or choice.message or _Delta()
            _add_texts(assembly, delta)
            if delta.tool_calls or delta.function_call is not None:
                for at, fragment in enumerate(_calls(delta)):
                    assembly.call(fragment, choice=number, position=at)
            if choice.finish_reason is not None:
                _add_reason(assembly, choice.finish_reason)

    def _end(self, *, announced: bool) -> None:
        if not self.done:
            self._assembly.end(announced=announced)
            self.done = True


def decode_answer(body: bytes, *, names: ToolNames) -> list[Event]:
    """A whole answer as one sequence of events.

    Raises ``MalformedResponse`` when it is none, ``UpstreamStatus`` for an error under a status of 200.
    """
    try:
        chunk = _decoder.decode(body)
        if not is_null(chunk.error):
            raise error_under_success(body)
        if chunk.choices is None and chunk.type == "message":
            return decode_native(body, names=names)
        return _decode_choices(chunk, chunk.choices or [], names)
    except NOT_JSON:
        raise MalformedResponse("GitHub Copilot sent an answer that cannot be read.") from None
    except StreamInterrupted as error:
        raise MalformedResponse(error.message) from None


def _decode_choices(chunk: _Chunk, choices: list[_Choice], names: ToolNames) -> list[Event]:
    usage = read_usage(chunk.usage)
    if not choices:
        return _spent(chunk, usage)
    assembly = Assembly(names)
    assembly.usage = usage
    _start(assembly, chunk)
    messages = [_message(choice) for choice in choices]
    for message in messages:
        _add_texts(assembly, message)
    for number, message in enumerate(messages):
        for position, call in enumerate(_calls(message)):
            assembly.whole_call(call, choice=number, position=position)
    for choice in choices:
        assembly.reason(finish_reason(choice.finish_reason) or "stop")
    assembly.end(announced=True)
    return assembly.take()


def _spent(chunk: _Chunk, usage: Usage | None) -> list[Event]:
    """What stands for no choice at all: a model that thought until its tokens were used up."""
    if chunk.choices is None or usage is None or not usage.output:
        raise MalformedResponse("GitHub Copilot sent an answer without any choice.")
    return [Started(chunk.id or "", chunk.model or "", None), Finished(Finish.LENGTH, usage)]


def _message(choice: _Choice) -> _Delta:
    if choice.message is None or choice.finish_reason == "error":
        raise MalformedResponse("GitHub Copilot sent an answer without a message.")
    return choice.message


def _start(assembly: Assembly, chunk: _Chunk) -> None:
    seed = _ILLEGAL.sub("", f"{chunk.id or ''}_{int(chunk.created or 0)}")[-_SEED_LENGTH:]
    assembly.start(id=chunk.id or "", model=chunk.model or "", seed=seed)


def _add_texts(assembly: Assembly, delta: _Delta) -> None:
    if thought := delta.thought:
        assembly.text(Kind.THINKING, thought)
    if opaque := delta.reasoning_opaque or delta.cot_id:
        assembly.seal(opaque)
    if text := text_of(delta.content):
        assembly.text(Kind.TEXT, text)
    if delta.refusal:
        assembly.text(Kind.REFUSAL, delta.refusal)
    if not is_null(delta.annotations):
        for citation in _citations(delta.annotations):
            if citation.url:
                assembly.annotation(Annotation(citation.url, citation.title or ""))


def _citations(annotations: msgspec.Raw) -> list[_Citation]:
    """The sources; none where the value is odd, for the text is worth more than they are."""
    if not starts_with(annotations, b"["):  # Copilot puts an object of its own there
        return []
    try:
        told = _annotations_decoder.decode(annotations)
    except NOT_JSON:
        return []
    return [each.url_citation for each in told if each.url_citation is not None]


def _calls(delta: _Delta) -> list[ToolCall]:
    """The calls, also the one of the deprecated form, which has a place of its own."""
    if delta.function_call is None:
        return delta.tool_calls or []
    return [*(delta.tool_calls or ()), ToolCall(index=_ONE_FUNCTION, function=delta.function_call)]


def _add_reason(assembly: Assembly, told: str) -> None:
    if told == "error":
        raise StreamInterrupted("GitHub Copilot failed in the middle of the answer.")
    reason = finish_reason(told)
    if reason is not None:
        assembly.reason(reason)
