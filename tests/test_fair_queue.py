"""Waiting lines: first come, first served; whoever leaves loses nothing for the others; nobody waits in vain."""

import random
import threading
from contextlib import AbstractContextManager
from functools import partial

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskGroup

from copilot_asgi.errors import RateLimited
from copilot_asgi.fair_queue import LEAST_WAIT, FairQueue
from tests.stages.bench import Clock

pytestmark = pytest.mark.anyio

KEY = "all"


class Turnstile:
    """So many places. ``retry_after`` is what those hear who find none; ``admitted`` tells who got one, in order."""

    def __init__(self, places: int = 0, *, retry_after: float | None = 5.0) -> None:
        self.places = places
        self.admitted: list[object] = []
        self.tried: list[object] = []
        self.retry_after = retry_after

    async def take(self, who: object) -> object:
        self.tried.append(who)
        if not self.places:
            raise RateLimited("The turnstile is shut.", retry_after=self.retry_after)
        self.places -= 1
        self.admitted.append(who)
        return who


class SlowTurnstile(Turnstile):
    """One that is asked over a network: the answer, as of the moment of the question, takes until ``answer`` is set."""

    def __init__(self, places: int = 0) -> None:
        super().__init__(places)
        self.answer = anyio.Event()

    async def take(self, who: object) -> object:
        try:
            return await super().take(who)
        finally:
            await self.answer.wait()


def visit(queue: FairQueue, group: TaskGroup, turnstile: Turnstile, who: object, key: str = KEY) -> None:
    group.start_soon(queue.enter, key, partial(turnstile.take, who))


def refused(reason: str = "The turnstile is shut") -> "AbstractContextManager[pytest.ExceptionInfo[RateLimited]]":
    return pytest.raises(RateLimited, match=reason)


async def test_an_open_turnstile_is_passed_at_once() -> None:
    """Who finds nobody waiting and room does not wait, and leaves nothing behind."""
    queue = FairQueue(max_length=0, timeout=10)
    assert await queue.enter(KEY, partial(Turnstile(1).take, "first")) == "first"
    assert queue._lines() == {}


async def test_first_come_first_served() -> None:
    """Places that come free one by one go to those who wait in the order of their arrival."""
    queue, turnstile = FairQueue(max_length=10, timeout=10), Turnstile()
    async with anyio.create_task_group() as group:
        for who in range(5):
            visit(queue, group, turnstile, who)
            await anyio.wait_all_tasks_blocked()
        assert queue.waiting(KEY) == 5
        assert turnstile.tried == [0]
        for freed in range(1, 6):
            turnstile.places += 1
            queue.notify(KEY)
            await anyio.wait_all_tasks_blocked()
            assert turnstile.admitted == list(range(freed))
    assert queue._lines() == {}


async def test_one_word_is_enough_for_many_places() -> None:
    """Whoever gets a place wakes the next, who may find one as well."""
    queue, turnstile = FairQueue(max_length=10, timeout=10), Turnstile()
    async with anyio.create_task_group() as group:
        for who in range(4):
            visit(queue, group, turnstile, who)
            await anyio.wait_all_tasks_blocked()
        turnstile.places = 3
        queue.notify(KEY)
        await anyio.wait_all_tasks_blocked()
        assert (turnstile.admitted, queue.waiting(KEY)) == ([0, 1, 2], 1)
        group.cancel_scope.cancel()


async def test_a_newcomer_does_not_overtake() -> None:
    """A place that came free unnoticed goes to the one who waits, not to the one who happens to come by."""
    queue, turnstile = FairQueue(max_length=10, timeout=10), Turnstile()
    async with anyio.create_task_group() as group:
        visit(queue, group, turnstile, "first")
        await anyio.wait_all_tasks_blocked()
        turnstile.places = 1
        visit(queue, group, turnstile, "newcomer")
        await anyio.wait_all_tasks_blocked()
        assert turnstile.admitted == []
        queue.notify(KEY)
        await anyio.wait_all_tasks_blocked()
        assert turnstile.admitted == ["first"]
        group.cancel_scope.cancel()


