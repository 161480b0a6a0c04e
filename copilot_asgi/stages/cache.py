"""Keep answers that would come again, and give them to whoever asks the same again.

Rule: what is kept belongs to one caller, account, model and request, all of it; only whole answers are kept. A store
that fails costs the cache, never the request. Where several ask the same at once, one goes on and the others wait for
its answer, never for its error: when it fails, or its client leaves, the next one goes.
"""

import hashlib
import logging
import time
from collections.abc import Callable

import anyio
import msgspec
from anyio.lowlevel import RunVar

from copilot_asgi.complaints import Complaints
from copilot_asgi.exchange import Exchange, Handler, Head, Headers, Part, Request, Send, header
from copilot_asgi.pricing import Usage
from copilot_asgi.stores import Store
from copilot_asgi.wire.repeatable import is_repeatable

__all__ = ["Cache"]

logger = logging.getLogger(__name__)

MAX_ENTRY = 4 * 1024 * 1024
STORE_TIMEOUT = 2.0  # seconds; asking upstream is better than waiting longer

_SAYS = b"x-copilot-asgi-cache"
_PREFIX = b"x-copilot-asgi-"
_PASSING = frozenset({b"x-copilot-asgi-budget"})  # how full a budget was then


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """An answer as it is stored."""

    headers: Headers
    body: bytes


_decoder = msgspec.msgpack.Decoder(_Kept)


