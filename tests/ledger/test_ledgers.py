"""Both ledgers keep the same books: budgets hold, nothing is counted twice, nothing is forgotten."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from copilot_asgi.budgets import Budget, Currency, Period, parse_budget
from copilot_asgi.errors import BudgetExceeded
from copilot_asgi.ledger import By, Claim, Ledger, Reservation, Standing, Total
from copilot_asgi.ledger.memory import MemoryLedger
from copilot_asgi.ledger.sqlite import SqliteLedger
from copilot_asgi.pricing import NANO, PricedBy, Usage

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()  # a Friday
HOUR, DAY = 3600.0, 86_400.0
CREDITS_A_DAY = Claim(Budget(nano=10 * NANO, currency=Currency.CREDITS, period=Period.DAY))


@pytest.fixture(params=["memory", "sqlite"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Ledger]:
    made: Ledger = MemoryLedger() if request.param == "memory" else SqliteLedger(tmp_path / "data" / "ledger.sqlite3")
    yield made
    await made.close()


def entry(
    id: str = "one",
    credits: float = 1,
    *,
    premium: float = 0,
    at: float = NOW,
    caller: str = "alice",
    account: str = "octocat",
    model: str = "gpt-4o",
) -> Reservation:
    return Reservation(
        id=id,
        caller=caller,
        account=account,
        model=model,
        at=at,
        nano_credits=int(credits * NANO),
        nano_premium=int(premium * NANO),
    )


def cost(credits: float, premium: float = 0, *, priced_by: PricedBy = PricedBy.UPSTREAM) -> Usage:
    return Usage(
        fresh=10,
        cache_read=20,
        cache_write=30,
        output=40,
        nano_credits=int(credits * NANO),
        nano_premium=int(premium * NANO),
        priced_by=priced_by,
    )


async def standing(ledger: Ledger, claim: Claim = CREDITS_A_DAY, now: float = NOW) -> tuple[float, float]:
    found = await ledger.spent(claim, now)
    assert found.claim == claim
    return found.used / NANO, found.reserved / NANO


async def test_from_reservation_to_total(ledger: Ledger) -> None:
    """What is under way is reserved; settling puts what it did cost in the place of that."""
    (after,) = await ledger.reserve(entry(credits=3), [CREDITS_A_DAY])
    assert after == Standing(CREDITS_A_DAY, used=0, reserved=3 * NANO)
    assert await ledger.unsettled() == [entry(credits=3)]
    await ledger.settle(entry(credits=3), cost(2))
    assert await ledger.unsettled() == []
    assert await standing(ledger) == (2, 0)


async def test_a_released_reservation_leaves_nothing(ledger: Ledger) -> None:
    """A request that was not charged is as if it had never been."""
    await ledger.reserve(entry(), [])
    await ledger.release(entry())
    await ledger.release(entry())
    assert await ledger.unsettled() == []
    assert await standing(ledger) == (0, 0)
    assert await ledger.totals(datetime.fromtimestamp(0, UTC), None, ()) == []


async def test_from_beginning_to_total(ledger: Ledger) -> None:
    """A request that no budget counts is listed while it is under way, and counts for the names it has at its end."""
    ledger.begin(entry(credits=3))
    assert await ledger.unsettled() == [entry(credits=3)]
    ledger.end(entry(credits=3, model="claude"), cost(2))
    assert await ledger.unsettled() == []
    assert await ledger.totals(datetime.fromtimestamp(0, UTC), None, (By.MODEL,)) == [total(1, 2, model="claude")]


async def test_an_end_without_usage_leaves_nothing(ledger: Ledger) -> None:
    """What was not charged is as if it had never begun, also where it was listed meanwhile."""
    for id in ("seen", "unseen"):
        ledger.begin(entry(id))
        if id == "seen":
            assert len(await ledger.unsettled()) == 1
        ledger.end(entry(id), None)
    assert await ledger.unsettled() == []
    assert await ledger.totals(datetime.fromtimestamp(0, UTC), None, ()) == []


async def test_what_has_ended_counts_for_the_next_reservation(ledger: Ledger) -> None:
    """A budget knows at once what requests used that it was not asked about."""
    ledger.begin(entry("past"))
    ledger.end(entry("past"), cost(9.5))
    with pytest.raises(BudgetExceeded, match=r"9\.5 of 10 credits used"):
        await ledger.reserve(entry("new"), [CREDITS_A_DAY])


async def test_a_request_that_begins_again_is_listed_once(ledger: Ledger) -> None:
    """One that is tried with another model ends and begins again; all that matters is how it ended last."""
    for look in (True, False):
        ledger.begin(entry())
        ledger.end(entry(), None)
        ledger.begin(entry(model="claude"))
        if look:
            assert await ledger.unsettled() == [entry(model="claude")]
        ledger.end(entry(model="claude"), cost(1))
    assert await ledger.unsettled() == []
    assert await standing(ledger) == (2, 0)


async def test_settling_what_is_not_on_record_counts(ledger: Ledger) -> None:
    """An answer that was paid for is counted, also when its reservation is gone."""
    await ledger.settle(entry("lost"), cost(2))
    assert await standing(ledger) == (2, 0)


@pytest.mark.parametrize(
    ("used", "under_way", "asked", "fits"),
    [(0, 0, 10, True), (0, 0, 10.1, False), (6, 3, 1, True), (6, 3, 1.1, False), (6, 4, 0, False), (11, 0, 0, False)],
)
async def test_a_budget_holds_for_the_worst_case(
    ledger: Ledger, *, used: float, under_way: float, asked: float, fits: bool
) -> None:
    """Used, reserved and asked for together may be the budget and not more; a full one lets nothing by."""
    await ledger.settle(entry("past"), cost(used))
    await ledger.reserve(entry("other", under_way), [])
    if fits:
        (after,) = await ledger.reserve(entry("new", asked), [CREDITS_A_DAY])
        assert (after.used, after.reserved) == (used * NANO, (under_way + asked) * NANO)
    else:
        with pytest.raises(BudgetExceeded):
            await ledger.reserve(entry("new", asked), [CREDITS_A_DAY])
        assert [found.id for found in await ledger.unsettled()] == ["other"]


async def test_the_refusal_says_what_when_and_why(ledger: Ledger) -> None:
    """It names the budget, what is used and reserved, and when there will be room again."""
    claim = Claim(CREDITS_A_DAY.budget, caller="alice")
    await ledger.settle(entry("past"), cost(9.25))
    await ledger.reserve(entry("other", 0.5), [])
    with pytest.raises(BudgetExceeded) as refused:
        await ledger.reserve(entry("new", 0.26), [claim])
    assert refused.value.message == (
        "The budget of 10 credits/day of caller alice does not hold this request, which may cost 0.26: "
        "9.25 of 10 credits used today, 0.5 reserved by requests under way. It resets at 2026-11-21T00:00:00Z. "
        "A lower limit for the answer's tokens makes a request cheaper."
    )
    assert refused.value.status == 402
    assert refused.value.retry_after == 12 * HOUR


async def test_premium_requests_that_cost_nothing_always_pass(ledger: Ledger) -> None:
    """A turn that is free, such as an agent's own, is not refused for a spent budget of premium requests."""
    claim = Claim(parse_budget("2 premium/month"))
    await ledger.settle(entry("past"), cost(50, premium=2.5))
    (after,) = await ledger.reserve(entry("free", 100), [claim])
    assert after.used == 2_500_000_000
    with pytest.raises(BudgetExceeded, match=r"2\.5 of 2 premium used this month\. It resets at 2026-12-01T00:00:00Z"):
        await ledger.reserve(entry("paid", premium=0.33), [claim])


