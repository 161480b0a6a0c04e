"""What a ledger says to people: spending of a stretch of days, by model, caller, account and day."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import msgspec

from copilot_asgi.config import LimitBy, Settings
from copilot_asgi.exchange import Caller
from copilot_asgi.ledger import By, Claim, Ledger, Standing, Total
from copilot_asgi.pricing import NANO

__all__ = ["BudgetLine", "Line", "Report", "claims_of", "report"]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Spending under one name. ``estimated`` counts the requests whose price upstream did not tell.

    ``cache_hit_rate`` is the share of the prompts' tokens that were read from upstream's cache, ``None`` without any.
    """

    name: str
    requests: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cache_hit_rate: float | None
    nano_credits: int
    credits: float
    premium_requests: float
    estimated: int


class BudgetLine(msgspec.Struct, frozen=True):
    """How full a budget is; amounts are credits or premium requests."""

    budget: str
    used: float
    reserved: float
    limit: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Spending since a day (ISO date, UTC). ``unsettled`` counts requests under way or cut off by a crash."""

    since: str
    total: Line
    models: list[Line]
    callers: list[Line]
    accounts: list[Line]
    days: list[Line]
    budgets: list[BudgetLine]
    unsettled: int


async def report(
    ledger: Ledger, since: datetime, *, now: float, caller: str | None = None, claims: Sequence[Claim] = ()
) -> Report:
    """Everybody's spending, or that of ``caller`` alone; ``now`` is unix seconds. Raises ``StoreError``."""
    totals = await ledger.totals(since, None, tuple(By))
    unsettled = await ledger.unsettled()
    if caller is not None:
        totals = [total for total in totals if total.caller == caller]
        unsettled = [entry for entry in unsettled if entry.caller == caller]
    return Report(
        since=since.date().isoformat(),
        total=_line("total", totals),
        models=_lines(totals, lambda total: total.model),
        callers=_lines(totals, lambda total: total.caller),
        accounts=_lines(totals, lambda total: total.account),
        days=_lines(totals, lambda total: total.day),
        budgets=[_budget(await ledger.spent(claim, now)) for claim in claims],
        unsettled=len(unsettled),
    )


def claims_of(settings: Settings, caller: Caller | None) -> tuple[Claim, ...]:
    """The budgets that ``caller`` can look at: its own, and for the operator those of everybody together."""
    name = None if caller is None else caller.name
    sees_all = caller is None or caller.admin
    claims = [Claim(budget) for budget in settings.budgets if settings.budget_by is LimitBy.ALL and sees_all]
    if caller is not None:
        shared = settings.budgets if settings.budget_by is LimitBy.CALLER else ()
        claims += [Claim(budget, caller=name) for budget in (*shared, *caller.budgets)]
    return tuple(claims)


def _lines(totals: Iterable[Total], name_of: Callable[[Total], str | None]) -> list[Line]:
    named: dict[str, list[Total]] = {}
    for total in totals:
        named.setdefault(name_of(total) or "", []).append(total)
    return [_line(name, each) for name, each in sorted(named.items())]


def _line(name: str, totals: Iterable[Total]) -> Line:
    totals = list(totals)
    cached = sum(total.cache_read for total in totals)
    prompt = cached + sum(total.fresh + total.cache_write for total in totals)
    nano = sum(total.nano_credits for total in totals)
    return Line(
        name=name,
        requests=sum(total.requests for total in totals),
        input_tokens=prompt,
        cached_tokens=cached,
        output_tokens=sum(total.output for total in totals),
        cache_hit_rate=cached / prompt if prompt else None,
        nano_credits=nano,
        credits=nano / NANO,
        premium_requests=sum(total.nano_premium for total in totals) / NANO,
        estimated=sum(total.estimated for total in totals),
    )


def _budget(standing: Standing) -> BudgetLine:
    return BudgetLine(
        budget=str(standing.claim),
        used=standing.used / NANO,
        reserved=standing.reserved / NANO,
        limit=standing.claim.budget.nano / NANO,
    )
