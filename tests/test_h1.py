"""The ``h1`` engine: responses cut anywhere read the same, hostile ones end, connections are kept or closed rightly."""

import asyncio
import gc
import os
import socket
import ssl
import weakref
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.abc
import httpx
import pytest
from certificates import self_signed
from engines import LOOPS, ON_H1
from faulty_server import EVENT_STREAM, OK, Connection, answering, answering_and_closing, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_asgi import _h1
from copilot_asgi._calls import origin_of
from copilot_asgi._h1 import H1Transport
from copilot_asgi._h1_connection import MAX_UNREAD
from copilot_asgi._h1_connection import Connection as H1Connection
from copilot_asgi._h1_response import MAX_HEAD, MAX_HEADERS, MAX_INFORMATIONAL, Response

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[loop for loop, _ in ON_H1])
def anyio_backend(request):
    return LOOPS[request.param]


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: Chunked\r\n\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"

# Whole responses: the bytes, then status, body, and whether the connection may be used again.
WHOLE = {
    "with a length": (OK, 200, b"ok", True),
    "of length zero": (HEAD + b"content-length: 0\r\n\r\n", 200, b"", True),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", 304, b"", True),
    "chunked": (CHUNKED + b"2\r\nok\r\n3;a=b\r\nyes\r\n0\r\n\r\n", 200, b"okyes", True),
    "chunked and empty": (CHUNKED + b"0\r\n\r\n", 200, b"", True),
    "with trailers": (CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n", 200, b"ok", True),
    "of blank lines": (CHUNKED + b"8\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", 200, b"\r\n" * 4, True),
    "of blank lines with a length": (HEAD + b"content-length: 8\r\n\r\n" + b"\r\n" * 4, 200, b"\r\n" * 4, True),
    "after early hints": (EARLY * MAX_INFORMATIONAL + OK, 200, b"ok", True),
    "and close": (HEAD + b"Connection: Close\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", False),
    "of HTTP/1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", False),
    "of HTTP/1.0, kept": (
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
        200,
        b"ok",
        True,
    ),
    "until the end": (HEAD + b"x: y\r\n\r\nok", 200, b"ok", False),
    "without a reason": (b"HTTP/1.1 500\r\ncontent-length: 0\r\n\r\n", 500, b"", True),
}


def read(parts: Iterable[bytes], *, bodiless: bool = False) -> Response:
    response = Response(bodiless=bodiless)
    for part in parts:
        response.feed(part)
    return response


def body(response: Response) -> bytes:
    return b"".join(response.pieces)


def summary(response: Response) -> tuple[object, ...]:
    return (
        response.has_head and (response.status, response.version, response.headers),
        body(response),
        response.is_complete,
        response.persistent,
        type(response.error),
    )


@pytest.mark.parametrize(("data", "status", "content", "kept"), WHOLE.values(), ids=WHOLE)
def test_cut_anywhere(data, status, content, kept):
    """A response cut in one place, wherever, or into single bytes, reads as one that came whole."""
    for parts in ([data[:cut], data[cut:]] if 0 < cut < len(data) else [data] for cut in range(len(data))):
        response = read(parts)
        response.end()
        assert (response.status, body(response), response.persistent) == (status, content, kept)
        assert response.is_complete
        assert response.error is None
        assert len(response.pieces) <= len(parts)
    assert summary(read(bytes([byte]) for byte in data)) == summary(read([data]))