async def test_every_claim_must_hold(ledger: Ledger) -> None:
    """One full budget is enough to refuse, and then nothing is reserved for the others either."""
    wide, narrow = Claim(parse_budget("100 credits/month")), Claim(parse_budget("5 credits/week"))
    assert len(await ledger.reserve(entry("one", 4), [wide, narrow])) == 2
    with pytest.raises(BudgetExceeded, match="5 credits/week"):
        await ledger.reserve(entry("two", 4), [wide, narrow])
    assert await standing(ledger, wide) == (0, 4)


CLAIMS = {
    "everybody": ({}, 15),
    "a caller": ({"caller": "alice"}, 5),
    "an account": ({"account": "octocat"}, 7),
    "a model": ({"model": "gpt-4o"}, 12),
    "a caller with a model": ({"caller": "alice", "model": "gpt-4o"}, 5),
    "somebody unknown": ({"caller": "eve"}, 0),
}


@pytest.mark.parametrize(("names", "amount"), CLAIMS.values(), ids=CLAIMS.keys())
async def test_a_claim_counts_its_own(ledger: Ledger, names: dict[str, str], amount: int) -> None:
    """A claim counts what has its names, settled or under way."""
    spenders = [
        entry("1", 5, caller="alice", account="octocat", model="gpt-4o"),
        entry("2", 2, caller="bob", account="octocat", model="claude"),
        entry("3", 7, caller="bob", account="hubot", model="gpt-4o"),
        entry("4", 1, caller="bob", account="hubot", model="claude"),
    ]
    claim = Claim(parse_budget("1000 credits/month"), **names)
    for spender in spenders:
        await ledger.reserve(spender, [])
    assert await standing(ledger, claim) == (0, amount)
    for spender in spenders:
        await ledger.settle(spender, cost(spender.nano_credits / NANO))
    assert await standing(ledger, claim) == (amount, 0)


