"""Budgets: what may be spent in a calendar period, and when the period ends. Pure; the time is passed in.

Rule: periods are those of the UTC calendar, so that every process agrees on them.
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum

import msgspec

from copilot_asgi.errors import ConfigError
from copilot_asgi.pricing import NANO

__all__ = ["Budget", "Currency", "Period", "parse_budget", "period_end", "period_start", "shown"]

_BUDGET = re.compile(r"(?P<amount>\d+(?:\.\d{1,9})?)\s*(?P<currency>credits|premium)\s*/\s*(?P<period>[a-z]+)")


class Currency(Enum):
    """What is spent: AI credits, or premium requests on plans that still count those."""

    CREDITS = "credits"
    PREMIUM = "premium"


class Period(Enum):
    """A stretch of the UTC calendar; weeks begin on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Budget(msgspec.Struct, frozen=True):
    """At most ``nano`` billionths of ``currency`` in each ``period``."""

    nano: int
    currency: Currency
    period: Period

    def __str__(self) -> str:
        return f"{shown(self.nano)} {self.currency.value}/{self.period.value}"


def shown(nano: int, *, places: int = 9) -> str:
    """An amount in units, with up to so many decimal places and no zeros at its end."""
    text = f"{Decimal(nano).scaleb(-9):.{places}f}"
    return text.rstrip("0").rstrip(".")


def parse_budget(text: str) -> Budget:
    """``500 credits/month``, ``20 credits/day``, ``300 premium/month``. Raises ``ConfigError``."""
    match = _BUDGET.fullmatch(text.strip().lower())
    if match is None or match["period"] not in {period.value for period in Period}:
        raise ConfigError(
            f"budget: {text[:60]!r} does not fit. Write an amount and a period, such as 500 credits/month, "
            "20 credits/day or 300 premium/month."
        )
    whole, _, fraction = match["amount"].partition(".")
    nano = int(whole) * NANO + int(fraction.ljust(9, "0"))
    return Budget(nano=nano, currency=Currency(match["currency"]), period=Period(match["period"]))


def period_start(period: Period, now: float) -> datetime:
    """When the period that holds ``now`` (unix seconds) began."""
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period is Period.WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period is Period.MONTH else day


def period_end(period: Period, now: float) -> datetime:
    """When the period that holds ``now`` (unix seconds) ends, and the next one begins."""
    start = period_start(period, now)
    if period is Period.MONTH:
        return (start + timedelta(days=32)).replace(day=1)
    return start + timedelta(days=7 if period is Period.WEEK else 1)