@pytest.mark.parametrize("data", [*(whole[0] for whole in WHOLE.values()), b"", b"HTTP", HEAD, b"junk\r\n\r\n"])
def test_what_is_over_is_freed_at_once(data):
    """No cycle of references is left of a response, however it ends: prompts and answers would wait in memory."""
    gc.disable()
    try:
        response = read([data] if data else [])
        response.end()
        gone = weakref.ref(response)
        del response
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("junk", [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"x", OK, b"HTTP/1.1 200 OK\r\n"])
@pytest.mark.parametrize(("data", "status", "content", "kept"), WHOLE.values(), ids=WHOLE)
def test_a_byte_too_many(data, status, content, kept, junk):
    """A byte behind a response, in the same read or a later one, is not its body and makes its connection of no use."""
    if data == WHOLE["until the end"][0]:
        content += junk
    joined = data + junk
    for parts in ([data, junk], [joined], [joined[:-1], joined[-1:]], [bytes([byte]) for byte in joined]):
        response = read(parts)
        assert not response.persistent
        assert (response.status, body(response)) == (status, content)
        assert response.error is None


def test_trailers_are_dropped():
    """What follows the last chunk is no header, whether it came with the head or later."""
    data = WHOLE["with trailers"][0]
    for parts in ([data], [data[:-9], data[-9:]]):
        assert read(parts).headers == [(b"Transfer-Encoding", b"Chunked")]


