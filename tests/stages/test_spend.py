"""Budgets are a hard stop before the call, and everything that was charged is booked, whoever leaves."""

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from bench import HEAD, STREAM_HEAD, Answer, Client, Clock, Failure, make_exchange

from copilot_asgi.budgets import Budget, parse_budget
from copilot_asgi.config import LimitBy
from copilot_asgi.credentials.accounts import Account
from copilot_asgi.errors import BadRequest, BudgetExceeded, Overloaded, StoreError, UpstreamUnavailable
from copilot_asgi.exchange import Caller, Exchange, Handler, Send, header
from copilot_asgi.ledger import By, Claim, Ledger, Reservation, Standing, Total
from copilot_asgi.ledger.memory import MemoryLedger
from copilot_asgi.ledger.sqlite import SqliteLedger
from copilot_asgi.pricing import NANO, Usage
from copilot_asgi.routing import Route
from copilot_asgi.secret import Secret
from copilot_asgi.stages.meter import Meter
from copilot_asgi.stages.spend import Spend
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.models import Model, parse_catalog
from copilot_asgi.wire.turn import TurnFacts

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
EVER = datetime.fromtimestamp(0, UTC)
DAILY, MONTHLY, PREMIUM = map(parse_budget, ("10 credits/day", "500 credits/month", "1 premium/month"))


def priced(name: str = "gpt-4o", *, credits: int = 1) -> Model:
    """A model of which a request with four output tokens costs so many credits, as estimated."""
    (model,) = parse_catalog(
        b'{"data":[{"id":"%s","billing":{"multiplier":1,"token_prices":{"batch_size":4,"default":'
        b'{"input_price":0,"output_price":%d}}}}]}' % (name.encode(), credits)
    )
    return model


def exchange(
    id: str = "one",
    *,
    caller: Caller | None = None,
    login: str = "octocat",
    model: Model | None = None,
    role: str = "user",
) -> Exchange:
    body = b'{"model":"gpt-4o","max_tokens":4,"messages":[{"role":"%s","content":"x"}]}' % role.encode()
    return make_exchange(body, id=id, caller=caller, login=login, model=model or priced())


def using(credits: float) -> Callable[[Exchange], None]:
    """What the meter does in the end."""

    def use(metered: Exchange) -> None:
        metered.usage = Usage(output=4, nano_credits=int(credits * NANO))

    return use


def stage(
    ledger: Ledger,
    *budgets: Budget,
    by: LimitBy = LimitBy.ALL,
    warn_at: float = 0.8,
    keep_all: bool = True,
    clock: Callable[[], float] | None = None,
) -> Spend:
    return Spend(ledger, budgets, by=by, warn_at=warn_at, keep_all=keep_all, clock=clock or Clock(NOON))


async def used(ledger: Ledger) -> float:
    return sum(total.nano_credits for total in await ledger.totals(EVER, None, ())) / NANO


