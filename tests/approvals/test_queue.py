"""Questions wait for an answer, get exactly one, and are gone when nobody waits for it any more."""

import random
import threading
from collections.abc import Callable, Coroutine

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from copilot_asgi._signal import Signal
from copilot_asgi.approvals import Approved, Denied
from copilot_asgi.approvals.queue import ApprovalQueue
from tests.approvals.questions import make_question

pytestmark = pytest.mark.anyio

PATIENCE = 10.0


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():
            await anyio.sleep(0)


@pytest.mark.parametrize(
    ("decision", "answer"),
    [
        ({"approve": True}, Approved()),
        ({"approve": True, "remember": True}, Approved(remember=True)),
        ({"approve": True, "reason": "fine"}, Approved()),
        ({"approve": False}, Denied()),
        ({"approve": False, "reason": "not today"}, Denied("not today")),
        ({"approve": False, "remember": True}, Denied()),
    ],
)
async def test_a_question_waits_for_its_answer(decision: dict, answer: Approved | Denied) -> None:
    """Who asks gets what was decided; then the question is gone, and cannot be answered again."""
    queue, answers = ApprovalQueue(), []

    async def ask() -> None:
        answers.append(await queue(make_question("a")))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await until(lambda: bool(queue.pending()))
        assert queue.pending() == [make_question("a")]
        assert not queue.decide("b", approve=True)
        assert queue.decide("a", **decision)
        assert not queue.decide("a", approve=True)
    assert answers == [answer]
    assert queue.pending() == []


async def test_questions_are_listed_in_the_order_they_came() -> None:
    """The oldest stands first, and answering one leaves the others."""
    queue = ApprovalQueue()
    async with anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(queue, make_question(name))
            await until(lambda name=name: name in [question.id for question in queue.pending()])
        assert queue.decide("b", approve=True)
        assert [question.id for question in queue.pending()] == ["a", "c"]
        group.cancel_scope.cancel()


async def test_a_full_queue_denies() -> None:
    """One question too many is denied at once; when one is answered there is room again."""
    queue = ApprovalQueue(max_pending=2)
    async with anyio.create_task_group() as group:
        group.start_soon(queue, make_question("a"))
        group.start_soon(queue, make_question("b"))
        await until(lambda: len(queue.pending()) == 2)
        assert await queue(make_question("c")) == Denied("too many requests wait for approval")
        queue.decide("a", approve=True)
        group.start_soon(queue, make_question("d"))
        await until(lambda: [question.id for question in queue.pending()] == ["b", "d"])
        group.cancel_scope.cancel()


async def test_one_caller_cannot_fill_it_for_the_others() -> None:
    """A caller has so many questions at once, and somebody else's still finds room."""
    queue = ApprovalQueue(of_one_caller=1)
    async with anyio.create_task_group() as group:
        group.start_soon(queue, make_question("a", caller="ann"))
        await until(lambda: len(queue.pending()) == 1)
        assert await queue(make_question("b", caller="ann")) == Denied("too many requests wait for approval")
        group.start_soon(queue, make_question("c", caller="bob"))
        await until(lambda: len(queue.pending()) == 2)
        group.cancel_scope.cancel()


async def test_a_question_whose_asker_left_is_withdrawn() -> None:
    """A cancelled question is no longer listed, and an answer to it finds nothing."""
    queue = ApprovalQueue()
    async with anyio.create_task_group() as group:
        group.start_soon(queue, make_question("a"))
        await until(lambda: bool(queue.pending()))
        group.cancel_scope.cancel()
    assert queue.pending() == []
    assert not queue.decide("a", approve=True)


async def test_two_thousand_random_cancellations_leave_nothing() -> None:
    """Whoever is answered or leaves, at whatever moment, no question stays; and nobody gets another's answer."""
    chance, queue, answers = random.Random(7), ApprovalQueue(max_pending=50, of_one_caller=50), {}

    async def ask(id: str, leave_after: int) -> None:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:

                async def leave() -> None:
                    for _ in range(leave_after):
                        await anyio.lowlevel.checkpoint()
                    scope.cancel()

                group.start_soon(leave)
                answers[id] = await queue(make_question(id))

    decided: dict[str, bool] = {}

    async def decide() -> None:
        while True:
            await anyio.lowlevel.checkpoint()
            for question in chance.sample(queue.pending(), k=min(2, len(queue.pending()))):
                decided[question.id] = chance.random() < 0.5
                assert queue.decide(question.id, approve=decided[question.id])

    async with anyio.create_task_group() as deciding:
        deciding.start_soon(decide)
        async with anyio.create_task_group() as asking:
            for number in range(2_000):
                asking.start_soon(ask, f"question-{number}", chance.randrange(12))
                if chance.random() < 0.3:
                    await anyio.lowlevel.checkpoint()
        deciding.cancel_scope.cancel()
    assert queue.pending() == []
    full = Denied("too many requests wait for approval")
    own = {id: Approved() if approved else Denied() for id, approved in decided.items()}
    assert {id: answer for id, answer in answers.items() if answer != full}.items() <= own.items()
    assert 0 < len(answers) < 2_000


async def test_an_answer_may_come_from_another_thread() -> None:
    """A plain function in a worker thread answers a question of the loop."""
    queue = ApprovalQueue()

    async def answer() -> None:
        await until(lambda: bool(queue.pending()))
        assert await anyio.to_thread.run_sync(lambda: queue.decide("a", approve=True))

    async with anyio.create_task_group() as group:
        group.start_soon(answer)
        with anyio.fail_after(PATIENCE):
            assert await queue(make_question("a")) == Approved()


def on_another_loop(
    function: Callable[[], Coroutine[None, None, None]], backend: str
) -> tuple[threading.Thread, list[BaseException]]:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            anyio.run(function, backend=backend)
        except BaseException as error:  # noqa: BLE001 - carried to the thread that looks at it
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, errors


@pytest.mark.parametrize("other", ["asyncio", "trio"])
async def test_an_answer_may_come_from_another_loop(other: str) -> None:
    """Loops of one process share a queue, of whatever kind they are."""
    queue, answers = ApprovalQueue(), []

    async def ask() -> None:
        answers.append(await queue(make_question("a")))

    thread, errors = on_another_loop(ask, other)
    await until(lambda: bool(queue.pending()))
    assert queue.decide("a", approve=True, remember=True)
    await anyio.to_thread.run_sync(thread.join)
    assert answers == [Approved(remember=True)]
    assert errors == []


@pytest.mark.parametrize("other", ["asyncio", "trio"])
async def test_an_answer_to_a_loop_that_has_ended_finds_nothing(other: str) -> None:
    """Setting the signal of a task that went with its loop says so, and raises nothing."""
    signals: list[Signal] = []

    async def make() -> None:
        signals.append(Signal())
        assert signals[0].set()
        await signals[0].wait()

    thread, errors = on_another_loop(make, other)
    await anyio.to_thread.run_sync(thread.join)
    assert errors == []
    assert not signals[0].set()
