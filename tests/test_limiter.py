"""Counting in memory: all limits of all keys or none, for every thread, and bounded in keys."""

import threading
from collections.abc import Coroutine
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from copilot_asgi.limiter import Held, MemoryLimiter
from copilot_asgi.limits import Costs, RateLimit, Unit, Wait, parse_rate_limit
from tests.stages.bench import Clock

T = TypeVar("T")

NOW = 1_000.0
ONE = (parse_rate_limit("1/min"),)
TOKENS = (parse_rate_limit("10 tokens/min"),)


def at_once(work: Coroutine[object, object, T]) -> T:
    """What ``work`` returns; it fails if it suspends even once."""
    with pytest.raises(StopIteration) as done:
        work.send(None)
    result: T = done.value.value
    return result


def test_all_keys_or_none() -> None:
    """A full limit of one key leaves the other keys as they are, and the longest wait is told."""
    clock = Clock(NOW)
    limiter = MemoryLimiter(clock=clock)
    at_once(limiter.reserve({"a": ONE}, Costs()))
    clock.now += 10
    at_once(limiter.reserve({"b": ONE}, Costs()))
    assert at_once(limiter.reserve({"a": ONE, "b": ONE, "c": ONE}, Costs())) == Wait(60, ONE[0])
    assert not isinstance(at_once(limiter.reserve({"c": ONE}, Costs())), Wait)


def test_settling_twice_counts_once() -> None:
    """Only the first word on what it cost is taken."""
    limiter = MemoryLimiter(clock=Clock(NOW))
    reservation = at_once(limiter.reserve({"a": TOKENS}, Costs(tokens=6)))
    assert not isinstance(reservation, Wait)
    reservation.settle(Costs(tokens=4))
    reservation.settle(Costs(tokens=0))
    assert isinstance(at_once(limiter.reserve({"a": TOKENS}, Costs(tokens=7))), Wait)
    assert not isinstance(at_once(limiter.reserve({"a": TOKENS}, Costs(tokens=6))), Wait)


def test_the_key_unused_for_longest_is_forgotten() -> None:
    """However many callers come, so many keys are kept; a busy one is not forgotten (L5)."""
    limiter = MemoryLimiter(clock=Clock(NOW), max_keys=100)
    at_once(limiter.reserve({"busy": ONE}, Costs()))
    for number in range(20_000):
        at_once(limiter.reserve({f"caller {number}": ONE}, Costs()))
        assert isinstance(at_once(limiter.reserve({"busy": ONE}, Costs())), Wait)
    assert len(limiter._keys) == 100
    assert isinstance(at_once(limiter.reserve({"caller 19999": ONE}, Costs())), Wait)
    assert not isinstance(at_once(limiter.reserve({"caller 0": ONE}, Costs())), Wait)


def test_a_reservation_outlives_its_key() -> None:
    """What is settled after its key was forgotten harms nobody."""
    limiter = MemoryLimiter(clock=Clock(NOW), max_keys=1)
    reservation = at_once(limiter.reserve({"a": TOKENS}, Costs(tokens=6)))
    at_once(limiter.reserve({"b": TOKENS}, Costs(tokens=6)))
    assert not isinstance(reservation, Wait)
    reservation.settle(Costs(tokens=0))
    assert isinstance(at_once(limiter.reserve({"b": TOKENS}, Costs(tokens=5))), Wait)


def test_threads_never_take_more_than_there_is() -> None:
    """Eight threads that reserve and give back at the same time leave the capacity exact."""
    limiter = MemoryLimiter()
    limits = (RateLimit(50, Unit.REQUESTS, 3_600.0), RateLimit(400, Unit.TOKENS, 3_600.0))
    kept: list[Held] = []

    def work() -> None:
        for _ in range(500):
            taken = at_once(limiter.reserve({"a": limits}, Costs(tokens=8)))
            if isinstance(taken, Wait):
                continue
            kept.append(taken)
            kept.pop().settle(Costs(requests=0))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = [at_once(limiter.reserve({"a": limits}, Costs(tokens=8))) for _ in range(51)]
    assert [isinstance(one, Wait) for one in taken] == [False] * 50 + [True]


class LimiterMachine(RuleBasedStateMachine):
    """Two keys with two limits each agree with lists of times and costs."""

    reserved = Bundle("reserved")
    limits = (RateLimit(3, Unit.REQUESTS, 8.0), RateLimit(10, Unit.TOKENS, 16.0))

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(NOW)
        self.limiter = MemoryLimiter(clock=self.clock)
        self.requests: dict[str, list[list[float]]] = {"a": [], "b": []}
        self.tokens: dict[str, list[list[float]]] = {"a": [], "b": []}

    def room(self, key: str, tokens: int, at: float) -> bool:
        requests = sum(cost for taken, cost in self.requests[key] if taken + 8 > at)
        used = sum(cost for taken, cost in self.tokens[key] if taken + 16 > at)
        return requests + 1 <= 3 and used + min(tokens, 10) <= 10

    @rule(seconds=st.integers(0, 10))
    def pass_time(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule(target=reserved, keys=st.sampled_from(["a", "b", "ab"]), tokens=st.integers(0, 12))
    def reserve(self, keys: str, tokens: int) -> object:
        now = self.clock.now
        taken = at_once(self.limiter.reserve(dict.fromkeys(keys, self.limits), Costs(tokens=tokens)))
        if isinstance(taken, Wait):
            instants = [now + second for second in range(17)]
            assert now + taken.seconds == next(at for at in instants if all(self.room(key, tokens, at) for key in keys))
            return multiple()
        assert all(self.room(key, tokens, now) for key in keys)
        entries = []
        for key in keys:
            self.requests[key].append([now, 1])
            self.tokens[key].append([now, min(tokens, 10)])
            entries.append((key, self.requests[key][-1], self.tokens[key][-1]))
        return taken, entries

    @rule(reserved=consumes(reserved), requests=st.integers(0, 1), tokens=st.integers(0, 12))
    def settle(
        self, reserved: tuple[Held, list[tuple[str, list[float], list[float]]]], requests: int, tokens: int
    ) -> None:
        reservation, entries = reserved
        reservation.settle(Costs(requests=requests, tokens=tokens))
        for key, request, entry in entries:
            request[1] = requests
            surplus = min(tokens, 10) - entry[1]
            if surplus > 0:
                self.tokens[key].append([self.clock.now, surplus])
            else:
                entry[1] += surplus

    @invariant()
    def keys_are_few(self) -> None:
        assert len(self.limiter._keys) <= 2


LimiterMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestLimiterAgainstLists = LimiterMachine.TestCase
