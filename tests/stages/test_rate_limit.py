"""Rate limits hold for whom they are meant, are settled with the true costs, and lose nothing when clients leave."""

import random
from collections.abc import Mapping, Sequence
from contextlib import suppress

import anyio
import anyio.lowlevel
import pytest
from bench import HEAD, Answer, Client, Clock, make_exchange

from copilot_asgi.config import LimitBy
from copilot_asgi.errors import RateLimited, UpstreamUnavailable
from copilot_asgi.exchange import Caller, Exchange, Handler, Send
from copilot_asgi.fair_queue import FairQueue
from copilot_asgi.limiter import Limiter, MemoryLimiter, Reservation
from copilot_asgi.limits import Costs, RateLimit, Wait, parse_rate_limit
from copilot_asgi.pricing import NANO, Usage
from copilot_asgi.stages import rate_limit
from copilot_asgi.stages.concurrency import LimitConcurrency
from copilot_asgi.stages.rate_limit import LimitRate
from copilot_asgi.wire.dialect import Dialect, render_error
from copilot_asgi.wire.models import Model

pytestmark = pytest.mark.anyio


def limits(*texts: str) -> tuple[RateLimit, ...]:
    return tuple(map(parse_rate_limit, texts))


def stage(
    *texts: str,
    limiter: Limiter,
    by: LimitBy = LimitBy.ALL,
    queue: FairQueue | None = None,
    costs: Costs | None = None,
) -> LimitRate:
    """The stage with the given limits, which reserves ``costs`` for each request."""
    return LimitRate(
        limits=limits(*texts), by=by, limiter=limiter, queue=queue, estimate=lambda _: costs or Costs(tokens=10)
    )


async def passes(limit: LimitRate, exchange: Exchange | None = None) -> bool:
    """Whether a request is admitted now."""
    answer = Answer()
    try:
        await limit(exchange or make_exchange(), Client(), answer)
    except RateLimited:
        assert answer.calls == 0
        return False
    return True


class NoLimiter:
    """One that nobody may ask."""

    async def reserve(self, shares: Mapping[str, Sequence[RateLimit]], costs: Costs) -> Reservation | Wait:
        raise AssertionError("there is no limit to keep")


async def test_without_limits_nothing_is_asked() -> None:
    """A request that no limit holds for goes straight on."""
    client = Client()
    await stage(limiter=NoLimiter())(make_exchange(), client, Answer())
    assert client.parts == [HEAD, b"{}"]


async def test_over_the_limit_a_request_is_refused_for_exactly_as_long_as_needed() -> None:
    """Refused at t with a time to wait; still refused a moment before that, admitted then (L1)."""
    clock = Clock()
    limit = stage("2/10s", limiter=MemoryLimiter(clock=clock))
    assert await passes(limit)
    clock.now += 4
    assert await passes(limit)
    clock.now += 2.5
    with pytest.raises(RateLimited, match=r"limit of 2 requests/10s is reached. Try again in 3.5 seconds") as told:
        await limit(make_exchange(), Client(), Answer())
    refused_at = clock.now
    assert told.value.retry_after == 3.5
    clock.now = refused_at + 3.5 - 1e-6
    assert not await passes(limit)
    clock.now = refused_at + 3.5
    assert await passes(limit)


@pytest.mark.parametrize("dialect", [Dialect.CHAT, Dialect.MESSAGES, Dialect.RESPONSES])
async def test_the_refusal_is_a_429_in_each_dialect(dialect: Dialect) -> None:
    """Clients get a status and a whole number of seconds that are enough (L1)."""
    clock = Clock()
    limit = stage("1/10s", limiter=MemoryLimiter(clock=clock))
    await passes(limit)
    clock.now += 0.5
    with pytest.raises(RateLimited) as told:
        await limit(make_exchange(dialect=dialect), Client(), Answer())
    rendered = render_error(told.value, dialect, request_id="1", now=0.0)
    assert rendered.status == 429
    assert (b"retry-after", b"10") in rendered.headers
    assert b"1 request/10s" in rendered.body


def asked_by(name: str = "ann", login: str = "octocat", model: str = "gpt-4o") -> Exchange:
    return make_exchange(caller=Caller(name=name), login=login, model=Model(id=model))


