"""The contract of stages: what is around a response lasts until its last byte, and refusals leave nothing behind."""

from collections.abc import Callable

import anyio
import pytest

from copilot_asgi.errors import BadRequest, StreamInterrupted, UpstreamUnavailable
from copilot_asgi.exchange import Arrival, Exchange, Handler, Head, Part, Request, Send
from copilot_asgi.pipeline import compose
from copilot_asgi.retrying import RetryBudget, policy
from copilot_asgi.stages.retry import Retry
from copilot_asgi.wire.dialect import Dialect

pytestmark = pytest.mark.anyio

WHOLE = [Head(200), b"one", b"two"]


def exchange() -> Exchange:
    request = Request.decode(Dialect.CHAT, (), b'{"model":"m","messages":[]}')
    return Exchange(id="x", received_at=0.0, arrival=Arrival(client=None), request=request)


def retry() -> Retry:
    return Retry(policy(1, max_wait=1.0, random=lambda: 0.0, now=lambda: 0.0), RetryBudget())


class Client:
    """Keeps what it is sent; may leave, by cancellation, at the nth part."""

    def __init__(self, log: list[str], *, leave_at: int | None = None) -> None:
        self.log = log
        self.parts: list[Part] = []
        self.scope = anyio.CancelScope()
        self._leave_at = leave_at

    async def send(self, part: Part) -> None:
        if len(self.parts) == self._leave_at:
            self.scope.cancel()
        await anyio.lowlevel.checkpoint()
        self.parts.append(part)
        self.log.append("part")


class Permit:
    """A stage that holds one of ``capacity`` places around the rest."""

    def __init__(self, log: list[str], capacity: int = 1) -> None:
        self.log = log
        self.free = capacity

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        self.free -= 1
        try:
            await call_next(exchange, send)
            self.log.append("after")
        finally:
            await anyio.lowlevel.cancel_shielded_checkpoint()
            self.free += 1


class Answer:
    """An innermost handler that sends parts, then raises, as it is told for each attempt."""

    def __init__(self, *attempts: tuple[list[Part], Exception | None]) -> None:
        self.attempts = list(attempts)
        self.calls = 0

    async def __call__(self, exchange: Exchange, send: Send) -> None:
        parts, error = self.attempts[self.calls]
        self.calls += 1
        for part in parts:
            await send(part)
        await anyio.lowlevel.checkpoint()
        if error is not None:
            raise error


async def test_code_after_call_next_runs_after_the_last_byte() -> None:
    """``call_next`` returns when the response is complete."""
    log: list[str] = []
    client = Client(log)
    await compose([Permit(log)], Answer((WHOLE, None)))(exchange(), client.send)
    assert log == ["part", "part", "part", "after"]
    assert client.parts == WHOLE


async def test_stages_nest_in_order() -> None:
    """The first stage is the outermost, and none at all leaves the handler as it is."""
    log: list[str] = []

    def stage(name: str) -> Callable[..., object]:
        async def run(exchange: Exchange, send: Send, call_next: Handler) -> None:
            log.append(f"{name} in")
            await call_next(exchange, send)
            log.append(f"{name} out")

        return run

    end = Answer((WHOLE, None))
    assert compose([], end) is end
    await compose([stage("a"), stage("b")], end)(exchange(), Client([]).send)
    assert log == ["a in", "b in", "b out", "a out"]


async def test_the_same_bytes_object_goes_through() -> None:
    """Stages that do not look at the body do not copy it."""
    piece = bytes(200_000)
    client = Client([])
    stages = [Permit([]), retry(), Permit([])]
    await compose(stages, Answer(([Head(200), piece], None)))(exchange(), client.send)
    assert client.parts[1] is piece


async def test_a_refusal_sends_nothing_and_frees_everything() -> None:
    """A stage refuses by raising; what is outside of it sees the error, what is inside is never called."""
    log: list[str] = []
    permit = Permit(log)
    end = Answer((WHOLE, None))

    async def refuse(exchange: Exchange, send: Send, call_next: Handler) -> None:
        raise BadRequest("no")

    client = Client(log)
    with pytest.raises(BadRequest):
        await compose([permit, refuse], end)(exchange(), client.send)
    assert (client.parts, permit.free, end.calls, log) == ([], 1, 0, [])


async def test_a_stage_may_answer_itself() -> None:
    """A stage answers through ``send`` and does not call ``call_next``."""
    end = Answer((WHOLE, None))

    async def cached(exchange: Exchange, send: Send, call_next: Handler) -> None:
        await send(Head(200))
        await send(b"kept")

    client = Client([])
    await compose([cached], end)(exchange(), client.send)
    assert (client.parts, end.calls) == ([Head(200), b"kept"], 0)


async def test_failure_before_the_head_is_tried_again() -> None:
    """While nothing has been sent, retry calls the rest of the pipeline again, everything inside anew."""
    inner = Permit([])
    end = Answer(([], UpstreamUnavailable("refused", sent=False)), (WHOLE, None))
    client = Client([])
    await compose([retry(), inner], end)(exchange(), client.send)
    assert (client.parts, end.calls, inner.free) == (WHOLE, 2, 1)


async def test_only_once_and_only_when_safe() -> None:
    """A second failure is final, and so is one after which upstream may have done the work."""
    for attempts, calls in (([False, False, False], 2), ([True, False], 1)):
        end = Answer(*[([], UpstreamUnavailable("refused", sent=sent)) for sent in attempts])
        with pytest.raises(UpstreamUnavailable):
            await compose([retry()], end)(exchange(), Client([]).send)
        assert end.calls == calls


async def test_failure_after_the_head_is_final() -> None:
    """Once a part has left, the error goes up and nothing is sent twice."""
    end = Answer(([Head(200), b"one"], StreamInterrupted("cut")), (WHOLE, None))
    permit = Permit([])
    client = Client([])
    with pytest.raises(StreamInterrupted):
        await compose([permit, Retry(lambda error, attempt: 0.0, RetryBudget())], end)(exchange(), client.send)
    assert (client.parts, end.calls, permit.free) == ([Head(200), b"one"], 1, 1)


@pytest.mark.parametrize("leave_at", range(4))
async def test_disconnect_at_every_part(leave_at: int) -> None:
    """Whenever the client leaves, every frame unwinds and every permit comes back."""
    log: list[str] = []
    permits = [Permit(log), Permit(log), Permit(log)]
    client = Client(log, leave_at=leave_at)
    with client.scope:
        await compose(permits, Answer((WHOLE, None)))(exchange(), client.send)
    assert len(client.parts) == min(leave_at, 3)
    assert [permit.free for permit in permits] == [1, 1, 1]


async def test_a_permit_bounds_concurrency_until_the_last_byte() -> None:
    """With one place, responses of concurrent exchanges never overlap."""
    gate = anyio.Lock()
    log: list[str] = []

    async def one_at_a_time(exchange: Exchange, send: Send, call_next: Handler) -> None:
        async with gate:
            await call_next(exchange, send)

    handler = compose([one_at_a_time], Answer(*[(WHOLE, None)] * 10))
    async with anyio.create_task_group() as group:
        for number in range(10):

            async def send(part: Part, number: int = number) -> None:
                log.append(str(number))
                await anyio.lowlevel.checkpoint()

            group.start_soon(handler, exchange(), send)
    assert len(log) == 30
    assert all(len(set(log[start : start + 3])) == 1 for start in range(0, 30, 3))
