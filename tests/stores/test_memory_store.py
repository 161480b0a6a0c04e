"""The promises of a store, kept by the one in memory and the one on disk."""

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from copilot_asgi.stores import Store
from copilot_asgi.stores.file import FileStore
from copilot_asgi.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> Store:
    makers: dict[str, Callable[[], Store]] = {
        "memory": lambda: MemoryStore(clock=clock),
        "file": lambda: FileStore(tmp_path / "data", clock=clock),
    }
    return makers[request.param]()


KEYS = [
    "a",
    "account/github.com/octocat",
    "..",
    ".",
    "UPPER",
    "upper",
    "per%20cent",
    "blank x",
    "\u00e4\u20ac",
    "con",
    "a\nb",
    "*",
]


@pytest.mark.parametrize("key", KEYS)
async def test_what_is_set_is_got(store: Store, key: str) -> None:
    """Any key and any bytes come back unchanged, until they are deleted."""
    value = bytes(range(256))
    assert await store.get(key) is None
    await store.set(key, value)
    assert await store.get(key) == value
    await store.set(key, b"")
    assert await store.get(key) == b""
    assert await store.keys() == [key]
    await store.delete(key)
    assert await store.get(key) is None
    assert await store.keys() == []


async def test_keys_do_not_meet(store: Store) -> None:
    """Keys that differ in case or escaping are different; a prefix selects, in order."""
    for key in KEYS:
        await store.set(key, key.encode())
    assert await store.keys() == sorted(KEYS)
    assert [await store.get(key) for key in KEYS] == [key.encode() for key in KEYS]
    assert await store.keys("a") == ["a", "a\nb", "account/github.com/octocat"]
    assert await store.keys("account/") == ["account/github.com/octocat"]


async def test_values_expire(store: Store, clock: Clock) -> None:
    """At the end of its time a value is gone, and can be set anew."""
    await store.set("short", b"1", ttl=60)
    await store.set("long", b"2")
    clock.now += 59
    assert await store.get("short") == b"1"
    clock.now += 1
    assert await store.keys() == ["long"]
    assert await store.get("short") is None
    await store.set("short", b"3")
    clock.now += 1e9
    assert await store.get("short") == b"3"


async def test_deleting_nothing_is_no_error(store: Store) -> None:
    """Also before anything was ever kept."""
    await store.delete("nothing")
    await store.set("a", b"1")
    await store.delete("nothing")
    assert await store.keys() == ["a"]


async def test_a_lock_has_one_holder(store: Store) -> None:
    """Tasks take turns, and other keys are free."""
    inside, most = 0, 0

    async def work(key: str) -> None:
        nonlocal inside, most
        async with store.lock(key):
            inside += 1
            most = max(most, inside)
            await anyio.sleep(0.005)
            inside -= 1

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(work, "key")
    assert most == 1
    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(work, f"key{number}")
    assert most > 1


async def test_a_lock_is_freed_by_errors_and_cancellation(store: Store) -> None:
    """Whatever ends the block, the next holder gets in; a cancelled waiter leaves nothing behind."""
    with pytest.raises(ValueError, match="inside"):
        async with store.lock("key"):
            raise ValueError("inside")
    with anyio.CancelScope() as holder:
        async with store.lock("key"):
            holder.cancel()
            await anyio.sleep_forever()
    with anyio.fail_after(5):
        async with store.lock("key"):
            with anyio.move_on_after(0.03):
                async with store.lock("key"):
                    pytest.fail("two holders")
        async with store.lock("key"):
            pass


async def test_a_memory_lock_works_across_event_loops() -> None:
    """Loops in other threads wait for the same holder."""
    store = MemoryStore()
    seen: list[str] = []

    async def other() -> None:
        async with store.lock("key"):
            seen.append("other")

    async with anyio.create_task_group() as tasks, store.lock("key"):
        tasks.start_soon(anyio.to_thread.run_sync, lambda: anyio.run(other))
        await anyio.sleep(0.05)
        seen.append("first")
    assert seen == ["first", "other"]
