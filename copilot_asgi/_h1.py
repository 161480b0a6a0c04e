"""The ``h1`` engine: HTTP/1.1 on asyncio and httptools, behind httpx's transport interface and, below it, ``exchange``.

Rule: everything belongs to one event loop and happens in its callbacks and in the caller's own task. A connection goes
back to the idle ones only when its last response was complete and read, and nothing else came. Of httpx's timeouts it
knows ``connect``, which covers finding, connecting and TLS; every other deadline is the caller's.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import chain, zip_longest
from math import inf
from typing import cast

import anyio
import httpx

from copilot_asgi._calls import Origin, origin_of
from copilot_asgi._h1_connection import Connection

__all__ = ["H1Transport"]

MAX_IDLE = 256  # connections kept for one origin; each for a while only
IDLE_EXPIRY = 30.0  # seconds that a connection is kept
STAGGER = 0.25  # seconds after which the next address is tried beside the last one (RFC 8305)


class H1Transport(httpx.AsyncBaseTransport):
    """Connections over TCP and, with ``context``, TLS; each is used again at once, the last one first.

    ``idle_expiry`` is in seconds. Raises what httpx's own transport raises. A kept connection that ends before a byte
    of its response costs one more try, on a new one (RFC 9112 section 9.3.1).
    """

    def __init__(self, context: ssl.SSLContext, *, max_idle: int = MAX_IDLE, idle_expiry: float = IDLE_EXPIRY) -> None:
        context.set_alpn_protocols(["http/1.1"])
        self._context = context
        self._max_idle = max_idle
        self._idle_expiry = idle_expiry
        self._open: set[Connection] = set()
        self._idle: dict[Origin, dict[Connection, float]] = {}  # since when, the oldest first
        self._timer: asyncio.TimerHandle | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response's head, its body still to come. Cancelling it closes the connection."""
        body = b"".join([piece async for piece in cast("httpx.AsyncByteStream", request.stream)])
        connect = request.extensions.get("timeout", {}).get("connect")
        head, bodiless = _head(request, len(body)), request.method == "HEAD"
        answer = await self.exchange(origin_of(request.url), head, body, connect=connect, bodiless=bodiless)
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=answer,
            extensions={"http_version": answer.version},
        )

    async def exchange(
        self,
        origin: Origin,
        head: bytes,
        body: bytes,
        *,
        connect: float | None = None,
        timeout: float = inf,
        idle: float = inf,
        bodiless: bool = False,
    ) -> "_Answer":
        """Send a request, ``head`` with its blank line and ``body`` as they are, and wait for the response's head.

        In seconds: ``connect`` for a new connection, ``timeout`` from then to the head, ``idle`` between two pieces of
        the body. ``bodiless``: the response has no body whatever its head says. Raises what
        ``handle_async_request`` raises, ``httpx.ReadTimeout`` too; cancelling it closes the connection.
        """
        kept = self._kept(origin)
        if kept is not None:
            try:
                kept.send(head, body, bodiless=bodiless)
                await kept.head(timeout)
                return _Answer(kept, self._release, idle)
            except httpx.ReadError:
                if kept.response.begun:
                    raise
        connection = await self._connect(origin, connect)
        connection.send(head, body, bodiless=bodiless)
        await connection.head(timeout)
        return _Answer(connection, self._release, idle)

    async def aclose(self) -> None:
        """Close every connection; whoever waits for one gets an ``httpx.ReadError``."""
        self._stop_timer()
        self._idle.clear()
        for connection in tuple(self._open):
            connection.close()
        await asyncio.sleep(0)  # sockets are closed in the loop's next turn, which may be its last

    def _kept(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin, {})
        while idle:
            connection, _ = idle.popitem()
            if connection.is_quiet():
                return connection
            connection.close()
        return None

    def _release(self, connection: Connection) -> None:
        if not connection.release():
            return
        idle = self._idle.setdefault(connection.origin, {})
        if len(idle) >= self._max_idle:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        idle[connection] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._idle_expiry, self._expire, loop)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        oldest: list[float] = []
        for origin, idle in tuple(self._idle.items()):
            for connection, since in tuple(idle.items()):
                if since + self._idle_expiry > loop.time():
                    oldest.append(since)
                    break
                del idle[connection]
                connection.close()
            if not idle:
                del self._idle[origin]
        if oldest:
            self._timer = loop.call_at(min(oldest) + self._idle_expiry, self._expire, loop)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._idle.get(connection.origin, {}).pop(connection, None)

    async def _connect(self, origin: Origin, deadline: float | None) -> Connection:
        with anyio.move_on_after(deadline):
            try:
                return await self._connect_to_any(origin, await _addresses(origin))
            except (OSError, ValueError) as error:
                raise httpx.ConnectError("The host could not be reached.") from error
        raise httpx.ConnectTimeout("The host did not take the connection in time.")

    async def _connect_to_any(self, origin: Origin, addresses: list[str]) -> Connection:
        """The first connection to come, each address tried a little after the one before it (RFC 8305)."""
        if len(addresses) == 1:
            return await self._connect_to(origin, addresses[0])
        made: list[Connection] = []
        errors: list[Exception] = []

        async def attempt(address: str, over: anyio.Event) -> None:
            try:
                made.append(await self._connect_to(origin, address))
                group.cancel_scope.cancel()
            except (OSError, ValueError) as error:
                errors.append(error)
            finally:
                over.set()

        try:
            async with anyio.create_task_group() as group:
                for address in addresses:
                    over = anyio.Event()
                    group.start_soon(attempt, address, over)
                    with anyio.move_on_after(STAGGER):
                        await over.wait()
            if not made:
                raise errors[-1]
            return made.pop(0)
        finally:
            for connection in made:
                connection.close()

    async def _connect_to(self, origin: Origin, address: str) -> Connection:
        scheme, host, port = origin
        connection = Connection(origin, self._lost)
        self._open.add(connection)
        context, name = (self._context, host.rstrip(".")) if scheme == "https" else (None, None)
        try:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: connection, address, port, ssl=context, server_hostname=name)
        except BaseException:
            self._open.discard(connection)
            connection.close()
            raise
        return connection


