"""Event streams on the native route: whole events in, whole events out, and an end that is what it claims to be.

Rule: only whole events are passed on, so that an error event of ours never lands inside one of upstream's; what needs
no mending leaves as the same object; a stream without its terminal event is never made to look complete.
"""

from abc import ABC, abstractmethod
from typing import Protocol

import msgspec

from copilot_asgi.errors import StreamInterrupted
from copilot_asgi.secret import redact
from copilot_asgi.wire.dialect import ResponseProgress
from copilot_asgi.wire.error_body import error_under_success
from copilot_asgi.wire.shallow import NOT_JSON, NULL, is_null
from copilot_asgi.wire.sse import Block, EventReader, encode

__all__ = ["DONE", "EventStream", "StreamMender", "redacted"]

DONE = b"data: [DONE]\n\n"


class StreamMender(Protocol):
    """What the pipeline puts between upstream's bytes and the client."""

    done: bool
    complete: bool
    events: int

    @property
    def progress(self) -> ResponseProgress | None:
        """What an error event of ours must fit to, in dialects where it must."""

    def closing(self, event: bytes) -> bytes:
        """What ends the client's stream with an error ``event``."""

    def feed(self, chunk: bytes) -> bytes:
        """What to pass on now."""

    def finish(self) -> bytes:
        """What to pass on at the end."""


class EventStream(ABC):
    """The part of a mender that is the same for each dialect.

    ``done``: the terminal event has been seen, what follows is ignored. ``complete``: it was one of success. ``events``
    counts what came, without comments.
    """

    def __init__(self) -> None:
        self.done = False
        self.complete = False
        self.events = 0
        self._reader = EventReader()
        self._answered = False
        self._line_feed_sent = False

    @property
    def progress(self) -> ResponseProgress | None:
        """What an error event of ours must fit to: nothing, unless a dialect says otherwise."""
        return None

    def closing(self, event: bytes) -> bytes:
        """What ends the client's stream with an error ``event``: the event."""
        return event

    def feed(self, chunk: bytes) -> bytes:
        """What to pass on now; ``chunk`` itself when it is whole events that need no mending.

        Raises ``StreamInterrupted`` for an event that is not what the dialect promises, ``ResponseTooLarge`` for one
        over the limit, ``UpstreamStatus`` for an error that comes before any other event.
        """
        if self.done:
            return b""
        blocks = self._reader.feed(chunk)
        out = self._pass(blocks[0]) if len(blocks) == 1 else [piece for block in blocks for piece in self._pass(block)]
        return out[0] if len(out) == 1 and out[0][-1:] == b"\n" else self._joined(out, chunk)

    def finish(self) -> bytes:
        """What to pass on when upstream has ended; raises ``StreamInterrupted`` when the answer is not complete."""
        if self.done:
            return b""
        try:
            out = [piece for block in self._reader.finish() for piece in self._pass(block)]
        except StreamInterrupted:
            out = []  # half an event: it is the answer before it that counts
        return b"".join(out + self._end())

    @abstractmethod
    def _event(self, name: str, data: bytes, block: bytes) -> list[bytes]:
        """What to pass on for one event; ``[block]`` when it needs no mending."""

    def _end(self) -> list[bytes]:
        """What is to be added when upstream has ended, perhaps without the terminal event."""
        if self.done:
            return []
        raise StreamInterrupted("GitHub Copilot ended the stream before the answer was complete.")

    def _pass(self, told: Block) -> list[bytes]:
        if self.done:
            return []
        name, data, block = told
        if self._line_feed_sent:
            block = block.removeprefix(b"\n")
            self._line_feed_sent = False
        if not data.strip():
            return [block]
        self.events += 1
        try:
            return self._event(name, data, block)
        except NOT_JSON:
            raise StreamInterrupted("GitHub Copilot sent an event that cannot be read.") from None

    def _fail(self, data: bytes, block: bytes) -> list[bytes]:
        """An error event: the stream is over. Before anything else it still is an error of the whole request."""
        if not self._answered:
            raise error_under_success(data)
        self.done = True
        return [block]

    def _joined(self, out: list[bytes], chunk: bytes) -> bytes:
        joined = b"".join(out)
        if joined.endswith(b"\r") and self._reader.rest == b"\n":
            # The second half of the closing CR LF is here already: the client must not wait for it.
            self._line_feed_sent = True
            joined += b"\n"
        return chunk if joined == chunk else joined


def redacted(name: str | None, data: bytes, block: bytes) -> bytes:
    """``block``, or the same event without what looks like a token in it. Raises one of ``NOT_JSON``."""
    value: object = msgspec.json.decode(data)
    safe = _without_tokens(value)
    return block if safe == value else encode(msgspec.json.encode(safe), event=name)


def _without_tokens(value: object) -> object:
    # Text by text: a token masked in the JSON itself could take the backslash of an escape with it.
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_without_tokens(item) for item in value]
    if isinstance(value, dict):
        return {redact(key): _without_tokens(item) for key, item in value.items()}
    return value


class Typed(msgspec.Struct):
    """An event that names its own type, as all but chat completions do; an error may come without one."""

    type: str = ""
    error: msgspec.Raw = NULL

    def kind(self, name: str) -> str:
        """The type, or else what the event is called; a bare error object is an error."""
        return self.type or ("error" if not is_null(self.error) else name)
