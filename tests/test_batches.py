"""Group commit: nobody waits for company, nothing that was submitted is lost."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable

import anyio
import pytest
from anyio import from_thread

from copilot_asgi.batches import Batches

pytestmark = pytest.mark.anyio


class Writing:
    """An ``apply`` that waits for ``gate`` before each batch, says when it has begun, and keeps the batches."""

    def __init__(self, *, fails: Callable[[list[int]], bool] = lambda _: False) -> None:
        self.gate = threading.Event()
        self.begun = threading.Event()
        self.batches: list[list[int]] = []
        self._fails = fails

    def __call__(self, operations: list[int]) -> list[int]:
        self.begun.set()
        assert self.gate.wait(10)
        self.batches.append(list(operations))
        if self._fails(operations):
            raise OSError("the disk is full")
        return [10 * operation for operation in operations]

    async def until_begun(self) -> None:
        assert await anyio.to_thread.run_sync(self.begun.wait, 10)


async def submit_all(batches: Batches[int, int], operations: range) -> dict[int, int]:
    results: dict[int, int] = {}

    async def submit(operation: int) -> None:
        results[operation] = await batches.submit(operation)

    async with anyio.create_task_group() as group:
        for operation in operations:
            group.start_soon(submit, operation)
    return results


async def test_each_submitter_gets_its_own_result() -> None:
    """Results go back to those who submitted the operations."""
    writing = Writing()
    writing.gate.set()
    assert await submit_all(Batches(writing), range(50)) == {number: 10 * number for number in range(50)}


async def test_one_operation_is_written_at_once() -> None:
    """An operation alone forms a batch alone; the next one too."""
    writing = Writing()
    writing.gate.set()
    batches = Batches(writing)
    assert [await batches.submit(1), await batches.submit(2)] == [10, 20]
    assert writing.batches == [[1], [2]]


async def test_what_comes_meanwhile_forms_the_next_batch() -> None:
    """While one batch is being written all others gather in one, in the order of submission."""
    writing = Writing()
    batches = Batches(writing)
    async with anyio.create_task_group() as group:
        group.start_soon(batches.submit, 0)
        await writing.until_begun()
        for number in range(1, 30):
            group.start_soon(batches.submit, number)
        await anyio.wait_all_tasks_blocked()
        writing.gate.set()
    first, second = writing.batches
    assert first == [0]
    assert sorted(second) == list(range(1, 30))


async def test_an_error_reaches_everyone_in_the_batch_and_nobody_else() -> None:
    """What ``apply`` raises is raised by each ``submit`` of that batch; the next batch is written as ever."""
    writing = Writing(fails=lambda operations: 1 in operations)
    batches = Batches(writing)
    outcomes: dict[int, object] = {}

    async def submit(operation: int) -> None:
        try:
            outcomes[operation] = await batches.submit(operation)
        except OSError as error:
            outcomes[operation] = str(error)

    async with anyio.create_task_group() as group:
        group.start_soon(submit, 0)
        await writing.until_begun()
        group.start_soon(submit, 1)
        group.start_soon(submit, 2)
        await anyio.wait_all_tasks_blocked()
        writing.gate.set()
    assert outcomes == {0: 0, 1: "the disk is full", 2: "the disk is full"}
    assert await batches.submit(3) == 30


@pytest.mark.parametrize("leaver", [0, 1], ids=["whose batch is being written", "whose batch is forming"])
async def test_a_submitter_that_leaves_is_served_first(leaver: int) -> None:
    """A cancelled ``submit`` goes on to the end of its batch, and then is cancelled; the others see nothing of it."""
    writing = Writing()
    batches = Batches(writing)
    scopes = [anyio.CancelScope(), anyio.CancelScope()]
    seen: list[str] = []

    async def submit(operation: int) -> None:
        with scopes[operation]:
            await batches.submit(operation)
            seen.append(f"{operation} returned")

    async with anyio.create_task_group() as group:
        group.start_soon(submit, 0)
        await writing.until_begun()
        group.start_soon(submit, 1)
        await anyio.wait_all_tasks_blocked()
        scopes[leaver].cancel()
        await anyio.wait_all_tasks_blocked()
        assert writing.batches == []
        writing.gate.set()
    assert writing.batches == [[0], [1]]
    assert seen == [f"{1 - leaver} returned"]
    assert scopes[leaver].cancelled_caught


def test_a_submitter_torn_out_by_asyncio_leaves_its_operation() -> None:
    """asyncio's own ``cancel`` knows no shield; the operation is written all the same, and so are the others'."""

    async def main() -> list[list[int]]:
        writing = Writing()
        batches = Batches(writing)
        async with asyncio.TaskGroup() as group:
            first = group.create_task(batches.submit(0))
            await asyncio.to_thread(writing.begun.wait, 10)
            others = [group.create_task(batches.submit(number)) for number in (1, 2)]
            await asyncio.sleep(0)
            first.cancel()
            others[0].cancel()
            await asyncio.sleep(0)
            writing.gate.set()
            assert await others[1] == 20
        assert first.cancelled()
        assert others[0].cancelled()
        return writing.batches

    assert asyncio.run(main()) == [[0], [1, 2]]


def test_a_loop_that_closes_leaves_nobody_waiting() -> None:
    """When the loop ends in the middle of a batch its submitters are cancelled; no one hangs."""
    writing = Writing()
    waiting: list[asyncio.Future[int]] = []

    async def main() -> None:
        batches = Batches(writing)
        waiting.extend(asyncio.ensure_future(batches.submit(number)) for number in range(2))
        await asyncio.to_thread(writing.begun.wait, 10)
        waiting.append(asyncio.ensure_future(batches.submit(2)))
        await asyncio.sleep(0)
        threading.Timer(0.02, writing.gate.set).start()

    asyncio.run(main())
    writing.gate.set()
    assert [task.cancelled() for task in waiting] == [True] * 3


async def test_loops_take_turns() -> None:
    """Loops in several threads share one ``apply``, which never runs twice at once."""
    busy = threading.Lock()
    applied: list[int] = []

    def apply(operations: list[int]) -> list[int]:
        assert busy.acquire(blocking=False), "two batches at once"
        applied.extend(operations)
        busy.release()
        return operations

    batches: Batches[int, int] = Batches(apply)

    def on_a_loop_of_its_own(first: int) -> None:
        async def main() -> None:
            for number in range(first, first + 50):
                await batches.submit(number)

        anyio.run(main)

    threads = [threading.Thread(target=on_a_loop_of_its_own, args=[100 * number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await anyio.to_thread.run_sync(thread.join)
    assert sorted(applied) == [100 * number + step for number in range(4) for step in range(50)]


async def test_apply_runs_off_the_loop() -> None:
    """A slow disk does not stop the event loop."""

    def apply(operations: list[int]) -> list[bool]:
        from_thread.run_sync(lambda: None)  # raises unless this is a worker thread whose loop is free
        return [True for _ in operations]

    assert await Batches(apply).submit(1) is True


def test_a_loop_that_ended_is_not_kept_alive() -> None:
    """Batches hold nothing of a loop when its last operation was written."""
    batches: Batches[int, int] = Batches(lambda operations: operations)

    async def main() -> "weakref.ref[asyncio.AbstractEventLoop]":
        await batches.submit(1)
        return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(main())
    gc.collect()
    assert loop() is None