NOT_HEADS = {
    "no HTTP": b"<html>\r\n\r\n",
    "garbage without an end": b"\x16\x03\x03\x00\x02",
    "a blank line first": b"\r\n\r\n" + OK,
    "version 0.9": b"HTTP/0.9 200 OK\r\n\r\n",
    "version 2.0": b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "status 99": b"HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n",
    "status 1000": b"HTTP/1.1 1000 OK\r\ncontent-length: 0\r\n\r\n",
    "switching": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nhello",
    "switching unannounced": b"HTTP/1.1 101 Switching\r\n\r\n",
    "one informational too many": EARLY * (MAX_INFORMATIONAL + 1) + OK,
    "bare line feeds": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n\r\n\r\n",
    "NUL": HEAD + b"x: a\0b\r\n\r\n",
    "folded": HEAD + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n",
    "space in a name": HEAD + b"x y: z\r\n\r\n",
    "space before the colon": HEAD + b"content-length : 0\r\n\r\n",
    "large": HEAD + b"x: " + b"a" * MAX_HEAD + b"\r\n\r\n",
    "large without an end": HEAD + b"x: " + b"a" * MAX_HEAD,
    "too many": HEAD + b"x: y\r\n" * (MAX_HEADERS + 1) + b"\r\n",
    "two lengths": HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\nok",
    "a list of lengths": HEAD + b"content-length: 1, 1\r\n\r\nk",
    "signed length": HEAD + b"content-length: +1\r\n\r\nk",
    "endless length": HEAD + b"content-length: " + b"9" * 99 + b"\r\n\r\nk",
    "length and chunks": HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": HEAD + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and more": HEAD + b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "more and chunked": HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": HEAD + b"transfer-encoding: rot13\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("data", NOT_HEADS.values(), ids=NOT_HEADS)
def test_not_a_head(data):
    """What is not a head, or can be read in two ways, is an error at once, whole and byte by byte."""
    for parts in ([data], [bytes([byte]) for byte in data]):
        response = read(parts)
        assert isinstance(response.error, httpx.RemoteProtocolError)
        assert (response.has_head, response.persistent, response.unread) == (False, False, 0)


@pytest.mark.parametrize(
    ("data", "content"),
    [
        pytest.param(b"five\r\nhello\r\n", b"", id="size in letters"),
        pytest.param(b"2\r\nhello\r\n0\r\n\r\n", b"he", id="longer than its size"),
        pytest.param(b"f" * 40 + b"\r\n", b"", id="endless size"),
        pytest.param(b"2\r\nok\r\n5;" + b"x" * 90_000, b"ok", id="large extension"),
        pytest.param(b"2\r\nok\r\n0\r\n" + b"x: y\r\n" * 20_000, b"ok", id="large trailers"),
    ],
)
def test_not_chunks(data, content):
    """Chunks that are wrong, or framing without end, break the body off behind what was right."""
    for step in (1, 1000):
        response = read([CHUNKED, *(data[at : at + step] for at in range(0, len(data), step))])
        assert response.has_head
        assert isinstance(response.error, httpx.RemoteProtocolError)
        assert body(response) == content
        assert not response.persistent


@pytest.mark.parametrize(
    "data", [HEAD + b"content-length: 9\r\n\r\nshort", CHUNKED + b"2\r\nok\r\n", HEAD[:9], CHUNKED[:-2]]
)
def test_cut_short(data):
    """A response that ends before its end is an error of the protocol; without a byte, or with a reset, of reading."""
    assert isinstance(ended(read([data]), None).error, httpx.RemoteProtocolError)
    assert isinstance(ended(read([data]), ConnectionResetError()).error, httpx.ReadError)
    assert isinstance(ended(read([]), None).error, httpx.ReadError)


def ended(response: Response, cause: Exception | None) -> Response:
    response.lose(cause)
    return response


def test_a_body_without_a_length_that_is_not_ended():
    """Where the peer does not say that it ends, a body until the end is cut short."""
    assert ended(read([WHOLE["until the end"][0]]), None).error is not None


@pytest.mark.parametrize("header", [b"content-length: 7", b"transfer-encoding: chunked"])
def test_the_answer_to_head(header):
    """The answer to HEAD has no body whatever its head says, and a byte of one is a byte too many."""
    data = HEAD + header + b"\r\n\r\n"
    assert summary(read([data], bodiless=True))[1:4] == (b"", True, True)
    assert summary(read([data + b"x"], bodiless=True))[1:4] == (b"", True, False)


TOKENS = st.sampled_from(
    [
        b"\r\n",
        b"\r",
        b"\n",
        b"\0",
        b" ",
        b":",
        b"0",
        b"ffff",
        b"\r\n\r\n",
        b"0\r\n\r\n",
        b"HTTP/1.1 ",
        b"100",
        b"101",
        b"\xff",
    ]
    + [
        b"content-length: 3\r\n",
        b"transfer-encoding: chunked\r\n",
        b"connection: close\r\n",
        b"HTTP/1.0",
        OK,
        CHUNKED,
        EARLY,
    ]
)


@st.composite
def hostile(draw: st.DrawFn) -> bytes:
    """A response in which some bytes were replaced by what matters to a parser."""
    data, *_ = draw(st.sampled_from(list(WHOLE.values())))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        data = data[:start] + draw(TOKENS) + data[start + draw(st.integers(0, 6)) :]
    return data


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    places = sorted(draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=6)))
    return [part for part in map(slice, [0, *places], [*places, len(data)]) for part in [data[part]] if part]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_hostile_responses_read_the_same_however_cut(data):
    """Whatever comes, reading never raises, its outcome does not depend on the cuts, and afterwards it is over."""
    wire = data.draw(hostile())
    whole, parts = read([wire]), read(data.draw(cut(wire)))
    assert summary(parts) == summary(whole)
    for response in (whole, parts):
        response.end()
        assert response.is_complete is (response.error is None)
        assert response.is_over


def engine(context: ssl.SSLContext | None = None, **options: float) -> H1Transport:
    return H1Transport(context or ssl.create_default_context(), **options)


def request(url: str, method: str = "POST", content: bytes = b"{}", connect: float = 5) -> httpx.Request:
    return httpx.Request(method, url, content=content, extensions={"timeout": {"connect": connect}})


async def ask(transport: H1Transport, url: str, method: str = "POST", content: bytes = b"{}") -> bytes:
    response = await transport.handle_async_request(request(url, method, content))
    try:
        return b"".join([piece async for piece in response.stream])
    finally:
        await response.aclose()


