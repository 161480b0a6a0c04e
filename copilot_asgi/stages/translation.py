"""Between the client's dialect and upstream's: prepare the request, follow the answer back, notice one that is cut.

Where both speak the same dialect, bytes that need no mending go on as the objects that came; otherwise requests and
answers are translated. The head waits for the first piece of body: until then a failure can still become a proper
status.
"""

import re
import time
from collections.abc import Awaitable
from functools import lru_cache

from copilot_asgi.errors import MalformedResponse, ResponseTooLarge, TranslationError, UpstreamTimeout
from copilot_asgi.exchange import Exchange, Handler, Head, Headers, Part, Request, Send, header
from copilot_asgi.native import plan_native
from copilot_asgi.plan import ANSWER_LIMIT, EVENT_STREAM, Plan
from copilot_asgi.routing import Route
from copilot_asgi.translated import plan_translated
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.stream import StreamMender

__all__ = ["Translation"]

# A client chooses the names of its fields; a header takes none but these characters.
_UNSPEAKABLE = re.compile(r"[^A-Za-z0-9_.\[\]-]")

# Keep-alive comments do not count as an answer: at one that comes so many seconds after the last event a stream is
# given up. Where nothing comes at all the network's own deadline holds.
EVENT_TIMEOUT = 600.0


class Translation:
    """Plan the exchange, hand on the planned request, turn what comes back; ``strict`` refuses what would be lost."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises ``BadRequest``, ``TranslationError``, ``StreamInterrupted``, ``MalformedResponse`` and the like."""
        route = exchange.route
        assert route is not None
        make = plan_native if _is_native(exchange.request, route) else plan_translated
        plan = make(exchange.request, route, answer_id=exchange.id.replace("-", ""), now=int(time.time()))
        self._check(plan)
        exchange.request, exchange.turn, exchange.stream = plan.request, plan.turn, plan.stream
        client = _Client(plan, exchange, send)
        if plan.request.stream and plan.stream is not None:
            await call_next(exchange, _Pieces(plan.stream, client))
            await client.send(plan.stream.finish())
        else:
            whole = _Whole(client)
            await call_next(exchange, whole)
            await client.send(plan.answer(whole.body()))

    def _check(self, plan: Plan) -> None:
        fields = [loss.field for loss in plan.losses if loss.matters]
        if self._strict and fields:
            raise TranslationError(
                f"This model speaks another dialect, which cannot say: {', '.join(fields)}. Leave that out, choose "
                "another model, or switch strict off.",
                param=fields[0],
            )


class _Client:
    """The client's side: sends the head with the first piece of body."""

    def __init__(self, plan: Plan, exchange: Exchange, send: Send) -> None:
        assert exchange.route is not None
        self._send = send
        self._ours = (
            (b"content-type", plan.content_type),
            *_told(exchange.route, plan),
        )
        self._head: Head | None = None

    def accept(self, head: Head, kind: bytes) -> None:
        """Take upstream's head; the content type decides how the body is read. Raises ``MalformedResponse``."""
        _expect(head, kind)
        passed = [pair for pair in head.headers if pair[0] != b"content-type"]
        self._head = Head(200, (*passed, *self._ours))

    def send(self, piece: bytes) -> Awaitable[None]:
        """Send a piece of body, after the head."""
        if piece and self._head is None:
            return self._send(piece)
        return self._begin(piece)

    async def _begin(self, piece: bytes) -> None:
        if piece and self._head is not None:
            head, self._head = self._head, None
            await self._send(head)
            await self._send(piece)


def _is_native(request: Request, route: Route) -> bool:
    """Whether bytes may go on as they are; a client cannot stream natively from a model that does not stream."""
    can_stream = route.model.supports.streaming is not False
    return route.dialect is request.dialect and (can_stream or not request.stream)


def _told(route: Route, plan: Plan) -> Headers:
    """Headers that say what answered, and which fields it never saw. Names of fields only, never values."""
    told = _answered_by(route.model.id, route.dialect, native=plan.native)
    if not plan.losses:
        return told
    dropped = list(dict.fromkeys(_UNSPEAKABLE.sub("?", loss.field)[:100] for loss in plan.losses))
    return (*told, (b"x-copilot-asgi-dropped", ", ".join(dropped).encode()[:1024]))


@lru_cache(maxsize=256)  # of one model every answer says the same
def _answered_by(model: str, dialect: Dialect, *, native: bool) -> Headers:
    way = "native" if native else f"translated; dialect={dialect.value}"
    return (b"x-copilot-asgi-model", model.encode()), (b"x-copilot-asgi-route", way.encode())


class _Pieces:
    """A ``Send`` that turns piece by piece, and notices when none of them brings an event."""

    def __init__(self, mender: StreamMender, client: _Client) -> None:
        self._mender = mender
        self._client = client
        self._events = 0
        self._since = time.monotonic()

    def __call__(self, part: Part) -> Awaitable[None]:
        if isinstance(part, Head):
            self._client.accept(part, EVENT_STREAM)
            return self._client.send(b"")
        piece = self._mender.feed(part)
        if self._mender.events != self._events:
            self._events, self._since = self._mender.events, time.monotonic()
        elif time.monotonic() - self._since >= EVENT_TIMEOUT and not self._mender.done:
            raise UpstreamTimeout("GitHub Copilot kept the stream open for ten minutes without an event.")
        return self._client.send(piece)


class _Whole:
    """A ``Send`` that keeps a whole answer."""

    def __init__(self, client: _Client) -> None:
        self._client = client
        self._pieces: list[bytes] = []
        self._size = 0

    async def __call__(self, part: Part) -> None:
        if isinstance(part, Head):
            self._client.accept(part, b"json")
            return
        self._size += len(part)
        if self._size > ANSWER_LIMIT:
            raise ResponseTooLarge(f"GitHub Copilot sent an answer of more than {ANSWER_LIMIT} bytes.")
        self._pieces.append(part)

    def body(self) -> bytes:
        """The answer, as one object."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


def _expect(head: Head, kind: bytes) -> None:
    """JSON served as plain text occurs and is let through."""
    content_type = (header(head.headers, b"content-type") or b"").lower()
    if (EVENT_STREAM in content_type) is not (kind == EVENT_STREAM) or b"html" in content_type:
        raise MalformedResponse(
            f"GitHub Copilot answered with {content_type.decode('latin-1')[:80] or 'no content type'} "
            f"where {kind.decode()} was expected."
        )
