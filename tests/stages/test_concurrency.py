"""So many at once of one caller: kept until the last byte, given back exactly once, handed on in order."""

import threading

import anyio
import anyio.lowlevel
import pytest
from bench import HEAD, Answer, Client, Clock, make_exchange

from copilot_asgi import fair_queue
from copilot_asgi.errors import RateLimited, UpstreamUnavailable
from copilot_asgi.exchange import Caller, Exchange, Send
from copilot_asgi.fair_queue import LEAST_WAIT, FairQueue
from copilot_asgi.stages.concurrency import LimitConcurrency

pytestmark = pytest.mark.anyio

ANN = Caller(name="ann")


def stage(limit: int, *, length: int = 10, timeout: float = 60.0) -> LimitConcurrency:
    return LimitConcurrency(limit, FairQueue(length, timeout))


class Upstream:
    """Answers once it is told to; knows who is under way, and who was, in order."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self._gates: dict[str, anyio.Event] = {}

    async def __call__(self, exchange: Exchange, send: Send) -> None:
        self.began.append(exchange.id)
        gate = self._gates[exchange.id] = anyio.Event()
        await send(HEAD)
        await gate.wait()
        await send(b"{}")

    async def finish(self, who: str) -> None:
        self._gates[who].set()
        await anyio.wait_all_tasks_blocked()


async def test_more_than_the_limit_wait_in_order_until_the_last_byte() -> None:
    """A place is free when an answer is complete, not when it begins; the one who waits longest gets it."""
    concurrency, upstream = stage(2), Upstream()
    async with anyio.create_task_group() as group:
        for who in "abcde":
            group.start_soon(concurrency, make_exchange(caller=ANN, id=who), Client(), upstream)
            await anyio.wait_all_tasks_blocked()
        assert upstream.began == ["a", "b"]
        await upstream.finish("b")
        assert upstream.began == ["a", "b", "c"]
        await upstream.finish("a")
        await upstream.finish("c")
        assert upstream.began == ["a", "b", "c", "d", "e"]
        await upstream.finish("d")
        await upstream.finish("e")
    assert concurrency._under_way == {}
    assert concurrency._queue._lines() == {}


@pytest.mark.parametrize(
    ("limit", "own", "at_once"),
    [(2, None, 2), (2, 3, 3), (3, 1, 1), (0, None, 5), (0, 2, 2), (2, 0, 5)],
)
async def test_the_callers_own_number_takes_the_place_of_the_general_one(
    limit: int, own: int | None, at_once: int
) -> None:
    """Larger or smaller; 0 is no limit."""
    concurrency, upstream = stage(limit), Upstream()
    caller = Caller(name="ann", max_concurrent=own)
    async with anyio.create_task_group() as group:
        for who in "abcde":
            group.start_soon(concurrency, make_exchange(caller=caller, id=who), Client(), upstream)
        await anyio.wait_all_tasks_blocked()
        assert len(upstream.began) == at_once
        for number in range(5):
            await upstream.finish(upstream.began[number])
    assert concurrency._under_way == {}


async def test_callers_do_not_wait_for_each_other() -> None:
    """The number is for each caller."""
    concurrency, upstream = stage(1), Upstream()
    async with anyio.create_task_group() as group:
        for who in ("ann", "bob"):
            group.start_soon(concurrency, make_exchange(caller=Caller(name=who), id=who), Client(), upstream)
        await anyio.wait_all_tasks_blocked()
        assert sorted(upstream.began) == ["ann", "bob"]
        group.cancel_scope.cancel()


async def test_a_failure_gives_the_place_back() -> None:
    """An error goes on to the client, and the next one in."""
    concurrency = stage(1)
    with pytest.raises(UpstreamUnavailable):
        await concurrency(make_exchange(), Client(), Answer(error=UpstreamUnavailable("x", sent=True)))
    answer = Answer()
    await concurrency(make_exchange(), Client(), answer)
    assert (answer.calls, concurrency._under_way) == (1, {})


@pytest.mark.parametrize("holder_leaves", [True, False])
@pytest.mark.parametrize("steps", range(10))
async def test_leaving_at_any_await_gives_back_exactly_one_place(steps: int, *, holder_leaves: bool) -> None:
    """Cancelled after any number of steps, holding a place or waiting for one: the next gets in, and only the next."""
    concurrency, upstream = stage(1), Upstream()
    scopes = {"holder": anyio.CancelScope(), "waiter": anyio.CancelScope()}
    leaver = "holder" if holder_leaves else "waiter"

    async def visit(who: str) -> None:
        with scopes[who]:
            await concurrency(make_exchange(caller=ANN, id=who), Client(), upstream)

    async with anyio.create_task_group() as group:
        for who in scopes:
            group.start_soon(visit, who)
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
        scopes[leaver].cancel()
        await anyio.wait_all_tasks_blocked()
        other = ({*scopes} - {leaver}).pop()
        assert upstream.began[-1] == other
        assert concurrency._under_way == {"concurrent:ann": 1}
        assert concurrency._queue._lines() == {}
        await upstream.finish(other)
    assert concurrency._under_way == {}


async def test_who_waits_too_long_is_told_what_to_do() -> None:
    """After the timeout the answer is a 429 that names the number."""
    concurrency, upstream = stage(1, timeout=0.03), Upstream()
    async with anyio.create_task_group() as group:
        group.start_soon(concurrency, make_exchange(caller=ANN, id="a"), Client(), upstream)
        await anyio.wait_all_tasks_blocked()
        answer = Answer()
        with pytest.raises(RateLimited, match=r"may have 1 at once\. Try again when one is done") as told:
            await concurrency(make_exchange(caller=ANN, id="b"), Client(), answer)
        assert (told.value.status, told.value.retry_after, answer.calls) == (429, LEAST_WAIT, 0)
        await upstream.finish("a")


async def test_too_many_waiting_are_refused_at_once() -> None:
    """The line has an end."""
    concurrency, upstream = LimitConcurrency(1, FairQueue(1, 60, clock=Clock())), Upstream()
    async with anyio.create_task_group() as group:
        for who in "ab":
            group.start_soon(concurrency, make_exchange(caller=ANN, id=who), Client(), upstream)
            await anyio.wait_all_tasks_blocked()
        with pytest.raises(RateLimited, match="queue is full"):
            await concurrency(make_exchange(caller=ANN, id="c"), Client(), upstream)
        group.cancel_scope.cancel()


def test_places_are_counted_over_all_loops(anyio_backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place that is taken in one loop is taken in the other, and found there within a quarter of a second."""
    assert fair_queue.POLL <= 0.25
    monkeypatch.setattr(fair_queue, "POLL", 0.02)
    concurrency = stage(1)
    taken, waiting = threading.Event(), threading.Event()
    order: list[str] = []

    async def holds(exchange: Exchange, send: Send) -> None:
        taken.set()
        await anyio.to_thread.run_sync(waiting.wait, 10)
        order.append("holder is done")

    async def follows(exchange: Exchange, send: Send) -> None:
        order.append("waiter got it")

    async def wait() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(concurrency, make_exchange(caller=ANN), Client(), follows)
            await anyio.wait_all_tasks_blocked()
            waiting.set()

    async def hold() -> None:
        await concurrency(make_exchange(caller=ANN), Client(), holds)

    thread = threading.Thread(target=anyio.run, args=(hold,), kwargs={"backend": anyio_backend})
    thread.start()
    assert taken.wait(10)
    anyio.run(wait, backend=anyio_backend)
    thread.join()
    assert order == ["holder is done", "waiter got it"]
    assert concurrency._under_way == {}