@pytest.mark.parametrize(
    ("budget", "moment", "amount"),
    [
        ("99 credits/day", "2026-11-20T00:00:00", 4),
        ("99 credits/day", "2026-11-20T23:59:59", 4),
        ("99 credits/day", "2026-11-21T00:00:00", 0),
        ("99 credits/week", "2026-11-22T23:59:59", 6),
        ("99 credits/week", "2026-11-23T00:00:00", 0),
        ("99 credits/month", "2026-11-30T23:59:59", 7),
        ("99 credits/month", "2026-12-01T00:00:00", 8),
    ],
)
async def test_periods(ledger: Ledger, budget: str, moment: str, amount: int) -> None:
    """What counts is what began in the period, whenever it was settled."""
    for day, credits in (("2026-11-01", 1), ("2026-11-16", 2), ("2026-11-20", 4), ("2026-12-01", 8)):
        at = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
        await ledger.settle(entry(day, at=at), cost(credits))
    now = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
    assert await standing(ledger, Claim(parse_budget(budget)), now) == (amount, 0)


async def test_a_request_over_midnight_belongs_to_the_day_it_began(ledger: Ledger) -> None:
    """It is reserved against that day and settled on it; the next day is not touched."""
    before_midnight = datetime(2026, 11, 20, 23, 59, tzinfo=UTC).timestamp()
    await ledger.reserve(entry(at=before_midnight, credits=8), [CREDITS_A_DAY])
    assert await standing(ledger, now=before_midnight + 120) == (0, 0)
    await ledger.settle(entry(at=before_midnight, credits=8), cost(7))
    assert await standing(ledger, now=before_midnight + 120) == (0, 0)
    assert await standing(ledger, now=before_midnight) == (7, 0)


@pytest.mark.parametrize(("age", "reserved"), [(0, 4), (HOUR, 4), (HOUR + 1, 0)])
async def test_what_a_crash_left_counts_for_an_hour(ledger: Ledger, age: float, reserved: int) -> None:
    """An old reservation no longer takes room in a budget, and stays listed."""
    await ledger.reserve(entry(credits=4), [])
    assert await standing(ledger, now=NOW + age) == (0, reserved)
    assert [found.id for found in await ledger.unsettled()] == ["one"]


async def test_unsettled_are_listed_oldest_first(ledger: Ledger) -> None:
    """All that is under way is listed in the order in which it began."""
    for id, at in (("b", NOW), ("c", NOW - 5), ("a", NOW)):
        await ledger.reserve(entry(id, at=at), [])
    assert [found.id for found in await ledger.unsettled()] == ["c", "a", "b"]


async def test_a_request_that_starts_again_is_reserved_once(ledger: Ledger) -> None:
    """A second reservation of one request takes the place of the first."""
    await ledger.reserve(entry(credits=4), [])
    await ledger.reserve(entry(credits=3, model="claude"), [])
    assert await standing(ledger) == (0, 3)


async def fill(ledger: Ledger) -> None:
    yesterday, day_before = NOW - DAY, NOW - 2 * DAY
    await ledger.settle(entry("1", at=day_before), cost(1, 0.5))
    await ledger.settle(entry("2", at=yesterday), cost(2, 1, priced_by=PricedBy.ESTIMATE))
    await ledger.settle(entry("3", at=yesterday, caller="bob"), cost(4))
    await ledger.settle(entry("4", caller="bob", model="claude"), cost(8, priced_by=PricedBy.CATALOG))