@pytest.mark.parametrize(
    ("by", "together", "apart"),
    [
        (LimitBy.ALL, asked_by("bob", "hubot", "gpt-5"), None),
        (LimitBy.CALLER, asked_by("ann", "hubot", "gpt-5"), asked_by("bob")),
        (LimitBy.ACCOUNT, asked_by("bob", "OctoCat", "gpt-5"), asked_by(login="hubot")),
        (LimitBy.MODEL, asked_by("bob", "hubot", "gpt-4o"), asked_by(model="gpt-5")),
    ],
)
async def test_what_is_counted_together(by: LimitBy, together: Exchange, apart: Exchange | None) -> None:
    """The setting says whose requests share the limit; others have their own."""
    limit = stage("1/min", limiter=MemoryLimiter(clock=Clock()), by=by)
    assert await passes(limit, asked_by())
    assert not await passes(limit, together)
    assert apart is None or await passes(limit, apart)


@pytest.mark.parametrize("spelling", ["GPT-4o", "gpt-4O ", "copilot/gpt-4o"])
async def test_another_spelling_is_no_way_round(spelling: str) -> None:
    """What counts is the model that answers, not how it was asked for (L5)."""
    limit = stage("1/min", limiter=MemoryLimiter(clock=Clock()), by=LimitBy.MODEL)
    assert await passes(limit, asked_by())
    body = b'{"model":"%s","messages":[]}' % spelling.encode()
    assert not await passes(limit, make_exchange(body, model=Model(id="gpt-4o")))


async def test_a_caller_has_limits_of_its_own_beside_those_for_all() -> None:
    """Both hold; the caller's are counted for the caller alone, and the longest wait is told."""
    clock = Clock()
    limit = stage("3/min", limiter=MemoryLimiter(clock=clock))
    ann = Caller(name="ann", rate_limits=limits("1/hour"))
    bob = Caller(name="bob", rate_limits=limits("5/hour"))
    assert await passes(limit, make_exchange(caller=ann))
    assert not await passes(limit, make_exchange(caller=ann))
    assert await passes(limit, make_exchange(caller=bob))
    assert await passes(limit, make_exchange(caller=bob))
    assert not await passes(limit, make_exchange(caller=bob))
    with pytest.raises(RateLimited, match="1 request/hour") as told:
        await limit(make_exchange(caller=ann), Client(), Answer())
    assert told.value.retry_after == 3_600


async def test_counting_by_caller_joins_both_kinds_of_limits() -> None:
    """Where the settings count by caller as well, a refusal by one limit takes nothing from the other."""
    clock = Clock()
    limit = stage("2/min", limiter=MemoryLimiter(clock=clock), by=LimitBy.CALLER)
    ann = Caller(name="ann", rate_limits=limits("1/10s"))
    assert [await passes(limit, make_exchange(caller=ann)) for _ in range(5)] == [True, False, False, False, False]
    clock.now += 10
    assert [await passes(limit, make_exchange(caller=ann)) for _ in range(2)] == [True, False]
    clock.now += 10
    assert not await passes(limit, make_exchange(caller=ann))


async def test_a_request_counts_once_whichever_model_answers_it() -> None:
    """When another model stands in, the request passes again and takes no second permit; its tokens are taken anew."""
    limit = stage("1/hour", "100 tokens/hour", limiter=MemoryLimiter(clock=Clock()), costs=Costs(tokens=40))
    exchange = make_exchange()
    for _ in range(2):
        with pytest.raises(UpstreamUnavailable):
            await limit(exchange, Client(), fails)
    assert await passes(limit, exchange)
    assert not await passes(limit)


def uses(usage: Usage) -> Answer:
    def measure(exchange: Exchange) -> None:
        exchange.usage = usage

    return Answer(before=measure)


async def fails(exchange: Exchange, send: Send) -> None:
    raise UpstreamUnavailable("x", sent=False)