def idle(transport: H1Transport) -> list[H1Connection]:
    return [connection for kept in transport._idle.values() for connection in kept]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_hostile_servers(data):
    """Over a socket: an answer or one of httpx's errors, no hanging, and nothing kept but what was clean to the end."""
    wire = data.draw(hostile())
    parts = data.draw(cut(wire))
    clean = summary(read([wire]))[2:4] == (True, True)

    async def play(connection: Connection) -> None:
        await connection.request()
        for part in parts:
            await connection.send(part)
            await anyio.lowlevel.checkpoint()
        if clean:
            await connection.gone()

    async def main() -> None:
        async with serving(play) as server, engine() as transport:
            with anyio.fail_after(5):
                with suppress(httpx.TransportError):
                    await ask(transport, server.url)
            if not clean:
                # A byte too many may come when the answer is long read: then the connection was kept until then.
                await server.all_closed()
                assert transport._open == set()
            assert bool(idle(transport)) is clean

    anyio.run(main)


async def test_the_last_one_kept_is_used_first():
    """Idle connections are used again from the top, and no more than ``max_idle`` of them are kept."""
    async with serving(answering()) as server, engine(max_idle=2) as transport:
        responses = [await transport.handle_async_request(request(server.url)) for _ in range(3)]
        for response in responses:
            await response.aread()
            await response.aclose()
        first, second = idle(transport)
        await anyio.sleep(0.01)
        assert server.open == 2
        await ask(transport, server.url)
        assert idle(transport) == [first, second]
        open_one = await transport.handle_async_request(request(server.url))
        assert idle(transport) == [first]
        await open_one.aclose()


async def test_idle_connections_expire():
    """A connection that nobody used for ``idle_expiry`` seconds is closed, one that was used later is closed later."""
    async with serving(answering()) as server, serving(answering()) as other, engine(idle_expiry=0.04) as transport:
        await ask(transport, server.url)
        await anyio.sleep(0.02)
        await ask(transport, other.url)
        await server.all_closed()
        assert other.open == 1
        await other.all_closed()
        assert transport._open == set()
        assert transport._timer is None
        assert await ask(transport, server.url) == b"ok"


async def test_closing_ends_what_is_under_way():
    """Closing the engine closes idle connections and busy ones; whoever waits is told."""

    async def never(connection: Connection) -> None:
        await connection.request()
        await connection.gone()

    async with serving(never) as server, serving(answering()) as other:
        transport = engine()
        await ask(transport, other.url)

        async def wait() -> None:
            with pytest.raises(httpx.ReadError):
                await ask(transport, server.url)

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            while not server.requests:
                await anyio.sleep(0.001)
            await transport.aclose()
        await other.all_closed()
        await server.all_closed()
        assert transport._open == set()


async def test_a_slow_reader_holds_the_peer_back():
    """Beyond a bound of unread bytes reading stops; as they are taken it goes on, and every byte arrives."""
    size = 8_000_000

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(HEAD + b"content-length: %d\r\n\r\n" % size)
        await connection.send(b"x" * size)
        await connection.request()
        await connection.send(OK)

    async with serving(play) as server, engine() as transport:
        response = await transport.handle_async_request(request(server.url))
        [connection] = transport._open
        await anyio.sleep(0.05)
        assert MAX_UNREAD < connection.response.unread < MAX_UNREAD + 300_000
        assert len(await response.aread()) == size
        await response.aclose()
        assert await ask(transport, server.url) == b"ok"
        assert server.accepted == 1


async def test_pieces_come_as_they_were_read():
    """Chunks that arrive together are one piece, and what comes later is a piece of its own."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(EVENT_STREAM)
        await connection.send(b"1\r\na\r\n1\r\nb\r\n")
        await anyio.sleep(0.01)
        await connection.send(b"1\r\nc\r\n0\r\n\r\n")
        await connection.gone()

    async with serving(play) as server, engine() as transport:
        response = await transport.handle_async_request(request(server.url))
        assert [piece async for piece in response.stream] == [b"ab", b"c"]
        await response.aclose()
        assert len(idle(transport)) == 1


async def test_what_waits_for_its_reader_comes_in_one_piece():
    """Who takes long over a piece gets everything that came meanwhile at once."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(EVENT_STREAM)
        for _ in range(3):
            await connection.chunk(b"a")
            await anyio.sleep(0.005)
        await connection.chunk(b"")
        await connection.gone()

    async with serving(play) as server, engine() as transport:
        response = await transport.handle_async_request(request(server.url))
        await anyio.sleep(0.1)
        assert [piece async for piece in response.stream] == [b"aaa"]
        await response.aclose()
        assert len(idle(transport)) == 1


