"""The meter reads what an answer used and changes nothing about it."""

import anyio
import pytest
from bench import CHAT_BODY, HEAD, STREAM_HEAD, Answer, Client, Failure, make_exchange

from copilot_asgi.budgets import parse_budget
from copilot_asgi.errors import (
    MalformedResponse,
    NoAccountAvailable,
    Overloaded,
    ResponseTooLarge,
    StreamInterrupted,
    UpstreamStatus,
    UpstreamThrottled,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from copilot_asgi.exchange import Caller, Exchange, Head, Part, Send
from copilot_asgi.limits import parse_rate_limit
from copilot_asgi.pricing import PricedBy, Usage
from copilot_asgi.stages.meter import Meter
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.models import Model, parse_catalog
from copilot_asgi.wire.turn import TurnFacts

pytestmark = pytest.mark.anyio

BODY = b'{"id":"x","usage":{"prompt_tokens":12,"completion_tokens":3}}'
PIECES = (
    b'data: {"choices":[{"delta":{"content":"Hi"}}],"usage":null}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":3}}\n\n',
    b"data: [DONE]\n\n",
)
START = b'data: {"type":"message_start","message":{"usage":{"input_tokens":12,"output_tokens":1}}}\n\n'
DELTA = b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"Hello"}}\n\n'


def model(supports: bytes = b"{}") -> Model:
    (found,) = parse_catalog(
        b'{"data":[{"id":"gpt-4o","capabilities":{"limits":{"max_output_tokens":30000},"supports":%s},'
        b'"billing":{"multiplier":2,"token_prices":{"batch_size":1,"default":{"input_price":1,"output_price":10}}}}]}'
        % supports
    )
    return found


def exchange(supports: bytes = b"{}", **kwargs: object) -> Exchange:
    return make_exchange(model=model(supports), **kwargs)  # type: ignore[arg-type]  # names and types are make_exchange's


KNOWN = Usage(fresh=12, output=3, nano_credits=42 * 10**9, nano_premium=2 * 10**9)


@pytest.mark.parametrize("parts", [(HEAD, BODY), (HEAD, BODY[:30], BODY[30:]), (STREAM_HEAD, *PIECES)])
async def test_an_answer_is_metered_and_passed_on(parts: tuple[Part, ...]) -> None:
    """The usage is set when the answer has passed; the client gets the same objects that came."""
    client, metered = Client(), exchange()
    await Meter()(metered, client, Answer(*parts))
    assert metered.usage == KNOWN
    assert all(sent is came for sent, came in zip(client.parts, parts, strict=True))


@pytest.mark.parametrize(("by_user", "premium"), [(True, 2 * 10**9), (False, 0)])
async def test_only_turns_of_the_user_cost_premium_requests(*, by_user: bool, premium: int) -> None:
    """Who began the turn decides, as upstream was told."""
    metered = exchange()
    metered.turn = TurnFacts(by_user=by_user, has_image=False)
    await Meter()(metered, Client(), Answer(HEAD, BODY))
    assert metered.usage is not None
    assert metered.usage.nano_premium == premium


@pytest.mark.parametrize(
    "error",
    [
        UpstreamUnavailable("away", sent=False),
        UpstreamStatus(400, (), b""),
        UpstreamStatus(503, (), b""),
        UpstreamThrottled(429, (), b""),
        NoAccountAvailable("nobody"),
        Overloaded("full"),
    ],
    ids=repr,
)
async def test_what_was_not_processed_was_not_used(error: Exception) -> None:
    """A call that certainly came to nothing has no usage, and fails as it did."""
    metered = exchange()
    with pytest.raises(type(error)):
        await Meter()(metered, Client(), Failure(error))
    assert metered.usage is None


