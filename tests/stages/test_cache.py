"""Answers that would come again are kept, for whoever asked for them and nobody else."""

import logging
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, replace

import anyio
import anyio.lowlevel
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stages.bench import HEAD, STREAM_HEAD, Answer, Client, Clock, Failure, make_exchange

import copilot_asgi.stages.cache
from copilot_asgi.errors import StoreError, StreamInterrupted, UpstreamTimeout
from copilot_asgi.exchange import Caller, Exchange, Head, Headers, Part, Send
from copilot_asgi.stages.cache import Cache
from copilot_asgi.stores.bounded import BoundedStore
from copilot_asgi.wire.chat_stream import ChatStream
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.models import Model

pytestmark = pytest.mark.anyio

BODY = b'{"model":"m","temperature":0}'
STREAM_BODY = b'{"model":"m","temperature":0,"stream":true}'
HIT = (b"x-copilot-asgi-cache", b"hit")
MISS = (b"x-copilot-asgi-cache", b"miss")


def make_cache(*, max_entry: int = 1000, clock: Clock | None = None) -> Cache:
    return Cache(BoundedStore(100_000, clock=clock or Clock()), ttl=60, max_entry=max_entry, clock=clock or Clock())


async def ask(cache: Cache, answer: Answer | Failure, exchange: Exchange | None = None) -> Client:
    client = Client()
    await cache(exchange or make_exchange(BODY), client, answer)
    return client


def with_headers(body: bytes = BODY, *headers: tuple[bytes, bytes]) -> Exchange:
    exchange = make_exchange(body)
    exchange.request = msgspec.structs.replace(exchange.request, headers=headers)
    return exchange


async def test_the_second_answer_comes_from_the_store() -> None:
    """Upstream is asked once; the headers say which is which, and what was true of the first call only is gone."""
    cache = make_cache()
    lasting: Headers = ((b"content-type", b"application/json"), (b"x-copilot-asgi-model", b"m"))
    passing: Headers = ((b"x-ratelimit-remaining", b"3"), (b"x-copilot-asgi-budget", b"0.9"))
    answer = Answer(Head(200, (*lasting, *passing)), b"on", b"e")
    first, second = await ask(cache, answer), await ask(cache, answer)
    assert first.parts == [Head(200, (*lasting, *passing, MISS)), b"on", b"e"]
    assert second.parts == [Head(200, (*lasting, HIT)), b"one"]
    assert answer.calls == 1


async def test_a_stream_comes_back_in_one_piece_with_its_content_type() -> None:
    """The same bytes in the same form; the time between them is not kept."""
    cache = make_cache()
    answer = Answer(STREAM_HEAD, b"data: 1\n\n", b"data: 2\n\n")
    await ask(cache, answer, make_exchange(STREAM_BODY))
    again = await ask(cache, answer, make_exchange(STREAM_BODY))
    assert again.parts == [Head(200, (*STREAM_HEAD.headers, HIT)), b"data: 1\n\ndata: 2\n\n"]


async def test_an_answer_is_kept_for_its_time() -> None:
    """After ``ttl`` seconds upstream is asked again."""
    clock = Clock()
    cache, answer = make_cache(clock=clock), Answer()
    for _ in range(3):
        await ask(cache, answer)
        clock.now += 30
    assert answer.calls == 2


async def test_other_requests_go_straight_through() -> None:
    """What is not deterministic reaches the next stage with the client's own ``send``."""
    seen: list[Send] = []
    client = Client()

    async def answers(exchange: Exchange, send: Send) -> None:
        seen.append(send)

    await make_cache()(make_exchange(), client, answers)
    assert seen == [client]


VARIANTS: list[Callable[[], Exchange]] = [
    lambda: make_exchange(BODY),
    lambda: make_exchange(BODY + b" "),
    lambda: make_exchange(STREAM_BODY),
    lambda: make_exchange(BODY, caller=Caller(name="other")),
    lambda: make_exchange(BODY, caller=Caller(name="loca")),
    lambda: make_exchange(BODY, login="lhubot"),
    lambda: make_exchange(BODY, dialect=Dialect.MESSAGES),
    lambda: make_exchange(BODY, dialect=Dialect.EMBEDDINGS),
    lambda: make_exchange(BODY, model=Model(id="m-2")),
    lambda: with_headers(BODY, (b"anthropic-beta", b"context-1m")),
    lambda: _changed(form="ollama_embed"),
    lambda: _changed(model="alias"),
    lambda: with_headers(BODY, (b"anthropic-beta", b"other")),
]