@pytest.mark.parametrize("leaves", [0, 1, 2])
async def test_whoever_leaves_is_gone_at_once(leaves: int) -> None:
    """The place in line goes with the one who held it, at the front, in the middle and at the end (D5)."""
    queue, turnstile = FairQueue(max_length=3, timeout=10), Turnstile()
    scopes = [anyio.CancelScope() for _ in range(3)]

    async def enter(who: int) -> None:
        with scopes[who]:
            await queue.enter(KEY, partial(turnstile.take, who))

    async with anyio.create_task_group() as group:
        for who in range(3):
            group.start_soon(enter, who)
            await anyio.wait_all_tasks_blocked()
        scopes[leaves].cancel()
        await anyio.wait_all_tasks_blocked()
        assert queue.waiting(KEY) == 2
        turnstile.places = 3
        queue.notify(KEY)
    assert turnstile.admitted == [who for who in range(3) if who != leaves]
    assert turnstile.places == 1


async def test_an_attempt_that_fails_otherwise_is_that_ones_alone() -> None:
    """An error goes to the one whose attempt it was, and the next moves up."""
    queue, turnstile = FairQueue(max_length=3, timeout=10), Turnstile()
    outcome: list[str] = []

    async def fails() -> None:
        await anyio.wait_all_tasks_blocked()
        raise ValueError("broken")

    async def enter() -> None:
        with pytest.raises(ValueError, match="broken"):
            await queue.enter(KEY, fails)
        outcome.append("failed")

    turnstile.places = 1
    async with anyio.create_task_group() as group:
        group.start_soon(enter)
        visit(queue, group, turnstile, "next")
    assert (outcome, turnstile.admitted, queue._lines()) == (["failed"], ["next"], {})


async def test_a_full_line_refuses_at_once() -> None:
    """Who finds as many waiting as may is told so, and when the line will have moved (L2)."""
    clock = Clock()
    queue, turnstile = FairQueue(max_length=2, timeout=60, clock=clock), Turnstile(retry_after=40)
    async with anyio.create_task_group() as group:
        for who in range(2):
            visit(queue, group, turnstile, who)
            await anyio.wait_all_tasks_blocked()
        clock.now += 10
        with refused("queue is full: 2 requests wait") as told:
            await queue.enter(KEY, partial(turnstile.take, "late"))
        assert (told.value.status, told.value.code, told.value.retry_after) == (429, "rate_limit_exceeded", 30)
        clock.now += 40
        with refused("queue is full") as told:
            await queue.enter(KEY, partial(turnstile.take, "late"))
        assert told.value.retry_after == LEAST_WAIT
        assert turnstile.tried == [0]
        group.cancel_scope.cancel()


async def test_where_nobody_may_wait_the_refusal_is_the_attempts_own() -> None:
    """A line of no length is no line: the exact time is told."""
    queue = FairQueue(max_length=0, timeout=10)
    with refused() as told:
        await queue.enter(KEY, partial(Turnstile(retry_after=0.5).take, "one"))
    assert told.value.retry_after == 0.5
    assert queue._lines() == {}


async def test_lines_are_apart() -> None:
    """Who waits for one key holds nobody up who wants another, nor takes a place in that line."""
    queue, shut, wide = FairQueue(max_length=1, timeout=10), Turnstile(), Turnstile(1)
    async with anyio.create_task_group() as group:
        visit(queue, group, shut, "waits", "a")
        await anyio.wait_all_tasks_blocked()
        assert await queue.enter("b", partial(wide.take, "goes")) == "goes"
        queue.notify("b")
        assert (queue.waiting("a"), queue.waiting("b"), list(queue._lines())) == (1, 0, ["a"])
        group.cancel_scope.cancel()


async def test_what_cannot_come_in_time_is_not_waited_for() -> None:
    """A wait beyond the timeout is refused at once with its exact length: nobody sits out a weekly limit (L3)."""
    clock = Clock()
    queue = FairQueue(max_length=10, timeout=30, clock=clock)
    week = 7 * 86_400.0
    with anyio.fail_after(1), refused() as told:
        await queue.enter(KEY, partial(Turnstile(retry_after=week).take, "one"))
    assert told.value.retry_after == week


