"""Heads of model calls are put together once, and never used for a request that needs another one."""

from typing import cast

import httpx
import msgspec
import pytest

from copilot_asgi._calls import Timeouts
from copilot_asgi._http import HttpClient
from copilot_asgi.credentials.credential import Credential
from copilot_asgi.credentials.identity import editor
from copilot_asgi.exchange import Exchange
from copilot_asgi.routing import Route
from copilot_asgi.upstream import calls
from copilot_asgi.upstream.calls import ModelCalls
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.models import Model
from copilot_asgi.wire.turn import TurnFacts
from tests.stages.bench import make_exchange

pytestmark = pytest.mark.anyio

TOKEN = Credential(authorization=b"Bearer one", api_url="https://api.example", generation=1)
MODEL = Model(id="gpt-4o")


class Sent(httpx.AsyncBaseTransport):
    """Keeps the headers of what is sent."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.headers.append(dict(request.headers))
        return httpx.Response(200, content=b"")


class Stand:
    """Calls over a transport that keeps them; ``made`` counts the heads that were put together."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent = Sent()
        self.http = HttpClient(transport=self.sent, timeouts=Timeouts(), max_streams=1, allowed=lambda url: True)
        self.calls = ModelCalls(self.http, editor())
        self.made = 0
        draft = self.http.draft

        def counting(*args: object, **kwargs: object) -> object:
            self.made += 1
            return draft(*args, **kwargs)

        monkeypatch.setattr(self.http, "draft", counting)

    async def call(
        self,
        exchange: Exchange,
        *,
        model: Model = MODEL,
        dialect: Dialect = Dialect.CHAT,
        credential: Credential = TOKEN,
        by_user: bool = True,
        has_image: bool = False,
    ) -> dict[str, str]:
        exchange.turn = TurnFacts(by_user=by_user, has_image=has_image)
        async with self.http, self.calls.call(exchange, Route(model=model, dialect=dialect), credential) as response:
            assert await response.receive() == b""
        return self.sent.headers[-1]


async def test_one_head_serves_many_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is a request's own, its id and length, is added each time."""
    stand = Stand(monkeypatch)
    first = await stand.call(make_exchange(id="one"))
    second = await stand.call(make_exchange(b'{"model":"gpt-4o","messages":[]}', id="two"))
    assert stand.made == 1
    assert (first.pop("x-request-id"), second.pop("x-request-id")) == ("one", "two")
    assert first.pop("content-length") != second.pop("content-length")
    assert first == second


@pytest.mark.parametrize(
    ("change", "header", "value"),
    [
        ({"by_user": False}, "x-initiator", "agent"),
        ({"has_image": True}, "copilot-vision-request", "true"),
        ({"dialect": Dialect.MESSAGES}, "anthropic-version", "2023-06-01"),
        ({"credential": msgspec.structs.replace(TOKEN, authorization=b"Bearer two")}, "authorization", "Bearer two"),
        ({"model": Model(id="gpt-4o", request_headers={"X-Model": "new"})}, "x-model", "new"),
        ({"model": Model(id="other", request_headers={"X-Model": "other"})}, "x-model", "other"),
    ],
)
async def test_what_a_head_depends_on(
    change: dict[str, object], header: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that differs in any of it has a head of its own."""
    stand = Stand(monkeypatch)
    usual = await stand.call(make_exchange())
    other = await stand.call(make_exchange(), **cast("dict[str, bool]", change))
    assert usual.get(header) != value == other[header]
    assert stand.made == 2


async def test_a_stream_has_a_head_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts another content type."""
    stand = Stand(monkeypatch)
    await stand.call(make_exchange())
    streamed = await stand.call(make_exchange(b'{"model":"gpt-4o","stream":true}'))
    assert streamed["accept"] == "text/event-stream"


async def test_few_heads_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was unused for longest is forgotten."""
    monkeypatch.setattr(calls, "CAPACITY", 2)
    stand = Stand(monkeypatch)
    models = {name: Model(id=name) for name in "abc"}
    for name in "abacaba":
        await stand.call(make_exchange(), model=models[name])
    assert stand.made == 4
