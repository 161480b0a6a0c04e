"""Another model answers only where the operator said so, only for what is about the model, and says that it did."""

import logging

import pytest
from stages.bench import HEAD, STREAM_HEAD, Answer, Client, Failure, make_exchange

from copilot_asgi.credentials.credential import Credential
from copilot_asgi.errors import (
    ApprovalDenied,
    BadRequest,
    BudgetExceeded,
    CircuitOpen,
    CopilotASGIError,
    Draining,
    Forbidden,
    LoginRequired,
    MalformedResponse,
    Overloaded,
    RateLimited,
    StreamInterrupted,
    TokenExchangeFailed,
    TranslationError,
    Unauthenticated,
    UnknownModel,
    UpstreamStatus,
    UpstreamThrottled,
    UpstreamTimeout,
    UpstreamUnauthorized,
    UpstreamUnavailable,
)
from copilot_asgi.exchange import Exchange, Head, Part, Request, Send
from copilot_asgi.pricing import Usage
from copilot_asgi.stages.fallback import Fallback
from copilot_asgi.wire.dialect import Dialect

pytestmark = pytest.mark.anyio

FALLBACKS = {"gpt-5.4": ("gpt-5-mini", "gpt-4o")}
BODY = b'{"model":"gpt-5.4","messages":[{"role":"user","content":"hello"}],"n":1}'
BUSY = UpstreamStatus(503, (), b"")


class Models:
    """What follows the stage: each model fails with its errors, or answers with its name."""

    def __init__(self, **errors: Exception) -> None:
        self.errors = {name.replace("_", "-").replace("gpt-5-4", "gpt-5.4"): error for name, error in errors.items()}
        self.asked: list[str] = []
        self.bodies: list[bytes] = []

    async def __call__(self, exchange: Exchange, send: Send) -> None:
        model = exchange.request.model
        self.asked.append(model)
        self.bodies.append(exchange.request.body)
        if model in self.errors:
            raise self.errors[model]
        await send(HEAD)
        await send(model.encode())


def told(head: Head) -> list[bytes]:
    return [value for name, value in head.headers if name == b"x-copilot-asgi-fallback"]


FALLS_BACK = [
    UnknownModel("none"),
    CircuitOpen("shut", status=402, retry_after=9.0),
    CircuitOpen("shut", status=403, retry_after=9.0),
    CircuitOpen("shut", status=429, retry_after=9.0),
    *(UpstreamStatus(status, (), b"") for status in (402, 403, 404, 429, 500, 502, 503, 504, 529, 599)),
    UpstreamThrottled(429, (), b""),
    UpstreamThrottled(400, (), b'{"error":{"code":"rate_limited"}}'),
    UpstreamStatus(400, (), b'{"error":{"message":"m","code":"model_not_supported"}}'),
    UpstreamUnavailable("gone", sent=True),
    UpstreamTimeout("late"),
    MalformedResponse("odd"),
]
IS_FINAL = [
    BadRequest("yours"),
    TranslationError("unsayable"),
    Unauthenticated("who?"),
    RateLimited("too many"),
    BudgetExceeded("spent"),
    ApprovalDenied("no"),
    Overloaded("full"),
    Draining("going"),
    LoginRequired("sign in"),
    TokenExchangeFailed("none", status=403),
    *(UpstreamStatus(status, (), b'{"error":{"code":"invalid_request_body"}}') for status in (400, 401, 413, 421, 422)),
    UpstreamUnauthorized(401, (), b""),
    UpstreamUnauthorized(403, (), b"Forbidden"),
]


@pytest.mark.parametrize("error", FALLS_BACK)
async def test_the_first_stand_in_answers(error: CopilotASGIError) -> None:
    """What is about the model, or upstream's own failure, is mended by another model; the answer says by which."""
    models, client = Models(gpt_5_4=error), Client()
    await Fallback(FALLBACKS)(make_exchange(BODY), client, models)
    assert (models.asked, client.body) == (["gpt-5.4", "gpt-5-mini"], b"gpt-5-mini")
    assert told(client.head) == [b"gpt-5.4 -> gpt-5-mini"]
    assert models.bodies == [BODY, BODY.replace(b"gpt-5.4", b"gpt-5-mini")]


