"""The app in front of the simulator, in one process, for tests of the whole path."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import httpx

from copilot_asgi import CopilotApp, Secret, Settings, Upstream
from copilot_asgi.controls import Controls
from copilot_asgi.in_process import in_process_transport
from copilot_asgi.ledger.memory import MemoryLedger
from copilot_asgi.simulator import Simulator, SimulatorSettings
from copilot_asgi.stores.memory import MemoryStore
from copilot_asgi.wire.sse import EventParser

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
MESSAGES = {"model": "claude-sonnet-4.6", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}
RESPONSES = {"model": "gpt-5.4", "input": "hello", "store": False}
EMBEDDINGS = {"model": "text-embedding-3-small", "input": ["hello"]}
KEY = {"api_keys": (Secret("one-key"),)}
CALLS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/messages": MESSAGES,
    "/v1/responses": RESPONSES,
    "/v1/embeddings": EMBEDDINGS,
}


@dataclass
class Stand:
    """Everything that a test may look at."""

    simulator: Simulator
    app: CopilotApp
    client: httpx.AsyncClient
    clock: "Clock"

    async def events(self, path: str, body: dict[str, Any]) -> list[tuple[str, bytes]]:
        """The events of a stream, each with its name."""
        response = await self.client.post(path, json={**body, "stream": True})
        assert response.status_code == 200, response.text
        parser = EventParser()
        events = [(event.event, event.data) for event in parser.feed(response.content)]
        assert events or not response.content
        return events


class Clock:
    """A wall clock that is set by hand."""

    def __init__(self, now: float = 1_795_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def stand(
    simulated: SimulatorSettings | None = None,
    *,
    signed_in: bool = True,
    wrap: Callable[[Any], Any] = lambda app: app,
    controls: Mapping[str, Any] = MappingProxyType({}),
    **settings: Any,
) -> AsyncIterator[Stand]:
    """The app over a simulator; ``wrap`` may put something between, ``settings`` and ``controls`` are the app's."""
    clock = Clock()
    simulator = Simulator(settings=simulated or SimulatorSettings(), clock=clock)
    if signed_in:
        settings.setdefault("github_token", Secret(simulator.sign_in()))
    chosen = Settings(**settings)
    transport = in_process_transport(wrap(simulator), raise_exceptions=False)
    upstream = Upstream(chosen, store=MemoryStore(), transport=transport, wall=clock)
    chosen_controls = Controls(upstream, **{"ledger": MemoryLedger(), **controls})
    app = CopilotApp(chosen, upstream=upstream, controls=chosen_controls, raise_exceptions=True)
    client = httpx.AsyncClient(transport=in_process_transport(app), base_url="http://localhost", timeout=20)
    async with app, client:
        yield Stand(simulator, app, client, clock)