def _changed(**changes: str) -> Exchange:
    exchange = make_exchange(BODY)
    exchange.request = msgspec.structs.replace(exchange.request, **changes)
    return exchange


async def test_an_unknown_caller_is_one_too() -> None:
    """Where nobody is identified all share what is nobody's, and it is not what a name got."""
    cache, exchanges = make_cache(), [make_exchange(BODY, caller=Caller(name="")) for _ in range(3)]
    for exchange in exchanges[1:]:
        exchange.caller = None
    clients = [await ask(cache, Answer(), exchange) for exchange in exchanges]
    assert [client.head.headers[-1] for client in clients] == [MISS, MISS, HIT]


async def test_all_that_an_answer_depends_on_tells_answers_apart() -> None:
    """Requests that differ in one thing get an answer each, and each finds its own again (S18)."""
    cache = make_cache()
    for number, variant in enumerate(VARIANTS):
        client = await ask(cache, Answer(HEAD, str(number).encode()), variant())
        assert client.head.headers[-1] == MISS
    for number, variant in enumerate(VARIANTS):
        client = await ask(cache, Answer(HEAD, b"wrong"), variant())
        assert (client.head.headers[-1], client.body) == (HIT, str(number).encode())


@dataclass(frozen=True)
class Asked:
    """What one client asks, and the upstream that answers by it."""

    caller: str
    login: str
    body: bytes

    async def get(self, cache: Cache) -> list[Part]:
        async def echoes(exchange: Exchange, send: Send) -> None:
            assert exchange.caller is not None
            assert exchange.account is not None
            await send(HEAD)
            facts = (exchange.caller.name, exchange.account.login, exchange.request.body)
            await send(repr(facts).encode())

        client = Client()
        await cache(make_exchange(self.body, caller=Caller(name=self.caller), login=self.login), client, echoes)
        return client.parts


ASKED = st.builds(
    Asked,
    caller=st.sampled_from(["a", "ab", "b", ""]),
    login=st.sampled_from(["a", "ab", "b"]),
    body=st.sampled_from(
        [BODY, STREAM_BODY, BODY + b"\n", b'{"model":"m","temperature":0,"user":"ab"}', b'{"model":"m"}']
    ),
)


@given(ASKED, ASKED)
@settings(max_examples=100, deadline=None)
def test_who_asked_before_changes_nothing(before: Asked, then: Asked) -> None:
    """A and then B is B alone, down to the headers, unless A asked just the same: then only the mark differs (S18)."""

    async def run() -> tuple[list[Part], list[Part]]:
        shared = make_cache()
        await before.get(shared)
        return await then.get(shared), await then.get(make_cache())

    shared, alone = anyio.run(run)
    if before == then:
        assert shared[1:] == alone[1:]
    else:
        assert shared == alone


@pytest.mark.parametrize(
    ("control", "calls"), [(b"no-cache", 2), (b"No-Cache, max-age=0", 2), (b"no-store", 2), (b"max-age=3600", 1)]
)
async def test_a_client_may_ask_for_a_fresh_answer(control: bytes, calls: int) -> None:
    """``no-cache`` and ``no-store`` go upstream although there is an answer; other directives mean nothing."""
    cache, answer = make_cache(), Answer()
    await ask(cache, answer)
    await ask(cache, answer, with_headers(BODY, (b"cache-control", control)))
    assert answer.calls == calls


@pytest.mark.parametrize(("control", "calls"), [(b"no-cache", 1), (b"no-store", 2)])
async def test_a_fresh_answer_is_kept_unless_the_client_forbids_it(control: bytes, calls: int) -> None:
    """``no-cache`` is about looking, ``no-store`` about keeping."""
    cache, answer = make_cache(), Answer()
    await ask(cache, answer, with_headers(BODY, (b"cache-control", control)))
    await ask(cache, answer)
    assert answer.calls == calls


def _cut(exchange: Exchange) -> None:
    exchange.stream = ChatStream(model="m", include_usage=False, choices=1, created=0, id="x")


