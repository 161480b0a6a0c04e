"""Functions of the user's change requests and answers, and fail in the open."""

import logging
from typing import NoReturn

import anyio
import msgspec
import pytest
from stages.bench import CHAT_BODY, HEAD, STREAM_HEAD, Answer, Client, make_exchange

from copilot_asgi.errors import BadRequest, CopilotASGIError, StreamInterrupted, UpstreamTimeout
from copilot_asgi.exchange import Exchange, Head, Part, Request, Send
from copilot_asgi.stages.transform import Transform
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.sse import ServerSentEvent

pytestmark = pytest.mark.anyio

STREAM_BODY = b'{"model":"gpt-4o","stream":true}'


def hotter(request: Request) -> Request:
    return request.replace({"temperature": b"2"})


async def hotter_in_a_moment(request: Request) -> Request:
    await anyio.lowlevel.checkpoint()
    return hotter(request)


def shout(event: ServerSentEvent) -> ServerSentEvent | None:
    return ServerSentEvent(event.data.upper(), event.event)


def same(event: ServerSentEvent) -> ServerSentEvent | None:
    return event


def fail(*_: object) -> NoReturn:
    raise KeyError("ghp_0123456789abcdef")


async def run(transform: Transform, answer: Answer, exchange: Exchange | None = None) -> Client:
    client = Client()
    await transform(exchange or make_exchange(), client, answer)
    return client


async def asked(transform: Transform, exchange: Exchange | None = None) -> Request:
    """The request that the next stage gets."""
    exchange = exchange or make_exchange()
    await run(transform, Answer(), exchange)
    return exchange.request


@pytest.mark.parametrize("hook", [hotter, hotter_in_a_moment])
async def test_a_request_is_changed(hook: object) -> None:
    """By a plain function or an async one; the next stage sees what it returned."""
    request = await asked(Transform(request=hook))  # type: ignore[arg-type]  # both kinds in one table
    assert request.body == CHAT_BODY[:-1] + b',"temperature":2}'


@pytest.mark.parametrize(
    ("dialects", "models", "meant"),
    [
        ((), (), True),
        ((Dialect.CHAT,), (), True),
        ((Dialect.MESSAGES,), (), False),
        ((), ("gpt-*",), True),
        ((), ("claude-*", "gpt-4o"), True),
        ((), ("GPT-*",), False),
        ((Dialect.CHAT, Dialect.GEMINI), ("claude-*",), False),
    ],
)
async def test_only_those_that_are_meant_are_changed(
    dialects: tuple[Dialect, ...], models: tuple[str, ...], meant: bool
) -> None:
    """By dialect and by the model's name as asked for; the others pass the client's own ``send`` on."""
    transform = Transform(request=hotter, event=shout, dialects=dialects, models=models)
    seen: list[Send] = []
    exchange, client = make_exchange(), Client()

    async def answers(exchange: Exchange, send: Send) -> None:
        seen.append(send)

    await transform(exchange, client, answers)
    assert ("temperature" in exchange.request.fields) is meant
    assert (seen == [client]) is not meant


async def test_a_request_hook_alone_leaves_the_answer_alone() -> None:
    """Parts go to the client without a detour."""
    seen: list[Send] = []
    client = Client()

    async def answers(exchange: Exchange, send: Send) -> None:
        seen.append(send)

    await Transform(request=hotter)(make_exchange(), client, answers)
    assert seen == [client]


@pytest.mark.parametrize("dialect", [Dialect.GEMINI, Dialect.OLLAMA])
async def test_a_stream_that_the_body_does_not_ask_for_stays_one(dialect: Dialect) -> None:
    """Gemini asks for it in the path, Ollama by saying nothing; replacing a field forgets neither."""
    exchange = make_exchange(dialect=dialect)
    exchange.request = msgspec.structs.replace(exchange.request, stream=True)
    assert (await asked(Transform(request=hotter), exchange)).stream is True


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "must return a Request, not NoneType"),
        (make_exchange(dialect=Dialect.MESSAGES).request, "must not change the dialect"),
        (msgspec.structs.replace(make_exchange().request, form="x"), "must not change the dialect"),
        (make_exchange(STREAM_BODY).request, "must not change whether an answer is streamed"),
    ],
)
async def test_what_a_request_hook_returns_is_checked(returned: Request, message: str) -> None:
    """The error says what is wrong, and nothing is sent on."""
    answer = Answer()
    with pytest.raises(CopilotASGIError, match=message) as caught:
        await run(Transform(request=lambda _: returned), answer)
    assert (caught.value.status, caught.value.code, answer.calls) == (500, "transform_failed", 0)


