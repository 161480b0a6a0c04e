"""A value of each event loop's own, found at once and never in another loop."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable

import anyio
import pytest

from copilot_asgi._loop_local import LoopLocal


class Value:
    """Something that can be referred to weakly."""


def run(function: Callable[[], Awaitable[object]], backend: str) -> object:
    return anyio.run(function, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_value_is_there_until_it_is_taken_away(backend: str) -> None:
    """There is none before it is set."""
    local: LoopLocal[Value] = LoopLocal("test")

    async def main() -> None:
        value = Value()
        assert local.get() is None
        local.set(value)
        assert local.get() is value
        await anyio.lowlevel.checkpoint()
        assert local.get() is value
        local.set(None)
        assert local.get() is None

    run(main, backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("before", ["asyncio", "trio"])
def test_the_value_of_a_loop_that_is_gone(before: str, backend: str) -> None:
    """The next loop finds nothing, whatever kind the two are of, though the value still lives."""
    local: LoopLocal[Value] = LoopLocal("test")
    value = Value()

    async def leave() -> None:
        local.set(value)

    async def look() -> object:
        return local.get()

    run(leave, before)
    gc.collect()
    assert run(look, backend) is None


def test_two_loops_at_once() -> None:
    """Each finds its own, in whichever order they set and look."""
    local: LoopLocal[Value] = LoopLocal("test")
    both_set, found = threading.Barrier(2), []

    async def main() -> None:
        value = Value()
        local.set(value)
        both_set.wait(5)
        found.append(local.get() is value)

    threads = [threading.Thread(target=run, args=(main, backend)) for backend in ("asyncio", "asyncio")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True, True]


def test_nothing_is_kept_alive() -> None:
    """Neither the loop nor, once its loop is gone, the value."""
    local: LoopLocal[Value] = LoopLocal("test")

    async def main() -> tuple[object, object]:
        value = Value()
        local.set(value)
        return weakref.ref(asyncio.get_running_loop()), weakref.ref(value)

    loop, value = asyncio.run(main())
    gc.collect()
    assert loop() is None  # type: ignore[operator]
    assert value() is None  # type: ignore[operator]
