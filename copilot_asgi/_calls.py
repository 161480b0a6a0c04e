"""One call and its response: over httpx's transport interface, or straight through the ``h1`` engine below it.

Rule: both ways behave alike, and one of our own exceptions says what goes wrong on either. What a call has in common
with others like it, a ``Draft``, is checked and put into bytes once.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self, cast, runtime_checkable

import anyio
import httpx
from msgspec import Struct

from copilot_asgi._failures import NETWORK_ERRORS, after_head, before_head
from copilot_asgi.errors import MalformedResponse, ResponseTooLarge, StreamInterrupted, UpstreamError, UpstreamTimeout
from copilot_asgi.exchange import Headers, header
from copilot_asgi.wire.inflate import Decoder, decoder

__all__ = [
    "CLOSE_TIMEOUT",
    "Answer",
    "DirectEngine",
    "Draft",
    "Origin",
    "ResponseStream",
    "Timeouts",
    "call_direct",
    "call_through",
    "origin_of",
]

CLOSE_TIMEOUT = 2.0  # seconds that closing may take, shielded from cancellation
INFLATE_LIMIT = 64 * 1024 * 1024  # bytes that may come out of a compressed stream
_VERSIONS = {None, b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2"}  # None: the engine does not say
_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]  # scheme, host (ASCII), port


class Timeouts(Struct, frozen=True, kw_only=True):
    """Deadlines in seconds: to connect, to a response's head, between pieces, for a small call, for a free place."""

    connect: float = 10.0
    head: float = 300.0
    idle: float = 300.0
    auth: float = 30.0
    queue: float = 30.0


class Answer(Protocol):
    """A response that an engine has begun to read; header names are as received."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]

    def receive(self) -> Awaitable[bytes]:
        """The next piece of the body, ``b""`` at its end. Raises one of ``NETWORK_ERRORS``."""

    async def aclose(self) -> None:
        """Give the response up, at once and whatever is still to come. Idempotent."""


@runtime_checkable
class DirectEngine(Protocol):
    """An engine that takes a request as bytes."""

    async def exchange(
        self, origin: Origin, head: bytes, body: bytes, *, connect: float, timeout: float, idle: float
    ) -> Answer:
        """Send a request and wait for the response's head. Raises one of ``NETWORK_ERRORS``."""


class Draft:
    """A request without its body: ``headers`` are checked, and in ``head`` as bytes together with the request line.

    ``engine`` is what takes it as bytes, if anything does.
    """

    __slots__ = ("engine", "head", "headers", "method", "origin", "url")

    def __init__(self, method: str, url: httpx.URL, headers: Headers, engine: DirectEngine | None) -> None:
        self.method = method
        self.url = url
        self.headers = headers
        self.engine = engine
        self.origin = origin_of(url)
        self.head = b"%b %b HTTP/1.1\r\n" % (method.encode("ascii"), url.raw_path) + _lines(headers)


def origin_of(url: httpx.URL) -> Origin:
    """Where to connect for ``url``. Raises ``httpx.UnsupportedProtocol``."""
    if url.scheme not in _PORTS:
        raise httpx.UnsupportedProtocol("Only http and https are spoken here.")
    return url.scheme, url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme]


async def call_direct(engine: DirectEngine, draft: Draft, own: Headers, content: bytes, timeouts: Timeouts) -> Answer:
    """Make the call of ``draft`` with its ``own`` headers and ``content`` as bytes. Raises ``NETWORK_ERRORS``."""
    head = b"%b%b\r\n" % (draft.head, _lines(own))
    return await engine.exchange(
        draft.origin, head, content, connect=timeouts.connect, timeout=timeouts.head, idle=timeouts.idle
    )


async def call_through(
    transport: httpx.AsyncBaseTransport, draft: Draft, own: Headers, content: bytes, timeouts: Timeouts
) -> Answer:
    """Make the call of ``draft`` over httpx's interface, which leaves all deadlines but one to us."""
    request = httpx.Request(
        draft.method,
        draft.url,
        headers=[*draft.headers, *own],
        stream=_Content(content),
        extensions={"timeout": {"connect": timeouts.connect}},
    )
    with anyio.move_on_after(timeouts.head):
        return _HttpxAnswer(await transport.handle_async_request(request), timeouts.idle)
    raise httpx.ReadTimeout("No head came in time.")