async def test_a_deadline_is_one_of_waiting():
    """The time between pieces counts while somebody waits for one, and each wait has all of it."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(EVENT_STREAM)
        await connection.chunk(b"a")
        await anyio.sleep(0.02)
        await connection.chunk(b"b")
        await anyio.sleep(0.1)
        await connection.chunk(b"c")
        await connection.gone()

    async with serving(play) as server, engine() as transport:
        head = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
        answer = await transport.exchange(origin_of(httpx.URL(server.url)), head, b"", timeout=5, idle=0.06)
        assert [await answer.receive(), await answer.receive()] == [b"a", b"b"]
        await anyio.sleep(0.08)
        assert await answer.receive() == b"c"
        with pytest.raises(httpx.ReadTimeout):
            await answer.receive()
        await server.all_closed()


async def test_a_head_that_does_not_come():
    """Nothing is waited for beyond its time, and the connection is not used again."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.gone()

    async with serving(play) as server, engine() as transport:
        with anyio.fail_after(5), pytest.raises(httpx.ReadTimeout):
            await transport.exchange(origin_of(httpx.URL(server.url)), b"GET / HTTP/1.1\r\n\r\n", b"", timeout=0.02)
        await server.all_closed()


@pytest.mark.parametrize("breaks", [False, True])
async def test_a_connection_that_failed_is_freed_at_once(breaks):
    """Neither a deadline nor a response that breaks off leaves a cycle, in which the request would be kept."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(EVENT_STREAM)
        if not breaks:
            await connection.gone()

    async with serving(play) as server, engine() as transport:
        origin = origin_of(httpx.URL(server.url))
        answer = await transport.exchange(origin, b"GET / HTTP/1.1\r\n\r\n", b"", timeout=5, idle=0.02)
        (gone,) = [weakref.ref(connection) for connection in transport._open]
        gc.disable()
        try:
            with pytest.raises(httpx.TransportError) as caught:
                await answer.receive()
            assert isinstance(caught.value, httpx.RemoteProtocolError if breaks else httpx.ReadTimeout)
            del caught
            await answer.aclose()
            del answer
            with anyio.fail_after(5):
                while gone() is not None:
                    await anyio.sleep(0.001)
        finally:
            gc.enable()


async def test_an_early_answer_to_a_large_request():
    """An answer that overtakes its request is delivered; the connection, on which a rest is to be sent, is closed."""

    async def play(connection: Connection) -> None:
        await connection.send(OK)
        await anyio.sleep_forever()

    async with serving(play) as server, engine() as transport:
        assert await ask(transport, server.url, content=b"x" * 30_000_000) == b"ok"
        assert idle(transport) == []


async def test_head_requests():
    """After the answer to HEAD, whose length is that of something else, the connection is used again."""
    async with serving(answering(OK[:-2])) as server, engine() as transport:
        assert await ask(transport, server.url, "HEAD", b"") == b""
        assert await ask(transport, server.url) == b"ok"
        assert server.accepted == 1


async def test_a_kept_connection_that_the_peer_closes():
    """An idle connection that ends is forgotten at once."""
    async with serving(answering_and_closing(OK)) as server, engine() as transport:
        await ask(transport, server.url)
        await server.all_closed()
        await anyio.sleep(0.01)
        assert (idle(transport), transport._open) == ([], set())


async def test_an_answer_nobody_asked_for_before_the_body_is_closed():
    """Bytes behind a complete answer close its connection even while its body is still held."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(OK)
        await anyio.sleep(0.005)
        await connection.send(OK)
        await connection.gone()

    async with serving(play) as server, engine() as transport:
        response = await transport.handle_async_request(request(server.url))
        assert [piece async for piece in response.stream] == [b"ok"]
        await anyio.sleep(0.01)
        await server.all_closed()
        await response.aclose()
        assert idle(transport) == []


