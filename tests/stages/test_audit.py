"""Every exchange leaves one entry, however it ends."""

import logging
from collections.abc import Callable
from contextlib import suppress

import anyio
import pytest
from stages.bench import HEAD, STREAM_HEAD, Answer, Client, Clock, make_exchange

import copilot_asgi.stages.audit
from copilot_asgi.audit import PROMPT_LIMIT, TEXT_LIMIT, Entry, Outcome, line
from copilot_asgi.errors import (
    ApprovalDenied,
    BudgetExceeded,
    CopilotASGIError,
    LoginRequired,
    Overloaded,
    RateLimited,
    StoreError,
    StreamInterrupted,
    Unauthenticated,
    UpstreamStatus,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from copilot_asgi.exchange import Arrival, Caller, Exchange, Part, Request, Send
from copilot_asgi.pricing import Usage
from copilot_asgi.stages.audit import Audit
from copilot_asgi.wire.chat_stream import ChatStream
from copilot_asgi.wire.dialect import Dialect

pytestmark = pytest.mark.anyio

STREAM_BODY = b'{"model":"gpt-4o","stream":true}'


class Kept:
    """A sink that keeps its entries; raises, or waits for ever, when told to."""

    def __init__(self, *, error: Exception | None = None, hangs: bool = False) -> None:
        self.entries: list[Entry] = []
        self.error = error
        self._hangs = hangs

    async def write(self, entry: Entry) -> None:
        await anyio.lowlevel.checkpoint()
        if self._hangs:
            await anyio.sleep_forever()
        if self.error is not None:
            raise self.error
        self.entries.append(entry)

    @property
    def entry(self) -> Entry:
        """The one entry."""
        (only,) = self.entries
        return only


def stranger(body: bytes = STREAM_BODY, dialect: Dialect = Dialect.CHAT) -> Exchange:
    """An exchange as it is before anybody knows who asks."""
    request = Request.decode(dialect, (), body)
    return Exchange(id="exchange-1", received_at=0.0, arrival=Arrival(client=None), request=request)


async def test_an_entry_tells_the_whole_exchange() -> None:
    """Who asked for what, what it became, and what it cost; times from the clock."""
    sink, clock = Kept(), Clock()
    exchange = make_exchange(STREAM_BODY, caller=Caller(name="alice"))

    async def answers(exchange: Exchange, send: Send) -> None:
        exchange.request = exchange.request.replace({"model": b'"gpt-4o-2024"', "stream": None})
        exchange.usage = Usage(fresh=10, cache_read=5, cache_write=1, output=7, nano_credits=9)
        clock.now += 0.5
        await send(STREAM_HEAD)
        clock.now += 0.25
        await send(b"data: 1\n\n")
        clock.now += 1
        await send(b"data: 2\n\n")

    await Audit(sink, prompts=False, wall=Clock(0.0), clock=clock)(exchange, Client(), answers)
    assert sink.entry == Entry(
        time="1970-01-01T00:00:00.000Z",
        id="exchange-1",
        caller="alice",
        account="github.com/octocat",
        client="127.0.0.1",
        dialect="chat",
        model="gpt-4o",
        routed_model="gpt-4o",
        route="chat",
        stream=True,
        request_bytes=len(STREAM_BODY),
        response_bytes=18,
        status=200,
        outcome=Outcome.OK,
        error=None,
        first_byte_ms=750.0,
        duration_ms=1750.0,
        prompt_tokens=16,
        cached_tokens=5,
        output_tokens=7,
        nano_credits=9,
        prompt=None,
    )


async def test_a_stranger_leaves_an_entry_too() -> None:
    """What nobody knows yet is null, and the address may be unknown."""
    sink = Kept()
    with pytest.raises(Unauthenticated):
        await Audit(sink, prompts=False)(stranger(), Client(), Answer(error=Unauthenticated("no"), before=_raise))
    entry = sink.entry
    assert (entry.caller, entry.account, entry.client, entry.routed_model, entry.route) == (None,) * 5
    assert (entry.status, entry.outcome, entry.response_bytes, entry.first_byte_ms) == (401, Outcome.REFUSED, 0, None)


def _raise(exchange: Exchange) -> None:
    raise Unauthenticated("no")


UNEXPECTED = ZeroDivisionError("oh")
BEFORE_THE_HEAD = [
    (RateLimited("no"), Dialect.CHAT, 429, Outcome.REFUSED, "rate_limit_exceeded"),
    (ApprovalDenied("no"), Dialect.CHAT, 403, Outcome.REFUSED, "approval_denied"),
    (Overloaded("no"), Dialect.MESSAGES, 529, Outcome.REFUSED, "overloaded"),
    (BudgetExceeded("no"), Dialect.GEMINI, 429, Outcome.REFUSED, "budget_exceeded"),
    (LoginRequired("no"), Dialect.CHAT, 401, Outcome.REFUSED, "login_required"),
    (UpstreamTimeout("no"), Dialect.CHAT, 504, Outcome.FAILED, "upstream_timeout"),
    (UpstreamUnavailable("no", sent=True), Dialect.CHAT, 502, Outcome.FAILED, "upstream_unavailable"),
    (UpstreamStatus(422, (), b"{}"), Dialect.CHAT, 400, Outcome.FAILED, "UpstreamStatus"),
    (StoreError("no"), Dialect.CHAT, 500, Outcome.ERROR, "store_error"),
    (CopilotASGIError("no"), Dialect.CHAT, 500, Outcome.ERROR, "CopilotASGIError"),
    (UNEXPECTED, Dialect.CHAT, 500, Outcome.ERROR, "ZeroDivisionError"),
]


@pytest.mark.parametrize(("error", "dialect", "status", "outcome", "code"), BEFORE_THE_HEAD)
async def test_what_fails_before_the_head_has_the_status_that_the_client_sees(
    error: Exception, dialect: Dialect, status: int, outcome: Outcome, code: str
) -> None:
    """Each in the words of the client's vendor; the error goes on."""
    sink = Kept()

    async def fails(exchange: Exchange, send: Send) -> None:
        raise error

    with pytest.raises(type(error)):
        await Audit(sink, prompts=False)(stranger(dialect=dialect), Client(), fails)
    entry = sink.entry
    assert (entry.status, entry.outcome, entry.error) == (status, outcome, code)


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [
        (StreamInterrupted("cut"), Outcome.INTERRUPTED, "stream_interrupted"),
        (ApprovalDenied("no"), Outcome.REFUSED, "approval_denied"),
        (UNEXPECTED, Outcome.ERROR, "ZeroDivisionError"),
    ],
)
async def test_what_fails_after_the_head_has_the_status_of_the_head(
    error: Exception, outcome: Outcome, code: str
) -> None:
    """The client saw 200 by then, and some of the answer; a refusal is one also in a stream that pings had begun."""
    sink = Kept()
    with pytest.raises(type(error)):
        await Audit(sink, prompts=False)(make_exchange(), Client(), Answer(HEAD, b"part", error=error))
    entry = sink.entry
    assert (entry.status, entry.outcome, entry.error, entry.response_bytes) == (200, outcome, code, 4)


