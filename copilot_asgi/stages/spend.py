"""Keep to the budgets: what a request may cost is reserved before it is sent, what it did cost is booked at its end.

Rule: a budget is a hard stop before the call, and a warning some time before that. Without budgets the ledger is only a
record, and no request fails for its sake.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence

import anyio
from msgspec.structs import replace

from copilot_asgi.budgets import Budget, Currency, period_start
from copilot_asgi.config import LimitBy
from copilot_asgi.errors import Overloaded, StoreError
from copilot_asgi.estimates import estimated
from copilot_asgi.exchange import Exchange, Handler, Head, Part, Send
from copilot_asgi.ledger import Claim, Ledger, Reservation, Standing
from copilot_asgi.wire.turn import turn_facts

__all__ = ["Spend"]

logger = logging.getLogger(__name__)

BOOKING_TIMEOUT = 10.0  # seconds that booking may take after the last byte, or after the client has left
HEADER = b"x-copilot-asgi-budget"


class Spend:
    """Reserve, call, settle; ``by`` says whose spending the ``budgets`` add up, each caller's own count for it alone.

    From ``warn_at``, a share of a budget, answers carry ``x-copilot-asgi-budget``, and the log says so once a period.
    Requests that no budget counts are on record only with ``keep_all``. ``clock`` gives unix seconds. An exchange
    without ``usage`` at its end was not charged: upstream processed nothing.
    """

    def __init__(
        self,
        ledger: Ledger,
        budgets: tuple[Budget, ...],
        *,
        by: LimitBy,
        warn_at: float,
        keep_all: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._budgets = budgets
        self._by = by
        self._warn_at = warn_at
        self._keep_all = keep_all
        self._clock = clock
        self._warned: dict[Claim, float] = {}

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises ``BudgetExceeded``, and ``Overloaded`` when there are budgets and the ledger cannot be used."""
        own = exchange.caller.budgets if exchange.caller is not None else ()
        if own or self._budgets:
            await self._within(own, exchange, send, call_next)
        elif not self._keep_all:
            await call_next(exchange, send)
        else:
            # Nothing depends on the record: nobody waits for it, and nothing is reserved.
            entry = _entry(exchange, self._clock())
            self._ledger.begin(entry)
            try:
                await call_next(exchange, send)
            finally:
                self._ledger.end(_as_served(entry, exchange), exchange.usage)

    async def _within(self, own: tuple[Budget, ...], exchange: Exchange, send: Send, call_next: Handler) -> None:
        usage = estimated(exchange)
        by_user = _by_user(exchange, (*self._budgets, *own))
        nano_premium = usage.nano_premium if by_user else 0
        entry = _entry(exchange, self._clock(), nano_credits=usage.nano_credits, nano_premium=nano_premium)
        claims = [
            *(_claim(budget, self._by, entry) for budget in self._budgets),
            *(_claim(budget, LimitBy.CALLER, entry) for budget in own),
        ]
        standings = await self._reserve(entry, claims)
        try:
            await call_next(exchange, _announcing(send, self._fullest(standings, entry.at)))
        finally:
            await self._book(entry, exchange)

    async def _reserve(self, entry: Reservation, claims: Sequence[Claim]) -> list[Standing]:
        try:
            return await self._ledger.reserve(entry, claims)
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(BOOKING_TIMEOUT, shield=True):
                await self._release(entry)
            raise
        except StoreError as error:
            logger.error("Requests are refused, as budgets cannot be checked: %s", error.message)  # noqa: TRY400 - no bug
            raise Overloaded(
                "Budgets cannot be checked, because the record of what was spent cannot be used. The server's log "
                "says why.",
                code="ledger_unavailable",
            ) from error

    async def _book(self, entry: Reservation, exchange: Exchange) -> None:
        with anyio.move_on_after(BOOKING_TIMEOUT, shield=True) as scope:
            if exchange.usage is None:
                await self._release(entry)
            else:
                await self._settle(_as_served(entry, exchange), exchange)
        if scope.cancelled_caught:
            logger.warning("Booking request %s took too long; it stays on record as not settled.", entry.id)

    async def _settle(self, entry: Reservation, exchange: Exchange) -> None:
        assert exchange.usage is not None
        try:
            await self._ledger.settle(entry, exchange.usage)
        except StoreError as error:
            logger.warning("What request %s cost is not on record: %s", entry.id, error.message)

    async def _release(self, entry: Reservation) -> None:
        try:
            await self._ledger.release(entry)
        except StoreError as error:
            logger.warning("Request %s stays on record as not settled: %s", entry.id, error.message)

    def _fullest(self, standings: Sequence[Standing], now: float) -> Standing | None:
        """The fullest of the budgets that are worth a warning."""
        full = [standing for standing in standings if standing.share >= self._warn_at]
        for standing in full:
            period = period_start(standing.claim.budget.period, now).timestamp()
            if self._warned.get(standing.claim) != period:
                self._warned[standing.claim] = period
                logger.warning("The budget of %s fills up: %s.", standing.claim, standing)
        return max(full, key=lambda standing: standing.share, default=None)


def _by_user(exchange: Exchange, budgets: Iterable[Budget]) -> bool:
    """Whether the turn is the user's own and costs premium requests; looked for only where those have a budget.

    Raises ``BadRequest`` when the request cannot be read.
    """
    if exchange.turn is not None:
        return exchange.turn.by_user
    if all(budget.currency is not Currency.PREMIUM for budget in budgets):
        return True
    return turn_facts(exchange.request.dialect, exchange.request.fields).by_user


def _entry(exchange: Exchange, now: float, *, nano_credits: int = 0, nano_premium: int = 0) -> Reservation:
    assert exchange.route is not None
    assert exchange.account is not None
    return Reservation(
        id=exchange.id,
        caller=exchange.caller.name if exchange.caller is not None else "",
        account=exchange.account.login,
        model=exchange.route.model.id,
        at=now,
        nano_credits=nano_credits,
        nano_premium=nano_premium,
    )


def _as_served(entry: Reservation, exchange: Exchange) -> Reservation:
    """The entry with the account and model that answered, which may be others than those first meant."""
    assert exchange.route is not None
    assert exchange.account is not None
    account, model = exchange.account.login, exchange.route.model.id
    if entry.account == account and entry.model == model:
        return entry
    return replace(entry, account=account, model=model)


def _claim(budget: Budget, by: LimitBy, entry: Reservation) -> Claim:
    names = {"caller": entry.caller, "account": entry.account, "model": entry.model}
    return Claim(budget) if by is LimitBy.ALL else Claim(budget, **{by.value: names[by.value]})


def _announcing(send: Send, standing: Standing | None) -> Send:
    """A ``send`` that puts the standing, if there is one, into the head."""
    if standing is None:
        return send
    announcement = (HEADER, str(standing).encode())

    async def announcing(part: Part) -> None:
        await send(Head(part.status, (*part.headers, announcement)) if isinstance(part, Head) else part)

    return announcing
