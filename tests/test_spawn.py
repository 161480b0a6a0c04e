"""A spawned task outlives its starter, never crashes the loop, and can be cancelled and waited for."""

import contextvars
import gc

import anyio
import pytest

from copilot_asgi._spawn import spawn

pytestmark = pytest.mark.anyio

seen = contextvars.ContextVar("seen", default="nothing")


async def test_runs_to_its_end_after_the_starter_returned():
    """The task goes on when the scope that started it is cancelled, and nobody holds its handle."""
    ended = anyio.Event()
    release = anyio.Event()

    async def work() -> None:
        await release.wait()
        ended.set()

    with anyio.CancelScope() as scope:
        spawn(work)
        scope.cancel()
        await anyio.lowlevel.checkpoint()
    gc.collect()
    release.set()
    with anyio.fail_after(1):
        await ended.wait()


async def test_cancel_ends_it_where_it_waits():
    """``cancel`` is cancellation inside, and ``wait`` returns after the cleanup."""
    log: list[str] = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.001)
            log.append("cleaned")

    task = spawn(work)
    await anyio.sleep(0)
    task.cancel()
    task.cancel()
    await task.wait()
    assert log == ["cleaned"]
    assert task.done
    assert task.error is None


async def test_cancel_before_it_ran():
    """A task that is cancelled before its first step ends at its first wait."""
    log: list[str] = []

    async def work() -> None:
        await anyio.sleep_forever()
        log.append("never")

    task = spawn(work)
    task.cancel()
    with anyio.fail_after(1):
        await task.wait()
    assert log == []


async def test_many_at_once():
    """Tasks of one loop do not get into each other's way."""
    ended: list[int] = []
    tasks = []
    for number in range(3):

        async def work(number: int = number) -> None:
            await anyio.lowlevel.checkpoint()
            ended.append(number)

        tasks.append(spawn(work))
    for task in tasks:
        await task.wait()
    assert sorted(ended) == [0, 1, 2]


async def test_an_error_is_kept():
    """What the function raises is in ``error``; the loop goes on."""

    async def work() -> None:
        raise ValueError("mine")

    task = spawn(work)
    await task.wait()
    assert isinstance(task.error, ValueError)


async def test_the_context_is_empty():
    """Nothing of the starter's context is visible, and asynchronous libraries still know where they are."""
    found: list[str] = []

    async def work() -> None:
        await anyio.sleep(0)
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 0)
        found.append(seen.get())

    seen.set("request")
    await spawn(work).wait()
    assert found == ["nothing"]


async def test_a_context_can_be_given():
    """A context that is passed is the one the task runs in."""
    found: list[str] = []

    async def work() -> None:
        found.append(seen.get())

    seen.set("request")
    await spawn(work, context=contextvars.copy_context()).wait()
    assert found == ["request"]


def test_ends_with_the_loop(anyio_backend):
    """A loop that ends takes its spawned tasks with it, cleanup included."""
    log: list[str] = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            log.append("cleaned")

    async def main() -> None:
        spawn(work)
        await anyio.sleep(0.001)

    anyio.run(main, backend=anyio_backend)
    assert log == ["cleaned"]