async def test_what_has_been_waited_counts() -> None:
    """It is what remains of the timeout that the next wait must fit into."""
    clock = Clock()
    queue, turnstile = FairQueue(max_length=10, timeout=30, clock=clock), Turnstile(retry_after=20)
    told: list[float | None] = []

    async def enter() -> None:
        with refused() as refusal:
            await queue.enter(KEY, partial(turnstile.take, "one"))
        told.append(refusal.value.retry_after)

    async with anyio.create_task_group() as group:
        group.start_soon(enter)
        await anyio.wait_all_tasks_blocked()
        clock.now += 15
        turnstile.retry_after = 15
        queue.notify(KEY)
        await anyio.wait_all_tasks_blocked()
        assert told == []
        turnstile.retry_after = 15.001
        queue.notify(KEY)
    assert told == [15.001]


async def test_a_deadline_may_be_older_than_the_place() -> None:
    """Who has waited elsewhere before has that much less time."""
    clock = Clock()
    queue = FairQueue(max_length=10, timeout=30, clock=clock)
    deadline = queue.deadline()
    clock.now += 29
    with refused():
        await queue.enter(KEY, partial(Turnstile(retry_after=2).take, "one"), deadline=deadline)


async def test_behind_others_one_waits_to_the_cap_only() -> None:
    """Who never becomes the first is refused when the timeout has passed; the first keeps its place (L3)."""
    queue, turnstile = FairQueue(max_length=10, timeout=0.03), Turnstile(retry_after=None)
    async with anyio.create_task_group() as group:
        group.start_soon(partial(queue.enter, KEY, partial(turnstile.take, 0), deadline=queue.deadline() + 60))
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(1), refused("waited too long for its turn") as told:
            await queue.enter(KEY, partial(turnstile.take, 1))
        assert told.value.retry_after == LEAST_WAIT
        assert (turnstile.tried.count(1), queue.waiting(KEY)) == (0, 1)
        group.cancel_scope.cancel()


async def test_what_nobody_can_foresee_is_tried_until_the_cap() -> None:
    """A refusal that names no time is tried again up to the end, and then told with a time."""
    queue, turnstile = FairQueue(max_length=10, timeout=0.03), Turnstile(retry_after=None)
    with anyio.fail_after(1), refused() as told:
        await queue.enter(KEY, partial(turnstile.take, "one"))
    assert told.value.retry_after == LEAST_WAIT
    assert len(turnstile.tried) >= 2


async def test_what_comes_free_unnoticed_is_found_when_it_was_said_to() -> None:
    """Nobody has to say a word when the time that was named has come."""
    queue, turnstile = FairQueue(max_length=10, timeout=10), Turnstile(retry_after=0.01)
    async with anyio.create_task_group() as group:
        visit(queue, group, turnstile, "one")
        await anyio.wait_all_tasks_blocked()
        turnstile.places = 1
    assert turnstile.admitted == ["one"]


async def test_a_word_during_an_attempt_is_heard() -> None:
    """What comes free while the question is under way makes it be asked again."""
    queue, turnstile = FairQueue(max_length=10, timeout=10), SlowTurnstile()
    with anyio.fail_after(1):
        async with anyio.create_task_group() as group:
            visit(queue, group, turnstile, "one")
            await anyio.wait_all_tasks_blocked()
            turnstile.places = 1
            queue.notify(KEY)
            turnstile.answer.set()
    assert turnstile.tried == ["one", "one"]


async def test_a_first_try_is_no_waiting() -> None:
    """Who asks for the first time takes up none of the places in line; one may stand behind."""
    queue, turnstile = FairQueue(max_length=1, timeout=10), SlowTurnstile(2)
    async with anyio.create_task_group() as group:
        for who in range(2):
            visit(queue, group, turnstile, who)
            await anyio.wait_all_tasks_blocked()
        with refused("queue is full: 1 request"):
            await queue.enter(KEY, partial(turnstile.take, "third"))
        turnstile.answer.set()
    assert turnstile.admitted == [0, 1]


