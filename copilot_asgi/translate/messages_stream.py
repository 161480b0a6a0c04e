"""Answers of ``/v1/messages``, streamed or whole, as neutral events.

Rule: what comes out does not depend on how the bytes were cut; an answer whose end was not told is an interrupted one.

Source: https://docs.anthropic.com/en/api/messages-streaming.
"""

from collections.abc import Iterable, Iterator

import msgspec

from copilot_asgi.errors import CopilotASGIError, MalformedResponse, StreamInterrupted
from copilot_asgi.translate.events import Event
from copilot_asgi.translate.ids import ToolNames
from copilot_asgi.translate.messages_encoder import MessagesEncoder, render_reply
from copilot_asgi.translate.messages_reader import MessageReader
from copilot_asgi.translate.messages_shapes import StreamEvent, WholeMessage
from copilot_asgi.wire.error_body import error_under_success
from copilot_asgi.wire.shallow import NOT_JSON, NULL, is_null, read_object
from copilot_asgi.wire.sse import EventReader

__all__ = ["MessagesDecoder", "MessagesEncoder", "decode_answer", "render_reply"]

_UNREADABLE = "GitHub Copilot sent an event that cannot be read."

_event_decoder = msgspec.json.Decoder(StreamEvent)
_message_decoder = msgspec.json.Decoder(WholeMessage)


class MessagesDecoder:
    """Read a stream piece by piece. ``done``: ``message_stop`` has come, or no further event can."""

    def __init__(self, *, names: ToolNames) -> None:
        self.done = False
        self._events = EventReader()
        self._reader = MessageReader(names=names)
        self._started = False
        self._index: int | None = None
        self._failure: CopilotASGIError | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that ``chunk`` completes.

        Raises ``UpstreamStatus`` for an error event, ``StreamInterrupted`` for what is not Anthropic's protocol,
        ``ResponseTooLarge`` for an event over the limit, though never before what came ahead of it has been given out:
        then with the next call.
        """
        self._raise_failure()
        if self.done:
            return []
        events: list[Event] = []
        try:
            for name, data, _ in self._events.feed(chunk):
                events.extend(self._event(name, data.strip()))
        except CopilotASGIError as failure:
            self._failure, self.done = failure, True
            if not events:
                self._raise_failure()
        return events

    def finish(self) -> list[Event]:
        """The events left when upstream has ended.

        Raises ``StreamInterrupted`` when the answer has no end, and what ``feed`` had to hold back.
        """
        self._raise_failure()
        if self.done:
            return []
        rest = [] if self._reader.stopped else self._events.finish()
        events = [event for name, data, _ in rest for event in self._event(name, data.strip())]
        if not self.done:
            if not self._reader.stopped:
                raise StreamInterrupted("GitHub Copilot ended the stream before the answer was complete.")
            events += self._end()
        return events

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _event(self, name: str, data: bytes) -> Iterable[Event]:
        if self.done or not data or data == b"[DONE]":
            return ()
        try:
            event = _event_decoder.decode(data)
        except NOT_JSON:
            raise StreamInterrupted(_UNREADABLE) from None
        kind = event.type or name
        if kind == "error":
            raise error_under_success(data)
        return self._delta(event) if kind == "content_block_delta" else self._other(kind, event)

    def _delta(self, event: StreamEvent) -> Iterable[Event]:
        if not self._started or event.index != self._index:
            raise StreamInterrupted(_UNREADABLE)
        return () if event.delta is None else self._reader.add(event.delta)

    def _other(self, kind: str, event: StreamEvent) -> Iterator[Event]:
        try:
            yield from self._read(kind, event)
        except NOT_JSON:
            raise StreamInterrupted(_UNREADABLE) from None

    def _read(self, kind: str, event: StreamEvent) -> Iterator[Event]:
        match kind:
            case "message_start" if event.message is not None and not self._started:
                self._started = True
                yield from self._reader.start(event.message)
            case "message_start" | "ping":
                return
            case _ if not self._started:
                raise StreamInterrupted(_UNREADABLE)
            case "content_block_start" if event.content_block is not None:
                self._index = event.index
                yield from self._reader.start_block(event.content_block)
            case "content_block_stop":
                yield from self._reader.end_block()
            case "message_delta" if event.delta is not None:
                self._reader.stop(event.delta, event.usage)
            case "message_stop":
                yield from self._end()

    def _end(self) -> Iterator[Event]:
        self.done = True
        yield from self._reader.end()


def decode_answer(body: bytes, *, names: ToolNames) -> list[Event]:
    """A whole answer as the events that a stream of it would be.

    Raises ``UpstreamStatus`` for an error under 200, ``MalformedResponse`` for what is no message.
    """
    try:
        fields = read_object(body)
        if not is_null(fields.get("error", NULL)):
            raise error_under_success(body)
        return list(_events(_message_decoder.decode(body), MessageReader(names=names)))
    except NOT_JSON:
        raise MalformedResponse("GitHub Copilot sent an answer that is not a message.") from None


def _events(message: WholeMessage, reader: MessageReader) -> Iterator[Event]:
    yield from reader.start(message)
    for block in message.content:
        yield from reader.start_block(block)
    reader.stop(message, None)
    yield from reader.end()
