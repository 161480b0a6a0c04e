"""Clients that leave at any moment: the whole stack, every stage on, and afterwards nothing is held."""

import logging
import random
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from copilot_asgi.approvals import Approved, Question
from copilot_asgi.audit import Entry
from copilot_asgi.config import RateLimitMode
from copilot_asgi.ledger.memory import MemoryLedger
from copilot_asgi.simulator import Fault
from tests.stand import CALLS, Stand, stand

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

RUNS = 2_500  # on each of two event loops
TOGETHER = 25
LATEST = 120  # steps of the event loop, in which most requests are answered
PLACES = 8
FAULTS = (
    Fault(status=503, body="busy", headers=(("retry-after", "0"),)),
    Fault(cut_after=1),
    Fault(drop=True),
    Fault(hang_after=1),
)


async def think(question: Question) -> Approved:
    """An approver that takes a moment."""
    for _ in range(3):
        await checkpoint()
    return Approved()


class Entries:
    """An audit sink without a thread: in this test time passes in steps of the event loop only."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    async def write(self, entry: Entry) -> None:
        self.entries.append(entry)


async def leave(it: Stand, path: str, body: dict[str, Any], steps: int, finished: list[str]) -> None:
    """Ask, and leave after so many steps of the event loop."""
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def ask() -> None:
                await it.client.post(path, json=body)
                finished.append(path)
                scope.cancel()

            group.start_soon(ask)
            for _ in range(steps):
                await checkpoint()
            scope.cancel()


async def test_clients_that_leave_at_any_moment(caplog: pytest.LogCaptureFixture) -> None:
    """After thousands of clients that left: every place, permit, reservation, question and stream is back."""
    caplog.set_level(logging.ERROR)
    chance = random.Random(RUNS)
    ledger = MemoryLedger()
    finished: list[str] = []
    sink = Entries()
    async with stand(
        controls={"approve": think, "ledger": ledger, "audit": sink},
        rate_limit=("1000000/s", "100000000000 tokens/s"),
        rate_limit_mode=RateLimitMode.WAIT,
        budget=("1000000000 credits/month",),
        max_concurrent=PLACES,
        max_streams=PLACES,
        rate_limit_queue=TOGETHER,
        fallbacks=("gpt-4o=gpt-4.1",),
        cache=True,
        retries=1,
    ) as it:
        await it.client.get("/v1/models")
        for start in range(0, RUNS, TOGETHER):
            it.simulator.enqueue(FAULTS[start // TOGETHER % len(FAULTS)])
            async with anyio.create_task_group() as group:
                for _ in range(TOGETHER):
                    path, body = chance.choice(list(CALLS.items()))
                    stream = path != "/v1/embeddings" and chance.random() < 0.5
                    group.start_soon(leave, it, path, {**body, "stream": stream}, chance.randrange(LATEST), finished)
        # Some left before they were heard, some came to the end: so every moment in between was among them.
        assert RUNS // 50 < len(finished) < RUNS * 3 // 4
        await settled(it)
        assert await ledger.unsettled() == []
        assert it.simulator.open_streams == 0
        opened = await it.app.upstream.opened()
        async with AsyncExitStack() as places:
            for _ in range(PLACES):
                with anyio.fail_after(1):
                    await places.enter_async_context(opened.http.place())
        it.simulator.reset()
        # Everything that limits still lets as many through as it should, at once.
        statuses: list[int] = []

        async def ask() -> None:
            statuses.append((await it.client.post("/v1/messages", json=CALLS["/v1/messages"])).status_code)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                for _ in range(2 * PLACES):
                    group.start_soon(ask)
        assert statuses == [200] * 2 * PLACES
        assert it.app.controls.circuits.states(anyio.current_time()) == []
    assert RUNS // 2 < len(sink.entries) <= RUNS + 2 * PLACES
    assert caplog.records == []


async def settled(it: Stand) -> None:
    """Let what shields itself from cancellation come to its end."""
    with anyio.fail_after(10):
        while len(it.app._in_flight) or it.simulator.open_streams:
            await anyio.sleep(0.01)
