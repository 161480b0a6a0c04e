"""One connection of the ``h1`` engine: an asyncio protocol that sends one request after another and waits for answers.

Rule: a byte that nobody asked for ends the connection and is never read as an answer, and whoever is cancelled while
waiting closes it. What asyncio calls never waits; no lock and no task is made.
"""

import asyncio
import select
import sys
from collections.abc import Callable
from math import inf
from typing import cast

import httpx

from copilot_asgi._calls import Origin
from copilot_asgi._h1_response import Response

__all__ = ["Connection"]

MAX_UNREAD = 128 * 1024  # bytes of body that wait for their reader; with more the peer has to wait
SMALL_BODY = 64 * 1024  # bytes of a request's body that are sent in one piece with its head


class Connection(asyncio.Protocol):
    """A connection to ``origin``; ``on_lost`` is called once, when it has gone. Used by one request at a time."""

    def __init__(self, origin: Origin, on_lost: Callable[["Connection"], None]) -> None:
        self.origin = origin
        self.closed = False
        self.response = Response(bodiless=True)
        self.response.lose(None)  # nothing was asked for yet
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._deadline = inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self._is_readable: Callable[[], bool] = lambda: True
        self._idle = True
        self._paused = False

    def send(self, head: bytes, body: bytes, *, bodiless: bool) -> None:
        """Send a whole request. ``bodiless``: its response has no body whatever the head says (HEAD)."""
        self.response = Response(bodiless=bodiless)
        self._idle = False
        if self.closed:
            self.response.lose(None)
        elif len(body) <= SMALL_BODY:
            self._opened().write(head + body)
        else:
            self._opened().write(head)
            self._opened().write(body)

    async def head(self, timeout: float = inf) -> None:
        """Wait up to ``timeout`` seconds until the response has its head.

        Raises ``httpx.TransportError``; cancelling it closes.
        """
        self._deadline = self._loop.time() + timeout
        try:
            while not self.response.has_head:
                await self._news()
        except BaseException:
            self.close()
            raise

    async def receive(self, timeout: float = inf) -> bytes:
        """What has come of the body since the last call, ``b""`` at its end, within ``timeout`` seconds.

        Raises ``httpx.TransportError``; cancelling it closes.
        """
        response = self.response
        if not response.pieces:
            self._deadline = self._loop.time() + timeout
            try:
                while not response.pieces:
                    if response.is_complete:
                        return b""
                    await self._news()
            except BaseException:
                self.close()
                raise
        piece = response.take()
        if self._paused:
            self._paused = False
            self._opened().resume_reading()
        return piece

    def release(self) -> bool:
        """Give the response up. Whether another request may be sent now; if not, the connection is closed."""
        response = self.response
        self._idle = (
            response.is_complete
            and response.persistent
            and not (response.pieces or self.closed)
            and self._opened().get_write_buffer_size() == 0
        )
        if not self._idle:
            self.close()
        return self._idle

    def is_quiet(self) -> bool:
        """Whether an idle connection can be used: neither closed nor holding bytes that nobody has read."""
        # The loop may not have looked at the socket since the last response ended; what waits there answers nothing.
        return not self.closed and not self._is_readable()

    def close(self) -> None:
        """Close at once, without the good-bye of TLS. Idempotent."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; for TLS the handshake is over."""
        self._transport = cast("asyncio.Transport", transport)
        self._is_readable = _readability(transport.get_extra_info("socket").fileno())
        if self.closed:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read on in the response under way; without one, end it."""
        response = self.response
        if self._idle or response.is_over:
            self.close()
            return
        if response.feed(data):
            # What TLS still holds when reading was paused, or is about to be, cannot be looked at.
            if not response.persistent or self._paused:
                self.close()
        elif response.unread > MAX_UNREAD and not self._paused:
            self._paused = True
            self._opened().pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """The peer will send no more."""
        self.response.end()
        self.close()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over, for whatever reason."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        self.response.lose(exc)
        self._wake()
        self._on_lost(self)

    def _opened(self) -> asyncio.Transport:
        assert self._transport is not None, "used before it was made"
        return self._transport

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _news(self) -> asyncio.Future[None]:
        """What to wait for until something has come, or the deadline has passed; who is cancelled there closes."""
        error = self.response.error
        if error is not None:
            # Another one each time: a traceback refers to its frames, and those to this connection.
            raise type(error)(str(error)) from error
        self._waiter = self._loop.create_future()
        self._set_timer()
        return self._waiter

    def _set_timer(self) -> None:
        """See to it that the timer goes off at the deadline or before it."""
        if self._timer_at <= self._deadline:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._check_deadline)

    def _check_deadline(self) -> None:
        self._timer_at = inf
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if self._loop.time() < self._deadline:
            self._set_timer()
        else:
            self._waiter = None  # as above: the error that it holds must not be held here
            waiter.set_exception(httpx.ReadTimeout("Nothing came in time."))


def _readability(descriptor: int) -> Callable[[], bool]:
    """A function that says whether something waits to be read."""
    if sys.platform == "win32":
        return lambda: bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return lambda: bool(poll.poll(0))