async def test_a_peer_that_speaks_first():
    """A connection on which something comes before anything was asked is closed."""

    async def play(connection: Connection) -> None:
        await connection.send(OK[:-2])
        await connection.gone()

    async with serving(play) as server, engine() as transport:
        connection = await transport._connect(origin_of(httpx.URL(server.url)), 5)
        with anyio.fail_after(2):
            while not connection.closed:
                await anyio.sleep(0.001)
        await server.all_closed()


async def test_a_cancelled_read_closes_the_connection():
    """Who is cancelled while waiting for a piece ends the connection, without closing the body."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(EVENT_STREAM)
        await connection.gone()

    async with serving(play) as server, engine() as transport:
        response = await transport.handle_async_request(request(server.url))
        with anyio.move_on_after(0.01):
            await anext(aiter(response.stream))
        await server.all_closed()
        assert transport._open == set()


async def test_a_body_that_was_given_up():
    """A body that was closed is not read on, and closing it again changes nothing."""
    async with serving(answering()) as server, engine() as transport:
        response = await transport.handle_async_request(request(server.url))
        pieces = aiter(response.stream)
        await response.aclose()
        await response.stream.aclose()
        with pytest.raises(httpx.ReadError):
            await anext(pieces)
        assert idle(transport) == []


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ([(b"host", b"x"), (b"content-length", b"1")], httpx.LocalProtocolError),
        ([(b"host", b"x")], httpx.LocalProtocolError),
        ([(b"host", b"x"), (b"transfer-encoding", b"chunked")], httpx.LocalProtocolError),
        ([(b"content-length", b"2"), (b"x", b"a\r\nb: c")], httpx.LocalProtocolError),
        ([(b"content-length", b"2"), (b"x", b"a\nb")], httpx.LocalProtocolError),
        ([(b"content-length", b"2"), (b"x", b"a\0")], httpx.LocalProtocolError),
    ],
)
async def test_requests_that_are_not_sent(headers, error):
    """A request whose body does not fit its headers, or with a line break in one, opens no connection."""
    async with serving(answering()) as server, engine() as transport:
        wrong = httpx.Request("POST", server.url, headers=headers, stream=httpx.ByteStream(b"{}"))
        with pytest.raises(error):
            await transport.handle_async_request(wrong)
        assert server.accepted == 0
        with pytest.raises(httpx.UnsupportedProtocol):
            await transport.handle_async_request(request("ftp://127.0.0.1/"))


async def test_a_connection_that_is_gone_before_it_is_used():
    """A request on a connection that was closed in the meantime is an error, not a wait without end."""
    async with serving(answering()) as server, engine() as transport:
        await ask(transport, server.url)
        [connection] = idle(transport)
        connection.close()
        assert not connection.is_quiet()
        await anyio.sleep(0.01)
        connection.send(b"", b"", bodiless=False)
        with pytest.raises(httpx.ReadError):
            await connection.head()


async def test_a_connection_that_is_made_too_late():
    """A connection that was closed while it was being made ends as soon as it is there."""
    async with serving(answering()) as server:
        url = httpx.URL(server.url)
        late = H1Connection(("http", "127.0.0.1", url.port), lambda connection: None)
        late.close()
        await asyncio.get_running_loop().create_connection(lambda: late, "127.0.0.1", url.port)
        late.send(b"", b"", bodiless=False)
        with pytest.raises(httpx.ReadError):
            await late.head()
        await server.all_closed()


async def test_a_name_that_is_none():
    """A name that cannot be looked up is an error of connecting."""
    async with engine() as transport:
        with pytest.raises(httpx.ConnectError):
            await ask(transport, f"http://{'y' * 70}/")


async def test_what_waits_in_the_socket():
    """An answer that nobody asked for and that the loop has not read yet is not the answer to the next request."""
    peers: list[Connection] = []

    async def play(connection: Connection) -> None:
        peers.append(connection)
        await answering()(connection)

    async with serving(play) as server, engine() as transport:
        await ask(transport, server.url)
        raw = peers[0]._stream.extra(anyio.abc.SocketAttribute.raw_socket)
        with socket.socket(fileno=os.dup(raw.fileno())) as peer:
            peer.send(OK.replace(b"ok", b"no"))
        assert await ask(transport, server.url) == b"ok"
        assert server.accepted == 2


async def test_a_kept_connection_that_is_reset_within_the_head():
    """No other try is made once a byte of the answer has come."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(OK)
        await connection.request()
        await connection.send(b"HTTP/1.1 20")
        await anyio.sleep(0.01)
        await connection.reset()

    async with serving(play) as server, engine() as transport:
        await ask(transport, server.url)
        with pytest.raises(httpx.ReadError):
            await ask(transport, server.url)
        assert len(server.requests) == 2


