"""Keep to the rate limits: of the settings, and of the caller alone.

Rule: a request that got its permit counts, whatever becomes of it. Tokens and credits are estimated when it enters and
set right when it is over; where no answer began they are given back.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
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

NOTHING = Costs(requests=0)
SETTLE_TIMEOUT = 5.0
"""Seconds to set the costs right when a request is over; after that they stay as estimated."""


class LimitRate:
    """Admit a request once every limit that holds for it has room.

    ``limits`` are counted together for everything that ``by`` says; those of the caller are counted for the caller.
    Over a limit a request is refused, or waits in ``queue`` where there is one: first for the caller's own limits, so
    that nobody is held up by another's. ``estimate`` says what to reserve; it must not block.
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

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises ``RateLimited``, which names the limit and when there is room."""
        shares = self._shares(exchange)
        if not shares:
            await call_next(exchange, send)
            return
        begun = False

        async def watched(part: Part) -> None:
            nonlocal begun
            begun = True
            await send(part)

        estimate = self._estimate(exchange)
        if exchange.admitted:  # another model stands in: it is the same request
            estimate = replace(estimate, requests=0)
        reservations = await self._enter(shares, estimate)
        exchange.admitted = True
        try:
            await call_next(exchange, watched)
        finally:
            await self._settle(reservations, shares, _spent(exchange, estimate, begun=begun))

    def _shares(self, exchange: Exchange) -> Shares:
        """The limits that hold, by the key under which each is counted; the caller's own come first."""
        assert exchange.caller is not None
        shares: dict[str, tuple[RateLimit, ...]] = {}
        if exchange.caller.rate_limits:
            shares[_key(LimitBy.CALLER, exchange)] = exchange.caller.rate_limits
        if self._limits:
            key = _key(self._by, exchange)
            shares[key] = shares.get(key, ()) + self._limits
        return shares

    async def _enter(self, shares: Shares, costs: Costs) -> list[Reservation]:
        if self._queue is None:
            return [await self._reserve(shares, costs)]
        deadline = self._queue.deadline()
        taken: list[Reservation] = []
        try:
            for key, limits in shares.items():
                attempt = partial(self._reserve, {key: limits}, costs)
                taken.append(await self._queue.enter(key, attempt, deadline=deadline))
        except BaseException:
            await self._settle(taken, shares, NOTHING)
            raise
        return taken

    async def _reserve(self, shares: Shares, costs: Costs) -> Reservation:
        taken = await self._limiter.reserve(shares, costs)
        if isinstance(taken, Wait):
            raise _refusal(taken)
        return taken

    async def _settle(self, reservations: Iterable[Reservation], keys: Iterable[str], costs: Costs) -> None:
        with anyio.move_on_after(SETTLE_TIMEOUT, shield=True) as scope:
            for reservation in reservations:
                await reservation.settle(costs)
        if scope.cancelled_caught:
            logger.warning("The limiter did not answer in time; what a request cost stays as estimated.")
        if self._queue is not None:
            for key in keys:
                self._queue.notify(key)


def _spent(exchange: Exchange, estimate: Costs, *, begun: bool) -> Costs:
    """What the request cost: as metered, else as estimated if an answer began."""
    if exchange.usage is not None:
        usage = exchange.usage
        return Costs(requests=estimate.requests, tokens=usage.total, credits=usage.nano_credits / NANO)
    return estimate if begun else Costs(requests=estimate.requests)


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
        return "all"
    if by is LimitBy.CALLER:
        assert exchange.caller is not None
        return f"caller:{exchange.caller.name}"
    if by is LimitBy.ACCOUNT:
        assert exchange.account is not None
        return f"account:{exchange.account.key}"
    assert exchange.route is not None
    return f"model:{exchange.route.model.id}"