async def test_a_request_hook_may_refuse() -> None:
    """An error of ours is the client's answer, as it is."""

    def refuse(request: Request) -> Request:
        raise BadRequest("Not this.")

    with pytest.raises(BadRequest, match=r"Not this\."):
        await run(Transform(request=refuse), Answer())


async def test_a_hook_that_fails_is_logged_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """The client learns where to look, the log has the traceback."""
    with (
        caplog.at_level(logging.ERROR),
        pytest.raises(CopilotASGIError, match="The log has it under exchange-1") as caught,
    ):
        await run(Transform(request=fail), Answer())
    assert caught.value.status == 500
    assert "Traceback" in caplog.text
    assert "KeyError" in caplog.text
    assert "ghp_" not in caplog.text + caught.value.message


async def test_a_stream_that_nothing_changes_is_the_same_objects() -> None:
    """An event hook that returns what it got costs no copy, and no part is joined or split."""
    pieces = [b"data: 1\n\n", b"event: x\ndata: 2\n\ndata: 3\n\n", b": ping\n\n", b"data: [DONE]\n\n"]
    client = await run(Transform(event=same), Answer(STREAM_HEAD, *pieces), make_exchange(STREAM_BODY))
    head, *parts = client.parts
    assert head == STREAM_HEAD
    assert [id(part) for part in parts] == [id(piece) for piece in pieces]


async def test_events_are_changed_as_they_come() -> None:
    """Whole ones, however they were cut; each goes on before the next one is there."""
    gate, client = anyio.Event(), Client()
    answer = Answer(STREAM_HEAD, b"data: o", b"ne\n\nda", b"ta: two\n\n", gate=gate)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Transform(event=shout), make_exchange(STREAM_BODY), client, answer)
        await anyio.wait_all_tasks_blocked()
        assert client.parts == [STREAM_HEAD, b"data: ONE\n\n"]
        gate.set()
    assert client.body == b"data: ONE\n\ndata: TWO\n\n"


@pytest.mark.parametrize(
    ("kind", "pieces", "body"),
    [
        (b"application/json", (b'{"a":', b'"b"}'), b'{"A":"B"}'),
        (b"application/x-ndjson", (b'{"a":1}\n{"b', b'":2}\n'), b'{"A":1}\n{"B":2}\n'),
    ],
)
async def test_other_forms_are_changed_too(kind: bytes, pieces: tuple[bytes, ...], body: bytes) -> None:
    """A whole body is one event, a line of JSON is one; a length of the old body is not told."""
    head = Head(200, ((b"content-type", kind), (b"content-length", b"9")))
    client = await run(Transform(event=shout), Answer(head, *pieces))
    assert client.parts[0] == Head(200, ((b"content-type", kind),))
    assert client.body == body


async def test_an_answer_without_a_body_has_its_head() -> None:
    """The head waits for the first piece, or else for the end."""
    assert (await run(Transform(event=shout), Answer(HEAD))).parts == [HEAD]


async def test_an_answer_without_a_content_type_is_whole() -> None:
    """There is nothing to cut it by."""
    assert (await run(Transform(event=shout), Answer(Head(200), b"a", b"b"))).parts == [Head(200), b"AB"]


async def test_parts_are_changed_on_their_way_out() -> None:
    """The response hook sees the head and each piece, after the event hook, and knows the exchange."""

    def sign(exchange: Exchange, part: Part) -> Part:
        if isinstance(part, Head):
            return Head(part.status, (*part.headers, (b"x-for", exchange.id.encode())))
        return part + b"!"

    client = await run(Transform(response=sign, event=shout), Answer(STREAM_HEAD, b"data: a\n\n", b"data: b\n\n"))
    assert client.parts == [
        Head(200, (*STREAM_HEAD.headers, (b"x-for", b"exchange-1"))),
        b"data: A\n\n!",
        b"data: B\n\n!",
    ]


