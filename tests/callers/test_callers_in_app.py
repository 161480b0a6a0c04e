"""Callers through the whole app: what the scope holds reaches the authenticator, and no key ever comes out."""

import logging
from typing import Any

import httpx
import pytest

from copilot_asgi import Caller, CopilotApp, Exchange, Handler, Head, Secret, Send, Settings, Upstream
from copilot_asgi.callers.host_user import HostUser
from copilot_asgi.callers.key_record import make_key
from copilot_asgi.callers.key_ring import KeyRing
from copilot_asgi.callers.keys import authenticator_for
from copilot_asgi.callers.signed import SignedRequests, sign
from copilot_asgi.exchange import Arrival
from copilot_asgi.in_process import in_process_transport
from copilot_asgi.stages.identify import Identify
from copilot_asgi.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
CALL, QUERY = ("POST", "/v1/chat/completions"), ("GET", "/v1/models")


async def say_who(exchange: Exchange, send: Send, call_next: Handler) -> None:
    """A stage that answers with the caller's name."""
    assert exchange.caller is not None
    await send(Head(200, ((b"content-type", b"text/plain"),)))
    await send(exchange.caller.name.encode())


class Site:
    """The app over an empty store, where nobody is signed in to GitHub; a host in front of it fills the scope."""

    def __init__(self, authenticate: Any = None, *, scope: dict[str, Any] | None = None, **settings: Any) -> None:
        chosen = Settings(**settings)
        self.store = MemoryStore()
        self.ring = KeyRing(self.store)
        authenticate = authenticate or authenticator_for(chosen, self.store)
        self.app = CopilotApp(
            chosen,
            stages=[Identify(authenticate), say_who],
            upstream=Upstream(chosen, store=self.store),
            authenticate=authenticate,
        )
        self._scope = scope or {}

    async def host(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app({**scope, **self._scope}, receive, send)

    async def ask(self, method: str, path: str, *, client: str = "127.0.0.1", **more: Any) -> httpx.Response:
        transport = in_process_transport(self.host, client=(client, 5))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            return await http.request(method, path, **({"json": CHAT, **more} if method == "POST" else more))


def outcome(response: httpx.Response) -> str:
    """Who was let in; a query goes on to find that nobody is signed in to GitHub."""
    if response.status_code == 200:
        return response.text
    code: str = response.json()["error"]["code"]
    return {"login_required": "let in", "invalid_api_key": "refused"}.get(code, code)


def by_user(arrival: Arrival) -> str | None:
    return None if arrival.user is None else f"{arrival.user}"


async def by_session(arrival: Arrival) -> Caller | None:
    session = arrival.session
    return Caller(name=session["who"]) if isinstance(session, dict) else None


@pytest.mark.parametrize(("hook", "key", "value"), [(by_user, "user", "ada"), (by_session, "session", {"who": "ada"})])
async def test_the_hosts_user_and_session_reach_the_hook(hook: Any, key: str, value: object) -> None:
    """What Starlette's middleware puts into the scope decides, for calls and for questions; without it nobody may."""
    known, unknown = Site(HostUser(hook), scope={key: value}), Site(HostUser(hook))
    assert outcome(await known.ask(*CALL)) == "ada"
    assert outcome(await known.ask(*QUERY)) == "let in"
    for route in (CALL, QUERY):
        assert outcome(await unknown.ask(*route)) == "refused"


async def test_an_authenticator_sees_the_request_as_it_arrived() -> None:
    """Address, headers, method, path, query and body, whichever route it is; a plain function will do."""
    seen: list[Arrival] = []

    def look(arrival: Arrival) -> Caller:
        seen.append(arrival)
        return Caller(name="ada")

    site = Site(look)
    await site.ask("POST", "/v1/chat/completions?a=b", client="192.0.2.7", headers={"X-One": "1"})
    await site.ask("GET", "/v1/models?limit=1", client="192.0.2.7")
    call, query = seen
    assert (call.client, call.method, call.path, call.query) == ("192.0.2.7", "POST", "/v1/chat/completions", "a=b")
    assert (b"x-one", b"1") in call.headers
    assert b'"hello"' in call.body
    assert (query.method, query.path, query.query, query.body) == ("GET", "/v1/models", "limit=1", b"")


@pytest.mark.parametrize("route", [CALL, QUERY])
async def test_a_function_that_finds_no_caller_is_a_fault(route: tuple[str, str]) -> None:
    """It is answered with 500 and lets nobody in."""
    response = await Site(lambda arrival: None).ask(*route)
    assert response.status_code == 500
    assert "unexpected error" in response.json()["error"]["message"]


async def test_a_signed_request_gets_through_a_mount() -> None:
    """The path that is signed has the mount's prefix: it is the one that the client asked for."""
    secret = Secret("s")
    site = Site(SignedRequests({"robot": secret}, clock=lambda: 1e9), scope={"root_path": "/copilot"})
    body = b'{"model":"gpt-4o","messages":[]}'
    path, query = "/copilot/v1/chat/completions", "beta=true"
    headers = sign(secret, name="robot", method="POST", path=path, query=query, body=body, now=1e9)
    sent = {"json": None, "content": body, "headers": [*headers, (b"content-type", b"application/json")]}
    assert outcome(await site.ask("POST", f"{path}?{query}", **sent)) == "robot"
    assert outcome(await site.ask("POST", f"{path}?{query}", **sent)) == "refused"
    headers = sign(secret, name="robot", method="GET", path="/copilot/v1/models", now=1e9)
    assert outcome(await site.ask("GET", "/copilot/v1/models", headers=list(headers))) == "let in"


PLACES = "/ /healthz /readyz /usage /v1/models /v1/models/x /models /keys /v1/keys /api-keys /v1/api-keys /admin"
MORE_PLACES = "/config /settings /debug /metrics /.env /data /token /v1/token /dashboard /v1/approvals /state /logs"


@pytest.mark.parametrize("shown", ["key", "wrong", None])
async def test_no_answer_and_no_log_line_holds_a_key(shown: str | None, caplog: pytest.LogCaptureFixture) -> None:
    """Wherever one peeks, with a good key, a bad one or none, neither a key nor a digest comes out (S4)."""
    caplog.set_level(logging.DEBUG)
    key, record = make_key("alice", now=0.0)
    site = Site(api_keys=(Secret("the-operators-own-key"),))
    await site.ring.add(record)
    presented = {"key": key.reveal(), "wrong": "cak_" + "0" * 64}.get(shown or "")
    headers = {} if presented is None else {"authorization": f"Bearer {presented}"}
    said = ""
    for path in f"{PLACES} {MORE_PLACES}".split():
        for method in ("GET", "POST", "DELETE", "OPTIONS"):
            response = await site.ask(method, path, headers=headers)
            said += f"{response.headers}{response.text}"
    said += (await site.ask("POST", "/v1/chat/completions", headers=headers)).text
    secrets = (key.reveal(), record.digest, "the-operators-own-key", *([presented] if presented else []))
    for secret in secrets:
        assert secret not in said
        assert secret not in caplog.text
    assert ("alice" in said) == (shown == "key")


@pytest.mark.parametrize("place", ["query", "cookie", "body", "path"])
async def test_a_key_elsewhere_is_no_key(place: str) -> None:
    """In an address, a cookie or a body it would end up in logs, so there it opens nothing (S7)."""
    key, record = make_key("alice", now=0.0)
    site = Site()
    await site.ring.add(record)
    value, (method, path) = key.reveal(), CALL
    asked: dict[str, dict[str, Any]] = {
        "query": {"params": {"api_key": value, "key": value}},
        "cookie": {"headers": {"cookie": f"x-api-key={value}"}},
        "body": {"json": {**CHAT, "api_key": value}},
        "path": {},
    }
    where = f"{path}/{value}" if place == "path" else path
    response = await site.ask(method, where, **asked[place])
    assert response.status_code in {401, 404}
    assert value not in response.text


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions"])
async def test_making_a_public_app_reads_nothing_and_serves_nobody(path: str) -> None:
    """Without a key the answer says what to set; once one is made it opens, without a restart."""
    site = Site(allowed_hosts=("ai.example",))
    method = "POST" if "chat" in path else "GET"
    response = await site.ask(method, path)
    assert response.status_code == 401
    assert "keys add" in response.json()["error"]["message"]
    site = Site(allowed_hosts=("ai.example",))
    key, record = make_key("alice", now=0.0)
    await site.ring.add(record)
    headers = {"host": "ai.example", "x-api-key": key.reveal()}
    assert outcome(await site.ask(method, path, headers=headers)) in {"alice", "let in"}
