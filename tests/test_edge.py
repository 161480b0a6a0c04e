"""The mechanics of ASGI hold against every server and host that was measured, and some that were not."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from copilot_asgi.edge import ClientDisconnected, Responder, disconnected, incoming, read_body
from copilot_asgi.errors import BodyTooLarge
from copilot_asgi.exchange import Head

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
    assert await read_body(messages(piece(body)), limit=1000) is body


async def test_a_body_in_pieces_is_joined() -> None:
    """Pieces, empty ones and messages without a body among them, make one body."""
    receive = messages(piece(b"a", more=True), {"type": "http.request", "more_body": True}, piece(b"b"))
    assert await read_body(receive, limit=2) == b"ab"


async def test_a_body_over_the_limit_is_refused_at_once() -> None:
    """The piece that goes over the limit is the last that is read."""
    with pytest.raises(BodyTooLarge):
        await read_body(messages(piece(b"abc", more=True)), limit=2)


async def test_a_client_that_leaves_early_is_no_request() -> None:
    """Half a body and a disconnect is not a body."""
    with pytest.raises(ClientDisconnected):
        await read_body(messages(piece(b"a", more=True), DISCONNECT), limit=10)


class Server:
    """A ``send`` that keeps messages; may raise at the first body."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.messages: list[dict[str, Any]] = []
        self._error = error

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body" and self._error is not None:
            raise self._error
        self.messages.append(message)

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])


def responder(server: Server, *, streams: bool = True, bodiless: bool = False) -> Responder:
    each = Responder(server, extra=((b"x-request-id", b"1"),), bodiless=bodiless)
    each.streams = streams
    return each


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


async def test_what_is_no_stream_is_sent_whole() -> None:
    """Nothing goes out before the end; then it has its length, whatever a stage has said of that."""
    server = Server()
    each = responder(server, streams=False)
    assert not each.begun
    await each.send(Head(200, ((b"content-type", b"application/json"), (b"content-length", b"9"))))
    await each.send(b"12")
    await each.send(b"345")
    assert (each.begun, each.started, server.messages) == (True, False, [])
    await each.finish()
    await each.finish()
    start, body = server.messages
    assert server.headers == {b"content-type": b"application/json", b"content-length": b"5", b"x-request-id": b"1"}
    assert (start["status"], body["body"], body["more_body"]) == (200, b"12345", False)


async def test_what_was_not_sent_yet_can_be_replaced() -> None:
    """An answer that fails at its end becomes an error, and nothing of it is seen."""
    server = Server()
    each = responder(server, streams=False)
    await each.send(Head(200, ((b"x-quota", b"1"),)))
    await each.send(b"half an ans")
    await each.respond(500, (), b"no")
    assert [server.messages[0]["status"], server.messages[1]["body"]] == [500, b"no"]
    assert b"x-quota" not in server.headers


async def test_a_stream_that_nobody_asked_for_streams() -> None:
    """A stage may answer with one."""
    server = Server()
    each = responder(server, streams=False)
    await each.send(Head(200, ((b"content-type", b"text/event-stream"),)))
    await each.send(b"data: 1\n\n")
    assert [message.get("body") for message in server.messages] == [None, b"data: 1\n\n"]


async def test_no_content_has_no_length() -> None:
    """RFC 9110 section 8.6."""
    server = Server()
    await responder(server).respond(204, (), b"")
    assert b"content-length" not in server.headers


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


async def test_a_send_that_raises_means_the_client_has_left() -> None:
    """Servers differ in what they raise; none of it is an error of ours."""
    for error in (BrokenPipeError(), anyio.BrokenResourceError(), anyio.ClosedResourceError()):
        each = responder(Server(error=error))
        await each.send(Head(200))
        with pytest.raises(ClientDisconnected):
            await each.send(b"x")
        assert not each.sending


async def test_what_is_being_sent_can_be_seen() -> None:
    """The messages are counted, and the one that the server has not taken yet is told apart."""
    seen: list[tuple[int, bool]] = []

    async def server(message: dict[str, Any]) -> None:
        seen.append((each.sent, each.sending))

    each = Responder(server, extra=(), bodiless=False)
    each.streams = True
    assert (each.sent, each.sending) == (0, False)
    await each.send(Head(200))
    await each.send(b"x")
    assert seen == [(1, True), (2, True)]
    assert (each.sent, each.sending) == (2, False)


async def test_a_disconnect_is_waited_for() -> None:
    """What comes before it says nothing."""
    with anyio.fail_after(5):
        await disconnected(messages(piece(b""), DISCONNECT))


async def test_junk_from_the_host_does_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
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

    monkeypatch.setattr("copilot_asgi.edge.anyio.sleep", sleep)
    with anyio.move_on_after(0.02) as scope:
        await disconnected(receive)
    assert scope.cancelled_caught
    assert calls == 8
    assert waits == sorted(waits)


async def test_a_receive_that_raises_means_nobody_listens() -> None:
    """Hosts differ in what they raise after a disconnect."""

    async def receive() -> dict[str, Any]:
        raise RuntimeError("called again after a disconnect")

    with anyio.fail_after(5):
        await disconnected(receive)


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
