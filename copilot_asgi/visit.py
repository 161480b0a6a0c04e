"""One HTTP scope on its way through the edge: what came in, where it goes, and how far its response is."""

import logging
import random
import time
from typing import Any

import anyio

from copilot_asgi.edge import ClientDisconnected, Incoming, Responder
from copilot_asgi.errors import CopilotASGIError
from copilot_asgi.exchange import Exchange, Headers, header
from copilot_asgi.paths import Target
from copilot_asgi.secret import redact
from copilot_asgi.wire.dialect import Dialect, error_event, render_error

__all__ = ["Visit"]

logger = logging.getLogger(__name__)

# What access logs show for a client that left before the answer; nobody receives it (nginx's convention).
CLIENT_CLOSED_REQUEST = 499

# The bits of a UUID that say which version and variant it is, and what they are in version 4.
_FIXED = 0xF << 76 | 0x3 << 62
_VERSION_4 = 0x4 << 76 | 0x2 << 62


class Visit:
    """One request's way in and out. ``target`` is ``None`` for a path that no route has.

    ``reading``: its body is awaited. ``answering``: it has come, and ``receive`` only tells that the client has left.
    ``patience`` is how many seconds the client may take nothing of what it is told at the end.
    """

    def __init__(self, call: Incoming, target: Target | None, receive: Any, send: Any, *, patience: float) -> None:
        self.id = _new_id()
        self.call = call
        self.target = target
        self.dialect = _dialect(call, target)
        self.receive = receive
        self.reading = False
        self.answering = False
        self.body_read = False
        self.exchange: Exchange | None = None
        self.responder = Responder(send, extra=_id_headers(self.dialect, self.id), bodiless=call.method == "HEAD")
        self._patience = patience

    @property
    def sent(self) -> int:
        """How many messages were sent."""
        return self.responder.sent

    @property
    def sending(self) -> bool:
        """Whether the server has not taken the last one yet."""
        return self.responder.sending

    async def fail(self, error: CopilotASGIError) -> None:
        """Answer with an error, or end a stream with an error event; never as if it had gone well."""
        caller = "" if self.exchange is None or self.exchange.caller is None else f" for {self.exchange.caller.name}"
        logger.info("%s%s: %s: %s", self.id, caller, type(error).__name__, redact(error.message))
        try:
            with anyio.move_on_after(self._patience):
                await self._tell(error)
        except ClientDisconnected:
            logger.debug("%s: nobody is there to be told", self.id)
        except Exception as failure:  # noqa: BLE001 - no exception may leave the app, least of all one about an error
            logger.warning("%s: the error could not be told: %s", self.id, type(failure).__name__)

    def end(self) -> None:
        """The server shuts down, and what is under way is given up."""
        if self.exchange is not None:
            self.exchange.ended = True

    async def leave(self) -> None:
        """The client is gone; hosts and servers still want a response that is finished."""
        logger.debug("%s: the client left", self.id)
        try:
            with anyio.move_on_after(self._patience):
                if not self.responder.started:
                    await self.responder.respond(CLIENT_CLOSED_REQUEST, (), b"")
                await self.responder.finish()
        except Exception as failure:  # noqa: BLE001 - a server may have lost count of what it got before the client left
            logger.debug("%s: the server takes no end of the response: %s", self.id, type(failure).__name__)

    async def _tell(self, error: CopilotASGIError) -> None:
        responder = self.responder
        if responder.started:
            if responder.streams:
                await responder.send(self._last_words(error))
            await responder.finish()
            return
        if self.call.has_body and not self.body_read and self.call.http1:
            # What is left of the body must not be read as the next request (RFC 9112, 9.6).
            responder.extra += ((b"connection", b"close"),)
        rendered = render_error(error, self.dialect, request_id=self.id, now=time.time())
        await responder.respond(rendered.status, rendered.headers, rendered.body)

    def _last_words(self, error: CopilotASGIError) -> bytes:
        stream = None if self.exchange is None else self.exchange.stream
        progress = None if stream is None else stream.progress
        event = error_event(error, self.dialect, request_id=self.id, progress=progress)
        return event if stream is None else stream.closing(event)


def _new_id() -> str:
    """A random UUID (RFC 9562, version 4). It names a request and guards nothing, so it costs no system call."""
    text = f"{random.getrandbits(128) & ~_FIXED | _VERSION_4:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _dialect(call: Incoming, target: Target | None) -> Dialect:
    """The dialect that errors and lists are written in: the route's own, or Anthropic's for its clients."""
    if target is not None and target.endpoint.dialect is not None:
        return target.endpoint.dialect
    return Dialect.MESSAGES if header(call.headers, b"anthropic-version") is not None else Dialect.CHAT


def _id_headers(dialect: Dialect, visit_id: str) -> Headers:
    """The id under the names that each vendor's SDK reads."""
    value = visit_id.encode()
    ours: Headers = ((b"x-request-id", value),)
    return (*ours, (b"request-id", value)) if dialect is Dialect.MESSAGES else ours
