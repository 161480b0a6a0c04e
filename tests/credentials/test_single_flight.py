"""Many ask, one goes."""

import anyio
import pytest

from copilot_asgi.credentials.single_flight import SingleFlight
from copilot_asgi.errors import Draining, LoginRequired

pytestmark = pytest.mark.anyio


async def test_concurrent_callers_share_one_run() -> None:
    """A hundred callers, one run, one answer; the next caller starts a new run."""
    runs, answers = [], []

    async def work() -> int:
        runs.append(1)
        await anyio.lowlevel.checkpoint()
        return len(runs)

    async with anyio.create_task_group() as owner:
        flights = SingleFlight[int](owner.start_soon)

        async def ask() -> None:
            answers.append(await flights.run("key", work))

        async with anyio.create_task_group() as callers:
            for _ in range(100):
                callers.start_soon(ask)
        assert answers == [1] * 100
        assert await flights.run("key", work) == 2


async def test_an_error_reaches_everyone() -> None:
    """What the work raised is raised in each caller, and is not remembered."""
    errors = []

    async def work() -> int:
        await anyio.lowlevel.checkpoint()
        raise LoginRequired("no")

    async with anyio.create_task_group() as owner:
        flights = SingleFlight[int](owner.start_soon)

        async def ask() -> None:
            try:
                await flights.run("key", work)
            except LoginRequired as error:
                errors.append(error)

        async with anyio.create_task_group() as callers:
            for _ in range(3):
                callers.start_soon(ask)
        assert len(errors) == 3


async def test_cancelling_the_first_caller_leaves_the_others() -> None:
    """The work goes on when the request that began it is gone."""
    gate, begun = anyio.Event(), anyio.Event()

    async def work() -> str:
        begun.set()
        await gate.wait()
        return "done"

    async with anyio.create_task_group() as owner:
        flights = SingleFlight[str](owner.start_soon)
        async with anyio.create_task_group() as first:
            first.start_soon(flights.run, "key", work)
            await begun.wait()
            first.cancel_scope.cancel()
        answers = []

        async def ask() -> None:
            answers.append(await flights.run("key", work))

        async with anyio.create_task_group() as second:
            second.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            gate.set()
        assert answers == ["done"]


async def test_the_end_of_the_owner_is_told() -> None:
    """Callers are not left waiting when the server ends."""
    outcomes = []

    async with anyio.create_task_group() as callers, anyio.create_task_group() as owner:
        flights = SingleFlight[None](owner.start_soon)

        async def ask() -> None:
            with pytest.raises(Draining):
                await flights.run("key", anyio.sleep_forever)
            outcomes.append("told")

        callers.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        owner.cancel_scope.cancel()
    assert outcomes == ["told"]


async def test_a_flight_that_cannot_start_is_forgotten() -> None:
    """When no task can be started the caller hears it, and the next one may try again."""

    def closed(function: object) -> None:
        raise RuntimeError("closed")

    flights = SingleFlight[int](closed)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="closed"):
            flights.start("key", anyio.sleep_forever)
