"""Calls go only where they may, one by one through their places, and come back as they were answered."""

from collections.abc import AsyncIterator, Callable

import anyio
import anyio.lowlevel
import httpx
import pytest
from engines import LOOPS, SETTINGS, use
from faulty_server import EVENT_STREAM, OK, Connection, answering, answering_and_closing, serving

from copilot_asgi._calls import Timeouts
from copilot_asgi._http import HttpClient, Response
from copilot_asgi.errors import ConfigError, MalformedResponse, Overloaded, StreamInterrupted, UpstreamTimeout

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


TIMEOUTS = Timeouts(connect=5, head=5, idle=5, auth=5, queue=5)


def open_client(
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    timeouts: Timeouts = TIMEOUTS,
    max_streams: int = 4,
    allowed: Callable[[str], bool] = lambda url: True,
) -> HttpClient:
    return HttpClient(transport=transport, timeouts=timeouts, max_streams=max_streams, allowed=allowed)


async def streaming(connection: Connection) -> None:
    """Answer each request with one piece and nothing more until the client leaves."""
    await connection.request()
    await connection.send(EVENT_STREAM)
    await connection.chunk(b"one")
    await connection.gone()


class Fake(httpx.AsyncBaseTransport):
    """An engine that answers with what it is given and keeps what it is asked."""

    def __init__(self, pieces: list[bytes | Exception], status: int = 200) -> None:
        self.pieces = pieces
        self.status = status
        self.requests: list[httpx.Request] = []
        self.closed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self.status, headers=[(b"X-Name", b"value")], stream=FakeBody(self))


class FakeBody(httpx.AsyncByteStream):
    def __init__(self, transport: Fake) -> None:
        self._transport = transport

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._transport.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def aclose(self) -> None:
        self._transport.closed += 1


async def test_the_request_as_sent():
    """The wire carries what was asked for, our own framing, and no user agent, cookie or encoding of the library."""
    async with serving(answering()) as server, open_client() as client:
        await client.fetch(
            "POST", server.url + "?a=b", headers=[(b"Authorization", b"Bearer x"), (b"host", b"evil")], content=b"{}"
        )
    host = server.url.split("/")[2].encode()
    assert server.requests == [
        b"POST /path?a=b HTTP/1.1\r\nhost: %b\r\naccept-encoding: identity\r\n"
        b"Authorization: Bearer x\r\ncontent-length: 2\r\n\r\n{}" % host
    ]


async def test_a_get_has_no_length():
    """A request without a body says nothing of its length."""
    async with serving(answering()) as server, open_client() as client:
        await client.fetch("GET", server.url, headers=[])
    assert b"content-length" not in server.requests[0]


async def test_whole_answer():
    """A small answer has its status, its headers with lower-case names, and its body."""
    answer = b"HTTP/1.1 200 Fine\r\nX-Request-ID: 7\r\nContent-Length: 2\r\n\r\nhi"
    async with serving(answering(answer)) as server, open_client() as client:
        response = await client.fetch("GET", server.url, headers=[])
    assert response == Response(200, ((b"x-request-id", b"7"), (b"content-length", b"2")), b"hi")


@pytest.mark.parametrize("status", [204, 301, 304, 307, 401, 403, 421, 429, 500, 503])
async def test_every_status_is_an_answer(status):
    """No status is followed, retried or raised here: one request, one answer."""
    answer = b"HTTP/1.1 %d X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n" % status
    async with serving(answering(answer)) as server, open_client() as client:
        assert (await client.fetch("GET", server.url, headers=[])).status == status
        assert len(server.requests) == 1


async def test_no_cookie_is_kept():
    """A cookie that an answer sets is in no later request."""
    answer = b"HTTP/1.1 200 OK\r\nset-cookie: session=1; path=/\r\ncontent-length: 0\r\n\r\n"
    async with serving(answering(answer)) as server, open_client() as client:
        await client.fetch("GET", server.url, headers=[])
        await client.fetch("GET", server.url, headers=[])
    assert len(server.requests) == 2
    assert b"ookie" not in server.requests[1]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "https://api.example@evil.example/",
        "https://user:hidden@api.example/",
        "https://api.example\\@evil.example/",
        "ftp://api.example/",
        "//api.example/",
        "/path",
        "",
        "https://[bad/",
        "https://api.example.evil.example/",
        "https://api.example\n.evil.example/",
    ],
)
async def test_addresses_that_are_not_allowed(url):
    """An address that is not allowed, or reads differently than it looks, gets no request and sees no password."""
    engine = Fake([])
    async with open_client(transport=engine, allowed=lambda url: url.startswith("https://api.example/")) as client:
        with pytest.raises(ConfigError) as caught:
            await client.fetch("POST", url, headers=[(b"authorization", b"x")])
        assert "hidden" not in str(caught.value)
        with pytest.raises(ConfigError):
            client.stream("POST", url, headers=[(b"authorization", b"x")], content=b"")
        await client.fetch("GET", "https://API.example:443/x", headers=[])
    assert len(engine.requests) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"x", b"a\r\nb: c"),
        (b"x", b"a\nb"),
        (b"x", b"a\0"),
        (b"x\r\ny", b"a"),
        (b"", b"a"),
        (b"x y", b"a"),
        (b"x:", b"a"),
    ],
)
async def test_headers_that_are_not_allowed(name, value):
    """A header that could end early or begin another is refused before anything is sent, its value unseen."""
    engine = Fake([])
    async with open_client(transport=engine) as client:
        with pytest.raises(ConfigError) as caught:
            await client.fetch("GET", "https://api.example/", headers=[(name, value)])
    assert engine.requests == []
    assert str(value) not in str(caught.value)