class _Answer(httpx.AsyncByteStream):
    """One response: its head and, piece by piece as it was read, its body.

    Closing it decides what becomes of its connection. Header names are as received.
    """

    def __init__(self, connection: Connection, release: Callable[[Connection], None], idle: float) -> None:
        response = connection.response
        self.status = response.status
        self.headers: Sequence[tuple[bytes, bytes]] = response.headers
        self.version = b"HTTP/" + response.version.encode()
        self._connection: Connection | None = connection
        self._release = release
        self._idle = idle

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await self.receive()
        if not piece:
            raise StopAsyncIteration
        return piece

    def receive(self) -> Awaitable[bytes]:
        """The next piece, ``b""`` at the end. Raises ``httpx.TransportError``; cancelling it closes the connection."""
        if self._connection is None:
            raise httpx.ReadError("The response was given up.")
        return self._connection.receive(self._idle)

    async def aclose(self) -> None:
        """Give the connection back, or close it. Does not wait; idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._release(connection)


def _head(request: httpx.Request, length: int) -> bytes:
    """The request's head as bytes. Raises ``httpx.LocalProtocolError`` for one that could be read in two ways."""
    lines = [request.method.encode("ascii") + b" " + request.url.raw_path + b" HTTP/1.1"]
    declared = b"0"
    for name, value in request.headers.raw:
        lines.append(name + b": " + value)
        if len(name) == 14 and name.lower() == b"content-length":
            declared = value
        elif len(name) == 17 and name.lower() == b"transfer-encoding":
            declared = b"chunked"
    head = b"\r\n".join([*lines, b"", b""])
    breaks = len(lines) + 1
    if declared != b"%d" % length or head.count(b"\r") != breaks or head.count(b"\n") != breaks or b"\0" in head:
        raise httpx.LocalProtocolError("The request's headers do not fit its body, or hold a line break.")
    return head


async def _addresses(origin: Origin) -> list[str]:
    """Where the host is, the families by turns, in the order that the system prefers (RFC 8305 section 4)."""
    _, host, port = origin
    if ":" in host or host.replace(".", "").isdigit():
        return [host]  # an address already
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    families: dict[int, list[str]] = {}
    for family, _, _, _, address in found:
        families.setdefault(family, []).append(str(address[0]))
    return [address for address in chain.from_iterable(zip_longest(*families.values())) if address is not None]