@pytest.mark.parametrize("error", IS_FINAL)
async def test_no_other_model_is_asked(error: CopilotASGIError) -> None:
    """What the client did, what was decided here, and what concerns the login is the same for every model."""
    models, client = Models(gpt_5_4=error), Client()
    with pytest.raises(type(error)) as caught:
        await Fallback(FALLBACKS)(make_exchange(BODY), client, models)
    assert caught.value is error
    assert (models.asked, client.parts) == (["gpt-5.4"], [])


async def test_each_one_in_turn() -> None:
    """A stand-in that fails as well, or that the request does not fit, makes room for the next."""
    for error in (BUSY, UnknownModel("none"), BadRequest("no images"), TranslationError("no tools"), *FALLS_BACK[4:6]):
        models, client = Models(gpt_5_4=BUSY, gpt_5_mini=error), Client()
        await Fallback(FALLBACKS)(make_exchange(BODY), client, models)
        assert (models.asked, told(client.head)) == (
            ["gpt-5.4", "gpt-5-mini", "gpt-4o"],
            [b"gpt-5.4 -> gpt-4o"],
        )


@pytest.mark.parametrize("last", [UpstreamTimeout("late"), UpstreamStatus(400, (), b""), UnknownModel("none")])
async def test_the_first_error_is_raised_when_nobody_answers(last: CopilotASGIError) -> None:
    """The client asked for that model: its status and its time to come back fit the request."""
    first = CircuitOpen("shut", status=429, retry_after=9.0)
    models, client = Models(gpt_5_4=first, gpt_5_mini=BUSY, gpt_4o=last), Client()
    with pytest.raises(CircuitOpen) as caught:
        await Fallback(FALLBACKS)(make_exchange(BODY), client, models)
    assert caught.value is first
    assert (models.asked, client.parts) == (["gpt-5.4", "gpt-5-mini", "gpt-4o"], [])


@pytest.mark.parametrize(
    "error",
    [
        ApprovalDenied("no"),
        LoginRequired("sign in"),
        Draining("going"),
    ],
)
async def test_a_decision_about_a_stand_in_is_final(error: CopilotASGIError) -> None:
    """Who says no to the stand-in says no: that is what the client hears."""
    models = Models(gpt_5_4=BUSY, gpt_5_mini=error)
    with pytest.raises(type(error)):
        await Fallback(FALLBACKS)(make_exchange(BODY), Client(), models)
    assert models.asked == ["gpt-5.4", "gpt-5-mini"]


@pytest.mark.parametrize(
    "error", [BudgetExceeded("spent"), RateLimited("too much"), Forbidden("not yours", code="model_not_allowed")]
)
async def test_a_stand_in_that_may_not_be_used_gives_way_to_the_next(error: CopilotASGIError) -> None:
    """One that is too dear, or not this caller's, is as good as none; without another the first failure is told."""
    models = Models(gpt_5_4=BUSY, gpt_5_mini=error)
    client = Client()
    await Fallback(FALLBACKS)(make_exchange(BODY), client, models)
    assert models.asked == ["gpt-5.4", "gpt-5-mini", "gpt-4o"]
    with pytest.raises(UpstreamStatus) as caught:
        await Fallback({"gpt-5.4": ("gpt-5-mini",)})(make_exchange(BODY), Client(), models)
    assert caught.value is BUSY


@pytest.mark.parametrize("parts", [(STREAM_HEAD,), (STREAM_HEAD, b"data: 1\n\n")])
async def test_nothing_is_tried_again_once_something_has_left(parts: tuple[Part, ...]) -> None:
    """A stream that breaks off is not continued by another model."""
    end, client = Answer(*parts, error=StreamInterrupted("cut")), Client()
    with pytest.raises(StreamInterrupted):
        await Fallback(FALLBACKS)(make_exchange(BODY), client, end)
    assert (end.calls, tuple(client.parts)) == (1, parts)


