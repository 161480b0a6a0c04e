"""What upstream refused a moment ago is answered here; what recovers is asked one by one; no place is ever lost."""

import random
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from threading import Event

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from stages.bench import HEAD, Answer, Client, Clock, Failure, make_exchange

from copilot_asgi._signal import Signal
from copilot_asgi.circuits import Circuits, State
from copilot_asgi.config import RateLimitMode
from copilot_asgi.errors import (
    BadRequest,
    CircuitOpen,
    CopilotASGIError,
    StreamInterrupted,
    UpstreamStatus,
    UpstreamThrottled,
    UpstreamTimeout,
    UpstreamUnauthorized,
    UpstreamUnavailable,
)
from copilot_asgi.exchange import Exchange, Handler, Head, Send
from copilot_asgi.pipeline import compose
from copilot_asgi.retrying import RetryBudget, policy
from copilot_asgi.simulator import FAULTS
from copilot_asgi.stages.circuit import BreakCircuit
from copilot_asgi.stages.retry import Retry
from copilot_asgi.wire.dialect import Dialect, render_error
from copilot_asgi.wire.models import Model
from copilot_asgi.wire.refusal import Refusal, read_refusal
from tests.stand import CHAT, EMBEDDINGS
from tests.stand import stand as full_stand

pytestmark = pytest.mark.anyio

START = 1_000.0


ACCOUNT = "github.com/octocat"


def throttled(
    seconds: bytes = b"10", body: bytes = b'{"error":{"message":"Slow down.","code":"rate_limited"}}'
) -> UpstreamThrottled:
    return UpstreamThrottled(429, ((b"retry-after", seconds),), body)


QUOTA = UpstreamStatus(402, (), b'{"error":{"message":"You have no quota.","code":"quota_exceeded"}}')
POLICY = UpstreamStatus(403, (), b'{"error":{"message":"Not authorized.","code":"model_not_allowed"}}')
CONTENT = UpstreamStatus(403, (), b'{"error":{"message":"Flagged for possible crime.","code":"cyber_policy"}}')
BARE = UpstreamUnauthorized(403, (), b"Forbidden\n")


def refusal(error: UpstreamStatus) -> Refusal:
    found = read_refusal(error, 0.0)
    assert found is not None
    return found


class Stand:
    """A circuit breaker with a clock that is set by hand; any number of places, unless ``place`` is given."""

    def __init__(
        self,
        *,
        wait: bool = False,
        max_wait: float = 30.0,
        place: Callable[[Exchange], AbstractAsyncContextManager[None]] = nullcontext,
    ) -> None:
        self.clock = Clock(START)
        self.circuits = Circuits()
        self.stage = BreakCircuit(
            self.circuits, place, wait=wait, max_wait=max_wait, clock=self.clock, wall=lambda: 1_800_000_000.0
        )

    async def ask(self, end: Handler, *, model: str = "gpt-4o", login: str = "octocat") -> Client:
        client = Client()
        await self.stage(make_exchange(login=login, model=Model(id=model)), client, end)
        return client

    async def refuse(self, *errors: Exception) -> None:
        """Let upstream answer with each of ``errors``."""
        for error in errors:
            with pytest.raises(type(error)):
                await self.ask(Failure(error))

    async def recovering(self) -> "Stand":
        """Throttled for ten seconds, which are over."""
        await self.refuse(throttled())
        self.clock.now += 10
        return self

    def wake(self) -> None:
        """Whoever waits looks at the clock again."""
        for line in self.circuits._lines.values():
            for turn in line:
                turn.wake()

    @property
    def states(self) -> list[State]:
        return [status.state for status in self.circuits.states(self.clock.now)]

    @property
    def waiting(self) -> int:
        return sum(map(len, self.circuits._lines.values()))

    @property
    def in_flight(self) -> int:
        return sum(circuit.in_flight for circuit in self.circuits._circuits.values())


async def until(condition: Callable[[], bool]) -> None:
    """Let the others run until ``condition`` holds."""
    while not condition():
        await anyio.lowlevel.checkpoint()


def same(places: anyio.CapacityLimiter, exchange: Exchange) -> AbstractAsyncContextManager[None]:
    """A place among ``places``, which everybody shares."""
    return places


