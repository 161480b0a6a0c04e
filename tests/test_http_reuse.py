"""A connection is used again only when it is clean, and cancelled calls leave neither places nor sockets behind."""

import asyncio
import gc
import random

import anyio
import httpx
import pytest
from engines import ENGINES, LOOPS, ON_HTTPX, SETTINGS, use
from faulty_server import EVENT_STREAM, OK, Connection, answering, serving

from copilot_asgi._calls import Timeouts
from copilot_asgi._guards import GuardedTransport, _Backend
from copilot_asgi._h1 import H1Transport
from copilot_asgi._http import HttpClient
from copilot_asgi._transport import ssl_context
from copilot_asgi.errors import CopilotASGIError, UpstreamUnavailable

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
POISON = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"


def open_client(*, transport: httpx.AsyncBaseTransport | None = None, max_streams: int = 4) -> HttpClient:
    return HttpClient(transport=transport, timeouts=TIMEOUTS, max_streams=max_streams, allowed=lambda url: True)


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(OK, id="with a length"),
        pytest.param(EVENT_STREAM + b"2\r\nok\r\n0\r\n\r\n", id="chunked"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", id="without a body"),
    ],
)
async def test_a_clean_connection_is_used_again(first):
    """After a complete answer the next call goes over the same connection."""
    async with serving(answering(first)) as server, open_client() as client:
        await client.fetch("GET", server.url, headers=[])
        assert (await client.fetch("GET", server.url, headers=[])).body == b"ok"
        assert server.accepted == 1


WHOLE_READ = 65_536 - len(answer(b"")) - 4  # with it an answer fills httpcore's read: what follows waits elsewhere


WHOLE_READ_H1 = 262_144 - len(answer(b"")) - 5  # the same for asyncio


@pytest.mark.parametrize("size", [0, 2, WHOLE_READ - 9, WHOLE_READ, 131_072, WHOLE_READ_H1, 400_000])
async def test_an_answer_that_nobody_asked_for(size):
    """A second answer right behind the first one, wherever a read ends, is never the answer to a later call."""
    body = b"x" * size
    async with serving(answering(answer(body) + POISON)) as server, open_client() as client:
        assert (await client.fetch("GET", server.url, headers=[])).body == body
        assert (await client.fetch("GET", server.url, headers=[])).body != b"poison"
        assert server.accepted == 2


@pytest.mark.parametrize("junk", [b"\n", b"\r\n", b"x", POISON[:10]])
async def test_any_byte_too_many(junk):
    """One byte behind a chunked answer is enough to close the connection."""
    first = EVENT_STREAM + b"2\r\nok\r\n0\r\n\r\n" + junk
    async with serving(answering(first)) as server, open_client() as client:
        await client.fetch("GET", server.url, headers=[])
        assert (await client.fetch("GET", server.url, headers=[])).body == b"ok"
        assert server.accepted == 2


async def test_an_answer_that_comes_later():
    """An answer that arrives while the connection is idle closes it too."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(OK)
        await anyio.sleep(0.005)
        await connection.send(POISON)
        await connection.request()
        await connection.send(OK)

    async with serving(play) as server, open_client() as client:
        for _ in range(3):
            assert (await client.fetch("GET", server.url, headers=[])).body == b"ok"
            await anyio.sleep(0.02)
        assert server.accepted == 3


async def test_a_response_that_was_not_read_to_its_end():
    """A connection whose response was left half-way is closed, even when the rest had arrived."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(EVENT_STREAM)
        await connection.chunk(b"ok")
        await anyio.sleep(0.005)
        await connection.send(b"2\r\nok\r\n0\r\n\r\n")
        await connection.request()
        await connection.send(OK)

    async with serving(play) as server, open_client() as client:
        async with client.stream("POST", server.url, headers=[], content=b"") as response:
            assert await response.receive() == b"ok"
            await anyio.sleep(0.02)
        await client.fetch("GET", server.url, headers=[])
        assert server.accepted == 2
    gc.collect()