async def test_a_stream_that_ends_in_an_error_event_is_no_success() -> None:
    """Upstream's own error event is passed on and nothing is raised; the log knows better."""
    sink, exchange = Kept(), make_exchange(STREAM_BODY)
    exchange.stream = ChatStream(model="m", include_usage=False, choices=1, created=0, id="x")
    await Audit(sink, prompts=False)(exchange, Client(), Answer(STREAM_HEAD, b"data: {}\n\n"))
    assert (sink.entry.outcome, sink.entry.error) == (Outcome.INTERRUPTED, "upstream_error_event")
    exchange.stream.complete = True
    await Audit(sink, prompts=False)(exchange, Client(), Answer(STREAM_HEAD, b"data: {}\n\n"))
    assert sink.entries[1].outcome is Outcome.OK


@pytest.mark.parametrize("leave_at", [0, 1, 2])
async def test_a_client_that_leaves_leaves_an_entry(leave_at: int) -> None:
    """Cancelled anywhere, the entry is written whole, and the cancellation goes on."""
    sink, client = Kept(), Client(leave_at=leave_at)
    with client.scope:
        await Audit(sink, prompts=False)(make_exchange(), client, Answer(HEAD, b"one", b"two"))
    assert client.scope.cancelled_caught
    assert (sink.entry.status, sink.entry.outcome, sink.entry.error) == (499, Outcome.LEFT, None)


