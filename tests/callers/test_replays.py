"""The memory of signatures: nothing twice, nothing forgotten early, nothing beyond its size."""

import threading
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_asgi.callers.replays import ReplayMemory
from copilot_asgi.errors import RateLimited, Unauthenticated


def test_a_signature_is_good_once() -> None:
    """Until its time has passed it is refused; others are not."""
    memory = ReplayMemory(10)
    memory.admit(b"a", until=10.0, now=0.0)
    memory.admit(b"b", until=10.0, now=0.0)
    for now in (0.0, 10.0):
        with pytest.raises(Unauthenticated, match="used before"):
            memory.admit(b"a", until=10.0, now=now)


def test_a_full_memory_refuses_rather_than_forgets() -> None:
    """It says when there is room again; then there is."""
    memory = ReplayMemory(2)
    memory.admit(b"late", until=90.0, now=0.0)
    memory.admit(b"soon", until=30.0, now=0.0)
    with pytest.raises(RateLimited) as caught:
        memory.admit(b"c", until=90.0, now=10.0)
    assert caught.value.retry_after == 20.0
    with pytest.raises(Unauthenticated):
        memory.admit(b"late", until=90.0, now=10.0)
    memory.admit(b"c", until=90.0, now=30.1)
    with pytest.raises(RateLimited) as caught:
        memory.admit(b"d", until=90.0, now=89.9)
    assert caught.value.retry_after == 1.0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20), st.integers(0, 4)), max_size=40), st.integers(1, 4))
def test_it_agrees_with_a_list_of_everything_seen(calls: list[tuple[int, int, int]], size: int) -> None:
    """A signature is admitted exactly when it is not alive in a list that is never pruned and there is room."""
    memory, seen, now = ReplayMemory(size), dict[bytes, int](), 0
    for name, life, step in calls:
        now += step
        signature, alive = bytes([name]), {key for key, until in seen.items() if until >= now}
        expected = Unauthenticated if signature in alive else RateLimited if len(alive) >= size else None
        outcome: type[Exception] | None = None
        try:
            memory.admit(signature, until=now + life, now=now)
        except (Unauthenticated, RateLimited) as error:
            outcome = type(error)
        assert outcome is expected
        if outcome is None:
            seen[signature] = now + life


class Slow(bytes):
    """A signature whose every look-up lets other threads run."""

    def __hash__(self) -> int:
        time.sleep(0.005)
        return super().__hash__()


def test_two_threads_with_one_signature_are_one_too_many() -> None:
    """However the threads meet, one of them is let in: looking and remembering are one."""
    memory, start, admitted = ReplayMemory(10), threading.Barrier(4), list[bytes]()

    def work() -> None:
        signature = Slow(b"a")
        start.wait()
        with suppress(Unauthenticated):
            memory.admit(signature, until=1.0, now=0.0)
            admitted.append(signature)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert admitted == [b"a"]