async def test_parts_pass_uncut_where_only_parts_are_changed() -> None:
    """Without an event hook nothing waits for whole events."""
    client = await run(Transform(response=lambda _, part: part), Answer(STREAM_HEAD, b"data: o", b"ne"))
    assert client.parts == [STREAM_HEAD, b"data: o", b"ne"]


def _fail_at_body(exchange: Exchange, part: Part) -> Part:
    return part if isinstance(part, Head) else fail()


def _swap(exchange: Exchange, part: Part) -> Part:
    return b"" if isinstance(part, Head) else HEAD


BROKEN = [
    Transform(event=fail),
    Transform(response=fail),
    Transform(response=_fail_at_body),
    Transform(response=_swap),
    Transform(response=lambda _, part: part if isinstance(part, Head) else "text"),  # type: ignore[arg-type,return-value]  # what untyped code may return
]


@pytest.mark.parametrize("head", [HEAD, STREAM_HEAD])
@pytest.mark.parametrize("transform", BROKEN)
async def test_a_failure_before_the_head_is_a_proper_error(transform: Transform, head: Head) -> None:
    """Nothing has reached the client by then, so it gets a status."""
    client = Client()
    with pytest.raises(CopilotASGIError) as caught:
        await transform(make_exchange(), client, Answer(head, b"data: a\n\n"))
    assert (caught.value.status, caught.value.code, client.parts) == (500, "transform_failed", [])


@pytest.mark.parametrize("kind", ["event", "response"])
async def test_a_failure_after_the_head_interrupts_the_stream(kind: str) -> None:
    """What has been sent stands; the end is an interruption, never a success (L9), and the answer is cut off."""

    def event(event: ServerSentEvent) -> ServerSentEvent | None:
        return fail() if event.data == b"2" else event

    def response(exchange: Exchange, part: Part) -> Part:
        return fail() if part == b"data: 2\n\n" else part

    transform = Transform(event=event) if kind == "event" else Transform(response=response)
    client, closed = Client(), []

    async def upstream(exchange: Exchange, send: Send) -> None:
        try:
            await send(STREAM_HEAD)
            for number in (b"1", b"2", b"3"):
                await send(b"data: " + number + b"\n\n")
        finally:
            closed.append("yes")

    with pytest.raises(StreamInterrupted, match="A transform of this server failed"):
        await transform(make_exchange(STREAM_BODY), client, upstream)
    assert client.parts == [STREAM_HEAD, b"data: 1\n\n"]
    assert closed == ["yes"]


async def test_an_answer_that_fails_is_not_finished() -> None:
    """The error goes on, and half an event or half a body is not sent after it."""
    client = Client()
    with pytest.raises(UpstreamTimeout):
        await Transform(event=same)(make_exchange(), client, Answer(HEAD, b"half", error=UpstreamTimeout("slow")))
    assert client.parts == []


async def test_a_client_that_leaves_is_no_failure_of_a_hook(caplog: pytest.LogCaptureFixture) -> None:
    """Cancellation goes through, and what sending raises comes out as it is."""

    async def gone(part: Part) -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await Transform(event=same)(make_exchange(), gone, Answer())
    client = Client(leave_at=1)
    with client.scope:
        await Transform(event=same)(make_exchange(STREAM_BODY), client, Answer(STREAM_HEAD, b"data: 1\n\n"))
    assert client.scope.cancelled_caught
    assert caplog.records == []


async def test_transforms_stand_one_inside_the_other() -> None:
    """Each sees what the one outside of it made of the request."""

    def first(request: Request) -> Request:
        return request.replace({"user": b'"a"'})

    def second(request: Request) -> Request:
        return request.replace({"seen": bytes(request.fields["user"])})

    exchange, inner = make_exchange(), Transform(request=second)

    async def rest(exchange: Exchange, send: Send) -> None:
        await inner(exchange, send, Answer())

    await Transform(request=first)(exchange, Client(), rest)
    assert exchange.request.body == CHAT_BODY[:-1] + b',"user":"a","seen":"a"}'
