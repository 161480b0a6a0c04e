"""The requests under way are looked after: nobody works for a client who has gone, and nobody is waited for in vain."""

import gc
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from copilot_asgi.edge import ClientDisconnected
from copilot_asgi.errors import BodyTimeout, Draining
from copilot_asgi.in_flight import InFlight, Patience

pytestmark = pytest.mark.anyio

DISCONNECT = {"type": "http.disconnect"}


class Visit:
    """A request under way, whose client leaves when ``gone`` is set."""

    def __init__(self, *, reading: bool = False, answering: bool = False, sending: bool = False) -> None:
        self.reading = reading
        self.answering = answering
        self.sending = sending
        self.sent = 1
        self.gone = anyio.Event()
        self.received = 0
        self.ended = False

    async def receive(self) -> dict[str, Any]:
        self.received += 1
        await self.gone.wait()
        return DISCONNECT

    def end(self) -> None:
        self.ended = True


class Work:
    """Something to run; says how it ended."""

    def __init__(self, *, until: Callable[[], Awaitable[None]] = anyio.sleep_forever) -> None:
        self.ended = ""
        self._until = until

    async def __call__(self) -> None:
        try:
            await self._until()
            self.ended = "done"
        except anyio.get_cancelled_exc_class():
            self.ended = "cancelled"
            raise


async def failing() -> None:
    await anyio.lowlevel.checkpoint()
    raise ValueError("bare")


async def test_a_request_that_is_answered_at_once_is_left_alone() -> None:
    """Its client is not watched, and nothing of it stays."""
    in_flight, visit, work = InFlight(), Visit(answering=True), Work(until=anyio.lowlevel.checkpoint)
    await in_flight.run(visit, work)
    assert (work.ended, visit.received, len(in_flight)) == ("done", 0, 0)


async def test_a_client_that_leaves_ends_the_work() -> None:
    """The work is cancelled where it waits."""
    in_flight, visit, work = InFlight(), Visit(answering=True), Work()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(visit.gone.wait)
            visit.gone.set()
            with pytest.raises(ClientDisconnected):
                await in_flight.run(visit, work)
    assert (work.ended, visit.received, len(in_flight)) == ("cancelled", 1, 0)


async def test_what_was_given_up_is_freed_at_once() -> None:
    """The error that says why does not keep the request, and a long prompt with it, until cycles are looked for."""
    in_flight, visit = InFlight(), Visit(answering=True)
    visit.gone.set()
    gone = weakref.ref(visit)
    gc.disable()
    try:
        with anyio.fail_after(5):
            with suppress(ClientDisconnected):
                await in_flight.run(visit, anyio.sleep_forever)
            del visit
            while gone() is not None:
                await anyio.lowlevel.checkpoint()
    finally:
        gc.enable()


async def test_a_body_that_is_awaited_is_not_taken_for_a_client_that_leaves() -> None:
    """Nobody else calls ``receive`` while the body is read: it would take a piece of it."""
    in_flight, visit = InFlight(Patience(body=5)), Visit(reading=True)
    await in_flight.run(visit, lambda: anyio.sleep(0.25))
    assert visit.received == 0


async def test_who_is_watched_is_watched_once() -> None:
    """However often it is looked at, one call of ``receive`` is under way, and it ends with the request."""
    in_flight, visit = InFlight(Patience(body=0.02)), Visit(answering=True)
    await in_flight.run(visit, lambda: anyio.sleep(0.1))
    assert visit.received == 1
    await anyio.wait_all_tasks_blocked()


async def test_a_body_that_never_comes() -> None:
    """A host that ate the body makes us wait, but not for ever, and the message says so."""
    in_flight, work = InFlight(Patience(body=0.02)), Work()
    with anyio.fail_after(5), pytest.raises(BodyTimeout, match=r"within 0\.02 seconds.*middleware"):
        await in_flight.run(Visit(reading=True), work)
    assert work.ended == "cancelled"


async def test_a_client_that_takes_nothing_has_left() -> None:
    """One message that the server does not get rid of ends the request; slow ones, one after another, do not."""
    in_flight, stuck, slow = InFlight(Patience(send=0.05)), Visit(sending=True), Visit(sending=True)

    async def slowly() -> None:
        for _ in range(10):
            slow.sent += 1
            await anyio.sleep(0.02)

    with anyio.fail_after(5):
        await in_flight.run(slow, slowly)
        with pytest.raises(ClientDisconnected):
            await in_flight.run(stuck, anyio.sleep_forever)


async def test_errors_come_out_bare() -> None:
    """What the work raises is not wrapped in a group."""
    with pytest.raises(ValueError, match="bare"):
        await InFlight().run(Visit(answering=True), failing)


async def test_cancellation_from_outside_goes_on() -> None:
    """Cancelling the request cancels the work, and is not taken for a disconnect."""
    in_flight, work = InFlight(), Work()
    with anyio.move_on_after(0.01) as scope:
        await in_flight.run(Visit(answering=True), work)
    assert scope.cancelled_caught
    assert (work.ended, len(in_flight)) == ("cancelled", 0)


async def test_who_comes_while_the_last_one_ends_is_looked_after() -> None:
    """There is no moment at which a request comes and nobody looks."""
    in_flight = InFlight(Patience(body=0.01))
    with anyio.fail_after(20):
        for pause in range(8):
            first, second = Visit(answering=True), Visit(answering=True)
            await in_flight.run(first, lambda: anyio.sleep(0.006))
            await anyio.sleep(pause * 0.0005)
            second.gone.set()
            with pytest.raises(ClientDisconnected):
                await in_flight.run(second, anyio.sleep_forever)


async def test_draining_refuses_the_new_and_waits_for_the_old() -> None:
    """Requests under way end in their own time while there is some; new ones are refused at once."""
    in_flight = InFlight()
    gate = anyio.Event()
    done: list[str] = []

    async def request() -> None:
        await gate.wait()
        done.append("old")

    async def drain() -> None:
        await in_flight.drain(5)
        done.append("drained")

    async with anyio.create_task_group() as group:
        group.start_soon(in_flight.run, Visit(), request)
        await anyio.sleep(0.01)
        group.start_soon(drain)
        await anyio.sleep(0.01)
        with pytest.raises(Draining):
            await in_flight.run(Visit(), request)
        await in_flight.run(Visit(), anyio.lowlevel.checkpoint, always=True)
        gate.set()
    assert done == ["old", "drained"]


async def test_what_is_too_slow_is_ended_and_told() -> None:
    """After the time allowed a request is cancelled, and learns why; its client has not left."""
    in_flight, visit = InFlight(), Visit()
    errors: list[Exception] = []

    async def run() -> None:
        try:
            await in_flight.run(visit, anyio.sleep_forever)
        except Draining as error:
            errors.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await anyio.sleep(0.01)
        await in_flight.drain(0.01)
    assert len(errors) == 1
    assert visit.ended


async def test_idle_needs_no_waiting() -> None:
    """With nothing under way draining ends at once."""
    in_flight = InFlight()
    await in_flight.run(Visit(), anyio.lowlevel.checkpoint)
    with anyio.fail_after(1):
        await in_flight.drain(60)
