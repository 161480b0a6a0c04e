"""One request to an ASGI app without a server in between, and its response, whatever the client library.

Rule: the app's messages meet the client's reads one by one, nothing is kept in between; once ``close`` has returned,
nothing of the app is running.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextvars import copy_context
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from anyio.from_thread import BlockingPortal
from anyio.lowlevel import checkpoint

from copilot_asgi._spawn import spawn
from copilot_asgi.exchange import Head

if TYPE_CHECKING:
    import httpx

__all__ = ["Body", "Call", "Host", "Message", "SyncBody", "in_steps"]

GRACE = 1.0  # seconds that an app which waits for http.disconnect gets to end by itself

Message = dict[str, Any]


class Host(Protocol):
    """What a call needs to know of the transport that makes it."""

    app: Any
    library: ModuleType
    raise_exceptions: bool

    def scope(self, request: "httpx.Request") -> Message:
        """The ASGI scope of that request."""


class Call:
    """One request to the app and its response. Starts the app at once, on the loop on which it is made."""

    def __init__(self, transport: Host, request: "httpx.Request", body: AsyncIterator[bytes]) -> None:
        self._transport = transport
        self._scope = transport.scope(request)
        self._body = body
        self._body_read = False
        self._patience: float | None = request.extensions.get("timeout", {}).get("read")
        self._started = False
        self._complete = False
        self._watchers = 0
        self._gone = anyio.Event()
        self._into, self._out = anyio.create_memory_object_stream[Message](0)
        self._task = spawn(self._run, context=copy_context())

    async def head(self) -> Head:
        """Wait for the start of the response. On failure and cancellation the app has ended."""
        try:
            message = await self._next()
        except BaseException as error:
            await self._end()
            if not isinstance(error, self._transport.library.RemoteProtocolError) or self._transport.raise_exceptions:
                raise
            self._complete = True
            return Head(500, ((b"content-length", b"0"),))
        return Head(message["status"], tuple(message.get("headers", ())))

    async def piece(self) -> bytes:
        """The next piece of the body, ``b""`` at its end."""
        while not self._complete:
            message = await self._next()
            self._complete = not message.get("more_body", False)
            body = bytes(message.get("body", b""))
            if body and self._scope["method"] != "HEAD":
                return body
        return b""

    async def close(self) -> None:
        """Wait for the app to end; when its response is not complete, as the client has left."""
        try:
            if self._complete:
                await self._task.wait()
        finally:
            await self._end()
        if self._task.error is not None and self._transport.raise_exceptions:
            raise self._task.error

    async def _end(self) -> None:
        self._gone.set()
        self._out.close()
        with anyio.CancelScope(shield=True):
            if self._watchers:
                with anyio.move_on_after(GRACE):
                    await self._task.wait()
            self._task.cancel()
            await self._task.wait()

    async def _next(self) -> Message:
        with anyio.move_on_after(self._patience):
            try:
                return await self._out.receive()
            except anyio.EndOfStream:
                await self._task.wait()
                raise self._early_end() from None
        raise self._transport.library.ReadTimeout("The app sent nothing in time.")

    def _early_end(self) -> Exception:
        if self._task.error is not None and self._transport.raise_exceptions:
            return self._task.error
        error: Exception = self._transport.library.RemoteProtocolError("The app ended before its response did.")
        return error

    async def _run(self) -> None:
        try:
            await self._transport.app(self._scope, self._receive, self._send)
        finally:
            self._gone.set()
            self._into.close()
            if isinstance(self._body, AsyncGenerator):
                await self._body.aclose()

    async def _receive(self) -> Message:
        if self._body_read or self._gone.is_set():
            self._watchers += 1
            try:
                await self._gone.wait()
            finally:
                self._watchers -= 1
            return {"type": "http.disconnect"}
        piece = await anext(self._body, None)
        self._body_read = piece is None
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    async def _send(self, message: Message) -> None:
        expected = "http.response.body" if self._started else "http.response.start"
        if message["type"] != expected:
            raise RuntimeError(f"The app sent {message['type']!r} where {expected!r} was due.")
        self._started = True
        if self._gone.is_set():
            await checkpoint()
            return
        try:
            await self._into.send(message)
        except anyio.BrokenResourceError:
            return
        if expected == "http.response.body" and not message.get("more_body", False):
            self._gone.set()


class Body:
    """The body of a response, for an asynchronous client."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._call.piece()
        if not piece:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Leave: the app has ended when this returns."""
        await self._call.close()


class SyncBody:
    """The body of a response, for a synchronous client."""

    def __init__(self, call: Call, portal: BlockingPortal) -> None:
        self._call = call
        self._portal = portal

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self._portal.call(self._call.piece), b"")

    def close(self) -> None:
        """Leave: the app has ended when this returns."""
        self._portal.call(self._call.close)


async def in_steps(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    """The same pieces, for an app that awaits each."""
    for piece in pieces:
        yield piece