async def test_a_closed_circuit_is_not_in_the_way() -> None:
    """The parts go through the very ``send`` that came."""
    sends: list[Send] = []

    async def end(exchange: Exchange, send: Send) -> None:
        sends.append(send)

    client = Client()
    await Stand().stage(make_exchange(), client, end)
    assert sends == [client]


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after", "message"),
    [
        (throttled(b"20"), 429, "rate_limited", 20.0, "too many requests"),
        (throttled(b"Fri, 15 Jan 2027 08:00:20 GMT"), 429, "rate_limited", 20.0, "too many requests"),
        (throttled(b"86400"), 429, "rate_limited", 86_400.0, "too many requests"),
        (throttled(b"garbage"), 429, "rate_limited", 10.0, "too many requests"),
        (
            UpstreamThrottled(400, (), b'{"error":{"message":"m","code":"rate_limited"}}'),
            429,
            "rate_limited",
            10.0,
            "too many requests",
        ),
        (QUOTA, 402, "quota_exceeded", 30.0, "quota is used up"),
        (POLICY, 403, "model_not_allowed", 30.0, "a policy does not allow this model"),
    ],
)
async def test_a_refusal_is_repeated_here(
    error: UpstreamStatus, status: int, code: str, retry_after: float, message: str
) -> None:
    """S-4, S-5: same status and code, the seconds that are left, words of ours; upstream is not asked."""
    stand, end = Stand(), Answer()
    await stand.refuse(error)
    stand.clock.now += 4
    with pytest.raises(CircuitOpen) as caught:
        await stand.ask(end)
    assert (end.calls, caught.value.status, caught.value.code) == (0, status, code)
    assert caught.value.retry_after == retry_after - 4
    assert message in caught.value.message
    for dialect in Dialect:
        rendered = render_error(caught.value, dialect, request_id="1", now=0.0)
        assert (b"retry-after", b"%d" % (retry_after - 4)) in rendered.headers
        assert message.encode() in rendered.body


@pytest.mark.parametrize("status", [402, 403, 429])
async def test_nobody_hears_what_another_one_asked(status: int) -> None:
    """Upstream may quote a prompt in its refusal: whoever sent it gets that, and nobody else."""
    body = b'{"error":{"message":"organization policy: \\"my secret\\" is refused","code":"my secret"}}'
    stand = Stand()
    await stand.refuse(UpstreamStatus(status, (), body))
    with pytest.raises(CircuitOpen) as caught:
        await stand.ask(Answer())
    assert caught.value.code == "circuit_open"
    for dialect in Dialect:
        assert b"secret" not in render_error(caught.value, dialect, request_id="1", now=0.0).body


@pytest.mark.parametrize(
    "error",
    [
        *(UpstreamStatus(status, (), b"") for status in (400, 404, 413, 421, 422, 500, 502, 503, 504, 529)),
        UpstreamUnauthorized(401, (), b"token expired"),
        BARE,
        CONTENT,
        UpstreamUnavailable("gone", sent=False),
        UpstreamTimeout("late"),
        StreamInterrupted("cut"),
        BadRequest("ours"),
    ],
)
async def test_other_failures_do_not_open(error: CopilotASGIError) -> None:
    """S-1, S-2, S-6: a fault says nothing about what upstream will say to the next one."""
    stand, end = Stand(), Answer()
    await stand.refuse(error)
    await stand.ask(end)
    assert (end.calls, stand.states) == (1, [])


async def test_a_refusal_under_a_status_of_200_counts() -> None:
    """Upstream may say it after the head; translation raises it from within ``send``."""
    stand = Stand()

    async def client(part: object) -> None:
        if isinstance(part, bytes):
            raise UpstreamStatus(402, (), b"")

    with pytest.raises(UpstreamStatus):
        await stand.stage(make_exchange(), client, Answer())
    assert stand.states == [State.OPEN]


async def test_scope() -> None:
    """Quota concerns the model, throttling the account, unless its code names the model; other accounts are free."""
    for error, models in ((QUOTA, 1), (throttled(), 0), (throttled(body=b'{"code":"user_model_rate_limited"}'), 1)):
        stand, end = Stand(), Answer()
        await stand.refuse(error)
        await stand.ask(end, login="hubot")
        for model in ("gpt-4o", "gpt-5"):
            try:
                await stand.ask(end, model=model)
            except CircuitOpen:
                continue
        assert end.calls == 1 + models