async def test_any_engine():
    """The engine is one argument: its pieces, empty ones left out, arrive one by one, and its body is closed once."""
    engine = Fake([b"one", b"", b"two"])
    async with open_client(transport=engine) as client:
        async with client.stream("POST", "https://api.example/", headers=[], content=b"hello") as response:
            assert response.status == 200
            assert response.headers == ((b"x-name", b"value"),)
            assert [await response.receive() for _ in range(4)] == [b"one", b"two", b"", b""]
        assert engine.closed == 1
        [request] = engine.requests
        assert b"".join([piece async for piece in request.stream]) == b"hello"


async def test_an_answer_in_another_protocol():
    """A status below 200 is no answer; its body is closed."""
    engine = Fake([], status=101)
    async with open_client(transport=engine) as client:
        with pytest.raises(MalformedResponse):
            await client.fetch("GET", "https://api.example/", headers=[])
    assert engine.closed == 1


async def test_leaving_early_closes_any_engine():
    """A response that is left half-way is closed, its generator too."""
    engine = Fake([b"one", b"two"])
    async with (
        open_client(transport=engine) as client,
        client.stream("POST", "https://api.example/", headers=[], content=b"") as response,
    ):
        await response.receive()
    assert engine.closed == 1


@pytest.mark.parametrize(
    "error", [httpx.ReadError("x"), OSError("x"), anyio.BrokenResourceError(), httpx.ReadTimeout("x")]
)
async def test_a_broken_response_stays_broken(error):
    """After an error the rest is not taken for the end of the body."""
    async with (
        open_client(transport=Fake([b"one", error])) as client,
        client.stream("POST", "https://api.example/", headers=[], content=b"") as response,
    ):
        assert await response.receive() == b"one"
        for _ in range(2):
            with pytest.raises(StreamInterrupted):
                await response.receive()


async def test_a_cancelled_read_gives_the_response_up():
    """After a cancelled ``receive`` the rest is not taken for the end of the body."""
    async with (
        serving(streaming) as server,
        open_client() as client,
        client.stream("POST", server.url, headers=[], content=b"") as response,
    ):
        await response.receive()
        with anyio.move_on_after(0.01):
            await response.receive()
        with pytest.raises(StreamInterrupted):
            await response.receive()


async def test_leaving_closes_the_connection_at_once():
    """Leaving a stream half-way, by itself or by cancellation, ends its connection upstream."""
    async with serving(streaming) as server, open_client() as client:
        async with client.stream("POST", server.url, headers=[], content=b"") as response:
            await response.receive()
            assert server.open == 1
        await server.all_closed()
        with anyio.move_on_after(0.05) as scope:
            async with client.stream("POST", server.url, headers=[], content=b"") as response:
                await response.receive()
                await response.receive()
        assert scope.cancelled_caught
        await server.all_closed()


async def test_a_small_call_has_one_deadline_in_all():
    """Pieces that keep coming do not keep a small call alive."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(EVENT_STREAM)
        while True:
            await connection.chunk(b"x")
            await anyio.sleep(0.01)

    async with serving(play) as server, open_client(timeouts=Timeouts(auth=0.1)) as client:
        with (
            anyio.fail_after(2),
            pytest.raises(UpstreamTimeout, match=r"127\.0\.0\.1 did not answer within 0\.1 seconds"),
        ):
            await client.fetch("GET", server.url, headers=[])
        await server.all_closed()


async def test_a_full_house_refuses_after_the_queue_deadline():
    """When every place stays taken a call is refused with 503; a small call is not affected."""
    async with serving(answering()) as server, open_client(timeouts=Timeouts(queue=0.02), max_streams=2) as client:
        async with client.place(), client.place():
            with pytest.raises(Overloaded) as caught:
                async with client.place():
                    pytest.fail("there was a place")
            assert (caught.value.status, caught.value.retry_after) == (503, 1.0)
            assert (await client.fetch("GET", server.url, headers=[])).body == b"ok"
        async with client.place(), client.place():
            pass


async def test_places_are_given_in_order():
    """Who waits longest for a place gets it first, and one who stops waiting is passed over."""
    order: list[int] = []
    async with open_client(max_streams=1) as client:

        async def call(number: int, scope: anyio.CancelScope) -> None:
            with scope:
                async with client.place():
                    order.append(number)

        async with anyio.create_task_group() as group:
            scopes = [anyio.CancelScope() for _ in range(5)]
            async with client.place():
                for number, scope in enumerate(scopes):
                    group.start_soon(call, number, scope)
                    await anyio.wait_all_tasks_blocked()
                scopes[1].cancel()
        assert order == [0, 2, 3, 4]


async def test_a_client_that_is_not_open():
    """A call on a client without ``async with`` says so; closing such a client is harmless."""
    client = open_client()
    with pytest.raises(RuntimeError, match="async with"):
        client.stream("POST", "https://api.example/", headers=[], content=b"")
    await client.__aexit__(None, None, None)


async def test_closing_the_client_closes_idle_connections():
    """Connections that are kept for later end with the client."""
    async with serving(answering()) as server:
        async with open_client() as client:
            await client.fetch("GET", server.url, headers=[])
            assert server.open == 1
        await server.all_closed()


async def test_messages_hold_no_address():
    """What an error says names the host and nothing behind it, where secrets could stand."""
    async with serving(answering_and_closing(b"")) as server, open_client() as client:
        with pytest.raises(Exception, match=r"127\.0\.0\.1") as caught:
            await client.fetch("GET", server.url + "?key=hidden", headers=[(b"authorization", b"hidden")])
    assert "hidden" not in str(caught.value)
    assert OK not in str(caught.value).encode()