class ResponseStream:
    """One call and its response: ``async with`` sends it and waits for the head; leaving closes it at once.

    ``host`` is where it goes; ``status`` and ``headers`` (lower-case names) are known inside.
    """

    status: int
    headers: Headers

    def __init__(self, host: str, send: Callable[[], Awaitable[Answer]], *, timeout: float) -> None:
        self.host = host
        self._send = send
        self._timeout = timeout
        self._intact = True

    async def __aenter__(self) -> Self:
        try:
            self._answer = await self._send()
        except httpx.ReadTimeout as error:
            raise UpstreamTimeout(f"{self.host} did not begin to answer within {self._timeout:g} seconds.") from error
        except NETWORK_ERRORS as error:
            raise before_head(error, self.host) from error
        try:
            self._accept(self._answer)
        except UpstreamError:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    def receive(self) -> Awaitable[bytes]:
        """The next piece of the body as it came, ``b""`` at its end.

        Raises ``StreamInterrupted`` when the body breaks off (status 504: nothing came for ``timeouts.idle`` seconds),
        and ``MalformedResponse`` or ``ResponseTooLarge`` when it is badly encoded. Cancelling it gives the response up.
        """
        return self._next() if self._decoder is None else self._decoded(self._decoder)

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

    def _accept(self, answer: Answer) -> None:
        self.status = answer.status
        self.headers = tuple([(name.lower(), value) for name, value in answer.headers])
        if self.status < 200:
            raise MalformedResponse(f"{self.host} answered in another protocol than HTTP.")
        names = dict(self.headers)
        if b"transfer-encoding" in names and b"content-length" in names:
            raise MalformedResponse(f"{self.host} gave two different lengths of its answer.")  # RFC 9112 section 6.1
        coding = header(self.headers, b"content-encoding") if b"content-encoding" in names else None
        self._decoder = None if coding is None else decoder(coding, limit=INFLATE_LIMIT)

    async def _next(self) -> bytes:
        if not self._intact:
            raise StreamInterrupted(f"The answer of {self.host} was given up.")
        self._intact = False
        try:
            piece = await self._answer.receive()
        except NETWORK_ERRORS as error:
            raise after_head(error, self.host) from error
        self._intact = True
        return piece

    async def _decoded(self, decoder: Decoder) -> bytes:
        while piece := await self._next():
            if data := decoder.feed(piece):
                return data
        decoder.finish()
        return b""

    async def _close(self) -> None:
        with suppress(*NETWORK_ERRORS):
            await self._answer.aclose()


class _HttpxAnswer:
    """A response of an httpx transport. ``idle`` is how many seconds may pass between two pieces."""

    def __init__(self, response: httpx.Response, idle: float) -> None:
        # A version that is none of HTTP's has no status that could be believed.
        is_http = response.extensions.get("http_version") in _VERSIONS
        self.status = response.status_code if is_http else 0
        self.headers: Sequence[tuple[bytes, bytes]] = response.headers.raw
        self._stream = cast("httpx.AsyncByteStream", response.stream)
        self._pieces = aiter(self._stream)
        self._idle = idle

    async def receive(self) -> bytes:
        """The next piece; empty ones are left out."""
        with anyio.move_on_after(self._idle):
            async for piece in self._pieces:
                if piece:
                    return piece
            return b""
        raise httpx.ReadTimeout("Nothing came in time.")

    async def aclose(self) -> None:
        """Close, within ``CLOSE_TIMEOUT`` seconds that no cancellation cuts short."""
        with anyio.move_on_after(CLOSE_TIMEOUT, shield=True):
            if isinstance(self._pieces, AsyncGenerator):
                await self._pieces.aclose()
            await self._stream.aclose()


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


def _lines(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % pair for pair in headers])


def _declared(headers: Headers) -> int:
    length = header(headers, b"content-length") or b""
    return int(length[:20]) if length.isdigit() else 0


def _too_large(host: str, limit: int) -> ResponseTooLarge:
    return ResponseTooLarge(f"The answer of {host} is larger than {limit} bytes.")
