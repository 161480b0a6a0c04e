"""The mechanics of ASGI: a scope read into plain values, a body read, a leaving client noticed, parts sent as messages.

What servers and hosts were measured to do decides the rules here: no server cancels the task when the client leaves and
``send`` never fails, only ``receive`` tells; some hosts eat the body before us, some answer ``receive`` with junk for
ever; an unfinished response hangs the client of some servers.
"""

from collections.abc import Awaitable
from typing import Any

import anyio
import msgspec

from copilot_asgi.errors import BodyTooLarge
from copilot_asgi.exchange import Arrival, Head, Headers, Part, header

__all__ = ["ClientDisconnected", "Incoming", "Responder", "disconnected", "incoming", "read_body"]

# Meant for one hop only (RFC 9110, 7.6.1), added by the server itself, or by us for what is sent whole.
_DROPPED = frozenset({
    b"connection", b"content-length", b"date", b"keep-alive", b"proxy-authenticate", b"proxy-authorization",
    b"proxy-connection", b"server", b"te", b"trailer", b"transfer-encoding", b"upgrade",
})  # fmt: skip

# What servers raise in ``send`` whose client is gone (OSError by the ASGI specification 2.4).
_GONE = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError)

# Caches must leave a stream alone, compressing middleware and proxies must not hold it back.
_STREAM_TYPES = (b"text/event-stream", b"application/x-ndjson")
_STREAM_HEADERS: Headers = ((b"cache-control", b"no-cache, no-transform"), (b"x-accel-buffering", b"no"))


class ClientDisconnected(Exception):
    """The client left, or stopped taking what it is sent."""


class Incoming(msgspec.Struct, frozen=True):
    """What a scope says, as plain values; header names are lower case."""

    method: str
    scheme: str
    path: str
    root_path: str
    query: str
    headers: Headers
    client: str | None
    http1: bool
    user: object = None
    session: object = None

    @property
    def has_body(self) -> bool:
        """Whether a body follows the head (RFC 9112, 6.3)."""
        names = {name for name, value in self.headers if value != b"0"}
        return b"content-length" in names or b"transfer-encoding" in names

    def arrival(self, body: bytes) -> Arrival:
        """What an authenticator decides by."""
        return Arrival(
            client=self.client,
            headers=self.headers,
            method=self.method,
            path=self.path,
            query=self.query,
            body=body,
            user=self.user,
            session=self.session,
        )


def incoming(scope: Any) -> Incoming:
    """Read a scope; it is never written to."""
    query = scope.get("query_string", b"")
    client = scope.get("client")
    return Incoming(
        method=scope["method"].upper(),
        scheme=scope.get("scheme", "http"),
        path=scope["path"],
        root_path=scope.get("root_path", ""),
        query=query if isinstance(query, str) else query.decode("latin-1"),
        headers=tuple([(bytes(name).lower(), bytes(value)) for name, value in scope["headers"]]),
        client=client[0] if client else None,
        http1=scope.get("http_version", "1.1").startswith("1"),
        user=scope.get("user"),
        session=scope.get("session"),
    )


async def read_body(receive: Any, *, limit: int) -> bytes:
    """The whole request body. Raises ``BodyTooLarge`` over ``limit`` bytes, and ``ClientDisconnected``."""
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise BodyTooLarge(f"The request body is over {limit} bytes. Raise max_body, or send less.")
        pieces.append(piece)
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def disconnected(receive: Any) -> None:
    """Return when the client has left; a host whose ``receive`` returns junk for ever is given up on."""
    for stray in range(8):
        try:
            message = await receive()
        except Exception:  # noqa: BLE001 - hosts differ in what they raise; all of it means that nobody listens
            return
        if message["type"] == "http.disconnect":
            return
        await anyio.sleep(0.05 * (stray + 1))
    await anyio.sleep_forever()


async def _nothing() -> None:
    """What need not be sent."""


class Responder:
    """Sends parts as ASGI messages: a stream piece by piece, anything else whole and with its length, at the end.

    ``streams``: the client asked for a stream. ``begun`` says that there is a head, ``started`` that it is out.
    ``extra`` headers are added to it. A response to HEAD has no body. ``sent`` counts messages; ``sending`` says that
    the server has not taken the last one yet, for whoever looks after clients that take nothing.
    """

    def __init__(self, send: Any, *, extra: Headers, bodiless: bool) -> None:
        self._send = send
        self._bodiless = bodiless
        self._head: Head | None = None  # of what is sent whole
        self._pieces: list[bytes] = []
        self._finished = False
        self.extra = extra
        self.streams = False
        self.started = False
        self.sent = 0
        self.sending = False

    @property
    def begun(self) -> bool:
        """Whether there is a head, be it out or not."""
        return self.started or self._head is not None

    def send(self, part: Part) -> Awaitable[None]:
        """Send one part, or keep it; awaiting that is the back-pressure. Raises ``ClientDisconnected``."""
        if isinstance(part, Head):
            if self.streams or _is_stream(part):
                return self._message(self._start(part))
            self._head = part
        elif self._head is not None:
            self._pieces.append(part)
        elif part and not self._bodiless:
            return self._message({"type": "http.response.body", "body": part, "more_body": True})
        return _nothing()

    async def finish(self) -> None:
        """End the response; harmless when it has ended. Raises ``ClientDisconnected``."""
        if self._finished:
            return
        self._finished = True
        body = b""
        if self._head is not None:
            # One message and, as servers write each of them, one system call less than by pieces.
            body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            await self._message(self._start(self._head, length=len(body)))
        await self._message({"type": "http.response.body", "body": b"" if self._bodiless else body, "more_body": False})

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole response, in place of what was not sent yet. Raises ``ClientDisconnected``."""
        self._head, self._pieces = Head(status, headers), [body]
        await self.finish()

    def _start(self, head: Head, *, length: int | None = None) -> dict[str, object]:
        self.started = True
        headers = [pair for pair in head.headers if pair[0] not in _DROPPED]
        if _is_stream(head):
            headers += _STREAM_HEADERS
        if length is not None and head.status != 204:  # RFC 9110, 8.6
            headers.append((b"content-length", b"%d" % length))
        return {"type": "http.response.start", "status": head.status, "headers": [*headers, *self.extra]}

    async def _message(self, message: dict[str, object]) -> None:
        self.sent += 1
        self.sending = True
        try:
            await self._send(message)
        except _GONE:
            raise ClientDisconnected from None
        finally:
            self.sending = False


def _is_stream(head: Head) -> bool:
    return (header(head.headers, b"content-type") or b"").startswith(_STREAM_TYPES)
