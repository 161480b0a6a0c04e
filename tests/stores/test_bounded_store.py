"""The promises of a store, kept within a number of bytes."""

import threading

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stages.bench import Clock

from copilot_asgi.stores.bounded import BoundedStore

pytestmark = pytest.mark.anyio

LIMIT = 100


async def test_what_is_set_is_got() -> None:
    """Values come back until they are replaced or deleted; deleting nothing is no error."""
    store = BoundedStore(LIMIT)
    await store.set("a", b"1")
    await store.set("b", b"")
    await store.set("a", b"2")
    assert (await store.get("a"), await store.get("b"), await store.get("c")) == (b"2", b"", None)
    await store.delete("a")
    await store.delete("a")
    assert await store.get("a") is None
    assert await store.keys() == ["b"]
    assert store.size == 1


async def test_values_expire() -> None:
    """At the end of its time a value is gone, and takes no room."""
    clock = Clock()
    store = BoundedStore(LIMIT, clock=clock)
    await store.set("short", b"1", ttl=60)
    await store.set("shorter", b"1", ttl=50)
    await store.set("long", b"2")
    clock.now += 59
    assert await store.keys("s") == ["short"]
    assert await store.get("short") == b"1"
    clock.now += 1
    assert await store.get("short") is None
    assert await store.keys() == ["long"]
    assert store.size == len("long") + 1


async def test_what_was_not_used_goes_first() -> None:
    """Reading is use, listing is not."""
    store = BoundedStore(LIMIT)
    for name in "abcd":
        await store.set(name, b"x" * 24)
    await store.get("a")
    await store.keys()
    await store.set("e", b"x" * 40)
    assert await store.keys() == ["a", "d", "e"]


async def test_a_value_larger_than_all_is_not_kept() -> None:
    """It pushes nothing else out, and what it was to replace is gone."""
    store = BoundedStore(LIMIT)
    await store.set("a", b"1")
    await store.set("b", b"old")
    await store.set("b", b"x" * LIMIT)
    assert await store.keys() == ["a"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["get", "set", "delete"]),
            st.sampled_from(["a", "\u00e4", "ccc", "\ud800"]),
            st.integers(0, LIMIT + 5),
        )
    )
)
@settings(max_examples=100, deadline=None)
def test_the_bound_holds(steps: list[tuple[str, str, int]]) -> None:
    """After any calls the bytes are counted right and within the bound, and what is there is what was set last."""

    async def run() -> None:
        store, last = BoundedStore(LIMIT), dict[str, bytes]()
        for action, key, size in steps:
            match action:
                case "set":
                    last[key] = bytes(size)
                    await store.set(key, last[key])
                case "delete":
                    await store.delete(key)
                    last.pop(key, None)
                case _:
                    assert await store.get(key) in {None, last.get(key)}
            kept = {name: await store.get(name) or b"" for name in await store.keys()}
            assert store.size == sum(len(n.encode("utf-8", "surrogatepass")) + len(v) for n, v in kept.items())
            assert store.size <= LIMIT
            assert kept.items() <= last.items()

    anyio.run(run)


def test_threads_may_share_it() -> None:
    """Eight loops in eight threads leave the count right."""
    store = BoundedStore(LIMIT)

    async def work() -> None:
        for number in range(300):
            await store.set(str(number % 7), bytes(number % 40))
            await store.get(str(number % 5))
            await store.delete(str(number % 3))

    threads = [threading.Thread(target=anyio.run, args=(work,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def total() -> int:
        return sum([len(key) + len(await store.get(key) or b"") for key in await store.keys()])

    assert store.size == anyio.run(total) <= LIMIT


async def test_a_lock_has_one_holder() -> None:
    """Whoever comes second waits; other keys are free."""
    store = BoundedStore(LIMIT)
    order: list[str] = []

    async def second() -> None:
        async with store.lock("key"):
            order.append("second")

    async with anyio.create_task_group() as tasks, store.lock("key"), store.lock("other"):
        tasks.start_soon(second)
        await anyio.wait_all_tasks_blocked()
        order.append("first")
    assert order == ["first", "second"]
