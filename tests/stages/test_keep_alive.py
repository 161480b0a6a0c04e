"""A silent stream says that it is alive, in the client's dialect, and never inside a piece."""

import anyio
import pytest

from copilot_asgi.errors import StreamInterrupted
from copilot_asgi.exchange import Arrival, Exchange, Handler, Head, Part, Request, Send
from copilot_asgi.stages.keep_alive import KeepAlive, _Line
from copilot_asgi.wire.dialect import Dialect

pytestmark = pytest.mark.anyio

HEAD = Head(200, ((b"content-type", b"text/event-stream"), (b"x-copilot-asgi-model", b"m")))
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
COMMENT = b": keep-alive\n\n"
INTERVAL = 0.02


def exchange(dialect: Dialect = Dialect.CHAT, *, stream: bool = True) -> Exchange:
    body = b'{"model":"m","stream":true}' if stream else b'{"model":"m"}'
    request = Request.decode(dialect, (), body)
    return Exchange(id="x", received_at=0.0, arrival=Arrival(client=None), request=request)


class Client:
    """Keeps what it is sent; may take its time for each part."""

    def __init__(self, takes: float = 0.0) -> None:
        self.parts: list[Part] = []
        self._takes = takes
        self._inside = False

    async def __call__(self, part: Part) -> None:
        assert not self._inside, "two messages at once"
        self._inside = True
        await anyio.sleep(self._takes)
        self.parts.append(part)
        self._inside = False


async def relay(stage: KeepAlive, client: Client, rest: Handler, dialect: Dialect = Dialect.CHAT) -> list[Part]:
    await stage(exchange(dialect), client, rest)
    return client.parts


@pytest.mark.parametrize(
    ("dialect", "ping"), [(Dialect.MESSAGES, PING), (Dialect.CHAT, COMMENT), (Dialect.RESPONSES, COMMENT)]
)
async def test_silence_is_filled_in_the_dialect(dialect: Dialect, ping: bytes) -> None:
    """Anthropic's clients know a ping event, the others a comment; pieces keep their order around it."""

    async def thinks(exchange: Exchange, send: Send) -> None:
        await send(HEAD)
        await send(b"one")
        await anyio.sleep(INTERVAL * 5)
        await send(b"two")

    parts = await relay(KeepAlive(INTERVAL), Client(), thinks, dialect)
    assert parts[:2] == [HEAD, b"one"]
    assert parts[-1] == b"two"
    assert set(parts[2:-1]) == {ping}


async def test_a_stream_that_does_not_begin_is_begun() -> None:
    """Silence before the head counts as well; the head that comes later is not sent twice."""

    async def thinks(exchange: Exchange, send: Send) -> None:
        await anyio.sleep(INTERVAL * 3)
        await send(HEAD)
        await send(b"one")

    parts = await relay(KeepAlive(INTERVAL), Client(), thinks)
    assert parts[:2] == [Head(200, ((b"content-type", b"text/event-stream"),)), COMMENT]
    assert [part for part in parts if isinstance(part, Head)] == parts[:1]
    assert parts[-1] == b"one"


async def test_a_busy_stream_is_left_alone() -> None:
    """While pieces come there is nothing to say."""

    async def talks(exchange: Exchange, send: Send) -> None:
        await send(HEAD)
        for _ in range(20):
            await send(b"x")
            await anyio.sleep(INTERVAL / 4)

    assert await relay(KeepAlive(INTERVAL * 20), Client(), talks) == [HEAD, *[b"x"] * 20]


async def test_a_slow_client_is_not_pinged() -> None:
    """A piece that is still on its way is no silence."""

    async def talks(exchange: Exchange, send: Send) -> None:
        await send(HEAD)
        await send(b"one")

    assert await relay(KeepAlive(INTERVAL), Client(takes=INTERVAL * 3), talks) == [HEAD, b"one"]