async def test_recovery() -> None:
    """When the time is over one call passes; after four successes everything does."""
    stand = await Stand().recovering()
    for _ in range(4):
        assert stand.states == [State.RECOVERING]
        await stand.ask(Answer())
    assert (stand.states, stand.in_flight) == ([], 0)


async def test_slow_start_doubles() -> None:
    """Of sixteen requests that come at once the first goes up alone; each success lets more follow."""
    stand = await Stand().recovering()
    gates = [anyio.Event() for _ in range(16)]
    ends = [Answer(HEAD, gate=gate) for gate in gates]

    def up() -> int:
        return sum(end.calls for end in ends)

    async with anyio.create_task_group() as group:
        for place, end in enumerate(ends):
            group.start_soon(partial(stand.ask, end))
            await until(lambda place=place: stand.waiting + stand.in_flight == place + 1)
        for successes, calls in enumerate((1, 3, 6, 11)):
            await until(lambda calls=calls: up() == calls)
            await anyio.wait_all_tasks_blocked()
            # Those with a place now, and those that gave theirs back: no more, and in the order in which they came.
            assert [end.calls for end in ends] == [1] * calls + [0] * (16 - calls)
            assert stand.in_flight == calls - successes == 2**successes
            gates[successes].set()
        await until(lambda: up() == 16)
        for gate in gates:
            gate.set()
    assert (stand.states, stand.waiting, stand.in_flight) == ([], 0, 0)


async def test_the_head_is_the_success() -> None:
    """A stream that runs for long does not hold the recovery up."""
    stand, gate = await Stand().recovering(), anyio.Event()
    async with anyio.create_task_group() as group:
        for _ in range(4):
            end = Answer(HEAD, b"one", b"two", gate=gate)
            group.start_soon(partial(stand.ask, end))
            await until(lambda end=end: end.calls == 1)
            await anyio.wait_all_tasks_blocked()
        assert stand.states == []
        gate.set()
    assert stand.in_flight == 0


@pytest.mark.parametrize(
    "error",
    [UpstreamStatus(503, (), b""), UpstreamUnauthorized(401, (), b""), UpstreamTimeout("late"), BadRequest("no")],
)
async def test_a_probe_that_fails_otherwise_says_nothing(error: CopilotASGIError) -> None:
    """It is neither a success nor a refusal, and the next one is the probe."""
    stand = await Stand().recovering()
    await stand.refuse(*[error] * 3)
    assert (stand.states, stand.in_flight) == ([State.RECOVERING], 0)


async def test_a_head_that_is_no_success_says_nothing() -> None:
    """Only a status of 200 is a success."""
    stand = await Stand().recovering()
    for _ in range(5):
        await stand.ask(Answer(Head(500), b""))
    assert (stand.states, stand.in_flight) == ([State.RECOVERING], 0)


async def test_another_refusal_opens_for_longer() -> None:
    """And those who wait for their turn are told at once."""
    stand, gate = await Stand().recovering(), anyio.Event()
    told: list[float | None] = []

    async def refuse(exchange: Exchange, send: Send) -> None:
        await gate.wait()
        raise throttled(b"1")

    async def probe() -> None:
        with pytest.raises(UpstreamThrottled):
            await stand.ask(refuse)

    async def wait() -> None:
        with pytest.raises(CircuitOpen) as caught:
            await stand.ask(Answer())
        told.append(caught.value.retry_after)

    async with anyio.create_task_group() as group:
        group.start_soon(probe)
        await until(lambda: stand.in_flight == 1)
        for _ in range(3):
            group.start_soon(wait)
        await until(lambda: stand.waiting == 3)
        gate.set()
    assert told == [20.0] * 3
    assert (stand.waiting, stand.in_flight) == (0, 0)


async def test_the_line_has_an_end() -> None:
    """While one call is under way 32 wait for their turn; the next is refused at once, with a second to come back."""
    stand, end = await Stand().recovering(), Answer()
    async with anyio.create_task_group() as group:
        group.start_soon(partial(stand.ask, Answer(HEAD, gate=anyio.Event())))
        await until(lambda: stand.in_flight == 1)
        for _ in range(32):
            group.start_soon(partial(stand.ask, end))
        await until(lambda: stand.waiting == 32)
        with pytest.raises(CircuitOpen) as caught:
            await stand.ask(end)
        assert (caught.value.status, caught.value.retry_after) == (429, 1.0)
        group.cancel_scope.cancel()
    assert (end.calls, stand.waiting, stand.in_flight) == (0, 0, 0)


