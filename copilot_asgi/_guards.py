"""httpx's own transport with the guards that it lacks.

Rule: a connection is used again only when its last response was read to the end and nothing else has arrived since.
Whatever is cancelled, fails, or brings a byte that was not asked for is closed. What httpcore and anyio do
not show is looked up with care: where the parser's state cannot be found the connection is closed, not trusted.
"""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Protocol, cast

import anyio
import httpcore
import httpx

from copilot_asgi._calls import CLOSE_TIMEOUT

__all__ = ["GuardedTransport"]

MAX_IDLE_CONNECTIONS = 64
IDLE_EXPIRY = 30.0  # seconds

_SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


class _Unanswered(httpcore.ReadError):
    """The connection ended before a byte of the response came."""


class _Machine(Protocol):
    """What is used of h11's state machine."""

    @property
    def trailing_data(self) -> tuple[bytes, bool]:
        """Bytes behind the response, and whether the peer has closed."""

    def send_failed(self) -> None:
        """Mark the connection as not to be used again."""


class GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx's HTTP/1.1 transport, guarded, without a limit of its own, and with one more try on a stale connection."""

    def __init__(self, verify: ssl.SSLContext, *, proxy: httpx.Proxy | None = None) -> None:
        limits = httpx.Limits(
            max_connections=None, max_keepalive_connections=MAX_IDLE_CONNECTIONS, keepalive_expiry=IDLE_EXPIRY
        )
        super().__init__(verify=verify, trust_env=False, http2=False, limits=limits, proxy=proxy, retries=0)
        self._pool._network_backend = _Backend()  # noqa: SLF001 - httpcore's own parameter, which httpx does not pass on

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response's head, its body still to come.

        A kept connection that the server closed in the meantime costs one more try, on which nothing was answered yet
        (RFC 9112 section 9.3.1); a new connection that fails does not.
        """
        attempt = _Attempt()
        try:
            return await self._try(request, attempt)
        except httpx.ReadError as error:
            if attempt.opened or not isinstance(error.__cause__, _Unanswered):
                raise
        return await self._try(request, _Attempt())

    async def _try(self, request: httpx.Request, attempt: "_Attempt") -> httpx.Response:
        request.extensions = {**request.extensions, "trace": attempt.trace}
        try:
            response = await super().handle_async_request(request)
        except BaseException:
            with anyio.move_on_after(CLOSE_TIMEOUT, shield=True):
                await self._discard(attempt.opened)
            raise
        response.stream = _GuardedBody(response, self._discard)
        return response

    async def _discard(self, streams: "list[_Stream]") -> None:
        # httpcore loses a connection that is cancelled between connecting and sending, and one whose release asyncio
        # cancels (which its shield does not stop): neither in use nor closed, they and their requests would stay.
        lost = [connection for connection in self._pool.connections if _network_stream(connection) in streams]
        requests = self._pool._requests  # noqa: SLF001 - no public way to give a request up
        requests[:] = [request for request in requests if request.connection not in lost]
        for connection in lost:
            await connection.aclose()
        for stream in reversed(streams):
            await stream.aclose()


class _Attempt:
    """Which network streams one try opened; none when it used a kept connection."""

    def __init__(self) -> None:
        self.opened: list[_Stream] = []

    async def trace(self, name: str, info: Mapping[str, object]) -> None:  # noqa: ARG002 - httpcore's signature
        """Called by httpcore at each step; a completed connect or TLS handshake carries its stream."""
        stream = info.get("return_value")
        if isinstance(stream, _Stream):
            self.opened.append(stream)


class _GuardedBody(httpx.AsyncByteStream):
    """The body of one response; closing it decides whether its connection may be used again."""

    def __init__(self, response: httpx.Response, discard: "Callable[[list[_Stream]], Awaitable[None]]") -> None:
        self._discard = discard
        self._stream = cast("httpx.AsyncByteStream", response.stream)
        self._network: _Stream = response.extensions["network_stream"]
        self._pieces: AsyncIterator[bytes] | None = None
        self._complete = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._pieces is None:
            self._pieces = aiter(self._stream)
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            self._complete = True
            raise

    async def aclose(self) -> None:
        """Close, or keep for the next request what is complete and clean."""
        machine = _h11_machine(self._stream)
        try:
            if not self._complete or machine is None or machine.trailing_data[0] or _holds_bytes(self._network):
                await self._abandon(machine)
            await self._stream.aclose()
        except BaseException:
            with anyio.move_on_after(CLOSE_TIMEOUT, shield=True):
                await self._discard([self._network])
            raise

    async def _abandon(self, machine: _Machine | None) -> None:
        self._network.abandon()
        if self._pieces is not None:
            # Generators that are left suspended are finalised by the garbage collector, at some time, with a warning.
            with suppress(httpx.TransportError):
                async for _ in self._pieces:
                    pass
        if machine is not None:
            machine.send_failed()
        await self._network.aclose()


class _Backend(httpcore.AsyncNetworkBackend):
    """Opens connections through anyio, each as a ``_Stream``."""

    def __init__(self) -> None:
        self._anyio = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[_SocketOption] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """One TCP connection, by the first address that answers (RFC 8305)."""
        return _Stream(await self._anyio.connect_tcp(host, port, timeout, local_address, socket_options))


class _Stream(httpcore.AsyncNetworkStream):
    """A connection that knows whether the request under way has been answered at all."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self.inner = inner
        self._answered = False
        self._abandoned = False

    def abandon(self) -> None:
        """Make every later read fail at once."""
        self._abandoned = True

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next bytes; ``_Unanswered`` when the connection ends before the first one."""
        if self._abandoned:
            raise httpcore.ReadError("The response was given up.")
        try:
            data = await self.inner.read(max_bytes, timeout)
        except httpcore.ReadError as error:
            if self._answered:
                raise
            raise _Unanswered(str(error)) from error
        if not data and not self._answered:
            raise _Unanswered("The connection was closed.")
        self._answered = True
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send; what is read from now on answers this."""
        self._answered = False
        await self.inner.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection. Idempotent."""
        await self.inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """The same connection under TLS; closed when the handshake fails or is cancelled."""
        try:
            return _Stream(await self.inner.start_tls(ssl_context, server_hostname, timeout))
        except BaseException:
            with anyio.move_on_after(CLOSE_TIMEOUT, shield=True):
                await self.inner.aclose()
            raise

    def get_extra_info(self, info: str) -> object:
        """What httpcore wants to know about the socket."""
        return self.inner.get_extra_info(info)


def _network_stream(connection: object) -> object:
    while (inner := getattr(connection, "_connection", None)) is not None:
        connection = inner
    return getattr(connection, "_network_stream", None)


def _h11_machine(stream: object) -> _Machine | None:
    for name in ("_httpcore_stream", "_stream", "_connection", "_h11_state"):
        stream = getattr(stream, name, None)
    return cast("_Machine | None", stream)


def _holds_bytes(network: _Stream) -> bool:
    # Bytes may wait in asyncio's protocol, which reads more than was asked for, or, still encrypted, in front of TLS.
    # Those that are in the socket httpcore sees itself, before it uses the connection again.
    layer = getattr(network.inner, "_stream", None)
    while layer is not None:
        if getattr(getattr(layer, "_read_bio", None), "pending", 0):
            return True
        if getattr(getattr(layer, "_protocol", None), "read_queue", ()):
            return True
        layer = getattr(layer, "transport_stream", None)
    return False