async def test_a_piece_waits_for_a_ping_that_is_on_its_way() -> None:
    """Two messages are never under way at once; ``Client`` would notice."""

    async def talks(exchange: Exchange, send: Send) -> None:
        await send(HEAD)
        for _ in range(5):
            await anyio.sleep(INTERVAL * 1.2)
            await send(b"x")

    parts = await relay(KeepAlive(INTERVAL), Client(takes=INTERVAL / 2), talks)
    assert parts.count(b"x") == 5
    assert COMMENT in parts


async def test_answers_that_are_no_streams_are_left_alone() -> None:
    """A client that waits for one body gets one body."""
    client = Client()

    async def thinks(exchange: Exchange, send: Send) -> None:
        await anyio.sleep(INTERVAL * 3)
        await send(b"{}")

    await KeepAlive(INTERVAL)(exchange(stream=False), client, thinks)
    assert client.parts == [b"{}"]


async def test_errors_come_out_bare() -> None:
    """What the rest of the pipeline raises is not wrapped."""

    async def fails(exchange: Exchange, send: Send) -> None:
        raise StreamInterrupted("cut")

    with pytest.raises(StreamInterrupted):
        await relay(KeepAlive(INTERVAL), Client(), fails)


async def test_cancellation_goes_through() -> None:
    """A client that leaves ends the relay and the pinging."""

    async def hangs(exchange: Exchange, send: Send) -> None:
        await anyio.sleep_forever()

    with anyio.move_on_after(INTERVAL) as scope:
        await relay(KeepAlive(1.0), Client(), hangs)
    assert scope.cancelled_caught


async def test_a_client_that_breaks_at_a_ping_ends_the_call() -> None:
    """What sending a ping raises ends the relay, and comes out bare."""
    ended: list[str] = []

    async def gone(part: Part) -> None:
        raise ConnectionResetError

    async def thinks(exchange: Exchange, send: Send) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("yes")

    with pytest.raises(ConnectionResetError):
        await KeepAlive(INTERVAL)(exchange(), gone, thinks)
    assert ended == ["yes"]


async def test_an_end_waits_for_a_ping_that_is_on_its_way() -> None:
    """Nothing is sent behind the end: whoever comes after the stream finds no message half sent."""
    client = Client(takes=INTERVAL)

    async def thinks(exchange: Exchange, send: Send) -> None:
        while not client.parts:
            await anyio.sleep(INTERVAL / 10)

    assert (await relay(KeepAlive(INTERVAL), client, thinks))[1:] == [COMMENT]


async def test_a_ping_that_is_never_taken_is_given_up() -> None:
    """A client that leaves in the middle of a ping leaves nothing behind."""
    stuck = anyio.Event()

    async def takes_nothing(part: Part) -> None:
        stuck.set()
        await anyio.sleep_forever()

    async def thinks(exchange: Exchange, send: Send) -> None:
        await anyio.sleep_forever()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(KeepAlive(INTERVAL), exchange(), takes_nothing, thinks)
            await stuck.wait()
            group.cancel_scope.cancel()


async def test_streams_at_the_same_time_are_pinged_each() -> None:
    """One task looks after all of them, and each hears from it."""
    stage, clients = KeepAlive(INTERVAL), [Client(), Client()]

    async def thinks(exchange: Exchange, send: Send) -> None:
        await anyio.sleep(INTERVAL * 2.5)

    async with anyio.create_task_group() as group:
        for client in clients:
            group.start_soon(stage, exchange(), client, thinks)
    assert all(COMMENT in client.parts for client in clients)


async def test_a_piece_that_is_quicker_than_its_ping() -> None:
    """A ping that was due, but comes to its turn while a piece is on its way, is left out."""
    client = Client(takes=INTERVAL)
    line = _Line(client, COMMENT, anyio.CancelScope())
    async with anyio.create_task_group() as group:
        group.start_soon(line, b"x")
        group.start_soon(line.ping)
    assert client.parts in ([b"x"], [Head(200, ((b"content-type", b"text/event-stream"),)), COMMENT, b"x"])
