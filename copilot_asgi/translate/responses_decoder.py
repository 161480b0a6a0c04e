"""The answer of a Responses endpoint as events.

Rule: ``output_index`` is the only key, for Copilot names an item anew in each event. What was promised in pieces and
what is told at the end is reconciled: nothing is said twice, nothing is missed. Only a terminal event is an end.
"""

import msgspec

from copilot_asgi.errors import CopilotASGIError, MalformedResponse, StreamInterrupted
from copilot_asgi.translate.events import Event
from copilot_asgi.translate.ids import ToolNames
from copilot_asgi.translate.responses_reading import TERMINAL, AnswerReader, is_read
from copilot_asgi.translate.responses_wire import AnswerEvent, AnswerResponse
from copilot_asgi.wire.error_body import error_under_success
from copilot_asgi.wire.shallow import NOT_JSON, is_null
from copilot_asgi.wire.sse import EventReader
from copilot_asgi.wire.stream import Typed

__all__ = ["ResponsesDecoder", "decode_answer"]

# The last event repeats the whole answer, and the request's instructions and tools.
_EVENT_LIMIT = 32 * 1024 * 1024
_FAILURES = frozenset({"response.failed", "response.cancelled", "error"})
_FAILED = frozenset({"failed", "cancelled"})

_type_decoder = msgspec.json.Decoder(Typed)
_event_decoder = msgspec.json.Decoder(AnswerEvent)
_response_decoder = msgspec.json.Decoder(AnswerResponse)


class ResponsesDecoder:
    """Reads a stream as it comes. ``done``: the terminal event or a failure has been seen, what follows is ignored."""

    def __init__(self, *, names: ToolNames) -> None:
        self.done = False
        self._events = EventReader(limit=_EVENT_LIMIT)
        self._reader = AnswerReader(names)
        self._failure: CopilotASGIError | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that ``chunk`` completes.

        Raises ``UpstreamStatus`` for an error event and ``StreamInterrupted`` for one that cannot be read, though never
        before what came ahead of it has been given out: then with the next call.
        """
        self._raise_failure()
        events: list[Event] = []
        try:
            for name, data, _ in self._events.feed(chunk):
                events += self._read(name, data.strip())
        except CopilotASGIError as failure:
            self._failure, self.done = failure, True
            if not events:
                self._raise_failure()
        return events

    def finish(self) -> list[Event]:
        """The events that were still to come when upstream closed.

        Raises ``StreamInterrupted`` when there was no terminal event, and what ``feed`` had to hold back.
        """
        events = [] if self.done else self.feed(b"\n\n")  # the end of the body closes the last event
        self._raise_failure()
        if not self.done:
            raise StreamInterrupted("GitHub Copilot ended the stream before the answer was complete.")
        return events

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _read(self, name: str, data: bytes) -> list[Event]:
        if self.done or not data or data == b"[DONE]":
            return []
        try:
            event = _understood(name, data)
        except NOT_JSON:
            raise StreamInterrupted("GitHub Copilot sent an event that cannot be read.") from None
        kind = event.type or name
        if kind in _FAILURES or (event.response and event.response.status in _FAILED and is_read(kind)):
            raise error_under_success(data)
        if not is_read(kind):
            return []
        self._reader.read(kind, event)
        self.done = kind in TERMINAL
        return self._reader.take()


def _understood(name: str, data: bytes) -> AnswerEvent:
    """The event. Of one that nobody reads, whose fields may be anything, the type is enough."""
    try:
        return _event_decoder.decode(data)
    except msgspec.ValidationError:
        kind = _type_decoder.decode(data).type
        if is_read(kind or name):
            raise
        return AnswerEvent(type=kind)


def decode_answer(body: bytes, *, names: ToolNames) -> list[Event]:
    """A whole answer as one sequence of events.

    Raises ``UpstreamStatus`` when the answer says that it failed, ``MalformedResponse`` when it is none.
    """
    try:
        response = _response_decoder.decode(body)
    except NOT_JSON:
        raise MalformedResponse("GitHub Copilot sent an answer that cannot be read.") from None
    if response.status in _FAILED or not is_null(response.error):
        raise error_under_success(body)
    if response.output is None:
        raise MalformedResponse("GitHub Copilot sent an answer without any output.")
    reader = AnswerReader(names)
    reader.read("response.completed", AnswerEvent(response=response))
    return reader.take()