async def test_moving_up_is_no_first_try() -> None:
    """Who has waited still takes up a place in line while it is asking."""
    queue, turnstile = FairQueue(max_length=1, timeout=10), SlowTurnstile(2)
    async with anyio.create_task_group() as group:
        for who in range(2):
            visit(queue, group, turnstile, who)
            await anyio.wait_all_tasks_blocked()
        turnstile.answer.set()
        turnstile.answer = anyio.Event()
        await anyio.wait_all_tasks_blocked()
        assert turnstile.tried == [0, 1]
        with refused("queue is full: 1 request"):
            await queue.enter(KEY, partial(turnstile.take, "third"))
        turnstile.answer.set()


async def test_a_line_that_filled_up_behind_a_first_try_stays_in_bounds() -> None:
    """Who is refused at the first try finds no place where as many as may are waiting by then."""
    queue, turnstile = FairQueue(max_length=1, timeout=10), SlowTurnstile()
    told: list[str] = []

    async def enter() -> None:
        with refused() as refusal:
            await queue.enter(KEY, partial(turnstile.take, "first"))
        told.append(refusal.value.message)

    async with anyio.create_task_group() as group:
        group.start_soon(enter)
        await anyio.wait_all_tasks_blocked()
        visit(queue, group, turnstile, "second")
        await anyio.wait_all_tasks_blocked()
        turnstile.answer.set()
        await anyio.wait_all_tasks_blocked()
        assert (told, queue.waiting(KEY)) == (["The turnstile is shut."], 1)
        turnstile.places = 1
        queue.notify(KEY)
    assert turnstile.admitted == ["second"]


def test_each_loop_has_its_own_lines(anyio_backend: str) -> None:
    """Two loops in two threads use one queue at the same time; each knows its own waiters only."""
    queue = FairQueue(max_length=1, timeout=10)
    both = threading.Barrier(2, timeout=10)
    seen: list[int] = []

    async def main() -> None:
        turnstile = Turnstile()
        async with anyio.create_task_group() as group:
            visit(queue, group, turnstile, "one")
            await anyio.wait_all_tasks_blocked()
            await anyio.to_thread.run_sync(both.wait)
            seen.append(queue.waiting(KEY))
            await anyio.to_thread.run_sync(both.wait)
            turnstile.places = 1
            queue.notify(KEY)
        seen.append(queue.waiting(KEY))

    threads = [threading.Thread(target=anyio.run, args=(main,), kwargs={"backend": anyio_backend}) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1, 1, 0, 0]


async def wander(steps: int) -> None:
    for _ in range(steps):
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("seed", range(2))
async def test_random_leaving_loses_no_place_and_no_turn(seed: int) -> None:
    """Thousands come, wait, pass and leave at any moment: capacity is exact and order kept all the time (L4)."""
    visitors, places = 4_000, 7
    dice = random.Random(seed)
    queue, turnstile = FairQueue(max_length=visitors, timeout=60), Turnstile(places, retry_after=None)
    due: dict[int, list[anyio.CancelScope]] = {}
    left = longest = 0

    async def visitor(who: int, stay: int, scope: anyio.CancelScope) -> None:
        nonlocal left
        with scope:
            await queue.enter(KEY, partial(turnstile.take, who))
            try:
                await wander(stay)
            finally:
                turnstile.places += 1
                queue.notify(KEY)
        left += scope.cancelled_caught

    async with anyio.create_task_group() as group:
        for who in range(visitors):
            scope = anyio.CancelScope()
            due.setdefault(who + dice.randrange(120), []).append(scope)
            group.start_soon(visitor, who, dice.randrange(30), scope)
            await wander(1)
            for leaver in due.pop(who, ()):
                leaver.cancel()
            assert 0 <= turnstile.places <= places
            longest = max(longest, queue.waiting(KEY))

    assert (turnstile.places, queue._lines()) == (places, {})
    assert turnstile.admitted == sorted(turnstile.admitted, key=lambda who: int(str(who)))
    assert (longest > 20, left > visitors / 4, len(turnstile.admitted) > visitors / 4) == (True, True, True)
