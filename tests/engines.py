"""Both engines of the network door, so that one set of tests says how each behaves."""

import importlib.util
from collections.abc import Callable

import httpx
import pytest

from copilot_asgi._guards import GuardedTransport
from copilot_asgi._h1 import H1Transport
from copilot_asgi._transport import ssl_context

ENGINES: dict[str, Callable[[], httpx.AsyncBaseTransport]] = {
    "h1": lambda: H1Transport(ssl_context()),
    "httpx": lambda: GuardedTransport(ssl_context()),
}
LOOPS = {
    "asyncio": ("asyncio", {"use_uvloop": False}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}
ON_HTTPX = [("asyncio", "httpx"), ("trio", "httpx")]
ON_H1 = [(loop, "h1") for loop in ("asyncio", "uvloop") if importlib.util.find_spec(loop)]
SETTINGS = [*ON_H1, *ON_HTTPX]  # event loop and engine


def use(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it the engine of every client that is not given one."""
    monkeypatch.setattr("copilot_asgi._http.default_transport", lambda *_, **__: ENGINES[engine]())
