"""Make upstream's native answers what the dialect's published form promises, and notice when one is not whole.

Copilot leaves out fields, splits one answer over several choices, and streams may end without their terminal event.
Bytes that need no mending go on as the objects that came. The head waits for the first piece of body: until then a
failure can still become a proper status.
"""

import time

import anyio

from copilot_asgi.errors import MalformedResponse, ResponseTooLarge, UpstreamTimeout
from copilot_asgi.exchange import Exchange, Handler, Head, Part, Send, header
from copilot_asgi.native import plan_native
from copilot_asgi.wire.stream import StreamMender

__all__ = ["Mending"]

ANSWER_LIMIT = 16 * 1024 * 1024

# Upstream gets this long, in seconds, to end a response whose terminal event has come: so its connection can be kept.
END_GRACE = 0.5

# Keep-alive comments do not count as an answer: after so many seconds without an event a stream is given up.
EVENT_TIMEOUT = 600.0


class Mending:
    """Prepare the request for Copilot's own rules, and mend the answer on its way back."""

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises ``StreamInterrupted``, ``MalformedResponse``, ``ResponseTooLarge``, or ``BadRequest``."""
        assert exchange.route is not None
        plan = plan_native(exchange.request, exchange.route.model, answer_id=exchange.id, now=int(time.time()))
        exchange.request, exchange.stream = plan.request, plan.stream
        if plan.stream is not None:
            await _stream(exchange, plan.stream, send, call_next)
        else:
            answer = _Whole()
            await call_next(exchange, answer)
            body = plan.answer(answer.body())
            await send(Head(200, answer.headers))
            await send(body)


async def _stream(exchange: Exchange, mender: StreamMender, send: Send, call_next: Handler) -> None:
    with anyio.CancelScope(deadline=anyio.current_time() + EVENT_TIMEOUT) as scope:
        pieces = _Pieces(mender, send, scope)
        await call_next(exchange, pieces)
    if scope.cancelled_caught and not mender.done:
        raise UpstreamTimeout("GitHub Copilot kept the stream open for ten minutes without an event.")
    await pieces.finish()


class _Pieces:
    """A ``Send`` that mends piece by piece; the deadline of ``scope`` follows the events."""

    def __init__(self, mender: StreamMender, send: Send, scope: anyio.CancelScope) -> None:
        self._mender = mender
        self._send = send
        self._scope = scope
        self._head: Head | None = None
        self._events = 0

    async def __call__(self, part: Part) -> None:
        if isinstance(part, Head):
            _expect(part, b"text/event-stream")
            self._head = part
            return
        await self._pass_on(self._mender.feed(part))
        if self._mender.events != self._events:
            self._events = self._mender.events
            self._scope.deadline = anyio.current_time() + (END_GRACE if self._mender.done else EVENT_TIMEOUT)

    async def finish(self) -> None:
        """Send what the mender still holds; raises ``StreamInterrupted`` when the stream is not whole."""
        await self._pass_on(self._mender.finish())

    async def _pass_on(self, piece: bytes) -> None:
        if not piece:
            return
        if self._head is not None:
            head, self._head = self._head, None
            await self._send(head)
        await self._send(piece)


class _Whole:
    """A ``Send`` that keeps a whole answer."""

    def __init__(self) -> None:
        self.headers: tuple[tuple[bytes, bytes], ...] = ()
        self._pieces: list[bytes] = []
        self._size = 0

    async def __call__(self, part: Part) -> None:
        if isinstance(part, Head):
            _expect(part, b"json")
            self.headers = part.headers
            return
        self._size += len(part)
        if self._size > ANSWER_LIMIT:
            raise ResponseTooLarge(f"GitHub Copilot sent an answer of more than {ANSWER_LIMIT} bytes.")
        self._pieces.append(part)

    def body(self) -> bytes:
        """The answer, as one object."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


def _expect(head: Head, kind: bytes) -> None:
    """The content type decides how the body is read; JSON served as plain text occurs and is let through."""
    content_type = (header(head.headers, b"content-type") or b"").lower()
    streaming = b"text/event-stream" in content_type
    if streaming is not (kind == b"text/event-stream") or b"html" in content_type:
        raise MalformedResponse(
            f"GitHub Copilot answered with {content_type.decode('latin-1')[:80] or 'no content type'} "
            f"where {kind.decode()} was expected."
        )
