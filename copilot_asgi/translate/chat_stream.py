"""Chat answers: upstream's stream or whole answer as events, and events as what a chat client reads.

Rule: all choices are pieces of one answer (Copilot splits Claude's); the end of the bytes is no end of the answer.

Source: OpenAI API reference, "The chat completion chunk object"; further keys as Copilot sends them.
"""

import re

import msgspec

from copilot_asgi.errors import MalformedResponse, StreamInterrupted
from copilot_asgi.translate.chat_assembly import Assembly, read_usage
from copilot_asgi.translate.chat_encoder import ChatEncoder, render_reply
from copilot_asgi.translate.events import Annotation, Event, Finish, Finished, Kind, Started
from copilot_asgi.translate.ids import ToolNames
from copilot_asgi.translate.messages_stream import decode_answer as decode_native
from copilot_asgi.wire.chat_shapes import Message, ToolCall, ToolFunction, finish_reason, text_of
from copilot_asgi.wire.error_body import error_under_success
from copilot_asgi.wire.shallow import NOT_JSON, NULL, is_null, starts_with
from copilot_asgi.wire.sse import EventParser, ServerSentEvent

__all__ = ["ChatDecoder", "ChatEncoder", "decode_answer", "render_reply"]

_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]")
_SEED_LENGTH = 40
_ONE_FUNCTION = 0  # where the deprecated form has its only call


class _Citation(msgspec.Struct):
    url: str = ""
    title: str | None = None


class _Annotation(msgspec.Struct):
    url_citation: _Citation | None = None


class _Delta(Message):
    """What a chunk adds, or a whole message, with the keys for thinking that Copilot's upstreams use."""

    reasoning_text: str | None = None
    reasoning_content: str | None = None
    reasoning: object = None
    cot_summary: str | None = None
    thinking: object = None
    reasoning_opaque: str | None = None
    cot_id: str | None = None
    function_call: ToolFunction | None = None
    annotations: msgspec.Raw = NULL

    @property
    def thought(self) -> str:
        """Visible thinking."""
        told = (self.reasoning_text, self.reasoning_content, self.reasoning, self.cot_summary, self.thinking)
        return next((text for text in told if isinstance(text, str) and text), "")


class _Choice(msgspec.Struct):
    index: int | None = None
    finish_reason: str | None = None
    delta: _Delta | None = None
    message: _Delta | None = None


class _Chunk(msgspec.Struct):
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
    """Upstream's stream as events. ``done``: the last event has been given, what follows is ignored.

    Raises ``StreamInterrupted`` for what is no chat stream, ``UpstreamStatus`` for an error in it, ``ResponseTooLarge``
    for an event over the limit.
    """

    def __init__(self, *, names: ToolNames) -> None:
        self.done = False
        self._parser = EventParser()
        self._assembly = Assembly(names)

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that ``chunk`` makes certain."""
        for event in self._parser.feed(chunk):
            self._read(event)
        return self._assembly.take()

    def finish(self) -> list[Event]:
        """The last events, when upstream has ended. Raises ``StreamInterrupted`` when the answer is not complete."""
        try:
            self.feed_rest()
        except StreamInterrupted:
            pass
        self._end(announced=False)
        return self._assembly.take()

    def _read(self, event: ServerSentEvent) -> None:
        data = event.data.strip()
        if self.done or not data:
            return
        if data == b"[DONE]":
            self._end(announced=True)
            return
        chunk = _read_chunk(data)
        if event.event == "error" or not is_null(chunk.error):
            raise error_under_success(data)
        self._add(chunk)

    def _add(self, chunk: _Chunk) -> None:
        self._assembly.usage = read_usage(chunk.usage) or self._assembly.usage
        for position, choice in enumerate(chunk.choices or ()):
            _start(self._assembly, chunk)
            number = position if choice.index is None else choice.index
            delta = choice.delta or choice.message or _Delta()
            _add_texts(self._assembly, delta)
            _add_fragments(self._assembly, delta, number)
            _add_reason(self._assembly, choice)

    def _end(self, *, announced: bool) -> None:
        if not self.done:
            self._assembly.end(announced=announced)
            self.done = True
