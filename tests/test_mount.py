"""The app beside a host: its own path, one lifespan for both, and a host that takes no part in it."""

from typing import Any

import anyio
import pytest

from copilot_asgi import CopilotApp, CopilotMiddleware, Settings
from copilot_asgi.errors import ConfigError

pytestmark = pytest.mark.anyio


class Host:
    """A host application that notes what reaches it; how it treats lifespan can be chosen."""

    def __init__(self, lifespan: str = "served") -> None:
        self.seen: list[str] = []
        self._lifespan = lifespan

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            self.seen.append(scope["path"])
            await send({"type": "http.response.start", "status": 299, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        if self._lifespan == "raises":
            raise ValueError("I know no lifespan")
        for kind in ("startup", "shutdown"):
            message = await receive()
            assert message["type"] == f"lifespan.{kind}"
            self.seen.append(kind)
            if self._lifespan == f"{kind} fails":
                await send({"type": f"lifespan.{kind}.failed", "message": "no"})
                return
            await send({"type": f"lifespan.{kind}.complete"})


class OldHost:
    """An application of the old style: called with the scope it returns the one to be called."""

    def __init__(self, scope: Any) -> None:
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 298, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def beside(host: Any, path: str = "/copilot") -> CopilotMiddleware:
    return CopilotMiddleware(host, app=CopilotApp(Settings()), path=path)


async def status(app: Any, path: str, root_path: str = "") -> int:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "root_path": root_path,
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
    }
    frozen = dict(scope)
    await app(scope, receive, send)
    assert scope == frozen, "the scope was written to"
    assert sent[-1].get("more_body", False) is False
    code: int = sent[0]["status"]
    return code


@pytest.mark.parametrize(
    ("path", "root_path", "code"),
    [
        ("/copilot/healthz", "", 200),
        ("/copilot", "", 200),
        ("/copilot/", "", 200),
        ("/copilot/nothing", "", 404),
        ("/copilotx/healthz", "", 299),
        ("/healthz", "", 299),
        ("/", "", 299),
        ("/api/copilot/healthz", "/api", 200),  # a server that prepends its root path
        ("/copilot/healthz", "/api", 200),  # a server that does not
        ("/api/healthz", "/api", 299),
    ],
)
async def test_only_what_is_below_the_path_is_ours(path: str, root_path: str, code: int) -> None:
    """Everything else reaches the host, whatever the server does with its root path."""
    assert await status(beside(Host()), path, root_path) == code


async def test_old_style_hosts_are_called_their_way() -> None:
    """Applications of ASGI 2 still work as a host."""
    assert await status(beside(OldHost), "/") == 298


async def test_a_websocket_on_our_path_is_closed() -> None:
    """There is no websocket of ours; the host keeps its own."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await beside(Host())({"type": "websocket", "path": "/copilot/responses", "headers": []}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


@pytest.mark.parametrize("path", ["", "copilot", "/copilot/", "/", "//x"])
def test_a_path_that_cannot_be_is_refused(path: str) -> None:
    """The path starts with a slash and does not end with one."""
    with pytest.raises(ConfigError, match="path"):
        beside(Host(), path)


async def lifespan(app: Any) -> list[str]:
    """Drive a lifespan from start to end, as a server does."""
    to_app, receive = anyio.create_memory_object_stream[dict[str, Any]](2)
    sent: list[str] = []
    started = anyio.Event()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"].removeprefix("lifespan."))
        started.set()

    async with to_app, receive, anyio.create_task_group() as group:
        group.start_soon(app, {"type": "lifespan"}, receive.receive, send)
        await to_app.send({"type": "lifespan.startup"})
        await started.wait()
        if sent == ["startup.complete"]:
            await to_app.send({"type": "lifespan.shutdown"})
    return sent


async def test_lifespan_is_served_for_both() -> None:
    """The host starts and stops inside ours."""
    host = Host()
    assert await lifespan(beside(host)) == ["startup.complete", "shutdown.complete"]
    assert host.seen == ["startup", "shutdown"]


async def test_a_host_without_lifespan_is_spared_it() -> None:
    """A host that raises has no lifespan; the server never learns."""
    assert await lifespan(beside(Host("raises"))) == ["startup.complete", "shutdown.complete"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("startup fails", ["startup.failed"]), ("shutdown fails", ["startup.complete", "shutdown.failed"])],
)
async def test_a_host_that_fails_is_heard(kind: str, expected: list[str]) -> None:
    """What the host says about its own start and end is passed on."""
    assert await lifespan(beside(Host(kind))) == expected


async def test_the_app_answers_lifespan_itself() -> None:
    """Standalone, the app takes part in lifespan."""
    assert await lifespan(CopilotApp(Settings())) == ["startup.complete", "shutdown.complete"]