PROMPT = Usage(
    fresh=-(-len(CHAT_BODY) * 5 // 19),
    nano_credits=-(-len(CHAT_BODY) * 5 // 19) * 10**9,
    nano_premium=2 * 10**9,
    priced_by=PricedBy.ESTIMATE,
)


@pytest.mark.parametrize(
    "error",
    [
        UpstreamUnavailable("cut", sent=True),
        UpstreamTimeout("late"),
        MalformedResponse("odd"),
        ResponseTooLarge("long"),
        OSError("anything"),
    ],
    ids=repr,
)
async def test_what_may_have_been_processed_cost_its_prompt(error: Exception) -> None:
    """Upstream may have read the request although no head came; the call fails as it did."""
    metered = exchange()
    with pytest.raises(type(error)):
        await Meter()(metered, Client(), Failure(error))
    assert metered.usage == PROMPT


@pytest.mark.parametrize(("by_user", "premium"), [(True, 2 * 10**9), (False, 0)])
async def test_who_leaves_before_the_head_pays_the_prompt(*, by_user: bool, premium: int) -> None:
    """Cancellation goes on after the prompt is booked; premium requests only for the user's own turn."""
    metered = exchange(b'{"reasoning_effort":["high"]}')
    metered.turn = TurnFacts(by_user=by_user, has_image=False)

    async def silence(metered: Exchange, send: Send) -> None:
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(Meter(), metered, Client(), silence)
        await anyio.wait_all_tasks_blocked()
        assert metered.usage is None
        group.cancel_scope.cancel()
    assert group.cancel_scope.cancelled_caught
    assert metered.usage is not None
    assert (metered.usage.fresh, metered.usage.output) == (PROMPT.fresh, 0)
    assert metered.usage.nano_premium == premium


async def test_a_later_try_is_what_counts() -> None:
    """What an answer used replaces what an earlier try may have."""
    metered, meter = exchange(), Meter()
    with pytest.raises(UpstreamTimeout):
        await meter(metered, Client(), Failure(UpstreamTimeout("late")))
    await meter(metered, Client(), Answer(HEAD, BODY))
    assert metered.usage == KNOWN


async def test_a_later_try_that_came_to_nothing() -> None:
    """It does not make free what an earlier one may have used."""
    metered, meter = exchange(), Meter()
    for error in (UpstreamTimeout("late"), UpstreamUnavailable("away", sent=False)):
        with pytest.raises(type(error)):
            await meter(metered, Client(), Failure(error))
    assert metered.usage == PROMPT


async def test_a_stream_that_breaks_after_its_usage() -> None:
    """What upstream has told counts, whatever comes then."""
    metered = exchange()
    with pytest.raises(StreamInterrupted):
        await Meter()(metered, Client(), Answer(STREAM_HEAD, *PIECES[:2], error=StreamInterrupted("cut")))
    assert metered.usage == KNOWN


async def test_a_stream_that_breaks_before_its_usage() -> None:
    """What is missing is guessed from the sizes of request and answer, and marked as a guess."""
    metered = exchange(body=b'{"model":"gpt-4o","messages":"%s"}' % (b"x" * 346))
    with pytest.raises(StreamInterrupted):
        await Meter()(metered, Client(), Answer(STREAM_HEAD, b"x" * 390, b"y" * 10, error=StreamInterrupted("cut")))
    assert metered.usage == Usage(
        fresh=100,
        output=10,
        nano_credits=200 * 10**9,
        nano_premium=2 * 10**9,
        priced_by=PricedBy.ESTIMATE,
    )


async def test_a_whole_answer_that_breaks() -> None:
    """Of a whole answer each byte is the answer's."""
    metered = exchange()
    with pytest.raises(StreamInterrupted):
        await Meter()(metered, Client(), Answer(Head(200), b"x" * 38, error=StreamInterrupted("cut")))
    assert metered.usage is not None
    assert (metered.usage.output, metered.usage.priced_by) == (10, PricedBy.ESTIMATE)


async def test_a_client_that_leaves() -> None:
    """Cancellation goes on, and what was read until then is set; Messages told the prompt at its beginning."""
    metered = exchange(dialect=Dialect.MESSAGES)
    client = Client(leave_at=3)
    with client.scope:
        await Meter()(metered, client, Answer(STREAM_HEAD, START, DELTA, DELTA, DELTA))
    assert client.scope.cancelled_caught
    assert len(client.parts) == 3
    assert metered.usage is not None
    assert (metered.usage.fresh, metered.usage.priced_by) == (12, PricedBy.ESTIMATE)
    assert metered.usage.output == -(-len(START + DELTA + DELTA) // 40)


@pytest.mark.parametrize(
    ("supports", "limit", "output"),
    [
        (b'{"reasoning_effort":["low","high"]}', b"29990", 4096),
        (b'{"adaptive_thinking":true}', b"300", 300),
        (b'{"thinking":true}', b"null", 4096),
        (b"{}", b"29990", 10),
    ],
)
async def test_hidden_tokens_are_not_free(supports: bytes, limit: bytes, output: int) -> None:
    """Who leaves a model that reasons pays for the usual output, as nobody can tell how much it has thought."""
    body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}],"max_completion_tokens":%s}' % limit
    metered, client = exchange(supports, body=body), Client(leave_at=2)
    with client.scope:
        await Meter()(metered, client, Answer(STREAM_HEAD, b"x" * 200, b"y" * 200, *PIECES))
    assert client.scope.cancelled_caught
    assert metered.usage is not None
    assert (metered.usage.output, metered.usage.priced_by) == (output, PricedBy.ESTIMATE)


async def test_usage_is_set_at_the_end_only() -> None:
    """Nobody sees half an answer's usage."""
    gate = anyio.Event()
    metered = exchange()
    async with anyio.create_task_group() as group:
        group.start_soon(Meter(), metered, Client(), Answer(STREAM_HEAD, *PIECES, gate=gate))
        await anyio.wait_all_tasks_blocked()
        assert metered.usage is None
        gate.set()
    assert metered.usage == KNOWN


@pytest.mark.parametrize(
    ("caller", "is_metered"),
    [
        (Caller(name="plain"), False),
        (Caller(name="budgeted", budgets=(parse_budget("5 credits/day"),)), True),
        (Caller(name="limited", rate_limits=(parse_rate_limit("100 tokens/min"),)), True),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_metering_on_demand(caller: Caller, *, is_metered: bool) -> None:
    """Where nothing needs the usage of everybody, it is read for callers with limits of their own."""
    metered, client = exchange(caller=caller), Client()
    await Meter(always=False)(metered, client, Answer(HEAD, BODY))
    assert metered.usage == (KNOWN if is_metered else None)
    assert client.body == BODY
    nobody = exchange()
    nobody.caller = None
    await Meter(always=False)(nobody, client, Answer(HEAD, BODY))
    assert nobody.usage is None


async def test_a_body_without_a_head_passes() -> None:
    """What is no answer of the forwarder's is not metered."""
    metered, client = exchange(), Client()
    await Meter()(metered, client, Answer(b"body", b"only"))
    assert client.parts == [b"body", b"only"]
    assert metered.usage is None