@pytest.fixture(params=["memory", "sqlite"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Ledger]:
    made: Ledger = MemoryLedger() if request.param == "memory" else SqliteLedger(tmp_path / "data" / "ledger.sqlite3")
    yield made
    await made.close()


EACH_WAY = pytest.mark.parametrize("budgets", [(), (MONTHLY,)], ids=["on record only", "within a budget"])


@pytest.mark.parametrize(
    ("budgets", "reserved"), [((), 0), ((MONTHLY,), NANO)], ids=["on record only", "within a budget"]
)
async def test_on_record_before_and_settled_after(ledger: Ledger, budgets: tuple[Budget, ...], reserved: int) -> None:
    """During the call the request is on record, with its estimate where a budget needs that; after it the usage."""
    seen: list[list[Reservation]] = []

    async def call(metered: Exchange, send: Send) -> None:
        seen.append(await ledger.unsettled())
        await Answer(before=using(2.5))(metered, send)

    await stage(ledger, *budgets)(exchange(), Client(), call)
    assert seen == [
        [
            Reservation(
                id="one",
                caller="local",
                account="octocat",
                model="gpt-4o",
                at=NOON,
                nano_credits=reserved,
                nano_premium=reserved,
            )
        ]
    ]
    assert await ledger.unsettled() == []
    assert await ledger.totals(EVER, None, tuple(By)) == [
        Total(
            day="2026-11-20",
            caller="local",
            account="octocat",
            model="gpt-4o",
            requests=1,
            output=4,
            nano_credits=2_500_000_000,
        )
    ]


async def test_a_full_budget_stops_the_request_before_the_call(ledger: Ledger) -> None:
    """Nothing is sent upstream, nothing to the client, and nothing is on record."""
    await ledger.settle(Reservation(id="x", caller="c", account="a", model="m", at=NOON), Usage(nano_credits=10 * NANO))
    client, answer = Client(), Answer()
    with pytest.raises(BudgetExceeded, match="10 of 10 credits used today"):
        await stage(ledger, MONTHLY, DAILY)(exchange(), client, answer)
    assert (answer.calls, client.parts) == (0, [])
    assert await ledger.unsettled() == []


@pytest.mark.parametrize(
    ("by", "other"),
    [
        (LimitBy.CALLER, {"caller": Caller(name="bob")}),
        (LimitBy.ACCOUNT, {"login": "hubot"}),
        (LimitBy.MODEL, {"model": priced("claude", credits=1)}),
    ],
)
async def test_whose_spending_is_added_up(ledger: Ledger, by: LimitBy, other: dict[str, object]) -> None:
    """A budget for each caller, account or model stops that one only; one for all stops all."""
    spend = stage(ledger, DAILY, by=by)
    await spend(exchange("1"), Client(), Answer(before=using(9.5)))
    with pytest.raises(BudgetExceeded):
        await spend(exchange("2"), Client(), Answer())
    await spend(exchange("3", **other), Client(), Answer())  # type: ignore[arg-type]  # names are those of exchange
    with pytest.raises(BudgetExceeded):
        await stage(ledger, DAILY)(exchange("4", **other), Client(), Answer())  # type: ignore[arg-type]  # as above


async def test_a_budget_of_the_callers_own(ledger: Ledger) -> None:
    """It counts what that caller spends, beside the budgets of the settings."""
    alice, bob = Caller(name="alice", budgets=(DAILY,)), Caller(name="bob", budgets=(DAILY,))
    spend = stage(ledger, MONTHLY)
    await spend(exchange("1", caller=alice), Client(), Answer(before=using(9.5)))
    await spend(exchange("2", caller=bob), Client(), Answer(before=using(3)))
    with pytest.raises(BudgetExceeded, match="10 credits/day of caller alice"):
        await spend(exchange("3", caller=alice), Client(), Answer())


async def test_requests_at_once_reserve_against_each_other(ledger: Ledger) -> None:
    """While one request is under way another does not get what it may cost."""
    gate = anyio.Event()
    spend = stage(ledger, parse_budget("1.5 credits/day"))
    async with anyio.create_task_group() as group:
        group.start_soon(spend, exchange("1"), Client(), Answer(HEAD, b"{}", gate=gate, before=using(0.25)))
        while not await ledger.unsettled():
            await anyio.lowlevel.checkpoint()
        with pytest.raises(BudgetExceeded, match="1 reserved by requests under way"):
            await spend(exchange("2"), Client(), Answer())
        gate.set()
    await spend(exchange("3"), Client(), Answer(before=using(1)))
    assert await used(ledger) == 1.25


@EACH_WAY
async def test_a_failure_before_the_answer_costs_nothing(ledger: Ledger, budgets: tuple[Budget, ...]) -> None:
    """The reservation is taken back, and the failure goes on."""
    with pytest.raises(UpstreamUnavailable):
        await stage(ledger, *budgets)(exchange(), Client(), Failure(UpstreamUnavailable("away", sent=False)))
    assert await ledger.unsettled() == []
    assert await ledger.totals(EVER, None, ()) == []


@EACH_WAY
async def test_an_answer_of_our_own_costs_nothing(ledger: Ledger, budgets: tuple[Budget, ...]) -> None:
    """A head that the client got is no proof of a charge: without usage upstream was not asked."""
    client = Client()
    await stage(ledger, *budgets)(exchange(), client, Answer(STREAM_HEAD, b": keep-alive\n\n"))
    assert client.head == STREAM_HEAD
    assert await ledger.unsettled() == []
    assert await ledger.totals(EVER, None, ()) == []


@EACH_WAY
async def test_a_client_that_leaves_is_booked(ledger: Ledger, budgets: tuple[Budget, ...]) -> None:
    """Cancellation goes on after what was used until then is on record."""
    client = Client(leave_at=1)
    with client.scope:
        await stage(ledger, *budgets)(exchange(), client, Answer(HEAD, b"{", b"}", before=using(3)))
    assert client.scope.cancelled_caught
    assert await ledger.unsettled() == []
    assert await used(ledger) == 3


async def test_a_client_that_leaves_while_its_request_is_reserved(ledger: Ledger) -> None:
    """The reservation is taken back; nothing is called."""
    answer = Answer()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await stage(Deaf(ledger), DAILY)(exchange(), Client(), answer)
    assert scope.cancelled_caught
    assert answer.calls == 0
    assert await ledger.unsettled() == []


@pytest.mark.parametrize(
    ("dialect", "asked", "credits"),
    [
        (Dialect.CHAT, b'"max_tokens":1,"max_completion_tokens":64000', 16_000),
        (Dialect.CHAT, b'"max_tokens":8,"n":3', 6),
        (Dialect.CHAT, b'"max_output_tokens":1', 1024),
        (Dialect.GEMINI, b'"generationConfig":{"maxOutputTokens":8,"candidateCount":2}', 4),
        (Dialect.GEMINI, b'"max_tokens":1', 1024),
        (Dialect.OLLAMA, b'"options":{"num_predict":8}', 2),
        (Dialect.OLLAMA, b'"options":{"num_predict":-1},"max_tokens":1', 1024),
    ],
)
async def test_a_client_does_not_choose_its_estimate(
    ledger: Ledger, dialect: Dialect, asked: bytes, credits: int
) -> None:
    """What is reserved is the most that may come out, wherever the client's dialect says it."""
    asking = make_exchange(b'{"model":"gpt-4o",%s}' % asked, dialect=dialect, model=priced())
    seen: list[Reservation] = []

    async def call(metered: Exchange, send: Send) -> None:
        seen.extend(await ledger.unsettled())
        await Answer(before=using(1))(metered, send)

    await stage(ledger, parse_budget("1000000 credits/month"))(asking, Client(), call)
    assert [entry.nano_credits for entry in seen] == [credits * NANO]


async def test_requests_abandoned_before_the_head_reach_the_budget(ledger: Ledger) -> None:
    """A caller who leaves each time before upstream answers comes to the end of the budget all the same."""
    (dear,) = parse_catalog(
        b'{"data":[{"id":"gpt-4o","billing":{"token_prices":{"batch_size":10,"default":{"input_price":1}}}}]}'
    )
    body = b'{"model":"gpt-4o","max_tokens":1,"messages":"%s"}' % (b"x" * 64)  # 30 tokens, 3 credits
    spend, meter = stage(ledger, DAILY), Meter()

    async def leave(metered: Exchange, send: Send) -> None:
        scope.cancel()
        await anyio.lowlevel.checkpoint()

    async def call(metered: Exchange, send: Send) -> None:
        await meter(metered, send, leave)

    for number in range(3):
        with anyio.CancelScope() as scope:
            await spend(make_exchange(body, id=str(number), model=dear), Client(), call)
        assert scope.cancelled_caught
    answer = Answer()
    with pytest.raises(BudgetExceeded):
        await spend(make_exchange(body, id="last", model=dear), Client(), answer)
    assert answer.calls == 0
    assert await used(ledger) == 9


@EACH_WAY
async def test_what_answered_is_what_is_booked(ledger: Ledger, budgets: tuple[Budget, ...]) -> None:
    """When another model or account served the request in the end, the money is theirs."""

    async def call(metered: Exchange, send: Send) -> None:
        metered.route = Route(model=priced("claude"), dialect=Dialect.CHAT)
        metered.account = Account(login="hubot", github_token=Secret("t"))
        await Answer(before=using(1))(metered, send)

    await stage(ledger, *budgets)(exchange(), Client(), call)
    (total,) = await ledger.totals(EVER, None, tuple(By))
    assert (total.account, total.model) == ("hubot", "claude")
    assert await ledger.unsettled() == []


@pytest.mark.parametrize(
    ("turn", "role", "passes"),
    [
        (None, "user", False),
        (None, "assistant", True),
        (TurnFacts(by_user=True, has_image=False), "assistant", False),
        (TurnFacts(by_user=False, has_image=False), "user", True),
    ],
)
async def test_agents_go_on_when_premium_requests_are_spent(
    ledger: Ledger, turn: TurnFacts | None, role: str, *, passes: bool
) -> None:
    """Only a turn of the user's own needs room in a budget of premium requests."""
    spent = Reservation(id="x", caller="c", account="a", model="m", at=NOON)
    await ledger.settle(spent, Usage(nano_premium=NANO))
    asking, answer = exchange(role=role), Answer()
    asking.turn = turn
    if passes:
        await stage(ledger, PREMIUM)(asking, Client(), answer)
    else:
        with pytest.raises(BudgetExceeded):
            await stage(ledger, PREMIUM)(asking, Client(), answer)
    assert answer.calls == passes


async def test_a_request_that_cannot_be_read(ledger: Ledger) -> None:
    """Where the turn decides, a request without one is refused as such."""
    asking = make_exchange(b'{"model":"gpt-4o"}', model=priced())
    with pytest.raises(BadRequest, match="messages"):
        await stage(ledger, PREMIUM)(asking, Client(), Answer())


@EACH_WAY
async def test_a_caller_that_nobody_identified(ledger: Ledger, budgets: tuple[Budget, ...]) -> None:
    """Without a caller the money is nobody's, and is counted."""
    asking = exchange()
    asking.caller = None
    await stage(ledger, *budgets)(asking, Client(), Answer(before=using(2)))
    assert [total.caller for total in await ledger.totals(EVER, None, (By.CALLER,))] == [""]


@pytest.mark.parametrize(
    ("spent", "told"),
    [
        (7.9, None),
        (8, b"8 of 10 credits used today"),
        (8.256, b"8.256 of 10 credits used today"),
        (9, b"9 of 10 credits used today"),
    ],
)
async def test_a_warning_in_the_head(ledger: Ledger, spent: float, told: bytes | None) -> None:
    """From the given share on the head says how full the fullest budget is; the rest of the answer is as it came."""
    past = Reservation(id="x", caller="c", account="a", model="m", at=NOON)
    await ledger.settle(past, Usage(nano_credits=int(spent * NANO)))
    client = Client()
    await stage(ledger, parse_budget("10.01 credits/month"), DAILY)(exchange(), client, Answer(HEAD, b"{", b"}"))
    assert header(client.head.headers, b"x-copilot-asgi-budget") == told
    assert client.head.headers[: len(HEAD.headers)] == HEAD.headers
    assert client.body == b"{}"


async def test_one_warning_in_the_log_for_each_budget_and_period(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """The log is told when a budget fills up, not with every request; again in the next period."""
    clock = Clock(NOON)
    spend = stage(ledger, DAILY, MONTHLY, warn_at=0.5, clock=clock)
    for number in range(4):
        await spend(exchange(f"a{number}"), Client(), Answer(before=using(2.5 if number < 2 else 0.1)))
    assert caplog.messages == ["The budget of 10 credits/day fills up: 5 of 10 credits used today."]
    clock.now += 86_400
    for number in range(4):
        await spend(exchange(f"b{number}"), Client(), Answer(before=using(3 if number < 2 else 0.1)))
    assert caplog.messages[1:] == ["The budget of 10 credits/day fills up: 6 of 10 credits used today."]


class Broken(MemoryLedger):
    """A ledger whose file cannot be used, for the operations named."""

    def __init__(self, *operations: str) -> None:
        super().__init__()
        self._operations = operations

    async def reserve(self, entry: Reservation, claims: Sequence[Claim]) -> list[Standing]:
        self._check("reserve")
        return await super().reserve(entry, claims)

    async def settle(self, entry: Reservation, usage: Usage) -> None:
        self._check("settle")
        await super().settle(entry, usage)

    async def release(self, entry: Reservation) -> None:
        self._check("release")
        await super().release(entry)

    def _check(self, operation: str) -> None:
        if operation in self._operations:
            raise StoreError("Cannot use /data/ledger.sqlite3: disk I/O error.")


async def test_a_broken_ledger_with_budgets_refuses(caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be checked is not spent: 503, and the path stands in the log only."""
    answer = Answer()
    with pytest.raises(Overloaded) as refused:
        await stage(Broken("reserve"), DAILY)(exchange(), Client(), answer)
    assert (refused.value.status, refused.value.code, answer.calls) == (503, "ledger_unavailable", 0)
    assert "/data" not in refused.value.message
    assert "Cannot use /data/ledger.sqlite3: disk I/O error." in caplog.text


async def test_a_broken_ledger_without_budgets_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The request goes on as if there were no ledger."""
    (tmp_path / "file").touch()
    ledger, client = SqliteLedger(tmp_path / "file" / "ledger.sqlite3"), Client()
    await stage(ledger)(exchange(), client, Answer(before=using(2)))
    assert client.parts == [HEAD, b"{}"]
    await ledger.close()
    assert f"Requests are not yet in {tmp_path / 'file' / 'ledger.sqlite3'} (1 times so far)." in caplog.text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (Answer(before=using(2)), "What request one cost is not on record: Cannot use"),
        (Answer(), "Request one stays on record as not settled: Cannot use"),
    ],
    ids=["settle", "release"],
)
async def test_a_ledger_that_breaks_meanwhile(call: Handler, message: str, caplog: pytest.LogCaptureFixture) -> None:
    """An answer that was given is not taken back; the log says what is missing, and the reservation stays."""
    ledger, client = Broken("settle", "release"), Client()
    await stage(ledger, DAILY)(exchange(), client, call)
    assert client.parts == [HEAD, b"{}"]
    assert message in caplog.text
    assert [found.id for found in await ledger.unsettled()] == ["one"]


class Slow(MemoryLedger):
    """A ledger that never gets done with settling."""

    async def settle(self, entry: Reservation, usage: Usage) -> None:
        await anyio.sleep_forever()


async def test_booking_has_a_deadline(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A ledger that hangs does not keep the request for ever."""
    monkeypatch.setattr("copilot_asgi.stages.spend.BOOKING_TIMEOUT", 0.01)
    await stage(Slow(), DAILY)(exchange(), Client(), Answer(before=using(2)))
    assert caplog.messages == ["Booking request one took too long; it stays on record as not settled."]


class Deaf(MemoryLedger):
    """A ledger that keeps a reservation although whoever asked for it is cancelled meanwhile."""

    def __init__(self, kept: Ledger) -> None:
        super().__init__()
        self._kept = kept

    async def reserve(self, entry: Reservation, claims: Sequence[Claim]) -> list[Standing]:
        with anyio.CancelScope(shield=True):
            standings = await self._kept.reserve(entry, claims)
        await anyio.lowlevel.checkpoint_if_cancelled()
        return standings

    async def release(self, entry: Reservation) -> None:
        await self._kept.release(entry)


@pytest.mark.parametrize(
    ("caller", "budgets", "keep_all", "on_record"),
    [
        (Caller(name="plain"), (), True, True),
        (Caller(name="plain"), (), False, False),
        (Caller(name="plain"), (DAILY,), False, True),
        (Caller(name="own", budgets=(DAILY,)), (), False, True),
    ],
)
async def test_what_is_kept(
    ledger: Ledger, caller: Caller, budgets: tuple[Budget, ...], *, keep_all: bool, on_record: bool
) -> None:
    """Requests that no budget counts are on record only where all are to be."""
    client = Client()
    await stage(ledger, *budgets, keep_all=keep_all)(exchange(caller=caller), client, Answer(before=using(1)))
    assert client.parts == [HEAD, b"{}"]
    assert await used(ledger) == on_record