async def test_an_address_that_hangs_and_one_that_refuses(monkeypatch):
    """Addresses are tried one by one, then beside each other; the first connection wins and the others are closed."""
    connect = H1Transport._connect_to

    async def connect_to(self: H1Transport, origin: _h1.Origin, address: str) -> H1Connection:
        if address == "hangs":
            await anyio.sleep_forever()
        if address == "refuses":
            raise ConnectionRefusedError(address)
        return await connect(self, origin, address)

    async def addresses(origin: _h1.Origin) -> list[str]:
        return tried

    monkeypatch.setattr(H1Transport, "_connect_to", connect_to)
    monkeypatch.setattr(_h1, "_addresses", addresses)
    monkeypatch.setattr(_h1, "STAGGER", 0.01)
    async with serving(answering()) as server:
        for tried in (["refuses", "hangs", "127.0.0.1", "hangs"], ["127.0.0.1", "refuses"]):  # noqa: B007 - read above
            async with engine() as transport:
                with anyio.fail_after(2):
                    assert await ask(transport, server.url) == b"ok"
                assert len(transport._open) == 1
        async with engine() as transport:
            tried = ["refuses", "refuses"]
            with pytest.raises(httpx.ConnectError):
                await ask(transport, server.url)
            tried = ["hangs", "refuses"]
            with pytest.raises(httpx.ConnectTimeout):
                await transport.handle_async_request(request(server.url, connect=0.05))
            with anyio.move_on_after(0.02) as scope:
                await ask(transport, server.url)
            assert scope.cancelled_caught
            assert transport._open == set()


async def test_two_connections_at_once(monkeypatch):
    """Of two attempts that succeed in the same moment one is kept."""
    made = anyio.Event()
    connect = H1Transport._connect_to

    async def connect_to(self: H1Transport, origin: _h1.Origin, address: str) -> H1Connection:
        with anyio.CancelScope(shield=True):
            connection = await connect(self, origin, "127.0.0.1")
            if address == "one":
                await made.wait()
            made.set()
        return connection

    async def addresses(origin: _h1.Origin) -> list[str]:
        return ["one", "two"]

    monkeypatch.setattr(H1Transport, "_connect_to", connect_to)
    monkeypatch.setattr(_h1, "_addresses", addresses)
    monkeypatch.setattr(_h1, "STAGGER", 0.01)
    async with serving(answering()) as server, engine() as transport:
        assert await ask(transport, server.url) == b"ok"
        await anyio.sleep(0.01)
        assert (server.accepted, server.open) == (2, 1)


