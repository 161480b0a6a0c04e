"""The mechanics of ASGI hold against every server and host that was measured, and some that were not."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from copilot_asgi.edge import ClientDisconnected, Responder, incoming, read_body, run_until_gone
from copilot_asgi.errors import BodyTimeout, BodyTooLarge, Draining
from copilot_asgi.exchange import Head
from copilot_asgi.in_flight import InFlight

pytestmark = pytest.mark.anyio

Receive = Callable[[], Awaitable[dict[str, Any]]]


def messages(*script: dict[str, Any]) -> Receive:
    """A ``receive`` that returns the script, then waits for ever."""
    left = list(script)

    async def receive() -> dict[str, Any]:
        if not left:
            await anyio.sleep_forever()
        return left.pop(0)

    return receive


def piece(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


DISCONNECT = {"type": "http.disconnect"}


async def test_a_body_in_one_piece_is_not_copied() -> None:
    """The bytes object of the server is the request's body."""
    body = bytes(1000)
    assert await read_body(messages(piece(body)), limit=1000, timeout=1) is body


async def test_a_body_in_pieces_is_joined() -> None:
    """Pieces, empty ones and messages without a body among them, make one body."""
    receive = messages(piece(b"a", more=True), {"type": "http.request", "more_body": True}, piece(b"b"))
    assert await read_body(receive, limit=2, timeout=1) == b"ab"


async def test_a_body_over_the_limit_is_refused_at_once() -> None:
    """The piece that goes over the limit is the last that is read."""
    with pytest.raises(BodyTooLarge):
        await read_body(messages(piece(b"abc", more=True)), limit=2, timeout=1)


async def test_a_body_that_never_comes_times_out() -> None:
    """A host that ate the body makes us wait, but not for ever, and the message says so."""
    with pytest.raises(BodyTimeout, match="middleware"):
        await read_body(messages(piece(b"a", more=True)), limit=10, timeout=0.01)


async def test_a_client_that_leaves_early_is_no_request() -> None:
    """Half a body and a disconnect is not a body."""
    with pytest.raises(ClientDisconnected):
        await read_body(messages(piece(b"a", more=True), DISCONNECT), limit=10, timeout=1)


class Work:
    """Something to run; says how it ended."""

    def __init__(self, error: Exception | None = None, *, waits: bool = False) -> None:
        self.ended = ""
        self._error = error
        self._waits = waits

    async def __call__(self) -> None:
        try:
            if self._waits:
                await anyio.sleep_forever()
            await anyio.lowlevel.checkpoint()
            if self._error is not None:
                raise self._error
            self.ended = "done"
        except anyio.get_cancelled_exc_class():
            self.ended = "cancelled"
            raise


async def test_work_that_ends_first_stops_the_watching() -> None:
    """A client that stays does not keep the request open."""
    work = Work()
    assert await run_until_gone(messages(), work) is False
    assert work.ended == "done"


async def test_a_leaving_client_cancels_the_work() -> None:
    """The work is cancelled where it waits."""
    work = Work(waits=True)
    assert await run_until_gone(messages(DISCONNECT), work) is True
    assert work.ended == "cancelled"


async def test_errors_come_out_bare() -> None:
    """What the work raises is not wrapped in a group."""
    with pytest.raises(ValueError, match="bare"):
        await run_until_gone(messages(), Work(ValueError("bare")))


async def test_cancellation_from_outside_goes_on() -> None:
    """Cancelling the request cancels the work, and is not taken for a disconnect."""
    work = Work(waits=True)
    with anyio.move_on_after(0.01) as scope:
        await run_until_gone(messages(), work)
    assert scope.cancelled_caught
    assert work.ended == "cancelled"


