"""Keep a silent stream alive: while a model thinks, the client hears from us in its own dialect.

Something on the way closes connections that say nothing for a minute. The ping comes from a task beside the relay, is
never sent inside a piece, and never while a piece is on its way.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType

import anyio

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

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises what the rest of the pipeline raises, never in a group."""
        if not exchange.request.stream or exchange.dialect not in PINGS:
            await call_next(exchange, send)
            return
        line = _Line(send, PINGS[exchange.dialect])
        errors: list[Exception] = []
        async with anyio.create_task_group() as group:

            async def run(work: Callable[[], Awaitable[None]]) -> None:
                try:
                    await work()
                except Exception as error:  # noqa: BLE001 - carried past the group, which would wrap it
                    errors.append(error)
                group.cancel_scope.cancel()

            group.start_soon(run, partial(line.ping, self._interval))
            await run(partial(call_next, exchange, line))
        if errors:
            raise errors[0]


class _Line:
    """A ``Send`` that knows when it was last used, and lets one message pass at a time."""

    def __init__(self, send: Send, ping: bytes) -> None:
        self._send = send
        self._ping = ping
        self._begun = False
        self._busy = False
        self._pinging: anyio.Event | None = None
        self._last = anyio.current_time()

    async def __call__(self, part: Part) -> None:
        if self._pinging is not None:
            await self._pinging.wait()
        if isinstance(part, Head):
            if self._begun:
                return
            self._begun = True
        self._busy = True
        try:
            await self._send(part)
        finally:
            self._busy = False
            self._last = anyio.current_time()

    async def ping(self, interval: float) -> None:
        """Ping whenever nothing was sent for ``interval`` seconds, until cancelled."""
        while True:
            await anyio.sleep_until(self._last + interval)
            if anyio.current_time() < self._last + interval:
                continue
            if not self._busy:
                await self._ping_once()
            self._last = anyio.current_time()

    async def _ping_once(self) -> None:
        self._pinging = anyio.Event()
        try:
            if not self._begun:
                self._begun = True
                await self._send(STREAM_HEAD)
            await self._send(self._ping)
        finally:
            self._pinging.set()
            self._pinging = None
