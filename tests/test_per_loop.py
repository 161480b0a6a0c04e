"""What needs a loop is opened once for each loop, without any lifespan, and closed with it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
import trio

from copilot_asgi._per_loop import PerLoop


class Probe:
    """Counts how often it is opened and closed; may fail at first."""

    def __init__(self, failures: int = 0) -> None:
        self.opened = 0
        self.closed = 0
        self.failures = failures
        self.gate: anyio.Event | None = None

    @asynccontextmanager
    async def resource(self) -> AsyncIterator[object]:
        self.opened += 1
        if self.gate is not None:
            await self.gate.wait()
        await anyio.lowlevel.checkpoint()
        if self.opened <= self.failures:
            raise OSError("no")
        try:
            yield object()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            self.closed += 1


@pytest.mark.anyio
async def test_many_users_share_one() -> None:
    """Concurrent first users get the same resource, opened once."""
    probe = Probe()
    per_loop = PerLoop(probe.resource)
    found: list[object] = []

    async def use() -> None:
        found.append(await per_loop.get())

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(use)
    assert len(set(map(id, found))) == 1
    await per_loop.aclose()
    assert (probe.opened, probe.closed) == (1, 1)


@pytest.mark.anyio
async def test_it_opens_again_after_closing() -> None:
    """Closing is not the end: the next user opens a new one; closing twice is harmless."""
    probe = Probe()
    per_loop = PerLoop(probe.resource)
    await per_loop.aclose()
    first = await per_loop.get()
    await per_loop.aclose()
    await per_loop.aclose()
    assert await per_loop.get() is not first
    await per_loop.aclose()
    assert (probe.opened, probe.closed) == (2, 2)


@pytest.mark.anyio
async def test_failing_to_open_is_told_and_tried_again() -> None:
    """Whoever waits gets the error; the next user tries anew."""
    per_loop = PerLoop(Probe(failures=1).resource)
    with pytest.raises(OSError, match="no"):
        await per_loop.get()
    assert await per_loop.get()
    await per_loop.aclose()


@pytest.mark.anyio
async def test_cancelling_the_first_user_does_not_disturb_the_second() -> None:
    """The opening belongs to no request."""
    probe = Probe()
    probe.gate = anyio.Event()
    per_loop = PerLoop(probe.resource)
    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            group.start_soon(anyio.sleep, 0)
            scope.cancel()
            await per_loop.get()
        probe.gate.set()
        assert await per_loop.get()
    await per_loop.aclose()
    assert (probe.opened, probe.closed) == (1, 1)


@pytest.mark.anyio
async def test_closing_while_opening() -> None:
    """A user who waits while it is closed is told so."""
    probe = Probe()
    probe.gate = anyio.Event()
    per_loop = PerLoop(probe.resource)

    async def close() -> None:
        await per_loop.aclose()

    async with anyio.create_task_group() as group:
        group.start_soon(close)
        with pytest.raises(RuntimeError, match="closing"):
            await per_loop.get()
    assert probe.closed == 0


def test_each_loop_has_its_own_and_closes_it() -> None:
    """Two asyncio loops and a trio loop, one after the other, without any lifespan: nothing is left open."""
    probe = Probe()
    per_loop = PerLoop(probe.resource)
    found = [asyncio.run(per_loop.get()), asyncio.run(per_loop.get()), trio.run(per_loop.get)]
    assert len(set(map(id, found))) == 3
    assert (probe.opened, probe.closed) == (3, 3)


def test_the_owner_keeps_nothing_of_the_request_that_started_it() -> None:
    """Context variables of a request do not live on in the owner."""
    from contextvars import ContextVar

    variable: ContextVar[str] = ContextVar("variable", default="none")
    seen: list[str] = []

    @asynccontextmanager
    async def resource() -> AsyncIterator[None]:
        seen.append(variable.get())
        yield

    async def main() -> None:
        variable.set("request")
        with pytest.raises(RuntimeError):  # None counts as closed; only the context matters here
            await PerLoop(resource).get()

    asyncio.run(main())
    assert seen == ["none"]