async def test_a_stand_in_that_breaks_off_is_final() -> None:
    """The same holds for the stand-in's answer."""
    client = Client()

    async def end(exchange: Exchange, send: Send) -> None:
        if exchange.request.model != "gpt-5-mini":
            raise BUSY
        await send(STREAM_HEAD)
        raise StreamInterrupted("cut")

    with pytest.raises(StreamInterrupted):
        await Fallback(FALLBACKS)(make_exchange(BODY), client, end)
    assert told(client.head) == [b"gpt-5.4 -> gpt-5-mini"]


async def test_a_model_that_answers_is_left_alone() -> None:
    """Nothing is said where nothing stood in."""
    models, client = Models(), Client()
    await Fallback(FALLBACKS)(make_exchange(BODY), client, models)
    assert client.parts == [HEAD, b"gpt-5.4"]


@pytest.mark.parametrize("name", [b"GPT-5.4", b"openai/gpt-5.4", b"gpt-5-4"])
async def test_however_the_name_is_spelled(name: bytes) -> None:
    """As the models themselves are found under each of their spellings."""
    client = Client()
    await Fallback(FALLBACKS)(make_exchange(BODY.replace(b"gpt-5.4", name)), client, Failure(BUSY))
    assert client.head.status == 200


@pytest.mark.parametrize("name", [b"gpt-4o", b"gpt-5-mini"])
async def test_only_for_the_name_that_is_listed(name: bytes) -> None:
    """Off for every other model, and the parts go through the very ``send`` that came."""
    sends: list[Send] = []

    async def end(exchange: Exchange, send: Send) -> None:
        sends.append(send)
        raise BUSY

    client = Client()
    with pytest.raises(UpstreamStatus):
        await Fallback(FALLBACKS)(make_exchange(BODY.replace(b"gpt-5.4", name)), client, end)
    assert sends == [client]


async def test_what_the_first_attempt_found_out_is_forgotten() -> None:
    """The stand-in is routed and translated from the client's own request."""
    exchange = make_exchange(BODY, dialect=Dialect.MESSAGES)
    seen: list[tuple[Request, list[object]]] = []
    asked = exchange.request

    async def end(exchange: Exchange, send: Send) -> None:
        found = [exchange.route, exchange.turn, exchange.stream, exchange.credential, exchange.usage, exchange.account]
        seen.append((exchange.request, found))
        exchange.credential = Credential(b"Bearer t", "https://api.example", 1)
        exchange.usage = Usage()
        exchange.request = exchange.request.replace({"messages": b"[]"})
        raise BUSY

    with pytest.raises(UpstreamStatus):
        await Fallback(FALLBACKS)(exchange, Client(), end)
    assert [request.model for request, _ in seen] == ["gpt-5.4", "gpt-5-mini", "gpt-4o"]
    for request, found in seen[1:]:
        assert found == [None] * 6
        assert request == asked.replace({"model": b'"%s"' % request.model.encode()})


async def test_the_header_takes_no_odd_characters() -> None:
    """Names are shortened, and what a header cannot hold is a question mark."""
    odd = "mödel\u2028: x" + "y" * 200
    body = b'{"model":"%s"}' % odd.replace("\u2028", "").encode()
    asked = odd.replace("\u2028", "")
    client = Client()

    async def end(exchange: Exchange, send: Send) -> None:
        if exchange.request.model == asked:
            raise BUSY
        await send(HEAD)

    await Fallback({asked: ("org/model:1[1m]",)})(make_exchange(body), client, end)
    assert told(client.head) == [b"m?del:?x" + b"y" * 92 + b" -> org/model:1[1m]"]


async def test_failures_that_were_stood_in_for_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Without what looks like a token."""
    caplog.set_level(logging.INFO, logger="copilot_asgi.stages.fallback")
    models = Models(gpt_5_4=UpstreamUnavailable("gone with ghu_abcdefgh12345", sent=False), gpt_5_mini=BUSY)
    await Fallback(FALLBACKS)(make_exchange(BODY), Client(), models)
    assert [record.getMessage() for record in caplog.records] == [
        "gpt-5.4 failed and may be stood in for: gone with ***",
        "gpt-5-mini failed and may be stood in for: GitHub Copilot answered with status 503.",
    ]