async def test_junk_from_the_host_neither_spins_nor_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``receive`` that returns empty messages for ever is called a few times, ever more slowly, and given up on."""
    calls = 0
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await anyio.lowlevel.checkpoint()

    async def receive() -> dict[str, Any]:
        nonlocal calls
        calls += 1
        return piece(b"")

    async def work() -> None:
        while calls < 8:
            await anyio.lowlevel.checkpoint()
        for _ in range(20):
            await anyio.lowlevel.checkpoint()

    monkeypatch.setattr("copilot_asgi.edge.anyio.sleep", sleep)
    assert await run_until_gone(receive, work) is False
    assert calls == 8
    assert waits == sorted(waits)


async def test_a_receive_that_raises_means_nobody_listens() -> None:
    """Hosts differ in what they raise after a disconnect."""

    async def receive() -> dict[str, Any]:
        raise RuntimeError("called again after a disconnect")

    assert await run_until_gone(receive, Work(waits=True)) is True


class Server:
    """A ``send`` that keeps messages; may block or raise at the first body."""

    def __init__(self, *, blocks: bool = False, error: Exception | None = None) -> None:
        self.messages: list[dict[str, Any]] = []
        self._blocks = blocks
        self._error = error

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body" and self._blocks:
            await anyio.sleep_forever()
        if message["type"] == "http.response.body" and self._error is not None:
            raise self._error
        self.messages.append(message)

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])


def responder(server: Server, *, bodiless: bool = False) -> Responder:
    return Responder(server, extra=((b"x-request-id", b"1"),), bodiless=bodiless, patience=0.01)


async def test_parts_become_messages() -> None:
    """A head starts the response, each piece is one message with the same bytes object, the end is sent once."""
    server = Server()
    each = responder(server)
    body = bytes(100)
    await each.send(Head(200, ((b"content-type", b"text/plain"),)))
    await each.send(body)
    await each.send(b"")
    await each.finish()
    await each.finish()
    assert [message["type"] for message in server.messages] == ["http.response.start"] + ["http.response.body"] * 2
    assert server.messages[1]["body"] is body
    assert [message["more_body"] for message in server.messages[1:]] == [True, False]
    assert server.headers == {b"content-type": b"text/plain", b"x-request-id": b"1"}


async def test_headers_for_one_hop_are_dropped() -> None:
    """Connection headers and those that servers add themselves do not go through."""
    server = Server()
    hop = (b"connection", b"transfer-encoding", b"keep-alive", b"date", b"server", b"upgrade", b"te", b"trailer")
    await responder(server).send(Head(200, tuple((name, b"x") for name in (*hop, b"retry-after"))))
    assert set(server.headers) == {b"retry-after", b"x-request-id"}


async def test_streams_forbid_buffering() -> None:
    """An event stream tells caches and proxies to leave it alone."""
    server = Server()
    each = responder(server)
    await each.send(Head(200, ((b"content-type", b"text/event-stream; charset=utf-8"),)))
    assert server.headers[b"cache-control"] == b"no-cache, no-transform"
    assert server.headers[b"x-accel-buffering"] == b"no"


async def test_an_answer_to_head_has_headers_only() -> None:
    """The length is that of the body that is not sent."""
    server = Server()
    await responder(server, bodiless=True).respond(200, (), b"12345")
    assert server.headers[b"content-length"] == b"5"
    assert [message.get("body") for message in server.messages] == [None, b""]


@pytest.mark.parametrize("server", [Server(blocks=True), Server(error=BrokenPipeError())], ids=["blocks", "raises"])
async def test_a_client_that_takes_nothing_has_left(server: Server) -> None:
    """A send that does not return in time, or raises as servers do, ends the request."""
    each = responder(server)
    await each.send(Head(200))
    with pytest.raises(ClientDisconnected):
        await each.send(b"x")


async def test_scopes_are_read_into_plain_values() -> None:
    """Missing keys, text where bytes belong, and header names in capitals are all seen in the wild."""
    call = incoming({"method": "post", "path": "/x", "headers": [[b"Host", b"a"]], "query_string": "a=b"})
    assert (call.method, call.query, call.headers, call.client) == ("POST", "a=b", ((b"host", b"a"),), None)
    assert (call.scheme, call.root_path, call.http1, call.has_body) == ("http", "", True, False)
    other = incoming(
        {
            "method": "GET",
            "path": "/",
            "headers": [(b"transfer-encoding", b"chunked")],
            "query_string": b"q",
            "client": ["::1", 5],
            "http_version": "2",
        }
    )
    assert (other.query, other.client, other.http1, other.has_body) == ("q", "::1", False, True)


async def test_draining_refuses_the_new_and_waits_for_the_old() -> None:
    """Requests under way end in their own time while there is some; new ones are refused at once."""
    in_flight = InFlight()
    gate = anyio.Event()
    done: list[str] = []

    async def request() -> None:
        await gate.wait()
        done.append("old")

    async def drain() -> None:
        await in_flight.drain(5)
        done.append("drained")

    async with anyio.create_task_group() as group:
        group.start_soon(in_flight.run, request)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(drain)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(Draining):
            await in_flight.run(request)
        gate.set()
    assert done == ["old", "drained"]


async def test_what_is_too_slow_is_ended_and_told() -> None:
    """After the time allowed a request is cancelled, and learns why."""
    in_flight = InFlight()
    errors: list[Exception] = []

    async def run() -> None:
        try:
            await in_flight.run(anyio.sleep_forever)
        except Draining as error:
            errors.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        await in_flight.drain(0.01)
    assert len(errors) == 1


async def test_idle_needs_no_waiting() -> None:
    """With nothing under way draining ends at once."""
    in_flight = InFlight()
    await in_flight.run(anyio.lowlevel.checkpoint)
    with anyio.fail_after(1):
        await in_flight.drain(60)
