"""Windows over time: never over the amount, waits that are exact, memory that is bounded."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from copilot_asgi.errors import ConfigError
from copilot_asgi.limits import EXACT, Costs, RateLimit, Ticket, Unit, Wait, Window, parse_rate_limit, take_all
from copilot_asgi.pricing import NANO

NOW = 1_000.0


def limit(text: str) -> RateLimit:
    return parse_rate_limit(text)


@pytest.mark.parametrize(
    ("text", "amount", "unit", "window"),
    [
        ("60/min", 60, Unit.REQUESTS, 60),
        ("1/10s", 1, Unit.REQUESTS, 10),
        ("1 / 10 s", 1, Unit.REQUESTS, 10),
        (" 5 Requests/Hour ", 5, Unit.REQUESTS, 3_600),
        ("200000 tokens/2hours", 200_000, Unit.TOKENS, 7_200),
        ("0.25 credits/7d", 0.25, Unit.CREDITS, 604_800),
        ("999999999999999 tokens/999999999 days", 999_999_999_999_999, Unit.TOKENS, 999_999_999 * 86_400),
        ("0.000000001 credits/s", 1e-9, Unit.CREDITS, 1),
    ],
)
def test_limits_are_read(text: str, amount: float, unit: Unit, window: float) -> None:
    """An amount, what is counted, and a time; case and blanks do not matter."""
    assert parse_rate_limit(text) == RateLimit(amount, unit, window)


@pytest.mark.parametrize(
    "text",
    [
        "", "fast", "60", "60/", "/min", "-1/min", "0/min", "0.0 credits/min", "1/0s", "1/00s", "1/fortnight",
        "1.5/min", "0.5 tokens/min", "1 euro/min", "1/min/min", "0.0000000001 credits/s", "nan/s", "1e3/s",
        "9" * 400 + " credits/s", "1/" + "9" * 400 + "s",
    ],
)  # fmt: skip
def test_what_is_no_limit_is_refused(text: str) -> None:
    """Whatever does not fit is an error that names the setting, never a limit of nought or of for ever."""
    with pytest.raises(ConfigError, match="rate_limit: "):
        parse_rate_limit(text)


@pytest.mark.parametrize(
    ("amount", "window"),
    [(0, 60), (-1, 60), (1e-10, 60), (math.inf, 60), (math.nan, 60), (1, 0), (1, -1), (1, math.inf), (1, math.nan)],
)
def test_a_limit_made_in_code_is_checked_as_well(amount: float, window: float) -> None:
    """Without an amount or a time there is no limit to keep."""
    with pytest.raises(ConfigError, match="out of range"):
        RateLimit(amount, Unit.CREDITS, window)


def test_a_limit_names_itself() -> None:
    """The text stands in messages to clients."""
    assert str(limit("200000 tokens/hour")) == "200000 tokens/hour"


def test_costs_by_unit() -> None:
    """Each unit has its own cost; a request is one request."""
    costs = Costs(tokens=300, credits=0.5)
    assert [costs.of(unit) for unit in Unit] == [1, 300, 0.5]


def test_a_full_window_names_the_exact_wait() -> None:
    """Refused at t, admitted at t + wait, and not a moment before."""
    window = Window(limit("2/10s"))
    window.take(NOW, 1)
    window.take(NOW + 4, 1)
    assert window.wait(NOW + 6, 1) == 4
    assert window.wait(NOW + 10 - 1e-9, 1) > 0
    assert window.wait(NOW + 10, 1) == 0
    assert window.wait(NOW + 10, 2) == 4


def test_the_wait_is_for_as_many_entries_as_it_takes() -> None:
    """A cost waits until enough older ones are gone, and no longer."""
    window = Window(limit("10 tokens/10s"))
    for second in range(5):
        window.take(NOW + second, 2)
    assert [window.wait(NOW + 5, cost) for cost in (0, 1, 2, 3, 10)] == [0, 5, 5, 6, 9]


def test_a_cost_above_the_amount_is_admitted_once_into_an_empty_window() -> None:
    """It counts as the whole amount: never for ever, never beside anything else."""
    window = Window(limit("10 tokens/10s"))
    window.take(NOW, 1)
    assert window.wait(NOW, 1_000) == 10
    ticket = window.take(NOW + 10, 1_000)
    assert window.wait(NOW + 10, 1) == 10
    window.settle(ticket, NOW + 15, 5_000)
    assert window.wait(NOW + 15, 1) == 5


@pytest.mark.parametrize(
    ("settled", "room", "wait"),
    [
        pytest.param(6, 4, 5, id="as reserved"),
        pytest.param(2, 8, 5, id="less: the rest is free at once"),
        pytest.param(0, 10, 0, id="given back"),
        pytest.param(9, 1, 10, id="more: the surplus counts from when it was known"),
    ],
)
def test_settling_replaces_what_was_reserved(settled: float, room: float, wait: float) -> None:
    """The true cost counts in the end."""
    window = Window(limit("10 tokens/10s"))
    ticket = window.take(NOW, 6)
    window.settle(ticket, NOW + 5, settled)
    assert window.wait(NOW + 5, room) == 0
    assert window.wait(NOW + 5, 10) == wait


def test_settling_after_the_window_has_passed() -> None:
    """A long answer gives nothing back that is gone already; what it cost more than reserved still counts."""
    window = Window(limit("10 tokens/10s"))
    cheap, dear = window.take(NOW, 5), window.take(NOW, 5)
    window.settle(cheap, NOW + 30, 0)
    assert window.wait(NOW + 30, 10) == 0
    window.settle(dear, NOW + 30, 9)
    assert window.wait(NOW + 30, 7) == 10
    assert window.wait(NOW + 30, 6) == 0


def test_fractions_do_not_drift() -> None:
    """A hundred thousand tenths taken and given back leave exactly nothing."""
    window = Window(limit("1 credits/hour"))
    for step in range(100_000):
        ticket = window.take(NOW + step * 1e-4, 0.1)
        window.settle(ticket, NOW + step * 1e-4, 0.0)
    assert window.wait(NOW + 10, 1.0) == 0


def test_credits_are_counted_to_the_billionth() -> None:
    """What binary fractions cannot say is rounded, never cut off."""
    window = Window(limit("0.00000003 credits/hour"))
    window.take(NOW, 15 / NANO)
    assert window.wait(NOW, 15 / NANO) == 0
    window.take(NOW, 15 / NANO)
    assert window.wait(NOW, 1 / NANO) == 3_600


def test_a_clock_that_goes_back_frees_nothing() -> None:
    """The latest time seen counts; the wait is told from the time that was given."""
    window = Window(limit("1/10s"))
    window.take(NOW, 1)
    assert window.wait(NOW - 100, 1) == 110
    window.wait(NOW + 10, 1)
    window.take(NOW + 5, 1)
    assert window.wait(NOW + 10, 1) == 10


@pytest.mark.parametrize(("taken_at", "window", "now"), [(3.59, 8.85, 4.29), (1.72, 44.24, 2.41), (4.36, 21.8, 5.33)])
def test_rounding_never_names_an_instant_too_early(taken_at: float, window: float, now: float) -> None:
    """Where the difference of two times is rounded down, the wait is one bit longer."""
    state = Window(RateLimit(1, Unit.REQUESTS, window))
    state.take(taken_at, 1)
    assert now + (taken_at + window - now) < taken_at + window, "this case is not one of rounding"
    assert state.wait(now + state.wait(now, 1), 1) == 0


@settings(max_examples=300, deadline=None)
@given(
    taken_at=st.floats(0, 1e7),
    span=st.floats(1e-3, 1e6),
    elapsed=st.floats(0, 1),
)
def test_the_wait_is_exact_for_any_times(taken_at: float, span: float, elapsed: float) -> None:
    """Admitted at now + wait, refused a little before; whatever the bits of the times are."""
    window = Window(RateLimit(1, Unit.REQUESTS, span))
    window.take(taken_at, 1)
    now = taken_at + span * elapsed
    wait = window.wait(now, 1)
    early = now + wait - 1e-8
    if early >= now:
        assert window.wait(early, 1) > 0
    assert window.wait(now + wait, 1) == 0


class Naive:
    """The rule as one would write it down: a list of times and costs."""

    def __init__(self, amount: int, window: float) -> None:
        self.amount, self.window = amount, window
        self.entries: list[list[float]] = []

    def used(self, at: float) -> float:
        return sum(cost for taken, cost in self.entries if taken + self.window > at)

    def wait(self, now: float, cost: int) -> float:
        ends = (taken + self.window for taken, _ in self.entries)
        instants = sorted({now, *(end for end in ends if end > now)})
        return next(at for at in instants if self.used(at) + min(cost, self.amount) <= self.amount) - now

    def take(self, now: float, cost: int) -> list[float]:
        self.entries.append([now, min(cost, self.amount)])
        return self.entries[-1]


@dataclass
class Taken:
    ticket: Ticket
    entry: list[float]


class WindowMachine(RuleBasedStateMachine):
    """A window and the naive rule agree, whatever is taken and settled, and whenever."""

    taken = Bundle("taken")

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.window = Window(limit("10 tokens/8s"))
        self.model = Naive(10, 8.0)

    @rule(quarters=st.integers(0, 40))
    def pass_time(self, quarters: int) -> None:
        self.now += quarters / 4

    @rule(target=taken, cost=st.integers(0, 13))
    def ask(self, cost: int) -> object:
        wait = self.window.wait(self.now, cost)
        assert wait == self.model.wait(self.now, cost)
        if wait:
            return multiple()
        return Taken(self.window.take(self.now, cost), self.model.take(self.now, cost))

    @rule(cost=st.integers(1, 13))
    def wait_as_told(self, cost: int) -> None:
        self.now += self.window.wait(self.now, cost)
        assert self.window.wait(self.now, cost) == 0
        self.window.take(self.now, cost)
        self.model.take(self.now, cost)
        assert self.model.used(self.now) <= 10

    @rule(taken=consumes(taken), cost=st.integers(0, 13))
    def settle(self, taken: Taken, cost: int) -> None:
        surplus = min(cost, 10) - taken.ticket.nano // NANO
        self.window.settle(taken.ticket, self.now, cost)
        if surplus > 0:
            self.model.take(self.now, surplus)
        else:
            taken.entry[1] += surplus

    @invariant()
    def costs_agree(self) -> None:
        assert self.window._used - sum(entry.nano for entry in self.window._entries) == 0
        assert all(self.window.wait(self.now, cost) == self.model.wait(self.now, cost) for cost in (0, 1, 5, 10))


WindowMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestWindowAgainstTheNaiveRule = WindowMachine.TestCase


def test_memory_is_bounded_and_the_rule_still_holds() -> None:
    """However many come, some two thousand entries are kept, never more is admitted, and nobody is held up for long.

    What is counted as one expires with the last of it, at most a 1,024th of the window later.
    """
    amount, length, per_second = 4_000, 100, 80
    window = Window(RateLimit(amount, Unit.REQUESTS, length))
    admitted: list[float] = []
    for tick in range(per_second * length * 3):
        now = NOW + tick / per_second
        # First a steady stream that leaves many entries, then more than there is ever room for.
        for _ in range(1 if tick < per_second * length else 10):
            if window.wait(now, 1) == 0:
                window.take(now, 1)
                admitted.append(now)
        assert len(window._entries) <= 2 * EXACT + 1
    first = 0
    for last, now in enumerate(admitted):
        while admitted[first] + length <= now:
            first += 1
        assert last - first + 1 <= amount
    assert len(admitted) > 0.98 * amount * 3


def test_what_is_counted_as_one_is_settled_alone() -> None:
    """Giving back one of many costs that share an entry frees that one, and all are gone after the window."""
    window = Window(RateLimit(3_000, Unit.REQUESTS, 100.0))
    tickets = [window.take(NOW, 1) for _ in range(3_000)]
    assert len(window._entries) == EXACT
    assert window.wait(NOW, 1) == 100
    for ticket in tickets[-7:]:
        window.settle(ticket, NOW, 0)
    assert window.wait(NOW, 7) == 0
    assert window.wait(NOW, 8) == 100
    assert window.wait(NOW + 100, 3_000) == 0


def test_all_windows_or_none() -> None:
    """One that is full keeps the others untouched, and the longest wait is named with its limit."""
    short, long, tokens = Window(limit("1/5s")), Window(limit("2/min")), Window(limit("10 tokens/10s"))
    windows = (short, long, tokens)
    assert not isinstance(take_all(windows, NOW, Costs(tokens=10)), Wait)
    assert take_all(windows, NOW + 1, Costs(tokens=1)) == Wait(9, tokens.limit)
    assert not isinstance(take_all(windows, NOW + 6, Costs(tokens=0)), Wait)
    assert take_all(windows, NOW + 20, Costs(tokens=5)) == Wait(40, long.limit)
    assert (short.wait(NOW + 20, 1), tokens.wait(NOW + 20, 10)) == (0, 0)


def test_without_windows_there_is_nothing_to_take() -> None:
    """No limit is no wait."""
    assert take_all((), NOW, Costs()) == ()
