"""Whatever the other side does wrong becomes one of our errors, in time, and leaves nothing behind."""

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from engines import LOOPS, SETTINGS, use
from faulty_server import EVENT_STREAM, OK, Connection, FaultyServer, Play, answering, answering_and_closing, serving

from copilot_asgi._calls import Timeouts
from copilot_asgi._http import FETCH_LIMIT, HttpClient
from copilot_asgi.errors import (
    MalformedResponse,
    ResponseTooLarge,
    StreamInterrupted,
    UpstreamTimeout,
    UpstreamUnavailable,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(params=SETTINGS, ids="-".join)
def setting(request: pytest.FixtureRequest) -> tuple[str, str]:
    """An event loop, and an engine that runs on it."""
    loop_and_engine: tuple[str, str] = request.param
    return loop_and_engine


@pytest.fixture
def anyio_backend(setting: tuple[str, str]) -> tuple[str, dict[str, bool]]:
    return LOOPS[setting[0]]


@pytest.fixture(autouse=True)
def _engine(setting: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    use(setting[1], monkeypatch)


SHORT = Timeouts(connect=5, head=0.1, idle=0.1, auth=5, queue=0.1)
LONG = Timeouts(connect=5, head=5, idle=5, auth=5, queue=5)


@asynccontextmanager
async def faults(play: Play, timeouts: Timeouts = LONG) -> AsyncIterator[tuple[FaultyServer, HttpClient]]:
    """A server, a client of it, and afterwards the proof that nothing of a failed call stays open."""
    async with serving(play) as server, client_of(timeouts) as client:
        yield server, client
        await server.all_closed()


def client_of(timeouts: Timeouts) -> HttpClient:
    return HttpClient(timeouts=timeouts, max_streams=1, allowed=lambda url: True)


async def call(client: HttpClient, server: FaultyServer) -> bytes:
    async with client.stream("POST", server.url, headers=[], content=b"{}") as response:
        return await response.read(FETCH_LIMIT)


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(b"", UpstreamUnavailable, id="nothing"),
        pytest.param(b"HTTP/1.1 20", MalformedResponse, id="half a status line"),
        pytest.param(HEAD + b"content-ty", MalformedResponse, id="half a header"),
        pytest.param(b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\r\n\r\n", MalformedResponse, id="TLS"),
        pytest.param(b"<html>hello</html>\r\n\r\n", MalformedResponse, id="HTTP 0.9"),
        pytest.param(b"HTTP/9.9 200 OK\r\n\r\n", MalformedResponse, id="unknown version"),
        pytest.param(b"HTTP/1.1 twohundred OK\r\n\r\n", MalformedResponse, id="status in letters"),
        pytest.param(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\nhello", MalformedResponse, id="another protocol"),
        pytest.param(HEAD + b"x: " + b"a" * 8_000_000 + b"\r\n\r\n", MalformedResponse, id="8 MB header"),
        pytest.param(HEAD + b"x: y\r\n" * 50_000 + b"\r\n", MalformedResponse, id="50 000 headers"),
        pytest.param(HEAD + b"x: a\0b\r\n\r\n", MalformedResponse, id="NUL in a header"),
        pytest.param(HEAD + b"content-length: -1\r\n\r\n", MalformedResponse, id="negative length"),
        pytest.param(
            HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\nok", MalformedResponse, id="conflicting lengths"
        ),
        pytest.param(HEAD + b"transfer-encoding: rot13\r\n\r\nok", MalformedResponse, id="unknown transfer coding"),
        pytest.param(
            HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            MalformedResponse,
            id="chunked and with a length",
        ),
        pytest.param(
            HEAD + b"content-encoding: br\r\ncontent-length: 1\r\n\r\nx", MalformedResponse, id="unknown coding"
        ),
        pytest.param(
            HEAD + b"content-encoding: gzip, gzip\r\ncontent-length: 1\r\n\r\nx", MalformedResponse, id="encoded twice"
        ),
    ],
)
async def test_head(answer, error):
    """A head that is not one is refused once, at once, and its connection is closed."""
    async with faults(answering_and_closing(answer)) as (server, client):
        with pytest.raises(error) as caught:
            await call(client, server)
        assert getattr(caught.value, "sent", True)
        assert server.accepted == 1
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(HEAD + b"content-length: 10\r\n\r\nshort", id="shorter than its length"),
        pytest.param(EVENT_STREAM + b"5\r\nhel", id="cut within a chunk"),
        pytest.param(EVENT_STREAM + b"5\r\nhello\r\n", id="without its last chunk"),
        pytest.param(EVENT_STREAM + b"five\r\nhello\r\n", id="chunk size in letters"),
        pytest.param(EVENT_STREAM + b"2\r\nhello\r\n0\r\n\r\n", id="chunk longer than its size"),
        pytest.param(EVENT_STREAM + b"5;" + b"x" * 16_000_000 + b"\r\n", id="16 MB chunk extension"),
    ],
)
async def test_body(answer):
    """A body that breaks off never passes for a complete one."""
    async with faults(answering_and_closing(answer)) as (server, client):
        with pytest.raises(StreamInterrupted) as caught:
            await call(client, server)
        assert caught.value.status == 502