@pytest.mark.parametrize(
    "first",
    [
        Answer(HEAD, b"half", error=StreamInterrupted("cut")),
        Answer(Head(404), b"{}"),
        Answer(STREAM_HEAD, b"data: {}\n\n", before=_cut),
        Answer(HEAD, b"x" * 500, b"x" * 501),
    ],
    ids=["broken off", "no success", "an error event", "too large"],
)
async def test_only_whole_answers_are_kept(first: Answer) -> None:
    """What broke off, failed, or is too large goes to its client alone."""
    cache = make_cache()
    with anyio.fail_after(5):
        with suppress(StreamInterrupted):
            assert (await ask(cache, first, make_exchange(STREAM_BODY))).head.headers[-1] == MISS
        second = await ask(cache, Answer(HEAD, b"whole"), make_exchange(STREAM_BODY))
    assert (second.head.headers[-1], second.body) == (MISS, b"whole")


async def test_a_whole_stream_is_kept() -> None:
    """One that reached its terminal event of success, up to exactly the limit."""

    def whole(exchange: Exchange) -> None:
        _cut(exchange)
        assert exchange.stream is not None
        exchange.stream.complete = True

    cache, answer = make_cache(), Answer(STREAM_HEAD, b"x" * 1000, before=whole)
    for _ in range(2):
        await ask(cache, answer, make_exchange(STREAM_BODY))
    assert answer.calls == 1


class Broken:
    """A store that raises, hangs, or holds something else."""

    def __init__(self, error: Exception | None, data: bytes | None = None) -> None:
        self._error = error
        self._data = data

    async def get(self, key: str) -> bytes | None:
        if self._data is None:
            await self._fail()
        return self._data

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        await self._fail()

    async def _fail(self) -> None:
        if self._error is not None:
            raise self._error
        await anyio.sleep_forever()

    async def delete(self, key: str) -> None:
        raise AssertionError

    async def keys(self, prefix: str = "") -> list[str]:
        raise AssertionError

    def lock(self, key: str) -> AbstractAsyncContextManager[None]:
        raise AssertionError