async def test_a_turn_is_waited_for_up_to_the_limit() -> None:
    """Then the request is refused, with a second to come back."""
    stand, end = await Stand(max_wait=0.03).recovering(), Answer()
    async with anyio.create_task_group() as group:
        group.start_soon(partial(stand.ask, Answer(HEAD, gate=anyio.Event())))
        await until(lambda: stand.in_flight == 1)

        async def pass_time() -> None:
            await until(lambda: stand.waiting == 1)
            stand.clock.now += 0.03

        group.start_soon(pass_time)
        began = anyio.current_time()
        with pytest.raises(CircuitOpen) as caught:
            await stand.ask(end)
        assert anyio.current_time() - began > 0.02
        assert (caught.value.status, caught.value.retry_after) == (429, 1.0)
        group.cancel_scope.cancel()
    assert (end.calls, stand.waiting, stand.in_flight) == (0, 0, 0)


async def test_waiting_out_a_short_throttling() -> None:
    """With ``wait`` those who came while it was open pass in the order in which they came: one, two, the others."""
    stand, passed = Stand(wait=True), list[int]()
    await stand.refuse(throttled())
    stand.clock.now += 9.98

    async def one(number: int) -> None:
        await stand.ask(Answer(before=lambda exchange: passed.append(number)))

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(one, number)
            await until(lambda number=number: stand.waiting == number + 1)
        assert passed == []
        stand.clock.now += 0.02
    # Who is let through together goes on in any order.
    assert [passed[:1], sorted(passed[1:3]), sorted(passed[3:])] == [[0], [1, 2], [3, 4, 5]]
    assert (stand.waiting, stand.in_flight) == (0, 0)


@pytest.mark.parametrize("error", [throttled(b"31"), throttled(b"208800"), QUOTA, POLICY])
async def test_what_takes_too_long_is_not_waited_for(error: UpstreamStatus) -> None:
    """A weekly limit, a quota or a policy is told at once, in wait mode too."""
    stand = Stand(wait=True, max_wait=30.0)
    await stand.refuse(error)
    with pytest.raises(CircuitOpen):
        await stand.ask(Answer())
    assert stand.waiting == 0


async def test_both_circuits_are_passed() -> None:
    """Where the model and the account recover, a call takes a place in each, and gives back both, refused or not."""
    stand, gate = Stand(), anyio.Event()
    for error in (throttled(b"10"), throttled(b"10", b'{"code":"user_model_rate_limited"}')):
        stand.circuits.refused(ACCOUNT, "gpt-4o", refusal(error), START)
    stand.clock.now += 10
    async with anyio.create_task_group() as group:
        group.start_soon(partial(stand.ask, Answer(HEAD, gate=gate)))
        await until(lambda: stand.in_flight == 2)
        gate.set()
    assert (stand.in_flight, stand.states) == (0, [State.RECOVERING] * 2)
    stand.circuits.refused(ACCOUNT, "gpt-4o", refusal(throttled(b"10")), stand.clock.now)
    end = Answer()
    with pytest.raises(CircuitOpen):
        await stand.ask(end)
    assert (end.calls, stand.in_flight) == (0, 0)


@pytest.mark.parametrize(("passed", "waiting", "taken"), [(10.0, 31, 1), (0.1, 32, 0)], ids=["recovering", "open"])
async def test_a_throttled_model_keeps_no_other_one_waiting(passed: float, waiting: int, taken: int) -> None:
    """With two places and 32 requests that wait for a throttled model's turn, another model is served at once."""
    places, healthy, gate = anyio.CapacityLimiter(2), Answer(), anyio.Event()
    stand = Stand(wait=True, place=partial(same, places))
    await stand.refuse(throttled(body=b'{"code":"user_model_rate_limited"}'))
    stand.clock.now += passed
    async with anyio.create_task_group() as group:
        for _ in range(32):
            group.start_soon(partial(stand.ask, Answer(HEAD, gate=gate)))
        await until(lambda: stand.waiting + stand.in_flight == 32)
        await anyio.wait_all_tasks_blocked()
        assert (stand.waiting, places.borrowed_tokens) == (waiting, taken)
        with anyio.fail_after(1):
            for _ in range(20):
                await stand.ask(healthy, model="gpt-5")
        group.cancel_scope.cancel()
    assert (healthy.calls, places.borrowed_tokens) == (20, 0)


