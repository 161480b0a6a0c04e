"""Budgets are read exactly, and their periods are those of the UTC calendar."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_asgi.budgets import Budget, Currency, Period, parse_budget, period_end, period_start, shown
from copilot_asgi.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "nano", "currency", "period"),
    [
        ("500 credits/month", 500 * 10**9, Currency.CREDITS, Period.MONTH),
        ("0.000000001 credits/day", 1, Currency.CREDITS, Period.DAY),
        ("  20.5 CREDITS / week ", 20_500_000_000, Currency.CREDITS, Period.WEEK),
        ("300premium/month", 300 * 10**9, Currency.PREMIUM, Period.MONTH),
        ("0 credits/day", 0, Currency.CREDITS, Period.DAY),
    ],
)
def test_parsing(text: str, nano: int, currency: Currency, period: Period) -> None:
    """An amount is kept to its last decimal place."""
    assert parse_budget(text) == Budget(nano=nano, currency=currency, period=period)


@pytest.mark.parametrize(
    "text", ["", "500", "500 credits", "500 credits/year", "-5 credits/day", "5 euros/day", "1.0000000001 credits/day"]
)
def test_what_is_no_budget(text: str) -> None:
    """What cannot be read is refused with the form that can."""
    with pytest.raises(ConfigError, match="such as 500 credits/month"):
        parse_budget(text)


@settings(max_examples=100, deadline=None)
@given(st.builds(Budget, st.integers(0, 10**18), st.sampled_from(Currency), st.sampled_from(Period)))
def test_what_is_shown_can_be_read(budget: Budget) -> None:
    """The text of a budget is that budget."""
    assert parse_budget(str(budget)) == budget


@pytest.mark.parametrize(
    ("nano", "places", "text"),
    [
        (412_500_000_000, 2, "412.5"),
        (500_000_000_000, 2, "500"),
        (0, 2, "0"),
        (1, 9, "0.000000001"),
        (1, 2, "0"),
        (1_234_567_890_000_000_000, 2, "1234567890"),
        (12_345_000_000, 2, "12.34"),
    ],
)
def test_amounts(nano: int, places: int, text: str) -> None:
    """Amounts are shown without zeros that say nothing."""
    assert shown(nano, places=places) == text


@pytest.mark.parametrize(
    ("period", "now", "start", "end"),
    [
        (Period.DAY, "2026-11-20T13:00:00", "2026-11-20", "2026-11-21"),
        (Period.DAY, "2026-12-31T23:59:59", "2026-12-31", "2027-01-01"),
        (Period.WEEK, "2026-11-20T13:00:00", "2026-11-16", "2026-11-23"),
        (Period.WEEK, "2026-11-16T00:00:00", "2026-11-16", "2026-11-23"),
        (Period.WEEK, "2027-01-01T00:00:00", "2026-12-28", "2027-01-04"),
        (Period.MONTH, "2026-11-20T13:00:00", "2026-11-01", "2026-12-01"),
        (Period.MONTH, "2026-12-31T23:59:59", "2026-12-01", "2027-01-01"),
        (Period.MONTH, "2028-02-29T12:00:00", "2028-02-01", "2028-03-01"),
        (Period.MONTH, "2027-01-31T12:00:00", "2027-01-01", "2027-02-01"),
    ],
)
def test_periods(period: Period, now: str, start: str, end: str) -> None:
    """Days, weeks from Monday on, and months begin and end at midnight UTC."""
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC).timestamp()
    assert period_start(period, moment).isoformat() == f"{start}T00:00:00+00:00"
    assert period_end(period, moment).isoformat() == f"{end}T00:00:00+00:00"


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(Period), st.integers(0, 4_000_000_000))
def test_periods_follow_each_other(period: Period, now: int) -> None:
    """A moment is in its period, and the next period begins where this one ends."""
    start, end = period_start(period, now), period_end(period, now)
    assert start.timestamp() <= now < end.timestamp()
    assert period_start(period, end.timestamp()) == end
    assert timedelta(days=1) <= end - start <= timedelta(days=31)
