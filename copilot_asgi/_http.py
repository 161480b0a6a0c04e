"""The only door to the network: calls that stream (models) and calls that are small (login, tokens, catalog).

Rule: the engine is one argument, an ``httpx.AsyncBaseTransport``. Everything above it is ours: no cookies, no
redirects, no authentication flows, only addresses that are allowed, deadlines on every wait, bounds on every size, and
one of our own exceptions for whatever goes wrong.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Self, cast

import anyio
import anyio.to_thread
import httpx
from anyio.lowlevel import current_token
from msgspec import Struct

from copilot_asgi._failures import NETWORK_ERRORS, after_head, before_head, idle, mapped
from copilot_asgi._guards import CLOSE_TIMEOUT
from copilot_asgi._transport import default_transport
from copilot_asgi.config import Engine
from copilot_asgi.errors import (
    ConfigError,
    MalformedResponse,
    Overloaded,
    ResponseTooLarge,
    StreamInterrupted,
    UpstreamError,
    UpstreamTimeout,
)
from copilot_asgi.exchange import Headers, header
from copilot_asgi.wire.inflate import decoder

__all__ = ["HttpClient", "Response", "ResponseStream", "Timeouts"]

MAX_FETCHES = 16  # small calls under way at once
FETCH_LIMIT = 1024 * 1024  # bytes of a small answer
INFLATE_LIMIT = 64 * 1024 * 1024  # bytes that may come out of a compressed stream
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_OURS = frozenset({b"host", b"accept-encoding", b"content-length", b"transfer-encoding", b"connection"})
_VERSIONS = {None, b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2"}  # None: the engine does not say
_FORBIDDEN = frozenset(b"\r\n\0")


class Timeouts(Struct, frozen=True, kw_only=True):
    """Deadlines in seconds: to connect, to a response's head, between pieces, for a small call, for a free place."""

    connect: float = 10.0
    head: float = 300.0
    idle: float = 300.0
    auth: float = 30.0
    queue: float = 30.0


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
        self._streams = anyio.Semaphore(max_streams, fast_acquire=True)
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

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None]:
        """A place among the model calls, for a block. Raises ``Overloaded`` when none is free in ``timeouts.queue``."""
        try:
            self._streams.acquire_nowait()
        except anyio.WouldBlock:
            await self._queue()
        try:
            yield
        finally:
            self._streams.release()

    async def _queue(self) -> None:
        with anyio.move_on_after(self._timeouts.queue) as scope:
            await self._streams.acquire()
        if scope.cancelled_caught:
            raise Overloaded(
                "Too many calls are under way. Try again in a moment; max_streams says how many streams may be."
            )

    def stream(
        self, method: str, url: str, *, headers: Sequence[tuple[bytes, bytes]], content: bytes
    ) -> "ResponseStream":
        """One call, for ``async with``. Raises ``ConfigError`` for an address or header that is not allowed."""
        if self._transport is None:
            raise RuntimeError("The client is not open: use it inside 'async with'.")
        return ResponseStream(self._transport, self._request(method, url, headers, content), timeouts=self._timeouts)

    def _request(self, method: str, url: str, headers: Sequence[tuple[bytes, bytes]], content: bytes) -> httpx.Request:
        target = self._checked(url)
        sent = [(b"host", target.netloc), (b"accept-encoding", b"identity")]
        if content or method != "GET":
            sent.append((b"content-length", b"%d" % len(content)))
        for name, value in headers:
            if not name or not _TOKEN.issuperset(name) or not _FORBIDDEN.isdisjoint(value):
                raise ConfigError(
                    f"The header {name!r} holds characters that HTTP forbids, such as a line break. Nothing was sent."
                )
            if name.lower() not in _OURS:
                sent.append((name, value))
        timeout = {"connect": self._timeouts.connect}
        return httpx.Request(method, target, headers=sent, stream=_Content(content), extensions={"timeout": timeout})

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


class _Content(httpx.AsyncByteStream):
    """A request body of one piece. Not a generator: one that is left half-way is finalised late, with a warning."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Pieces([self._content] if self._content else [])


class _Pieces(AsyncIterator[bytes]):
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def __anext__(self) -> bytes:
        if not self._pieces:
            raise StopAsyncIteration
        return self._pieces.pop(0)


class ResponseStream:
    """One call and its response: ``async with`` sends it and waits for the head; leaving closes it at once.

    ``host`` is where it goes; ``status`` and ``headers`` (lower-case names) are known inside.
    """

    status: int
    headers: Headers

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        request: httpx.Request,
        *,
        timeouts: Timeouts,
    ) -> None:
        self.host = request.url.host
        self._transport = transport
        self._request = request
        self._timeouts = timeouts
        self._intact = True

    async def __aenter__(self) -> Self:
        response = await self._send()
        self._stream = cast("httpx.AsyncByteStream", response.stream)
        self._pieces = aiter(self._stream)
        try:
            self._accept(response)
        except UpstreamError:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    async def receive(self) -> bytes:
        """The next piece of the body as it came, ``b""`` at its end.

        Raises ``StreamInterrupted`` when the body breaks off (status 504: nothing came for ``timeouts.idle`` seconds),
        and ``MalformedResponse`` or ``ResponseTooLarge`` when it is badly encoded. Cancelling it gives the response up.
        """
        while (piece := await self._next()) is not None:
            if data := self._decoder.feed(piece):
                return data
        self._decoder.finish()
        return b""

    async def read(self, limit: int) -> bytes:
        """The whole rest of the body; raises as ``receive`` does, and ``ResponseTooLarge`` over ``limit`` bytes."""
        body = bytearray()
        if _declared(self.headers) > limit:
            raise _too_large(self.host, limit)
        while piece := await self.receive():
            body += piece
            if len(body) > limit:
                raise _too_large(self.host, limit)
        return bytes(body)

    async def _send(self) -> httpx.Response:
        with mapped(self.host, before_head), anyio.move_on_after(self._timeouts.head):
            return await self._transport.handle_async_request(self._request)
        raise UpstreamTimeout(f"{self.host} did not begin to answer within {self._timeouts.head:g} seconds.")

    def _accept(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers = tuple((name.lower(), value) for name, value in response.headers.raw)
        if self.status < 200 or response.extensions.get("http_version") not in _VERSIONS:
            raise MalformedResponse(f"{self.host} answered in another protocol than HTTP.")
        if (
            header(self.headers, b"transfer-encoding") is not None
            and header(self.headers, b"content-length") is not None
        ):
            raise MalformedResponse(f"{self.host} gave two different lengths of its answer.")  # RFC 9112 section 6.1
        self._decoder = decoder(header(self.headers, b"content-encoding") or b"", limit=INFLATE_LIMIT)

    async def _next(self) -> bytes | None:
        if not self._intact:
            raise StreamInterrupted(f"The answer of {self.host} was given up.")
        self._intact = False
        with mapped(self.host, after_head), anyio.move_on_after(self._timeouts.idle):
            piece = await anext(self._pieces, None)
            self._intact = True
            return piece
        raise idle(self.host)

    async def _close(self) -> None:
        with suppress(*NETWORK_ERRORS), anyio.move_on_after(CLOSE_TIMEOUT, shield=True):
            if isinstance(self._pieces, AsyncGenerator):
                await self._pieces.aclose()
            await self._stream.aclose()


def _declared(headers: Headers) -> int:
    length = header(headers, b"content-length") or b""
    return int(length[:20]) if length.isdigit() else 0


def _too_large(host: str, limit: int) -> ResponseTooLarge:
    return ResponseTooLarge(f"The answer of {host} is larger than {limit} bytes.")
