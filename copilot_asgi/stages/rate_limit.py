"""Keep to the rate limits: of the settings, and of the caller alone.

Rule: a request that got its permit counts, whatever becomes of it. Tokens and credits are estimated when it enters and
set right when it is over; where no answer began they are given back.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial

import anyio
from msgspec.structs import replace

from copilot_asgi.config import LimitBy
from copilot_asgi.errors import RateLimited
from copilot_asgi.exchange import Exchange, Handler, Part, Send
from copilot_asgi.fair_queue import FairQueue
from copilot_asgi.limiter import Limiter, Reservation
from copilot_asgi.limits import Costs, RateLimit, Unit, Wait
from copilot_asgi.pricing import NANO

__all__ = ["LimitRate"]

logger = logging.getLogger(__name__)

Shares = Mapping[str, Sequence[RateLimit]]

NO_REQUEST, ONE_REQUEST = Costs(requests=0), Costs()
SETTLE_TIMEOUT = 5.0
"""Seconds to set the costs of one reservation right when a request is over; after that they stay as estimated."""

_EVERYBODY = "all"


class LimitRate:
    """Admit a request once every limit that holds for it has room.

    ``limits`` are counted together for everything that ``by`` says; those of the caller are counted for the caller.
    Over a limit a request is refused, or waits in ``queue`` where there is one: first for the caller's own limits, so
    that nobody is held up by another's. ``estimate`` says what to reserve; it is asked only where a limit counts more
    than requests, and must not block.
    """

    def __init__(
        self,
        *,
        limits: tuple[RateLimit, ...],
        by: LimitBy,
        limiter: Limiter,
        queue: FairQueue | None,
        estimate: Callable[[Exchange], Costs],
    ) -> None:
        self._limits = limits
        self._by = by
        self._limiter = limiter
        self._queue = queue
        self._estimate = estimate
        self._for_everybody: Shares = {_EVERYBODY: limits}
        self._weighs = _weigh(limits)

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises ``RateLimited``, which names the limit and when there is room."""
        assert exchange.caller is not None
        own = exchange.caller.rate_limits
        if not own and not self._limits:
            await call_next(exchange, send)
        elif self._weighs or _weigh(own):
            await self._weighed(self._shares(exchange, own), exchange, send, call_next)
        else:
            await self._enter(self._shares(exchange, own), NO_REQUEST if exchange.admitted else ONE_REQUEST)
            exchange.admitted = True
            await call_next(exchange, send)

    async def _weighed(self, shares: Shares, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Where more than requests counts: what was reserved is set right in the end."""
        estimate = self._estimate(exchange)
        if exchange.admitted:  # another model stands in: it is the same request
            estimate = replace(estimate, requests=0)
        reservations = await self._enter(shares, estimate)
        exchange.admitted = True
        watched = _Watched(send)
        try:
            await call_next(exchange, watched)
        finally:
            await self._settle(reservations, shares, _spent(exchange, estimate, begun=watched.begun))

    def _shares(self, exchange: Exchange, own: tuple[RateLimit, ...]) -> Shares:
        """The limits that hold, by the key under which each is counted; the caller's own come first."""
        if not own and self._by is LimitBy.ALL:
            return self._for_everybody
        shares = {_key(LimitBy.CALLER, exchange): own} if own else {}
        if self._limits:
            key = _key(self._by, exchange)
            shares[key] = shares.get(key, ()) + self._limits
        return shares

    async def _enter(self, shares: Shares, costs: Costs) -> Sequence[Reservation]:
        """What was taken at once, or after waiting in line; nobody who comes anew passes those who wait."""
        queue = self._queue
        if queue is None or not any(map(queue.waiting, shares)):
            taken = await self._limiter.reserve(shares, costs)
            if not isinstance(taken, Wait):
                return (taken,)
            if queue is None:
                raise _refusal(taken)
        return await self._wait(queue, shares, costs)

    async def _wait(self, queue: FairQueue, shares: Shares, costs: Costs) -> Sequence[Reservation]:
        deadline = queue.deadline()
        taken: list[Reservation] = []
        try:
            for key, limits in shares.items():
                attempt = partial(self._reserve, {key: limits}, costs)
                taken.append(await queue.enter(key, attempt, deadline=deadline))
        except BaseException:
            await self._settle(taken, shares, NO_REQUEST)
            raise
        return taken

    async def _reserve(self, shares: Shares, costs: Costs) -> Reservation:
        taken = await self._limiter.reserve(shares, costs)
        if isinstance(taken, Wait):
            raise _refusal(taken)
        return taken

    async def _settle(self, reservations: Iterable[Reservation], keys: Iterable[str], costs: Costs) -> None:
        for reservation in reservations:
            settling = reservation.settle(costs)
            if settling is not None:
                await _finish(settling)
        if self._queue is not None:
            for key in keys:
                self._queue.notify(key)


async def _finish(settling: Awaitable[None]) -> None:
    with anyio.move_on_after(SETTLE_TIMEOUT, shield=True) as scope:
        await settling
    if scope.cancelled_caught:
        logger.warning("The limiter did not answer in time; what a request cost stays as estimated.")


class _Watched:
    """A ``Send`` that notes whether an answer began."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    def __call__(self, part: Part) -> Awaitable[None]:
        self.begun = True
        return self._send(part)


def _spent(exchange: Exchange, estimate: Costs, *, begun: bool) -> Costs:
    """What the request cost: as metered, else as estimated if an answer began."""
    if exchange.usage is not None:
        usage = exchange.usage
        return Costs(requests=estimate.requests, tokens=usage.total, credits=usage.nano_credits / NANO)
    return estimate if begun else Costs(requests=estimate.requests)


def _weigh(limits: Iterable[RateLimit]) -> bool:
    """Whether any of the limits counts what a request turns out to cost."""
    return any(limit.unit is not Unit.REQUESTS for limit in limits)


def _refusal(wait: Wait) -> RateLimited:
    return RateLimited(
        f"The rate limit of {wait.limit} has no room for this request, as its size is estimated. Try again in "
        f"{wait.seconds:.1f} seconds."
        if wait.limit.unit is not Unit.REQUESTS
        else f"The rate limit of {wait.limit} is reached. Try again in {wait.seconds:.1f} seconds.",
        retry_after=wait.seconds,
    )


def _key(by: LimitBy, exchange: Exchange) -> str:
    """What is counted together: never a name as the client wrote it, which it could spell in many ways."""
    if by is LimitBy.ALL:
        return _EVERYBODY
    if by is LimitBy.CALLER:
        assert exchange.caller is not None
        return f"caller:{exchange.caller.name}"
    if by is LimitBy.ACCOUNT:
        assert exchange.account is not None
        return f"account:{exchange.account.key}"
    assert exchange.route is not None
    return f"model:{exchange.route.model.id}"
