"""A TCP server that answers with scripted bytes, right or wrong, and counts what happens to its connections."""

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import anyio.abc
from anyio.streams.tls import TLSStream

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
EVENT_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Connection:
    """One accepted connection. ``number`` counts from 1."""

    def __init__(self, stream: anyio.abc.ByteStream, number: int, requests: list[bytes]) -> None:
        self._stream = stream
        self._buffer = b""
        self._requests = requests
        self.number = number

    async def request(self) -> bytes:
        """The next whole request; raises ``anyio.EndOfStream`` when the client has left."""
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += await self._stream.receive()
        head, _, rest = self._buffer.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        while len(rest) < length:
            rest += await self._stream.receive()
        self._buffer = rest[length:]
        request = head + b"\r\n\r\n" + rest[:length]
        self._requests.append(request)
        return request

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self._stream.send(data)

    async def chunk(self, data: bytes) -> None:
        """Send one chunk of a chunked body; an empty one is the last."""
        await self._stream.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def gone(self) -> None:
        """Wait until the client has left."""
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                await self._stream.receive()

    async def send_raw(self, data: bytes) -> None:
        """Send bytes past TLS."""
        assert isinstance(self._stream, TLSStream)
        await self._stream.transport_stream.send(data)

    async def send_together(self, *records: bytes) -> None:
        """Send TLS records that are encrypted one by one and leave as one."""
        assert isinstance(self._stream, TLSStream)
        for record in records:
            self._stream._ssl_object.write(record)
        await self.send_raw(self._stream._write_bio.read())

    async def relay(self, other: anyio.abc.ByteStream) -> None:
        """Pass bytes on in both directions until one side ends."""

        async def pump(source: anyio.abc.ByteStream, target: anyio.abc.ByteStream) -> None:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                while True:
                    await target.send(await source.receive())
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(pump, self._stream, other)
            group.start_soon(pump, other, self._stream)

    async def reset(self) -> None:
        """Close the connection so that the client sees a reset."""
        raw = self._stream.extra(anyio.abc.SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self._stream.aclose()


Play = Callable[[Connection], Awaitable[None]]


class FaultyServer:
    """What happened so far: ``accepted`` and ``open`` connections, and every request as it came."""

    def __init__(self, play: Play, context: ssl.SSLContext | None) -> None:
        self._play = play
        self._context = context
        self.accepted = 0
        self.open = 0
        self.requests: list[bytes] = []
        self.url = ""

    async def handle(self, stream: anyio.abc.SocketStream) -> None:
        self.accepted += 1
        number = self.accepted
        self.open += 1
        try:
            async with stream:
                await self._talk(stream, number)
        finally:
            self.open -= 1

    async def _talk(self, stream: anyio.abc.SocketStream, number: int) -> None:
        gone = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError)
        with suppress(*gone):
            channel: anyio.abc.ByteStream = stream
            if self._context is not None:
                channel = await TLSStream.wrap(
                    stream, server_side=True, ssl_context=self._context, standard_compatible=False
                )
            await self._play(Connection(channel, number, self.requests))

    async def all_closed(self) -> None:
        """Wait until no connection is open; fails after two seconds."""
        with anyio.fail_after(2):
            while self.open:
                await anyio.sleep(0.005)


@asynccontextmanager
async def serving(play: Play, *, context: ssl.SSLContext | None = None) -> AsyncIterator[FaultyServer]:
    """Run ``play`` for each connection to ``server.url``. When it returns the connection is closed."""
    server = FaultyServer(play, context)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", backlog=1000)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    scheme = "http" if context is None else "https"
    server.url = f"{scheme}://127.0.0.1:{port}/path"
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, server.handle)
        try:
            yield server
        finally:
            group.cancel_scope.cancel()


def answering(*answers: bytes) -> Play:
    """Answer the requests of a connection one by one with these bytes, then with ``OK``."""

    async def play(connection: Connection) -> None:
        for answer in answers:
            await connection.request()
            await connection.send(answer)
        while True:
            await connection.request()
            await connection.send(OK)

    return play


def answering_and_closing(answer: bytes) -> Play:
    """Answer the first request of each connection with these bytes and close."""

    async def play(connection: Connection) -> None:
        await connection.request()
        if answer:
            await connection.send(answer)

    return play
