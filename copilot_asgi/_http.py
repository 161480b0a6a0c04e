"""The only door to the network: calls that stream (models) and calls that are small (login, tokens, catalog).

Rule: the engine is one argument, an ``httpx.AsyncBaseTransport``. Everything above it is ours: no cookies, no
redirects, no authentication flows, only addresses that are allowed, deadlines on every wait, bounds on every size, and
one of our own exceptions for whatever goes wrong.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import Self

import anyio
import anyio.to_thread
import httpx
from anyio.lowlevel import current_token
from msgspec import Struct

from copilot_asgi._calls import CLOSE_TIMEOUT, Draft, ResponseStream, Timeouts, call_direct, call_through
from copilot_asgi._transport import default_transport, direct_engine
from copilot_asgi.config import Engine
from copilot_asgi.errors import ConfigError, Overloaded, UpstreamTimeout
from copilot_asgi.exchange import Headers

__all__ = ["HttpClient", "Response"]

MAX_FETCHES = 16  # small calls under way at once
FETCH_LIMIT = 1024 * 1024  # bytes of a small answer
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_OURS = frozenset({b"host", b"accept-encoding", b"content-length", b"transfer-encoding", b"connection"})


class Response(Struct, frozen=True):
    """A whole small response; header names are lower case."""

    status: int
    headers: Headers
    body: bytes


class HttpClient:
    """Makes calls over one transport. Open it with ``async with`` on the loop that uses it.

    ``allowed`` decides by normalised URL where a call may go. There are ``max_streams`` places for model calls, which
    are made inside of ``place``; small calls have places of their own, so that a token can be renewed while every
    stream is taken.
    """

    def __init__(
        self,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        timeouts: Timeouts,
        max_streams: int,
        allowed: Callable[[str], bool],
        engine: Engine = Engine.AUTO,
    ) -> None:
        self._transport = transport
        self._engine = engine
        self._timeouts = timeouts
        self._allowed = allowed
        self._places = _Places(max_streams, timeouts.queue)
        self._fetches = anyio.Semaphore(MAX_FETCHES, fast_acquire=True)

    async def __aenter__(self) -> Self:
        if self._transport is None:
            on_asyncio = isinstance(current_token().native_token, asyncio.AbstractEventLoop)
            make = partial(default_transport, self._engine, on_asyncio=on_asyncio)
            self._transport = await anyio.to_thread.run_sync(make)
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._transport is not None:
            with anyio.move_on_after(CLOSE_TIMEOUT, shield=True):
                await self._transport.__aexit__(kind, error, traceback)

    async def fetch(
        self, method: str, url: str, *, headers: Sequence[tuple[bytes, bytes]], content: bytes = b""
    ) -> Response:
        """One small call, whole: ``timeouts.auth`` seconds, 1 MiB. Any status is an answer.

        Raises kinds of ``UpstreamError``, ``Overloaded``, and ``ConfigError`` for an address or header that is not
        allowed.
        """
        call = self.stream(method, url, headers=headers, content=content)
        with anyio.move_on_after(self._timeouts.auth):
            async with self._fetches, call as response:
                return Response(response.status, response.headers, await response.read(FETCH_LIMIT))
        raise UpstreamTimeout(f"{call.host} did not answer within {self._timeouts.auth:g} seconds.")

    def place(self) -> AbstractAsyncContextManager[None]:
        """A place among the model calls, for a block. Raises ``Overloaded`` when none is free in ``timeouts.queue``."""
        return self._places

    def stream(
        self, method: str, url: str, *, headers: Sequence[tuple[bytes, bytes]], content: bytes
    ) -> ResponseStream:
        """One call, for ``async with``. Raises ``ConfigError`` for an address or header that is not allowed."""
        return self.call(self.draft(method, url, headers=headers), content)

    def draft(self, method: str, url: str, *, headers: Sequence[tuple[bytes, bytes]]) -> Draft:
        """A request that may be made any number of times, for which its address and headers are checked once.

        Raises ``ConfigError`` for one that is not allowed.
        """
        target = self._checked(url)
        sent = [pair for pair in _checked_headers(headers) if pair[0].lower() not in _OURS]
        ours = ((b"host", target.netloc), (b"accept-encoding", b"identity"))
        return Draft(method, target, (*ours, *sent), direct_engine(self._opened(), target))

    def call(self, draft: Draft, content: bytes, *, headers: Sequence[tuple[bytes, bytes]] = ()) -> ResponseStream:
        """The call of ``draft``, for ``async with``; ``headers`` belong to this one alone. Raises ``ConfigError``."""
        own = _checked_headers(headers)
        if content or draft.method != "GET":
            own = (*own, (b"content-length", b"%d" % len(content)))
        if draft.engine is not None:
            send = partial(call_direct, draft.engine, draft, own, content, self._timeouts)
        else:
            send = partial(call_through, self._opened(), draft, own, content, self._timeouts)
        return ResponseStream(draft.url.host, send, timeout=self._timeouts.head)

    def _opened(self) -> httpx.AsyncBaseTransport:
        if self._transport is None:
            raise RuntimeError("The client is not open: use it inside 'async with'.")
        return self._transport

    def _checked(self, url: str) -> httpx.URL:
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            raise ConfigError("An upstream address is not a URL. Nothing was sent.") from None
        if parsed.scheme not in {"http", "https"} or parsed.userinfo or not self._allowed(str(parsed)):
            raise ConfigError(
                f"Calls to {parsed.host or 'an address without a host'} are not allowed. Nothing was sent. "
                "Check github_url, github_api_url, copilot_url and enterprise_domain."
            )
        return parsed


class _Places(AbstractAsyncContextManager[None]):
    """``count`` places, each taken for a block; who finds none waits up to ``timeout`` seconds for one."""

    def __init__(self, count: int, timeout: float) -> None:
        self._free = anyio.Semaphore(count, fast_acquire=True)
        self._timeout = timeout

    async def __aenter__(self) -> None:
        try:
            self._free.acquire_nowait()
        except anyio.WouldBlock:
            await self._queue()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._free.release()

    async def _queue(self) -> None:
        with anyio.move_on_after(self._timeout) as scope:
            await self._free.acquire()
        if scope.cancelled_caught:
            raise Overloaded(
                "Too many calls are under way. Try again in a moment; max_streams says how many streams may be."
            )


def _checked_headers(headers: Sequence[tuple[bytes, bytes]]) -> Headers:
    """``headers``, of which none could be read as anything else. Raises ``ConfigError``."""
    for name, value in headers:
        if not name or not _TOKEN.issuperset(name) or b"\n" in value or b"\r" in value or b"\0" in value:
            raise ConfigError(
                f"The header {name!r} holds characters that HTTP forbids, such as a line break. Nothing was sent."
            )
    return tuple(headers)
