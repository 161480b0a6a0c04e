"""What a ledger decides and adds up, whatever it keeps its records in. Pure; the time is passed in.

Rule: a budget holds for the worst case, so a request must fit in with all that is under way at its estimate.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, timedelta

import msgspec

from copilot_asgi.budgets import Currency, period_end, period_start, shown
from copilot_asgi.errors import BudgetExceeded
from copilot_asgi.ledger import By, Claim, Reservation, Standing, Total
from copilot_asgi.pricing import PricedBy, Usage

__all__ = ["Names", "Span", "add", "admit", "day_of", "days_between", "settled", "span_of", "summed"]

Names = tuple[str | None, str | None, str | None, str | None]
"""What totals are told apart by: day, caller, account and model."""

STALE = 3600.0
"""Seconds after which a reservation no longer counts: whoever made it has crashed."""


class Span(msgspec.Struct, frozen=True):
    """What counts for a budget at one moment: days from ``first`` to before ``end``, reservations from ``since`` on."""

    first: str
    end: str
    since: float
    until: float


def span_of(claim: Claim, now: float) -> Span:
    """The budget's period that holds ``now`` (unix seconds)."""
    start, end = period_start(claim.budget.period, now), period_end(claim.budget.period, now)
    return Span(
        first=start.date().isoformat(),
        end=end.date().isoformat(),
        since=max(start.timestamp(), now - STALE),
        until=end.timestamp(),
    )


def admit(entry: Reservation, standing: Standing) -> Standing:
    """The standing with ``entry`` reserved too. Raises ``BudgetExceeded`` when that does not fit.

    Premium requests have known prices, so what costs none is never refused. Credits may have unknown ones, so a spent
    budget stops everything.
    """
    budget = standing.claim.budget
    cost = entry.cost(budget.currency)
    is_free = budget.currency is Currency.PREMIUM and cost == 0
    if not is_free and standing.used + standing.reserved + max(cost, 1) > budget.nano:
        raise _exceeded(entry, standing, cost)
    return Standing(standing.claim, used=standing.used, reserved=standing.reserved + cost)


def settled(entry: Reservation, usage: Usage) -> Total:
    """What one settled request adds to the totals of its day."""
    return Total(
        day=day_of(entry.at),
        caller=entry.caller,
        account=entry.account,
        model=entry.model,
        requests=1,
        fresh=usage.fresh,
        cache_read=usage.cache_read,
        cache_write=usage.cache_write,
        output=usage.output,
        nano_credits=usage.nano_credits,
        nano_premium=usage.nano_premium,
        estimated=int(usage.priced_by is PricedBy.ESTIMATE),
    )


def add(totals: dict[Names, Total], total: Total) -> None:
    """Add ``total`` to those of its day and names."""
    names = (total.day, total.caller, total.account, total.model)
    known = totals.get(names)
    totals[names] = total if known is None else _plus(known, total)


def summed(totals: Iterable[Total], by: Collection[By]) -> list[Total]:
    """The totals added up, told apart by what is in ``by`` only, and sorted by it."""
    sums: dict[Names, Total] = {}
    unnamed = {kind.value: None for kind in By if kind not in by}
    for total in totals:
        add(sums, msgspec.structs.replace(total, **unnamed))
    return [sums[names] for names in sorted(sums, key=lambda names: tuple(name or "" for name in names))]


def day_of(at: float) -> str:
    """The UTC day that holds ``at`` (unix seconds), as an ISO date."""
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def days_between(since: datetime, until: datetime | None) -> tuple[str, str]:
    """The first day that counts and the first that no longer does, as ISO dates."""
    if until is None:
        return _utc_day(since).isoformat(), date.max.isoformat()
    end = _utc_day(until - timedelta(microseconds=1)) + timedelta(days=1)
    return _utc_day(since).isoformat(), end.isoformat()


def _utc_day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def _plus(one: Total, other: Total) -> Total:
    return Total(
        day=one.day,
        caller=one.caller,
        account=one.account,
        model=one.model,
        requests=one.requests + other.requests,
        fresh=one.fresh + other.fresh,
        cache_read=one.cache_read + other.cache_read,
        cache_write=one.cache_write + other.cache_write,
        output=one.output + other.output,
        nano_credits=one.nano_credits + other.nano_credits,
        nano_premium=one.nano_premium + other.nano_premium,
        estimated=one.estimated + other.estimated,
    )


def _exceeded(entry: Reservation, standing: Standing, cost: int) -> BudgetExceeded:
    budget = standing.claim.budget
    reset = period_end(budget.period, entry.at)
    under_way = f", {shown(standing.reserved, places=4)} reserved by requests under way" if standing.reserved else ""
    return BudgetExceeded(
        f"The budget of {standing.claim} does not hold this request, which may cost "
        f"{shown(cost, places=4)}: {standing}{under_way}. It resets at {reset:%Y-%m-%dT%H:%M:%SZ}. A lower limit for "
        "the answer's tokens makes a request cheaper.",
        retry_after=max(0.0, reset.timestamp() - entry.at),
    )
