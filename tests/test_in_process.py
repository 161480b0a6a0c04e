"""An app in the same process behaves towards its client as behind a server, and has ended when the response has."""

import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import anyio
import httpx
import httpx2
import pytest

from copilot_asgi._calls import Timeouts
from copilot_asgi._http import HttpClient
from copilot_asgi.errors import ConfigError
from copilot_asgi.in_process import in_process_transport, sync_in_process_transport

pytestmark = pytest.mark.anyio

LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
END = {"type": "http.response.body", "body": b""}
caller = ContextVar("caller", default="nobody")


def piece(body: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": True}


class App:
    """Streams pieces for ever or up to a number, watching for the client to leave, and keeps what it sees."""

    def __init__(self, *, pieces: int = sys.maxsize, watch: bool = True, linger: float = 0) -> None:
        self.pieces = pieces
        self.watch = watch
        self.linger = linger
        self.sent = 0
        self.log: list[str] = []
        self.scope: dict[str, Any] = {}
        self.body = b""
        self.caller = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self.caller = caller.get()
        more = True
        while more:
            message = await receive()
            self.body += message["body"]
            more = message["more_body"]
        try:
            async with anyio.create_task_group() as group:
                if self.watch:
                    group.start_soon(self._watch, receive, group.cancel_scope)
                await self._answer(send)
                group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(self.linger)
            self.log.append("ended")

    async def _watch(self, receive: Any, scope: anyio.CancelScope) -> None:
        message = await receive()
        self.log.append(message["type"])
        scope.cancel()

    async def _answer(self, send: Any) -> None:
        await send(START)
        while self.sent < self.pieces:
            await send(piece(b"piece %d;" % self.sent))
            self.sent += 1
        await send(END)


def client_of(app: Any, library: ModuleType, **options: Any) -> Any:
    transport = in_process_transport(app, library=library.__name__, **options)
    return library.AsyncClient(transport=transport, base_url="http://app.test")


async def some(response: Any, count: int) -> list[bytes]:
    """The first pieces of a response that is then left."""
    pieces: list[bytes] = []
    async with aclosing(response.stream.__aiter__()) as stream:
        async for item in stream:
            pieces.append(item)
            if len(pieces) == count:
                break
    return pieces


@LIBRARIES
async def test_a_whole_request(library):
    """The app sees the request as a server would show it, and its answer arrives whole."""
    app = App(pieces=3)
    async with client_of(app, library, client=("10.0.0.1", 7), root_path="/mounted") as client:
        response = await client.post("/v1/caf%C3%A9?q=1", content=b"hello", headers={"X-Name": "Value"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream"
    assert response.content == b"piece 0;piece 1;piece 2;"
    assert app.body == b"hello"
    assert app.log[-1] == "ended"
    seen = {
        key: app.scope[key] for key in ("type", "method", "path", "raw_path", "query_string", "root_path", "client")
    }
    assert seen == {
        "type": "http",
        "method": "POST",
        "path": "/v1/café",
        "raw_path": b"/v1/caf%C3%A9",
        "query_string": b"q=1",
        "root_path": "/mounted",
        "client": ("10.0.0.1", 7),
    }
    assert app.scope["server"] == ("app.test", 80)
    assert (b"x-name", b"Value") in app.scope["headers"]
    assert (b"host", b"app.test") in app.scope["headers"]


@LIBRARIES
async def test_a_request_body_in_pieces(library):
    """A body that the client sends piece by piece reaches the app whole."""

    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    app = App(pieces=0)
    async with client_of(app, library) as client:
        await client.post("/", content=body())
    assert app.body == b"onetwo"


@LIBRARIES
async def test_pieces_arrive_one_by_one(library):
    """A piece is delivered when it is sent, and the app waits in ``send`` until it is read."""
    app = App()
    async with client_of(app, library) as client, client.stream("POST", "/") as response:
        await anyio.wait_all_tasks_blocked()
        assert app.sent == 0
        async with aclosing(response.stream.__aiter__()) as stream:
            for number in range(5):
                assert await anext(stream) == b"piece %d;" % number
                await anyio.wait_all_tasks_blocked()
                assert app.sent == number + 1


@LIBRARIES
@pytest.mark.parametrize(("watch", "log"), [(True, ["http.disconnect", "ended"]), (False, ["ended"])])
async def test_leaving_early(library, watch, log):
    """Leaving ends an app that watches by ``http.disconnect`` and another by cancellation; it has ended afterwards."""
    app = App(watch=watch, linger=0.01)
    async with client_of(app, library) as client:
        with anyio.fail_after(0.5):
            async with client.stream("POST", "/") as response:
                assert await some(response, 2) == [b"piece 0;", b"piece 1;"]
                assert app.log == []
        assert app.log == log


@LIBRARIES
async def test_an_app_that_does_not_heed_the_disconnect(library, monkeypatch):
    """An app that sees ``http.disconnect`` and goes on may send in vain for a while, and is cancelled then."""
    monkeypatch.setattr("copilot_asgi._in_process.GRACE", 0.02)
    log: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        await send(START)
        async with anyio.create_task_group() as group:
            group.start_soon(receive)
            with anyio.CancelScope() as scope:
                while not scope.cancel_called:
                    await send(piece(b"x"))
                    log.append("sent")

    async with client_of(app, library) as client:
        async with client.stream("POST", "/") as response:
            await some(response, 1)
        count = len(log)
        assert count > 2
        await anyio.wait_all_tasks_blocked()
        assert len(log) == count


@LIBRARIES
async def test_cancelling_the_client(library):
    """A client that is cancelled while it waits for the head, or for a piece, ends the app."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        log.append("began")
        try:
            if scope["path"] == "/body":
                await send(START)
            await anyio.sleep_forever()
        finally:
            log.append("ended")

    for path in ("/head", "/body"):
        log: list[str] = []
        async with client_of(app, library) as client:
            with anyio.move_on_after(0.02) as scope:
                await client.post(path)
        assert scope.cancelled_caught
        assert log == ["began", "ended"]


@LIBRARIES
async def test_an_app_that_works_on_after_its_response(library):
    """Closing a complete response waits for the app; cancelling the wait cancels the app."""
    log: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(END)
        assert (await receive())["type"] == "http.disconnect"
        try:
            await anyio.sleep(0.01 if scope["path"] == "/short" else 60)
            log.append("done")
        finally:
            log.append("ended")

    async with client_of(app, library) as client:
        await client.get("/short")
        assert log == ["done", "ended"]
        with anyio.move_on_after(0.02):
            await client.get("/long")
        assert log == ["done", "ended", "ended"]


@LIBRARIES
async def test_errors_of_the_app(library):
    """What the app raises is raised where the client reads: before the head, in the body, after the end."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/head":
            await send(START)
        if scope["path"] == "/end":
            await send(END)
        raise ValueError(scope["path"])

    async with client_of(app, library) as client:
        for path in ("/head", "/body", "/end"):
            with pytest.raises(ValueError, match=path):
                await client.get(path)
    async with client_of(app, library, raise_exceptions=False) as client:
        assert (await client.get("/head")).status_code == 500
        assert (await client.get("/end")).status_code == 200
        with pytest.raises(library.RemoteProtocolError):
            await client.get("/body")


@LIBRARIES
@pytest.mark.parametrize("raise_exceptions", [True, False])
@pytest.mark.parametrize("messages", [[], [START], [START, piece(b"x")]], ids=["nothing", "head", "piece"])
async def test_an_app_that_ends_early(library, raise_exceptions, messages):
    """An app that returns before its response is complete is an error of the protocol, or status 500 without a head."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    async with client_of(app, library, raise_exceptions=raise_exceptions) as client:
        if raise_exceptions or messages:
            with pytest.raises(library.RemoteProtocolError):
                await client.get("/")
        else:
            assert (await client.get("/")).status_code == 500


@LIBRARIES
@pytest.mark.parametrize("messages", [[piece(b"x")], [START, START]], ids=["body first", "two heads"])
async def test_messages_out_of_order(library, messages):
    """An app that breaks the order of messages is told so."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    async with client_of(app, library) as client:
        with pytest.raises(RuntimeError, match="was due"):
            await client.get("/")


@LIBRARIES
async def test_the_read_timeout(library):
    """A client's read timeout holds for the head and for each piece, and ends the app."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            if scope["path"] == "/body":
                await send(START)
            await anyio.sleep_forever()
        finally:
            log.append("ended")

    log: list[str] = []
    async with client_of(app, library) as client:
        for path in ("/head", "/body"):
            with pytest.raises(library.ReadTimeout):
                await client.get(path, timeout=0.02)
    assert log == ["ended", "ended"]


@LIBRARIES
async def test_head_requests(library):
    """The answer to HEAD has no body, whatever the app sends."""
    async with client_of(App(pieces=2), library) as client:
        response = await client.head("/")
    assert response.status_code == 200
    assert response.content == b""


async def test_under_our_own_client():
    """The transport serves as the engine of our own HTTP client, which keeps its guards."""
    transport = in_process_transport(App(pieces=2))
    async with HttpClient(
        transport=transport, timeouts=Timeouts(), max_streams=1, allowed=lambda url: "app.test" in url
    ) as client:
        assert (await client.fetch("POST", "http://app.test/", headers=[], content=b"x")).body == b"piece 0;piece 1;"
        with pytest.raises(ConfigError):
            await client.fetch("GET", "http://other.test/", headers=[])


@LIBRARIES
async def test_the_context_of_the_caller(library):
    """The app sees the context variables of whoever calls."""
    app = App(pieces=0)
    caller.set("somebody")
    async with client_of(app, library) as client:
        await client.get("/")
    assert app.caller == "somebody"


@pytest.mark.parametrize("transport", [in_process_transport, sync_in_process_transport])
def test_a_library_that_is_missing(transport, monkeypatch):
    """The error names the package to install."""
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(ConfigError, match="pip install httpx2"):
        transport(App(), library="httpx2")