async def test_the_whole_stack_serves_a_healthy_model_meanwhile() -> None:
    """Also with every other stage around it: a dozen that wait their turn take none of the two places."""
    async with full_stand(max_streams=2, rate_limit_mode=RateLimitMode.WAIT, retries=0) as it:
        await it.client.get("/v1/models")
        it.simulator.enqueue(FAULTS["user_model_rate_limited"])
        assert (await it.client.post("/v1/chat/completions", json=CHAT)).status_code == 429
        circuits = it.app.controls.circuits
        async with anyio.create_task_group() as group:
            for _ in range(12):
                group.start_soon(partial(it.client.post, "/v1/chat/completions", json=CHAT))
            await until(lambda: sum(map(len, circuits._lines.values())) == 12)
            with anyio.fail_after(5):
                answers = [await it.client.post("/v1/embeddings", json=EMBEDDINGS) for _ in range(5)]
            group.cancel_scope.cancel()
        assert [answer.status_code for answer in answers] == [200] * 5


class Queue:
    """Two who ask with one place between them: the first holds it until the second queues, and is then throttled."""

    def __init__(self, *, wait: bool) -> None:
        self.places = anyio.CapacityLimiter(1)
        self.stand = Stand(wait=wait, place=partial(same, self.places))
        self.end = Answer()

    async def both(self, second: Callable[[], Coroutine[object, object, object]], *, later: float = 0.0) -> None:
        """The first is refused ``later`` seconds after the second came; ten seconds after that the circuit recovers."""
        gate = anyio.Event()

        async def first() -> None:
            with pytest.raises(UpstreamThrottled):
                await self.stand.ask(Answer(HEAD, gate=gate, error=throttled()))

        async with anyio.create_task_group() as group:
            group.start_soon(first)
            await until(lambda: self.places.borrowed_tokens == 1)
            group.start_soon(second)
            await until(lambda: self.places.statistics().tasks_waiting == 1)
            self.stand.clock.now += later
            gate.set()
            await anyio.wait_all_tasks_blocked()
            assert (self.end.calls, self.places.borrowed_tokens) == (0, 0)
            self.stand.clock.now += 10
            self.stand.wake()
        assert (self.stand.waiting, self.stand.in_flight, self.places.borrowed_tokens) == (0, 0, 0)


@pytest.mark.parametrize(("wait", "later"), [(False, 0.0), (True, 30.0)])
async def test_who_queued_for_a_place_is_not_sent_past_a_circuit_that_opened(wait: bool, later: float) -> None:
    """It is refused as anybody is who comes now; in wait mode if there is no time left to wait."""
    queue = Queue(wait=wait)

    async def second() -> None:
        with pytest.raises(CircuitOpen) as caught:
            await queue.stand.ask(queue.end)
        assert (caught.value.status, caught.value.retry_after) == (429, 10.0)

    await queue.both(second, later=later)
    assert queue.end.calls == 0


async def test_who_queued_for_a_place_waits_for_a_circuit_that_opened() -> None:
    """In wait mode, for what is left of the time since it came, and without the place."""
    queue = Queue(wait=True)
    await queue.both(partial(queue.stand.ask, queue.end))
    assert queue.end.calls == 1


async def test_cancelled_at_every_await() -> None:
    """5,000 requests are cancelled wherever they wait: afterwards no place is taken and nobody is in line."""
    chance = random.Random(7)

    async def leave(scope: anyio.CancelScope, after: int) -> None:
        for _ in range(after):
            await anyio.lowlevel.checkpoint()
        if after % 8 == 7:
            await anyio.sleep(0.0015)
        scope.cancel()

    async def ask(stand: Stand, scope: anyio.CancelScope) -> None:
        with scope:
            await stand.ask(Answer(HEAD, b"one", b"two", gate=anyio.Event()))

    async def pass_time(stand: Stand, after: int) -> None:
        for _ in range(after):
            await anyio.lowlevel.checkpoint()
        stand.clock.now += 0.001

    cancelled, came_through = 0, 0
    for number in range(1_000):
        places = anyio.CapacityLimiter(1 + number % 3)
        stand = Stand(wait=True, place=partial(same, places))
        stand.circuits.refused(ACCOUNT, "gpt-4o", refusal(throttled()), START)
        stand.clock.now += 10 if number % 2 else 9.9995
        scopes = [anyio.CancelScope() for _ in range(5)]
        async with anyio.create_task_group() as group:
            group.start_soon(pass_time, stand, chance.randrange(8))
            for scope in scopes:
                group.start_soon(ask, stand, scope)
                group.start_soon(leave, scope, chance.randrange(32))
        cancelled += sum(scope.cancelled_caught for scope in scopes)
        came_through += stand.states == []
        assert (stand.waiting, stand.in_flight, stand.circuits._lines) == (0, 0, {})
        assert places.borrowed_tokens == 0
    assert cancelled == 5_000
    assert came_through > 10  # some got as far as closing the circuit