async def test_names_are_looked_up(monkeypatch):
    """The families of a name's addresses take turns; an address is not looked up."""
    found = [(10, 1, 6, "", ("::1", 80, 0, 0)), (10, 1, 6, "", ("::2", 80, 0, 0)), (2, 1, 6, "", ("127.0.0.1", 80))]

    class Loop:
        async def getaddrinfo(self, host: str, port: int, **options: object) -> list[object]:
            assert (host, port) == ("xn--bcher-kva.example", 80)
            return list(found)

    monkeypatch.setattr(asyncio, "get_running_loop", Loop)
    assert await _h1._addresses(origin_of(httpx.URL("http://bücher.example"))) == ["::1", "127.0.0.1", "::2"]
    assert await _h1._addresses(origin_of(httpx.URL("http://[::1]:8080/"))) == ["::1"]
    assert await _h1._addresses(("http", "127.0.0.1", 80)) == ["127.0.0.1"]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
async def test_over_tls(host, certificate):
    """Over TLS a connection is used again, by name and by address; only HTTP/1.1 is offered."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate)
    server_context.set_alpn_protocols(["h2", "http/1.1"])
    async with serving(answering(EVENT_STREAM + b"2\r\nok\r\n0\r\n\r\n"), context=server_context) as server:
        async with engine(ssl.create_default_context(cafile=str(certificate))) as transport:
            port = int(server.url.split(":")[2].split("/")[0])
            if host == "[::1]":
                listener = await anyio.create_tcp_listener(local_host="::1", local_port=port)
                async with listener, anyio.create_task_group() as group:
                    group.start_soon(listener.serve, server.handle)
                    await twice(transport, f"https://{host}:{port}/")
                    group.cancel_scope.cancel()
            else:
                await twice(transport, f"https://{host}:{port}/")
            assert server.accepted == 1
        await server.all_closed()


async def twice(transport: H1Transport, url: str) -> None:
    assert await ask(transport, url) == b"ok"
    [connection] = idle(transport)
    assert connection._opened().get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    assert await ask(transport, url) == b"ok"


async def test_tls_that_is_not_trusted_or_hangs(certificate):
    """A certificate that nobody vouches for, and a handshake that does not end, are errors of connecting."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate)
    async with serving(answering(), context=server_context) as server, engine() as transport:
        with pytest.raises(httpx.ConnectError) as caught:
            await ask(transport, server.url)
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        assert transport._open == set()

    async def hang(connection: Connection) -> None:
        await connection.gone()

    async with serving(hang) as server, engine() as transport:
        with pytest.raises(httpx.ConnectTimeout):
            await transport.handle_async_request(request(server.url.replace("http", "https"), connect=0.05))
        await server.all_closed()
        assert transport._open == set()


async def test_an_unasked_answer_within_tls(certificate):
    """A second answer in a TLS record of its own, sent with the first, is not the answer to the next request."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate)

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send_together(OK, OK.replace(b"ok", b"no"))
        await connection.request()
        await connection.send(OK)

    trusting = ssl.create_default_context(cafile=str(certificate))
    async with serving(play, context=server_context) as server, engine(trusting) as transport:
        for _ in range(3):
            assert await ask(transport, server.url) == b"ok"
        assert server.accepted == 3


async def test_a_body_until_the_end():
    """A body without a length is whole when the peer closes, and its connection is gone."""
    async with serving(answering_and_closing(HEAD + b"\r\nok")) as server, engine() as transport:
        assert await ask(transport, server.url) == b"ok"
        await anyio.sleep(0.01)
        assert transport._open == set()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a self-signed certificate for this machine, and its key."""
    return self_signed(
        tmp_path_factory.mktemp("tls") / "certificate.pem", addresses=("127.0.0.1", "::1"), host="localhost"
    )