class Cache:
    """Answers embeddings and deterministic requests from ``store``, where they stay for ``ttl`` seconds.

    An answer of more than ``max_entry`` bytes is not kept. A request with ``cache-control: no-cache`` is sent on in any
    case, one with ``no-store`` is not kept either. Streams come back in one piece, in the form they were sent in.
    """

    def __init__(
        self, store: Store, *, ttl: float, max_entry: int = MAX_ENTRY, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._ttl = ttl
        self._max_entry = max_entry
        self._flights: RunVar[dict[str, _Flight] | None] = RunVar("copilot_asgi_cache", None)
        self._complaints = Complaints(logger, "The store of kept answers fails; going on without it", clock=clock)

    @property
    def store_failures(self) -> int:
        """How often the store could not be read or written."""
        return self._complaints.count

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises what the rest of the pipeline raises."""
        request = exchange.request
        if not is_repeatable(request.dialect, request.fields):
            return await call_next(exchange, send)
        wishes = _wishes(request)
        if b"no-store" in wishes:
            return await call_next(exchange, send)
        key = _key(exchange)
        if b"no-cache" in wishes:
            kept = await _ask(exchange, call_next, _Recorder(send, self._max_entry))
            return await self._keep(key, kept)
        return await self._share(key, exchange, send, call_next)

    async def _share(self, key: str, exchange: Exchange, send: Send, call_next: Handler) -> None:
        flights = self._flights.get()
        if flights is None:
            flights = {}
            self._flights.set(flights)
        while (flight := flights.get(key)) is not None:
            await flight.over.wait()
            if flight.kept is not None:
                return await _replay(flight.kept, exchange, send)
            if flight.too_large:
                return await call_next(exchange, _Recorder(send, 0))
        flight = flights[key] = _Flight()
        try:
            await self._lead(key, flight, exchange, send, call_next)
        finally:
            del flights[key]
            flight.over.set()

    async def _lead(self, key: str, flight: "_Flight", exchange: Exchange, send: Send, call_next: Handler) -> None:
        kept = await self._read(key)
        if kept is not None:
            flight.end(kept)
            return await _replay(kept, exchange, send)
        kept = await _ask(exchange, call_next, _Recorder(send, self._max_entry, on_overflow=flight.give_up))
        if kept is not None:
            flight.end(kept)
        return await self._keep(key, kept)

    async def _read(self, key: str) -> _Kept | None:
        try:
            with anyio.fail_after(STORE_TIMEOUT):
                data = await self._store.get(key)
            return None if data is None else _decoder.decode(data)
        except Exception as error:  # noqa: BLE001 - whatever a store raises or holds, the request goes on
            self._complaints.add(error)
            return None

    async def _keep(self, key: str, kept: _Kept | None) -> None:
        if kept is None:
            return
        try:
            with anyio.fail_after(STORE_TIMEOUT):
                await self._store.set(key, msgspec.msgpack.encode(kept), ttl=self._ttl)
        except Exception as error:  # noqa: BLE001 - the client has its answer already
            self._complaints.add(error)


class _Flight:
    """One request under way and what the others who ask the same wait for. Belongs to one event loop.

    ``over`` without ``kept`` means that the next one goes, or, when the answer is ``too_large`` to share, all of them.
    """

    def __init__(self) -> None:
        self.over = anyio.Event()
        self.kept: _Kept | None = None
        self.too_large = False

    def end(self, kept: _Kept) -> None:
        """The answer is there."""
        self.kept = kept
        self.over.set()

    def give_up(self) -> None:
        """There will be no answer to share."""
        self.too_large = True
        self.over.set()


class _Recorder:
    """A ``Send`` that remembers an answer of up to ``limit`` bytes; ``on_overflow`` is called when it gets larger."""

    def __init__(self, send: Send, limit: int, *, on_overflow: Callable[[], None] = lambda: None) -> None:
        self._send = send
        self._limit = limit
        self._on_overflow = on_overflow
        self._headers: Headers | None = None
        self._pieces: list[bytes] = []
        self._size = 0

    async def __call__(self, part: Part) -> None:
        if isinstance(part, Head):
            if part.status == 200:
                self._headers = _lasting(part.headers)
            part = msgspec.structs.replace(part, headers=(*part.headers, (_SAYS, b"miss")))
        else:
            self._remember(part)
        await self._send(part)

    def _remember(self, piece: bytes) -> None:
        if self._headers is None:
            return
        self._size += len(piece)
        if self._size <= self._limit:
            self._pieces.append(piece)
            return
        self._headers = None
        self._pieces.clear()
        self._on_overflow()

    def kept(self) -> _Kept | None:
        """The answer, unless it is none that can be kept."""
        return None if self._headers is None else _Kept(self._headers, b"".join(self._pieces))


async def _ask(exchange: Exchange, call_next: Handler, recorder: _Recorder) -> _Kept | None:
    """The answer, if it is whole; a stream may end in an error event of upstream's."""
    await call_next(exchange, recorder)
    stream = exchange.stream
    cut = exchange.request.stream and stream is not None and not stream.complete
    return None if cut else recorder.kept()


async def _replay(kept: _Kept, exchange: Exchange, send: Send) -> None:
    exchange.usage = Usage()  # nothing was used for it
    await send(Head(200, (*kept.headers, (_SAYS, b"hit"))))
    await send(kept.body)


def _lasting(headers: Headers) -> Headers:
    """What is as true of the answer later: not its limits, budgets, ids and dates."""
    return tuple(
        pair
        for pair in headers
        if pair[0] == b"content-type" or (pair[0].startswith(_PREFIX) and pair[0] not in _PASSING)
    )


def _wishes(request: Request) -> set[bytes]:
    """The directives of the client's ``cache-control`` (RFC 9111, 5.2.1)."""
    value = header(request.headers, b"cache-control")
    return set() if value is None else {each.strip() for each in value.lower().split(b",")}


def _key(exchange: Exchange) -> str:
    """All that the answer depends on. Names have their lengths with them, so that none can pose as two."""
    request, route, account, caller = exchange.request, exchange.route, exchange.account, exchange.caller
    assert route is not None
    assert account is not None
    facts = (
        None if caller is None else caller.name,
        account.key,
        exchange.dialect.value,
        request.form,
        route.dialect.value,
        route.model.id,
        request.model,  # some dialects repeat it in the answer
        request.stream,
        header(request.headers, b"anthropic-beta"),  # the one header of a client's that goes upstream
        request.body,
    )
    return "answer/" + hashlib.sha256(msgspec.msgpack.encode(facts)).hexdigest()
