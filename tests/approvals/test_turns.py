"""One at a time, first come first served, on however many loops; who leaves holds up nobody."""

import asyncio
import threading
from collections.abc import Coroutine

import anyio
import anyio.to_thread
import pytest

from copilot_asgi.approvals.turns import Turns

pytestmark = pytest.mark.anyio


async def settle() -> None:
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


class Taker:
    """Takes a turn, says so in the log, and keeps it until it is let go."""

    def __init__(self, turns: Turns, log: list[str], name: str) -> None:
        self.scope = anyio.CancelScope()
        self.done = anyio.Event()
        self._turns = turns
        self._log = log
        self._name = name

    async def __call__(self) -> None:
        with self.scope:
            assert await self._turns.run(self._work) == self._name

    async def _work(self) -> str:
        self._log.append(f"{self._name} begins")
        await self.done.wait()
        self._log.append(f"{self._name} ends")
        return self._name


async def test_turns_are_taken_in_order() -> None:
    """Each waits for the one before, begins when that has ended, and gets what its own work returns."""
    turns, log = Turns(), []
    takers = [Taker(turns, log, name) for name in "abc"]
    async with anyio.create_task_group() as group:
        for taker in takers:
            group.start_soon(taker)
            await settle()
        assert log == ["a begins"]
        for taker in takers:
            taker.done.set()
    assert log == ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]


@pytest.mark.parametrize(
    ("leave", "log"),
    [
        ((0,), ["0 begins", "1 begins", "1 ends", "2 begins", "2 ends"]),
        ((1,), ["0 begins", "0 ends", "2 begins", "2 ends"]),
        ((0, 1), ["0 begins", "2 begins", "2 ends"]),
        ((1, 0), ["0 begins", "2 begins", "2 ends"]),
        ((0, 2), ["0 begins", "1 begins", "1 ends"]),
    ],
)
async def test_who_leaves_holds_up_nobody(leave: tuple[int, ...], log: list[str]) -> None:
    """Cancelled with the turn, while waiting for it, or when it was just given: the next has its turn all the same."""
    turns, logged = Turns(), []
    takers = [Taker(turns, logged, str(number)) for number in range(3)]
    async with anyio.create_task_group() as group:
        for taker in takers:
            group.start_soon(taker)
            await settle()
        for number in leave:
            takers[number].scope.cancel()
        for taker in takers:
            taker.done.set()
    assert logged == log


async def test_a_turn_that_comes_too_late_is_passed_on() -> None:
    """Cancelled between being given the turn and taking it."""
    turns, log = Turns(), []
    first, late, third = (Taker(turns, log, name) for name in ("first", "late", "third"))

    async def end_first() -> None:
        await first()
        late.scope.cancel()
        third.done.set()

    async with anyio.create_task_group() as group:
        for work in (end_first, late, third):
            group.start_soon(work)
            await settle()
        first.done.set()
    assert log == ["first begins", "first ends", "third begins", "third ends"]


async def test_turns_span_loops() -> None:
    """A task on another loop waits for its turn, and gets it."""
    turns, log, waits = Turns(), [], threading.Event()

    async def other() -> None:
        taker = Taker(turns, log, "other")
        taker.done.set()
        async with anyio.create_task_group() as group:
            group.start_soon(taker)
            await settle()
            waits.set()

    async def hold() -> threading.Thread:
        thread = threading.Thread(target=anyio.run, args=(other,))
        thread.start()
        await anyio.to_thread.run_sync(waits.wait)
        assert log == []
        return thread

    thread = await turns.run(hold)
    await anyio.to_thread.run_sync(thread.join)
    assert log == ["other begins", "other ends"]


@pytest.mark.parametrize("has_the_turn", [False, True])
async def test_who_went_with_its_loop_is_passed_over(has_the_turn: bool) -> None:
    """A loop was closed without ending its tasks: one that waited takes no turn, one that had it gives it back."""
    turns, log = Turns(), []
    first, following = Taker(turns, log, "first"), Taker(turns, log, "following")
    following.done.set()
    async with anyio.create_task_group() as group:
        if not has_the_turn:
            group.start_soon(first)
            await settle()
        lost = turns.run(anyio.sleep_forever)
        await anyio.to_thread.run_sync(abandon, lost)
        group.start_soon(following)
        await settle()
        first.done.set()
        if has_the_turn:
            lost.close()
    lost.close()
    assert log[-2:] == ["following begins", "following ends"]


def abandon(work: Coroutine[None, None, None]) -> None:
    """Run ``work`` until it waits, on a loop that is then closed under it."""
    loop = asyncio.new_event_loop()

    async def start() -> None:
        task = asyncio.get_running_loop().create_task(work)
        await asyncio.sleep(0)
        task._log_destroy_pending = False

    loop.run_until_complete(start())
    loop.close()