class Always:
    """An upstream that always fails; counts its calls."""

    def __init__(self, error: Exception) -> None:
        self.calls = 0
        self._error = error

    async def __call__(self, exchange: Exchange, send: Send) -> None:
        self.calls += 1
        await anyio.lowlevel.checkpoint()
        raise self._error


@pytest.mark.parametrize(
    ("error", "at_most"),
    [
        (throttled(b"20"), 64),
        (throttled(b"garbage"), 64),
        (QUOTA, 64),
        (POLICY, 64),
        (CONTENT, 64),
        (BARE, 2 * 64),  # each with a fresh token once
        (UpstreamStatus(503, (), b""), 1_000 + 110),  # no refusal: only the budget bounds what is tried again
    ],
)
async def test_a_storm_does_not_reach_upstream(error: UpstreamStatus, at_most: int) -> None:
    """S43: of 1,000 requests, 64 at a time, only those go up that were under way when the first refusal came."""
    stand, end = Stand(place=partial(same, anyio.CapacityLimiter(64))), Always(error)
    decide = policy(5, max_wait=1.0, random=lambda: 0.0, now=lambda: 0.0)
    handler = compose([Retry(decide, RetryBudget()), stand.stage], end)
    refused = []

    async def one() -> None:
        with pytest.raises(CopilotASGIError) as caught:
            await handler(make_exchange(), Client())
        refused.append(caught.value.status)

    async with anyio.create_task_group() as group:
        for _ in range(1_000):
            group.start_soon(one)
    assert refused == [429 if isinstance(error, UpstreamThrottled) else error.status] * 1_000
    assert end.calls <= at_most
    assert stand.in_flight == 0


@pytest.mark.parametrize(
    ("error", "attempts"),
    [(throttled(b"garbage"), 16), (throttled(b"99999999"), 1), (QUOTA, 15), (POLICY, 15), (BARE, 17), (CONTENT, 17)],
)
async def test_an_hour_of_refusals(error: UpstreamStatus, attempts: int) -> None:
    """S43: who asks every second for an hour makes upstream refuse a handful of times, ever further apart."""
    stand, end = Stand(), Always(error)
    for _ in range(3_600):
        with pytest.raises(CopilotASGIError):
            await stand.ask(end)
        stand.clock.now += 1
    assert end.calls == attempts


@pytest.mark.parametrize("here", ["asyncio", "trio"])
@pytest.mark.parametrize("there", ["asyncio", "trio"])
def test_loops_share_the_circuits(here: str, there: str) -> None:
    """A place that is given back in one loop goes to whoever waits in another one, at once."""
    circuits = Circuits()
    circuits.refused(ACCOUNT, "gpt-4o", refusal(throttled(b"0")), time.monotonic() - 10)
    stage = BreakCircuit(circuits, nullcontext, wait=False, max_wait=50.0)
    inside = Event()
    with start_blocking_portal(here) as first, start_blocking_portal(there) as second:
        gate = first.call(anyio.Event)
        held = Answer(HEAD, gate=gate, before=lambda exchange: inside.set())
        holder = first.start_task_soon(stage, make_exchange(), first.call(Client), held)
        assert inside.wait(10)
        end = Answer()
        waiter = second.start_task_soon(stage, make_exchange(), second.call(Client), end)
        while not circuits._lines:
            time.sleep(0.001)
        assert end.calls == 0
        first.call(gate.set)
        holder.result(10)
        waiter.result(10)
    assert end.calls == 1
    assert circuits._lines == {}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_who_waited_in_a_loop_that_ended_is_no_trouble(backend: str) -> None:
    """Waking it does nothing, and says so."""

    async def wait() -> Signal:
        return Signal()

    assert not anyio.run(wait, backend=backend).set()
