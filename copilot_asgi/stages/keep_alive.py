"""Keep a silent stream alive: while a model thinks, the client hears from us in its own dialect.

Something on the way closes connections that say nothing for a minute. One task a loop looks after all streams, so that
a stream costs no task and no timer of its own. A ping is never sent inside a piece, and never while a piece is on its
way.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

import anyio
from anyio.abc import TaskGroup

from copilot_asgi._loop_local import LoopLocal
from copilot_asgi._spawn import spawn
from copilot_asgi.exchange import Exchange, Handler, Head, Part, Send
from copilot_asgi.wire.dialect import Dialect

__all__ = ["KeepAlive"]

COMMENT = b": keep-alive\n\n"
# Libraries of the other dialects take anything that is not an answer for a broken one.
PINGS: Mapping[Dialect, bytes] = MappingProxyType(
    {
        Dialect.CHAT: COMMENT,
        Dialect.RESPONSES: COMMENT,
        Dialect.MESSAGES: b'event: ping\ndata: {"type": "ping"}\n\n',
    }
)
STREAM_HEAD = Head(200, ((b"content-type", b"text/event-stream"),))


class KeepAlive:
    """Ping after ``interval`` seconds of silence, and again; a stream that has not begun by then is begun.

    From then on a failure is an error event in the stream, as the status is out.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._watch: LoopLocal[_Watch] = LoopLocal("copilot_asgi_keep_alive")

    def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> Awaitable[None]:
        """Raises what the rest of the pipeline raises, and what sending a ping raised."""
        if exchange.request.stream and exchange.dialect in PINGS:
            return self._kept_alive(exchange, send, call_next)
        return call_next(exchange, send)

    async def _kept_alive(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        with anyio.CancelScope() as scope:
            line = _Line(send, PINGS[exchange.dialect], scope)
            watch = self._watching()
            watch.lines.add(line)
            try:
                await call_next(exchange, line)
            finally:
                watch.lines.discard(line)
                await line.close()
        if line.failure is not None:
            raise line.failure

    def _watching(self) -> "_Watch":
        watch = self._watch.get()
        if watch is None:
            watch = _Watch(self._interval, on_end=lambda: self._watch.set(None))
            self._watch.set(watch)
        return watch


class _Watch:
    """The task that pings the silent ones among the streams of one loop; it ends when there are none."""

    def __init__(self, interval: float, *, on_end: Callable[[], object]) -> None:
        self._interval = interval
        self._on_end = on_end
        self.lines: set[_Line] = set()
        spawn(self._run)

    async def _run(self) -> None:
        async with anyio.create_task_group() as pings:
            try:
                while self.lines:
                    due = min(line.last for line in self.lines) + self._interval
                    await anyio.sleep(due - time.monotonic())
                    self._ping(pings)
            finally:
                # Before anything is waited for: who comes now gets a watch of its own. The value refers to the loop,
                # too; leaving it in the loop's variables would keep both alive.
                self._on_end()

    def _ping(self, pings: TaskGroup) -> None:
        now = time.monotonic()
        for line in self.lines:
            if line.last + self._interval <= now:
                line.last = now
                if not line.busy:
                    pings.start_soon(line.ping)


class _Line:
    """A ``Send`` that knows when it was last used, and lets one message pass at a time.

    A ping that cannot be sent cancels ``scope``, and ``failure`` says why.
    """

    def __init__(self, send: Send, ping: bytes, scope: anyio.CancelScope) -> None:
        self.last = time.monotonic()
        self.busy = False
        self.failure: Exception | None = None
        self._send = send
        self._ping = ping
        self._scope = scope
        self._begun = False
        self._pinging: anyio.Event | None = None
        self._ping_scope: anyio.CancelScope

    async def __call__(self, part: Part) -> None:
        if self._pinging is not None:
            await self._pinging.wait()
        if isinstance(part, Head):
            if self._begun:
                return
            self._begun = True
        self.busy = True
        try:
            await self._send(part)
        finally:
            self.busy = False
            self.last = time.monotonic()

    async def ping(self) -> None:
        """Send one ping, after a head if there was none; nothing when a piece was quicker."""
        if self.busy:
            return
        self.busy = True
        self._pinging = anyio.Event()
        try:
            with anyio.CancelScope() as self._ping_scope:
                if not self._begun:
                    self._begun = True
                    await self._send(STREAM_HEAD)
                await self._send(self._ping)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the call that it belongs to raises it
            self.failure = failure
            self._scope.cancel()
        finally:
            self.busy = False
            self._pinging.set()
            self._pinging = None
            self.last = time.monotonic()

    async def close(self) -> None:
        """Return when no ping is on its way any more; when cancelled it is given up."""
        if self._pinging is None:
            return
        pinging = self._pinging
        try:
            await pinging.wait()
        finally:
            self._ping_scope.cancel()
            with anyio.CancelScope(shield=True):
                await pinging.wait()