@pytest.mark.parametrize(
    ("text", "handler", "left"),
    [
        pytest.param("100 tokens/min", uses(Usage(fresh=3, cache_read=2, output=15)), 80, id="metered tokens"),
        pytest.param("100 tokens/min", uses(Usage()), 100, id="metered as nothing"),
        pytest.param("100 tokens/min", uses(Usage(output=90)), 10, id="more than reserved"),
        pytest.param("100 tokens/min", Answer(), 70, id="not metered, answered"),
        pytest.param("100 tokens/min", Answer(HEAD), 70, id="not metered, head only"),
        pytest.param("100 tokens/min", Answer(error=UpstreamUnavailable("x", sent=True)), 70, id="broke off"),
        pytest.param("100 tokens/min", fails, 100, id="no answer began"),
        pytest.param("2 credits/min", uses(Usage(output=1, nano_credits=NANO // 4)), 1.75, id="metered credits"),
        pytest.param("2 credits/min", Answer(), 1.5, id="credits as reserved"),
        pytest.param("100/min", fails, 99, id="a request counts if it fails"),
        pytest.param("100/min", uses(Usage(output=5)), 99, id="a request is one request"),
    ],
)
async def test_what_it_cost_in_the_end_is_what_counts(text: str, handler: Handler, left: float) -> None:
    """As metered, else as reserved once an answer began, else given back; a request counts whatever becomes of it."""
    limiter = MemoryLimiter(clock=Clock())
    limit = stage(text, limiter=limiter, costs=Costs(tokens=30, credits=0.5))
    with suppress(UpstreamUnavailable):
        await limit(make_exchange(), Client(), handler)
    assert await room(limiter, text) == pytest.approx(left, abs=1e-9)


async def room(limiter: MemoryLimiter, text: str, key: str = "all") -> float:
    """How much is left under the limit."""
    (limit,) = limits(text)
    window = limiter._keys[key, (limit,)][0]
    return (window._amount - window._used) / NANO


@pytest.mark.parametrize(("leave_at", "left"), [(0, 70), (1, 70), (None, 100)])
async def test_a_client_that_leaves_pays_for_what_began(leave_at: int | None, left: float) -> None:
    """Gone before the head nothing was answered; after that the reservation stays."""
    limiter = MemoryLimiter(clock=Clock())
    limit = stage("100 tokens/min", limiter=limiter, costs=Costs(tokens=30))
    client = Client(leave_at=leave_at)
    handler: Handler = Answer()
    if leave_at is None:
        handler = never_answers
        client.scope.cancel()
    with client.scope:
        await limit(make_exchange(), client, handler)
    assert client.scope.cancelled_caught
    assert await room(limiter, "100 tokens/min") == left


async def never_answers(exchange: Exchange, send: Send) -> None:
    await anyio.sleep_forever()


class RemoteLimiter:
    """Keeps the costs it is told, each after some thinking; ``hangs`` for ever when told to."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.reserved: list[Costs] = []
        self.settled: list[Costs] = []
        self._hangs = hangs

    async def reserve(self, shares: Mapping[str, Sequence[RateLimit]], costs: Costs) -> Reservation | Wait:
        await anyio.lowlevel.checkpoint()
        self.reserved.append(costs)
        return self

    async def settle(self, costs: Costs) -> None:
        await anyio.lowlevel.checkpoint()
        if self._hangs:
            await anyio.sleep_forever()
        self.settled.append(costs)


async def test_leaving_does_not_cut_the_settling_short() -> None:
    """What must be told over a network is told even though the exchange is cancelled."""
    limiter, client = RemoteLimiter(), Client(leave_at=1)
    with client.scope:
        await stage("100 tokens/min", limiter=limiter)(make_exchange(), client, Answer())
    assert client.scope.cancelled_caught
    assert limiter.settled == [Costs(tokens=10)]


@pytest.mark.parametrize(
    ("texts", "by_caller", "reserved", "settled"),
    [
        (("5/min", "1/s"), (), Costs(), []),
        (("5/min",), ("1/s",), Costs(), []),
        ((), ("1/s",), Costs(), []),
        (("5/min", "100 tokens/min"), (), Costs(tokens=30), [Costs(tokens=7)]),
        (("5/min",), ("2 credits/min",), Costs(tokens=30), [Costs(tokens=7)]),
    ],
)
async def test_only_what_is_weighed_is_estimated_and_settled(
    texts: tuple[str, ...], by_caller: tuple[str, ...], reserved: Costs, settled: list[Costs]
) -> None:
    """A request that is counted as one is known from the start: it is neither estimated nor set right."""
    limiter = RemoteLimiter()
    caller = Caller(name="ann", rate_limits=limits(*by_caller))
    answer = uses(Usage(output=7))
    await stage(*texts, limiter=limiter, costs=Costs(tokens=30))(make_exchange(caller=caller), Client(), answer)
    assert (limiter.reserved, limiter.settled) == ([reserved], settled)


async def test_settling_has_a_deadline(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A limiter that does not answer keeps nobody; the costs stay as reserved, and the log says so."""
    monkeypatch.setattr(rate_limit, "SETTLE_TIMEOUT", 0.01)
    client = Client()
    with anyio.fail_after(1):
        await stage("100 tokens/min", limiter=RemoteLimiter(hangs=True))(make_exchange(), client, Answer())
    assert client.body == b"{}"
    assert "did not answer in time" in caplog.text


async def test_waiting_requests_go_in_the_order_of_their_arrival() -> None:
    """Each is admitted when there is room, without a refusal."""
    clock = Clock()
    queue = FairQueue(10, 60, clock=clock)
    limit = stage("1/10s", limiter=MemoryLimiter(clock=clock), queue=queue)
    began: list[str] = []

    async def handler(exchange: Exchange, send: Send) -> None:
        began.append(exchange.id)
        await send(HEAD)

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(limit, make_exchange(id=str(number)), Client(), handler)
            await anyio.wait_all_tasks_blocked()
        for round_ in range(1, 4):
            assert began == [str(number) for number in range(round_)]
            clock.now += 10
            queue.notify("all")
            await anyio.wait_all_tasks_blocked()
    assert began == ["0", "1", "2", "3"]
    assert queue._lines() == {}


async def test_who_leaves_the_queue_is_never_sent_upstream() -> None:
    """It takes nothing from the limit either, neither for all nor of its own (D5)."""
    clock = Clock()
    limiter = MemoryLimiter(clock=clock)
    queue = FairQueue(10, 60, clock=clock)
    limit = stage("1/10s", limiter=limiter, queue=queue)
    assert await passes(limit)
    answer, scope = Answer(), anyio.CancelScope()
    caller = Caller(name="ann", rate_limits=limits("5/min"))

    async def leaver() -> None:
        with scope:
            await limit(make_exchange(caller=caller), Client(), answer)

    async with anyio.create_task_group() as group:
        group.start_soon(leaver)
        await anyio.wait_all_tasks_blocked()
        assert queue.waiting("all") == 1
        scope.cancel()
    assert (answer.calls, queue._lines()) == (0, {})
    assert await room(limiter, "5/min", "caller:ann") == 5
    clock.now += 10
    assert await passes(limit)


async def test_a_full_queue_refuses_at_once() -> None:
    """As many wait as may; one more is told so (L2), and keeps its own permit for another time."""
    clock = Clock()
    limiter = MemoryLimiter(clock=clock)
    queue = FairQueue(1, 60, clock=clock)
    limit = stage("1/10s", limiter=limiter, queue=queue)
    assert await passes(limit)
    caller = Caller(name="ann", rate_limits=limits("5/min"))
    async with anyio.create_task_group() as group:
        group.start_soon(limit, make_exchange(), Client(), Answer())
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(RateLimited, match="queue is full") as told:
            await limit(make_exchange(caller=caller), Client(), Answer())
        assert told.value.retry_after == 10
        group.cancel_scope.cancel()
    assert await room(limiter, "5/min", "caller:ann") == 5


async def test_what_comes_too_late_is_refused_at_once() -> None:
    """Nobody waits for a window that opens after the timeout; the exact time is told (L3)."""
    clock = Clock()
    limit = stage("1/day", limiter=MemoryLimiter(clock=clock), queue=FairQueue(10, 30, clock=clock))
    assert await passes(limit)
    clock.now += 86_400 - 30.5
    with anyio.fail_after(1), pytest.raises(RateLimited, match="1 request/day") as told:
        await limit(make_exchange(), Client(), Answer())
    assert told.value.retry_after == 30.5


async def test_nobody_is_held_up_by_the_limits_of_another() -> None:
    """Who waits for a limit of its own waits beside the others, not in front of them."""
    clock = Clock()
    queue = FairQueue(10, 60, clock=clock)
    limit = stage("100/min", limiter=MemoryLimiter(clock=clock), queue=queue)
    slow = Caller(name="slow", rate_limits=limits("1/min"))
    assert await passes(limit, make_exchange(caller=slow))
    answer = Answer()
    async with anyio.create_task_group() as group:
        group.start_soon(limit, make_exchange(caller=slow), Client(), answer)
        await anyio.wait_all_tasks_blocked()
        assert await passes(limit, make_exchange(caller=Caller(name="quick")))
        assert (answer.calls, queue.waiting("caller:slow"), queue.waiting("all")) == (0, 1, 0)
        clock.now += 60
        queue.notify("caller:slow")
    assert answer.calls == 1


async def test_a_newcomer_that_would_fit_does_not_pass_those_who_wait() -> None:
    """While somebody waits for much, room for little is not given to who comes later."""
    clock = Clock()
    limit = LimitRate(
        limits=limits("100 tokens/min"),
        by=LimitBy.ALL,
        limiter=MemoryLimiter(clock=clock),
        queue=FairQueue(10, 60, clock=clock),
        estimate=lambda exchange: Costs(tokens=int(exchange.id)),
    )
    gate, much, little = anyio.Event(), Answer(), Answer()
    async with anyio.create_task_group() as group:
        for tokens, answer in (("80", Answer(HEAD, b"{}", gate=gate)), ("70", much), ("10", little)):
            group.start_soon(limit, make_exchange(id=tokens), Client(), answer)
            await anyio.wait_all_tasks_blocked()
        assert (much.calls, little.calls) == (0, 0)
        clock.now += 60
        gate.set()
    assert (much.calls, little.calls) == (1, 1)


async def test_one_timeout_is_for_all_the_waiting() -> None:
    """What a request has waited for a limit of its own is taken from what it may wait for the limit for all."""
    clock = Clock()
    queue = FairQueue(10, 30, clock=clock)
    limit = stage("1/15s", limiter=MemoryLimiter(clock=clock), queue=queue)
    ann = Caller(name="ann", rate_limits=limits("1/20s"))
    assert await passes(limit, make_exchange(caller=ann))
    told: list[float | None] = []

    async def refused() -> None:
        with pytest.raises(RateLimited, match="1 request/15s") as refusal:
            await limit(make_exchange(caller=ann), Client(), Answer())
        told.append(refusal.value.retry_after)

    async with anyio.create_task_group() as group:
        group.start_soon(refused)
        await anyio.wait_all_tasks_blocked()
        clock.now += 20
        assert await passes(limit, make_exchange(caller=Caller(name="bob")))
        with anyio.fail_after(1):
            queue.notify("caller:ann")
            await anyio.wait_all_tasks_blocked()
            assert told == [15]


async def test_what_is_given_back_wakes_the_next() -> None:
    """When an answer turns out cheaper than reserved, who waits for tokens goes on at once."""
    clock = Clock()
    queue = FairQueue(10, 60, clock=clock)
    limit = stage("100 tokens/min", limiter=MemoryLimiter(clock=clock), queue=queue, costs=Costs(tokens=80))
    gate, second = anyio.Event(), Answer()

    def measure(exchange: Exchange) -> None:
        exchange.usage = Usage(output=5)

    async with anyio.create_task_group() as group:
        group.start_soon(limit, make_exchange(), Client(), Answer(before=measure, gate=gate))
        await anyio.wait_all_tasks_blocked()
        group.start_soon(limit, make_exchange(), Client(), second)
        await anyio.wait_all_tasks_blocked()
        assert second.calls == 0
        gate.set()
    assert second.calls == 1


async def test_thousands_of_clients_that_leave_take_nothing_with_them() -> None:
    """5,000 exchanges cancelled at random awaits: limiter, lines and places are as at the start (L4, D5)."""
    dice = random.Random(7)
    clock = Clock()
    limiter, queue = MemoryLimiter(clock=clock), FairQueue(10_000, 3_600, clock=clock)
    texts = ("100000/hour", "60 tokens/hour")
    limit = stage(*texts, limiter=limiter, queue=queue)
    concurrency = LimitConcurrency(4, FairQueue(10_000, 3_600, clock=clock))
    caller = Caller(name="ann", rate_limits=limits("50 tokens/hour"))
    running = most = permits = left = started = 0

    async def rest(exchange: Exchange, send: Send) -> None:
        nonlocal permits
        permits += 1
        exchange.usage = Usage()
        await concurrency(exchange, send, upstream)

    async def upstream(exchange: Exchange, send: Send) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await send(HEAD)
            for _ in range(started % 30):
                await send(b"piece")
        finally:
            running -= 1

    async def visitor(scope: anyio.CancelScope) -> None:
        nonlocal left
        with scope:
            await limit(make_exchange(caller=caller), Client(), rest)
        left += scope.cancelled_caught

    due: dict[int, list[anyio.CancelScope]] = {}
    async with anyio.create_task_group() as group:
        while left < 5_000:
            scope = anyio.CancelScope()
            due.setdefault(started + dice.randrange(40), []).append(scope)
            group.start_soon(visitor, scope)
            await anyio.lowlevel.checkpoint()
            for leaver in due.pop(started, ()):
                leaver.cancel()
            started += 1
    assert (running, most) == (0, 4)
    assert (concurrency._under_way, queue._lines(), concurrency._queue._lines()) == ({}, {}, {})
    assert await room(limiter, "50 tokens/hour", "caller:ann") == 50
    requests, tokens = limiter._keys["all", limits(*texts)]
    assert (requests._used, tokens._used) == (permits * NANO, 0)
    assert permits > 1_000