async def test_a_client_that_takes_nothing_has_left() -> None:
    """An error that comes back from sending is the client's going, not the answer's fault."""
    sink = Kept()

    async def gone(part: Part) -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await Audit(sink, prompts=False)(make_exchange(), gone, Answer())
    assert (sink.entry.status, sink.entry.outcome) == (499, Outcome.LEFT)


async def test_the_entry_is_written_before_the_exchange_is_finished() -> None:
    """A process that ends right after the exchange has lost nothing."""
    order: list[str] = []

    class Slow(Kept):
        async def write(self, entry: Entry) -> None:
            await super().write(entry)
            order.append("written")

    await Audit(Slow(), prompts=False)(make_exchange(), Client(), Answer())
    order.append("finished")
    assert order == ["written", "finished"]


@pytest.mark.parametrize(
    ("body", "prompt"),
    [
        (b'{"model":"m","a":"x"}', '{"model":"m","a":"x"}'),
        (b'{"model":"m","a":"ghp_0123456789abcdef"}', '{"model":"m","a":"***"}'),
        (b'{"model":"m","a":"' + b"x" * 100_000 + b'"}', ('{"model":"m","a":"' + "x" * 100_000)[:PROMPT_LIMIT]),
    ],
)
async def test_prompts_are_logged_only_when_that_is_wanted(body: bytes, prompt: str) -> None:
    """And then without what looks like a token, and up to their limit."""
    with_prompts, without = Kept(), Kept()
    await Audit(with_prompts, prompts=True)(make_exchange(body), Client(), Answer())
    await Audit(without, prompts=False)(make_exchange(body), Client(), Answer())
    assert with_prompts.entry.prompt == prompt
    assert without.entry.prompt is None


async def test_what_others_chose_cannot_forge_an_entry() -> None:
    """A name of 10 MB with line ends and escape sequences makes one short line (S36)."""
    sink = Kept()
    hostile = '"}\n{"outcome":"ok"}\x1b[2J' * 500_000
    exchange = make_exchange(
        b'{"model":"m","messages":"' + b"\xc2\x9b" * 5_000_000 + b'"}',
        caller=Caller(name=hostile),
        arrival=Arrival(client=hostile),
        id=hostile,
        login=hostile,
    )
    await Audit(sink, prompts=False)(exchange, Client(), Answer())
    written = line(sink.entry)
    assert len(written.splitlines()) == 1
    assert written.isprintable()
    assert len(written) < 20 * TEXT_LIMIT
    await Audit(sink, prompts=True)(exchange, Client(), Answer())
    assert line(sink.entries[1]).isprintable()
    assert len(line(sink.entries[1])) < 7 * PROMPT_LIMIT


async def test_a_sink_that_fails_fails_no_request(caplog: pytest.LogCaptureFixture) -> None:
    """The answer is whole, the count rises with every entry, and the log says so once a minute (L12)."""
    clock = Clock()
    audit = Audit(Kept(error=OSError(28, "No space left on device")), prompts=False, clock=clock)
    client = Client()
    with caplog.at_level(logging.WARNING):
        for _ in range(10):
            await audit(make_exchange(), client, Answer())
            clock.now += 10
    assert client.body == b"{}" * 10
    assert audit.sink_failures == 10
    assert len(caplog.records) == 2
    assert "Entries of the audit log are lost (1 times so far). OSError: [Errno 28]" in caplog.text


async def test_a_sink_that_fails_hides_no_error() -> None:
    """What the exchange failed with goes on, not what the sink did."""
    with pytest.raises(RateLimited):
        await Audit(Kept(error=OSError()), prompts=False)(make_exchange(), Client(), Answer(error=RateLimited("no")))


@pytest.mark.parametrize("ends", [Answer, lambda: Answer(error=RateLimited("no"))])
async def test_a_sink_that_hangs_is_given_up(ends: Callable[[], Answer], monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time the entry counts as lost and the exchange ends."""
    monkeypatch.setattr(copilot_asgi.stages.audit, "WRITE_TIMEOUT", 0.01)
    audit = Audit(Kept(hangs=True), prompts=False)
    with anyio.fail_after(5):
        with suppress(RateLimited):
            await audit(make_exchange(), Client(), ends())
    assert audit.sink_failures == 1
