"""An answer changed event by event, in whichever form a client gets it.

Rule: only whole events are shown, what is left unchanged leaves as the bytes that came, and comments and the closing
``[DONE]`` are not shown at all. Answers that are no event streams are one event: each line of newline-delimited JSON,
or else the whole body.
"""

from collections.abc import Callable
from typing import Protocol

from copilot_asgi.errors import ResponseTooLarge
from copilot_asgi.wire.sse import DEFAULT_EVENT, EVENT_LIMIT, EventSplitter, ServerSentEvent, encode, parse_block

__all__ = ["WHOLE_LIMIT", "Edit", "Edits", "Untouched", "edits_for"]

WHOLE_LIMIT = 16 * 1024 * 1024
"""Bytes of a body that is changed as a whole."""

Edit = Callable[[ServerSentEvent], ServerSentEvent | None]
"""Gives the event to send instead, or ``None`` for none."""

_DONE = b"[DONE]"


class Edits(Protocol):
    """Bytes in, changed bytes out."""

    def feed(self, chunk: bytes) -> bytes:
        """What to pass on now; ``chunk`` itself where it is whole events that stay as they are.

        Raises what the edit raises, and ``ResponseTooLarge``.
        """

    def finish(self) -> bytes:
        """What to pass on at the end of the answer. Raises as ``feed`` does."""


def edits_for(content_type: bytes, edit: Edit) -> Edits:
    """What applies ``edit`` to an answer of that content type."""
    if content_type.startswith(b"text/event-stream"):
        return _Events(edit)
    if content_type.startswith(b"application/x-ndjson"):
        return _Lines(edit)
    return _Whole(edit)


class Untouched:
    """No edit at all."""

    def feed(self, chunk: bytes) -> bytes:
        """``chunk``."""
        return chunk

    def finish(self) -> bytes:
        """Nothing."""
        return b""


class _Events:
    def __init__(self, edit: Edit) -> None:
        self._edit = edit
        self._splitter = EventSplitter()

    def feed(self, chunk: bytes) -> bytes:
        return _joined([self._pass(block) for block in self._splitter.feed(chunk)], chunk)

    def finish(self) -> bytes:
        rest = self._splitter.rest
        return self._pass(rest) if rest.strip() else rest

    def _pass(self, block: bytes) -> bytes:
        name, data = parse_block(block)
        if not data.strip() or data == _DONE:
            return block
        event = ServerSentEvent(data, name)
        changed = _checked(self._edit(event))
        if changed == event:
            return block
        if changed is None:
            return b""
        return encode(changed.data, event=None if changed.event == DEFAULT_EVENT else changed.event)


class _Lines:
    def __init__(self, edit: Edit) -> None:
        self._edit = edit
        self._pending: list[bytes] = []
        self._held = 0

    def feed(self, chunk: bytes) -> bytes:
        *whole, rest = chunk.split(b"\n")
        if whole:
            whole[0] = b"".join((*self._pending, whole[0]))
            self._pending.clear()
            self._held = 0
        self._held += len(rest)
        if self._held > EVENT_LIMIT:
            raise ResponseTooLarge(f"A line of more than {EVENT_LIMIT} bytes cannot be changed.")
        self._pending.append(rest)
        return _joined([self._pass(text, b"\n") for text in whole], chunk)

    def finish(self) -> bytes:
        return self._pass(b"".join(self._pending), b"")

    def _pass(self, text: bytes, end: bytes) -> bytes:
        if not text.strip():
            return text + end
        changed = _checked(self._edit(ServerSentEvent(text)))
        return b"" if changed is None else changed.data + end


class _Whole:
    def __init__(self, edit: Edit) -> None:
        self._edit = edit
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> bytes:
        self._size += len(chunk)
        if self._size > WHOLE_LIMIT:
            raise ResponseTooLarge(f"An answer of more than {WHOLE_LIMIT} bytes cannot be changed as a whole.")
        self._pieces.append(chunk)
        return b""

    def finish(self) -> bytes:
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        if not body:
            return b""
        changed = _checked(self._edit(ServerSentEvent(body)))
        if changed is None:
            raise TypeError("A whole answer cannot be dropped.")
        return changed.data


def _checked(changed: ServerSentEvent | None) -> ServerSentEvent | None:
    if changed is not None and not isinstance(changed, ServerSentEvent):
        raise TypeError(f"An event or None was expected, not {type(changed).__name__}.")
    if changed is not None and ("\n" in changed.event or "\r" in changed.event):
        raise ValueError("The name of an event must not hold line ends.")
    return changed


def _joined(out: list[bytes], chunk: bytes) -> bytes:
    if len(out) == 1 and out[0] is chunk:
        return chunk
    joined = b"".join(out)
    return chunk if joined == chunk else joined