@pytest.mark.parametrize(
    ("coding", "body", "error"),
    [
        pytest.param(b"gzip", gzip.compress(b"\0" * 40_000_000), ResponseTooLarge, id="bomb"),
        pytest.param(b"gzip", gzip.compress(gzip.compress(b"\0" * 90_000_000)), None, id="bomb in a bomb"),
        pytest.param(b"gzip", gzip.compress(b"hello")[:-1], MalformedResponse, id="cut short"),
        pytest.param(b"gzip", b"hello", MalformedResponse, id="mislabelled"),
        pytest.param(b"gzip", gzip.compress(b"hello"), None, id="right"),
    ],
)
async def test_encoded_body(coding, body, error):
    """An answer that comes encoded though we asked for none is undone once, within bounds."""
    answer = HEAD + b"content-encoding: %b\r\ncontent-length: %d\r\n\r\n%b" % (coding, len(body), body)
    async with faults(answering_and_closing(answer)) as (server, client):
        if error is None:
            assert await call(client, server) == gzip.decompress(body)
        else:
            with pytest.raises(error):
                await call(client, server)
    assert b"accept-encoding: identity\r\n" in server.requests[0]


async def never(connection: Connection) -> None:
    await connection.request()
    await connection.gone()


async def endless_1xx(connection: Connection) -> None:
    await connection.request()
    while True:
        await connection.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        await anyio.sleep(0.002)


async def dripping(connection: Connection) -> None:
    await connection.request()
    await connection.send(HEAD)
    while True:
        await connection.send(b"x: y\r\n")
        await anyio.sleep(0.002)


async def deaf(connection: Connection) -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize("play", [never, dripping, deaf])
async def test_no_head_in_time(play):
    """The deadline of the head covers sending, and headers that come one by one."""
    async with serving(play) as server, client_of(SHORT) as client:
        with anyio.fail_after(2), pytest.raises(UpstreamTimeout) as caught:
            async with client.stream("POST", server.url, headers=[], content=b"x" * 10_000_000):
                pytest.fail("a head came")
        assert caught.value.status == 504
        if play is not deaf:
            await server.all_closed()


async def test_informational_answers_without_end():
    """Endless 1xx answers are over at the deadline of the head, or sooner where they are counted."""
    async with serving(endless_1xx) as server, client_of(SHORT) as client:
        with anyio.fail_after(2), pytest.raises((UpstreamTimeout, MalformedResponse)):
            await call(client, server)
        await server.all_closed()


async def test_informational_answers_are_passed_over():
    """A few 1xx answers before the head are not the head."""
    async with faults(answering_and_closing(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 3 + OK)) as (
        server,
        client,
    ):
        assert await call(client, server) == b"ok"


async def test_nothing_more_in_time():
    """A body that stops for longer than the idle deadline is over: 504, after what did come."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(EVENT_STREAM)
        await connection.chunk(b"one")
        await connection.gone()

    async with faults(play, SHORT) as (server, client):
        async with client.stream("POST", server.url, headers=[], content=b"") as response:
            assert await response.receive() == b"one"
            with anyio.fail_after(2), pytest.raises(StreamInterrupted) as caught:
                await response.receive()
        assert caught.value.status == 504


async def test_a_slow_stream_has_no_total_deadline():
    """A stream may take much longer than any deadline, as long as something keeps coming."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(EVENT_STREAM)
        for _ in range(10):
            await anyio.sleep(0.03)
            await connection.chunk(b"x")
        await connection.chunk(b"")

    async with faults(play, SHORT) as (server, client):
        assert await call(client, server) == b"x" * 10


async def test_reset_in_the_middle():
    """A connection that is reset after its head breaks the stream off."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(EVENT_STREAM)
        await connection.chunk(b"one")
        await connection.reset()

    async with faults(play) as (server, client):
        with pytest.raises(StreamInterrupted):
            await call(client, server)


async def test_reset_before_the_head():
    """A new connection that is reset before its head is not tried again: the request may have been processed."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.reset()

    async with faults(play) as (server, client):
        with pytest.raises(UpstreamUnavailable) as caught:
            await call(client, server)
        assert caught.value.sent
        assert server.accepted == 1


async def test_refused():
    """A port where nobody listens: nothing was sent, so another try is safe."""
    async with serving(never) as server:
        pass
    async with client_of(LONG) as client:
        with pytest.raises(UpstreamUnavailable) as caught:
            await call(client, server)
    assert not caught.value.sent


async def test_answered_and_closed_while_the_request_is_sent():
    """A refusal that comes before the request was sent whole is delivered, or an error; it never hangs."""

    async def play(connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    async with faults(play) as (server, client):
        with anyio.fail_after(3):
            try:
                outcome = (await client.fetch("POST", server.url, headers=[], content=b"x" * 20_000_000)).status
            except UpstreamUnavailable as error:
                outcome = error.status
        assert outcome in {413, 502}


@pytest.mark.parametrize("declared", [True, False])
async def test_too_large(declared):
    """An answer over the limit is refused by its declared length or by what came, and its connection is closed."""

    async def play(connection: Connection) -> None:
        await connection.request()
        if declared:
            await connection.send(HEAD + b"content-length: %d\r\n\r\n" % (FETCH_LIMIT + 1))
            await connection.gone()
        await connection.send(EVENT_STREAM)
        while True:
            await connection.chunk(b"x" * 65536)

    async with faults(play) as (server, client):
        with anyio.fail_after(5), pytest.raises(ResponseTooLarge):
            await client.fetch("GET", server.url, headers=[])


async def test_a_failed_call_gives_its_place_back():
    """With one place only, a call after ten failed ones is served."""
    async with faults(answering_and_closing(b"junk\r\n\r\n")) as (server, client):
        for _ in range(10):
            with pytest.raises(MalformedResponse):
                await call(client, server)
        async with serving(answering()) as good:
            assert await call(client, good) == b"ok"


async def test_a_piece_that_decodes_to_nothing():
    """The head of a compressed body is not taken for the end of the body."""
    body = gzip.compress(b"hello")

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body))
        await connection.send(body[:10])
        await anyio.sleep(0.02)
        await connection.send(body[10:])
        await connection.gone()

    async with serving(play) as server, client_of(Timeouts()) as client:
        assert await call(client, server) == b"hello"