async def test_a_response_whose_body_was_not_looked_at():
    """A connection whose response was left at its head is closed."""
    async with serving(answering()) as server, open_client() as client:
        async with client.stream("POST", server.url, headers=[], content=b""):
            pass
        assert (await client.fetch("GET", server.url, headers=[])).body == b"ok"
        assert server.accepted == 2


@pytest.mark.parametrize("setting", ON_HTTPX, ids="-".join)
async def test_a_connection_that_cannot_be_looked_into(monkeypatch):
    """Where the state of a connection cannot be read it is closed, not trusted."""
    monkeypatch.setattr("copilot_asgi._guards._h11_machine", lambda stream: None)
    async with serving(answering()) as server, open_client() as client:
        for _ in range(3):
            assert (await client.fetch("GET", server.url, headers=[])).body == b"ok"
        assert server.accepted == 3


async def test_closed_between_requests():
    """A kept connection that the server has closed in the meantime is replaced, and nobody notices."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(OK)

    async with serving(play) as server, open_client() as client:
        for _ in range(3):
            assert (await client.fetch("POST", server.url, headers=[], content=b"{}")).body == b"ok"
            await anyio.sleep(0.005)
        assert len(server.requests) == 3


@pytest.mark.parametrize("reset", [False, True])
async def test_closed_by_the_second_request(reset):
    """A kept connection that ends without a byte of answer costs one more try, on a new one."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(OK)
        if connection.number == 1:
            await connection.request()
            if reset:
                await connection.reset()
            return
        await connection.request()
        await connection.send(OK)

    async with serving(play) as server, open_client() as client:
        for _ in range(2):
            assert (await client.fetch("POST", server.url, headers=[], content=b"{}")).body == b"ok"
        assert server.accepted == 2
        assert len(server.requests) == 3


async def test_one_more_try_only():
    """When the new connection ends without an answer too, that is the error."""

    async def play(connection: Connection) -> None:
        await connection.request()
        if connection.number == 1:
            await connection.send(OK)
            await connection.request()

    async with serving(play) as server, open_client() as client:
        await client.fetch("GET", server.url, headers=[])
        with pytest.raises(UpstreamUnavailable) as caught:
            await client.fetch("GET", server.url, headers=[])
        assert caught.value.sent
        assert len(server.requests) == 3


async def test_no_other_try_once_an_answer_began():
    """A kept connection that ends within the head is not tried again: the request was processed."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(OK)
        await connection.request()
        await connection.send(b"HTTP/1.1 20")

    async with serving(play) as server, open_client() as client:
        await client.fetch("GET", server.url, headers=[])
        with pytest.raises(CopilotASGIError):
            await client.fetch("GET", server.url, headers=[])
        assert len(server.requests) == 2


@pytest.mark.parametrize("setting", ON_HTTPX, ids="-".join)
async def test_a_connection_cancelled_before_its_first_request(monkeypatch):
    """The engine closes and forgets a connection that was opened and never used."""
    transport = GuardedTransport(ssl_context())
    connect = _Backend.connect_tcp
    scope = anyio.CancelScope()

    async def connect_and_cancel(self: _Backend, *args: object, **options: object) -> object:
        stream = await connect(self, *args, **options)
        scope.cancel()
        return stream

    monkeypatch.setattr(_Backend, "connect_tcp", connect_and_cancel)
    async with serving(answering()) as server, open_client(transport=transport) as client:
        with scope:
            await client.fetch("GET", server.url, headers=[])
        assert scope.cancelled_caught
        await server.all_closed()
        monkeypatch.undo()
        await client.fetch("GET", server.url, headers=[])
        assert len(transport._pool.connections) == 1


@pytest.mark.parametrize("setting", [("asyncio", "httpx")], ids="-".join)
@pytest.mark.parametrize("first", [OK, EVENT_STREAM + b"2\r\nok\r\n"], ids=["complete", "left half-way"])
async def test_a_release_that_asyncio_cancels(first):
    """A connection whose release is cancelled behind anyio's back is closed and forgotten, and its place is free."""
    transport = GuardedTransport(ssl_context())

    async def call(client: HttpClient, url: str) -> None:
        async with client.stream("POST", url, headers=[], content=b"") as response:
            await response.receive()
            if first is OK:
                await response.receive()
            task = asyncio.current_task()
            assert task is not None
            task.cancel()

    async with serving(answering(first)) as server, open_client(transport=transport) as client:
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(call(client, server.url))
        await server.all_closed()
        assert client._places._free.value == 4
        assert transport._pool._requests == []
        async with serving(answering()) as other:
            await client.fetch("GET", other.url, headers=[])
            assert len(transport._pool.connections) == 1