@pytest.mark.parametrize(
    "store",
    [Broken(StoreError("down")), Broken(KeyError("odd")), Broken(None), Broken(StoreError("down"), b"junk")],
    ids=["raises", "raises another's error", "hangs", "holds junk"],
)
async def test_a_store_that_fails_costs_the_cache_only(
    store: Broken, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every client gets its answer, every failure counts, and one line a minute is logged."""
    monkeypatch.setattr(copilot_asgi.stages.cache, "STORE_TIMEOUT", 0.01)
    cache, answer = Cache(store, ttl=60, clock=Clock()), Answer()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert (await ask(cache, answer)).body == b"{}"
    assert answer.calls == 3
    assert cache.store_failures == 6
    assert len(caplog.records) == 1


async def ask_together(cache: Cache, answer: Answer | Failure, gate: anyio.Event, count: int) -> list[Client]:
    """Clients that ask the same while the first of them waits at ``gate``."""
    clients = [Client() for _ in range(count)]
    async with anyio.create_task_group() as tasks:
        for client in clients:
            tasks.start_soon(cache, make_exchange(BODY), client, answer)
        await anyio.wait_all_tasks_blocked()
        gate.set()
    return clients


async def test_equal_requests_at_once_are_one_upstream() -> None:
    """One streams while it is recorded, the others get the whole answer; nobody waits for the store."""
    gate = anyio.Event()
    cache = Cache(Broken(StoreError("down")), ttl=60)
    answer = Answer(HEAD, b"on", b"e", gate=gate)
    clients = await ask_together(cache, answer, gate, 10)
    assert answer.calls == 1
    assert [client.body for client in clients] == [b"one"] * 10
    assert sorted(client.head.headers[-1] for client in clients) == [HIT] * 9 + [MISS]
    assert sorted(len(client.parts) for client in clients) == [2] * 9 + [3]


async def test_the_first_client_does_not_wait_for_the_end() -> None:
    """What is recorded is passed on as it comes."""
    gate, client = anyio.Event(), Client()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(make_cache(), make_exchange(BODY), client, Answer(HEAD, b"one", b"two", gate=gate))
        await anyio.wait_all_tasks_blocked()
        assert client.body == b"one"
        gate.set()


async def test_an_error_is_not_shared() -> None:
    """When the first fails the next one goes; the rest gets its answer."""
    gate, errors = anyio.Event(), []
    answer = Failure(UpstreamTimeout("slow"), UpstreamTimeout("slow"))
    cache = make_cache()
    clients = [Client() for _ in range(5)]

    async def one(client: Client) -> None:
        try:
            await cache(make_exchange(BODY), client, answer)
        except UpstreamTimeout as error:
            errors.append(error)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for client in clients:
                tasks.start_soon(one, client)
            gate.set()
    assert len(set(map(id, errors))) == 2
    assert answer.calls == 3
    assert sorted(client.body for client in clients) == [b"", b"", b"{}", b"{}", b"{}"]


async def test_a_client_that_leaves_takes_nobody_with_it() -> None:
    """The next one goes on in its place, from the beginning."""
    gate, leaver, stayer = anyio.Event(), Client(), Client()
    cache, answer = make_cache(), Answer(HEAD, b"one", b"two", gate=gate)

    async def leave() -> None:
        with leaver.scope:
            await cache(make_exchange(BODY), leaver, answer)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leave)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(cache, make_exchange(BODY), stayer, answer)
        await anyio.wait_all_tasks_blocked()
        leaver.scope.cancel()
        await anyio.wait_all_tasks_blocked()
        gate.set()
    assert leaver.body == b"one"
    assert (stayer.body, stayer.head.headers[-1]) == (b"onetwo", MISS)


async def test_nobody_waits_for_an_answer_that_is_too_large_to_share() -> None:
    """As soon as that is known all the others go at once, not one after the other."""
    gate = anyio.Event()
    answer = Answer(HEAD, b"x" * 1001, b"end", gate=gate)
    cache, clients = make_cache(), [Client() for _ in range(4)]
    async with anyio.create_task_group() as tasks:
        for client in clients:
            tasks.start_soon(cache, make_exchange(BODY), client, answer)
        await anyio.wait_all_tasks_blocked()
        assert answer.calls == 4
        gate.set()
    assert {client.body for client in clients} == {b"x" * 1001 + b"end"}
    assert [client.head.headers[-1] for client in clients] == [MISS] * 4


def test_event_loops_do_not_wait_for_each_other() -> None:
    """One stage serves loop after loop, and keeps nothing of a loop that ended."""
    cache, answer = make_cache(), Answer()
    for _ in range(3):
        assert anyio.run(ask, cache, answer).body == b"{}"
    assert answer.calls == 1


@dataclass(frozen=True)
class Step:
    """What becomes of one client: checkpoints before it asks, until its answer, and until it leaves."""

    waits: int
    works: int
    leaves: int | None
    fails: bool


async def pause(checkpoints: int) -> None:
    for _ in range(checkpoints):
        await anyio.lowlevel.checkpoint()


async def play(cache: Cache, steps: list[Step]) -> None:
    """Let the clients ask the same, each in its own way; checks what everybody got."""
    ended: list[int] = []
    failed: list[tuple[int, str]] = []

    async def one(number: int, step: Step) -> None:
        async def answers(exchange: Exchange, send: Send) -> None:
            await send(HEAD)
            await pause(step.works)
            if step.fails:
                raise UpstreamTimeout(exchange.id)
            await send(b"whole")

        client = Client()
        with anyio.CancelScope() as scope:
            tasks.start_soon(leave, scope, step.leaves)
            await pause(step.waits)
            try:
                await cache(make_exchange(BODY, id=str(number)), client, answers)
                assert client.body == b"whole"
            except UpstreamTimeout as error:
                failed.append((number, error.message))
        assert step.leaves is not None or not scope.cancelled_caught
        ended.append(number)

    async def leave(scope: anyio.CancelScope, leaves: int | None) -> None:
        if leaves is not None:
            await pause(leaves)
            scope.cancel()

    async with anyio.create_task_group() as tasks:
        for number, step in enumerate(steps):
            tasks.start_soon(one, number, step)
    assert sorted(ended) == list(range(len(steps)))
    assert failed == [(number, str(number)) for number, _ in failed], "somebody else's error"


async def test_nobody_is_left_waiting_whoever_leaves_or_fails() -> None:
    """Two thousand random plays: each ends, and leaves no flight behind that the next request would wait for."""
    chance = random.Random(20)
    with anyio.fail_after(50):
        for _ in range(2000):
            cache = make_cache()
            steps = [
                Step(
                    waits=chance.randrange(4),
                    works=chance.randrange(4),
                    leaves=chance.choice([None, chance.randrange(8)]),
                    fails=chance.random() < 0.3,
                )
                for _ in range(chance.randrange(2, 6))
            ]
            await play(cache, steps)
            await play(cache, [replace(steps[0], leaves=None, fails=False)])