def total(requests: int, credits: float, premium: float = 0, estimated: int = 0, **names: str) -> Total:
    return Total(
        requests=requests,
        fresh=10 * requests,
        cache_read=20 * requests,
        cache_write=30 * requests,
        output=40 * requests,
        nano_credits=int(credits * NANO),
        nano_premium=int(premium * NANO),
        estimated=estimated,
        **names,
    )


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ((), [total(4, 15, 1.5, 1)]),
        ((By.CALLER,), [total(2, 3, 1.5, 1, caller="alice"), total(2, 12, caller="bob")]),
        ((By.MODEL,), [total(1, 8, model="claude"), total(3, 7, 1.5, 1, model="gpt-4o")]),
        ((By.ACCOUNT,), [total(4, 15, 1.5, 1, account="octocat")]),
        (
            (By.MODEL, By.DAY),
            [
                total(1, 1, 0.5, day="2026-11-18", model="gpt-4o"),
                total(2, 6, 1, 1, day="2026-11-19", model="gpt-4o"),
                total(1, 8, day="2026-11-20", model="claude"),
            ],
        ),
    ],
)
async def test_totals(ledger: Ledger, by: tuple[By, ...], expected: list[Total]) -> None:
    """Settled requests add up by any of day, caller, account and model."""
    await fill(ledger)
    assert await ledger.totals(datetime.fromtimestamp(0, UTC), None, by) == expected


@pytest.mark.parametrize(
    ("since", "until", "credits"),
    [
        ("2026-11-18T00:00:00+00:00", None, 15),
        ("2026-11-18T23:59:59+00:00", None, 15),
        ("2026-11-19T00:00:00+00:00", None, 14),
        ("2026-11-18T22:00:00-05:00", None, 14),
        ("2026-11-18T00:00:00+00:00", "2026-11-20T00:00:00+00:00", 7),
        ("2026-11-18T00:00:00+00:00", "2026-11-20T00:00:01+00:00", 15),
        ("2026-11-19T00:00:00+00:00", "2026-11-19T00:00:00+00:00", 0),
    ],
)
async def test_totals_of_some_days(ledger: Ledger, since: str, until: str | None, credits: int) -> None:
    """Days count as wholes, from the first to the last that begins before the end, in UTC."""
    await fill(ledger)
    end = None if until is None else datetime.fromisoformat(until)
    found = await ledger.totals(datetime.fromisoformat(since), end, ())
    assert sum(each.nano_credits for each in found) == credits * NANO


async def test_odd_names(ledger: Ledger) -> None:
    """Names of any characters are kept apart, also those that no encoding knows."""
    names = ["", "a'b\"c", "naïve ✓", "\ud800", "a\x00b", "NULL", "%"]
    for number, name in enumerate(names):
        claim = Claim(parse_budget("9 credits/day"), caller=name)
        await ledger.reserve(entry(f"{number}", 2, caller=name), [claim])
        await ledger.settle(entry(f"{number}", 2, caller=name), cost(number + 1))
        assert await standing(ledger, claim) == (number + 1, 0)


async def test_parallel_requests_cannot_spend_twice(ledger: Ledger) -> None:
    """Of many requests at once as many pass as the budget holds."""
    outcomes: list[bool] = []

    async def ask(number: int) -> None:
        try:
            await ledger.reserve(entry(f"{number}", 1), [CREDITS_A_DAY])
        except BudgetExceeded:
            outcomes.append(False)
        else:
            outcomes.append(True)

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(ask, number)
    assert outcomes.count(True) == 10
    assert await standing(ledger) == (0, 10)


async def test_a_closed_ledger_opens_again(ledger: Ledger) -> None:
    """Closing ends nothing but what is open."""
    await ledger.settle(entry(), cost(2))
    await ledger.close()
    await ledger.close()
    assert await standing(ledger) == (2, 0)


@pytest.mark.parametrize(
    ("standing", "share", "text"),
    [
        (
            Standing(Claim(parse_budget("500 credits/month")), used=412_500_000_000),
            0.825,
            "412.5 of 500 credits used this month",
        ),
        (Standing(Claim(parse_budget("3 premium/week")), used=0, reserved=NANO), 0.0, "0 of 3 premium used this week"),
        (Standing(Claim(parse_budget("0 credits/day")), used=0), 1.0, "0 of 0 credits used today"),
    ],
)
def test_standings(standing: Standing, share: float, text: str) -> None:
    """A standing tells what is used of what; nothing of nothing is all of it."""
    assert standing.share == share
    assert str(standing) == text


def test_a_claim_says_whose_budget_it_is() -> None:
    """The text of a claim names the budget and the names that it counts."""
    budget = parse_budget("5 credits/day")
    assert str(Claim(budget)) == "5 credits/day"
    assert str(Claim(budget, "alice", "octocat", "gpt-4o")) == (
        "5 credits/day of caller alice of account octocat of model gpt-4o"
    )