def in_use(transport: httpx.AsyncBaseTransport) -> list[object]:
    """Requests and connections that an engine does not count among the idle ones."""
    if isinstance(transport, H1Transport):
        return [*transport._open.difference(*transport._idle.values())]
    assert isinstance(transport, GuardedTransport)
    return [*transport._pool._requests, *(each for each in transport._pool.connections if not each.is_idle())]


class Storm:
    """A server of slow streams, a client with twenty places, and calls to be cancelled at random moments."""

    def __init__(self, engine: str) -> None:
        self.dice = random.Random(7)
        self.transport = ENGINES[engine]()
        self.client = open_client(transport=self.transport, max_streams=20)

    async def play(self, connection: Connection) -> None:
        while True:
            if b"/fast" in await connection.request():
                await connection.send(OK)
                continue
            await anyio.sleep(self.dice.random() * 0.01)
            await connection.send(EVENT_STREAM)
            for _ in range(5):
                await connection.chunk(b"x" * 50)
                await anyio.sleep(self.dice.random() * 0.01)
            await connection.chunk(b"")

    async def call(self, url: str) -> bytes:
        async with self.client.stream("POST", url, headers=[], content=b"{}") as response:
            return await response.read(1000)

    async def call_for_a_moment(self, url: str) -> None:
        with anyio.move_on_after(self.dice.random() * 0.06):
            await self.call(url)

    async def check(self, url: str) -> None:
        """Every place is free, no connection is stuck, and thirty calls of thirty are answered."""
        assert self.client._places._free.value == 20
        await anyio.sleep(0.01)
        assert in_use(self.transport) == []
        with anyio.fail_after(5):
            answers = [await self.call(url.replace("/path", "/fast")) for _ in range(30)]
        assert answers == [b"ok"] * 30


async def test_cancellation_storm(setting):
    """Four hundred calls cancelled while queued, connecting and streaming leave every place free and no socket open."""
    storm = Storm(setting[1])
    async with serving(storm.play) as server:
        async with storm.client:
            with anyio.fail_after(10):
                for _ in range(4):
                    async with anyio.create_task_group() as group:
                        for _ in range(100):
                            group.start_soon(storm.call_for_a_moment, server.url)
            await storm.check(server.url)
        await server.all_closed()
    gc.collect()


@pytest.mark.parametrize("setting", [each for each in SETTINGS if each[0] != "trio"], ids="-".join)
async def test_cancellation_storm_by_tasks(setting):
    """The same when tasks are cancelled as asyncio does it, behind anyio's back."""
    storm = Storm(setting[1])

    async def cancel(task: asyncio.Task[bytes]) -> None:
        await asyncio.sleep(storm.dice.random() * 0.06)
        task.cancel()

    async with serving(storm.play) as server:
        async with storm.client:
            for _ in range(4):
                tasks = [asyncio.create_task(storm.call(server.url)) for _ in range(100)]
                await asyncio.gather(*map(cancel, tasks))
                await asyncio.gather(*tasks, return_exceptions=True)
            await storm.check(server.url)
        await server.all_closed()
    gc.collect()
