"""Responses streams on the native route: passed on as they are, up to the terminal event.

Rule: no event is changed; what an error event of ours must fit to is remembered.
"""

import msgspec

from copilot_asgi.wire.dialect import ResponseProgress
from copilot_asgi.wire.stream import EventStream, redacted

__all__ = ["ResponsesStream"]

_COMPLETE = frozenset({"response.completed", "response.incomplete"})
_FAILED = frozenset({"response.failed", "response.cancelled", "error"})


class _Response(msgspec.Struct):
    id: str = ""
    model: str = ""
    created_at: float = 0


class _Event(msgspec.Struct):
    type: str = ""
    sequence_number: int | None = None
    response: _Response | None = None


_decoder = msgspec.json.Decoder(_Event)


class ResponsesStream(EventStream):
    """Complete with ``response.completed`` or ``response.incomplete``; a failure ends the stream too."""

    def __init__(self) -> None:
        super().__init__()
        self._progress = ResponseProgress()

    @property
    def progress(self) -> ResponseProgress:
        """Ids and numbers that the client has seen."""
        return self._progress

    def _event(self, name: str, data: bytes, block: bytes) -> list[bytes]:
        if data.strip() == b"[DONE]":
            return []
        event = _decoder.decode(data)
        kind = event.type or name
        if kind in _FAILED:
            return self._fail(data, redacted(kind, data, block))
        self._answered = True
        self._remember(event)
        self.done = self.complete = kind in _COMPLETE
        return [block]

    def _remember(self, event: _Event) -> None:
        before = self._progress
        number = before.sequence_number + 1 if event.sequence_number is None else event.sequence_number
        if event.response is None or before.response_id:
            self._progress = ResponseProgress(number, before.response_id, before.model, before.created)
            return
        first = event.response
        self._progress = ResponseProgress(number, first.id, first.model, int(first.created_at))
