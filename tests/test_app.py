"""The whole path, in one process: edge, pipeline, tokens, forwarding, and what the client sees when things go wrong."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import httpx
import msgspec
import pytest

from copilot_asgi import CopilotApp, Exchange, Handler, Head, Secret, Send, Settings, Upstream
from copilot_asgi.in_process import in_process_transport
from copilot_asgi.simulator import FAULTS, Endpoints, Fault, Simulator, SimulatorSettings
from copilot_asgi.upstream.client import Opened
from tests.stand import CALLS, CHAT, EMBEDDINGS, MESSAGES, RESPONSES, stand

pytestmark = pytest.mark.anyio

STREAMS = {path: body for path, body in CALLS.items() if path != "/v1/embeddings"}


@pytest.mark.parametrize("path", CALLS)
async def test_every_endpoint_answers_with_and_without_v1(path: str) -> None:
    """Each route serves its dialect under both names, and upstream finds nothing to object to."""
    async with stand() as it:
        for each in (path, path.removeprefix("/v1")):
            response = await it.client.post(each, json=CALLS[path])
            assert response.status_code == 200, response.text
            assert response.headers["content-type"].startswith("application/json")
            assert int(response.headers["content-length"]) == len(response.content)
            assert UUID(response.headers["x-request-id"]).version == 4
        assert it.simulator.violations == []


@pytest.mark.parametrize("path", STREAMS)
async def test_every_model_endpoint_streams(path: str) -> None:
    """Streams have the headers that keep others from holding them back, and end as their dialect ends."""
    async with stand() as it:
        async with it.client.stream("POST", path, json={**STREAMS[path], "stream": True}) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            assert response.headers["cache-control"] == "no-cache, no-transform"
            assert response.headers["x-accel-buffering"] == "no"
            text = (await response.aread()).decode()
        last = {"chat": "data: [DONE]", "messages": "message_stop", "responses": "response.completed"}
        assert last[path.split("/")[2]] in text.strip().split("\n\n")[-1]
        assert it.simulator.violations == []


async def test_a_message_id_is_under_both_names() -> None:
    """Anthropic's SDK reads ``request-id``."""
    async with stand() as it:
        response = await it.client.post("/v1/messages", json=MESSAGES)
        assert response.headers["request-id"] == response.headers["x-request-id"]


async def test_models_in_both_shapes() -> None:
    """OpenAI's list by default, Anthropic's for its clients, pages included."""
    async with stand() as it:
        plain = (await it.client.get("/v1/models")).json()
        assert plain["object"] == "list"
        assert {"id", "object", "created", "owned_by", "copilot"} <= set(plain["data"][0])
        headers = {"anthropic-version": "2023-06-01"}
        page = (await it.client.get("/v1/models?limit=2", headers=headers)).json()
        assert (len(page["data"]), page["has_more"], page["data"][0]["type"]) == (2, True, "model")
        after = page["last_id"]
        more = (await it.client.get(f"/v1/models?limit=1000&after_id={after}", headers=headers)).json()
        assert len(more["data"]) == len(plain["data"]) - 2
        one = (await it.client.get("/v1/models/gpt-4o")).json()
        assert one["id"] == "gpt-4o"
        other = (await it.client.get("/v1/models/claude-sonnet-4.6", headers=headers)).json()
        assert other["display_name"] == "Claude Sonnet 4.6"
        bad = await it.client.get("/v1/models?limit=x", headers=headers)
        assert (bad.status_code, bad.json()["type"]) == (400, "error")
        absent = await it.client.get("/v1/models/nothing")
        assert (absent.status_code, absent.json()["error"]["code"]) == (404, "model_not_found")


async def test_the_catalog_is_fetched_once_and_kept_when_upstream_is_down() -> None:
    """A hundred callers at a cold start cause one list and one exchange; an outage leaves the last list in use."""
    async with stand() as it:
        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(it.client.get, "/models")
        lists = [request for request in it.simulator.requests if request.path == "/models"]
        assert (len(lists), it.simulator.exchanges) == (1, 1)
        opened = await it.app.upstream.opened()
        opened.catalogs._clock = lambda: 1e12
        it.simulator.fail("/models", FAULTS["502_html"])
        response = await it.client.get("/models")
        assert response.status_code == 200
        assert len([request for request in it.simulator.requests if request.path == "/models"]) == 2


async def test_usage_is_told_without_a_token() -> None:
    """Plan and quotas, field by field; no secret anywhere."""
    async with stand() as it:
        text = (await it.client.get("/usage")).text
        assert '"plan":"individual"' in text
        assert "gh" + "u_" not in text
        assert "tid=" not in text


async def test_alive_and_ready() -> None:
    """Alive always; ready when a token can be had, and otherwise it says what is missing."""
    async with stand() as it:
        assert (await it.client.get("/healthz")).json() == {"status": "alive"}
        assert (await it.client.get("/readyz")).json() == {"status": "ready", "circuits": []}
        assert (await it.client.get("/")).json()["name"] == "copilot_asgi"
    async with stand(signed_in=False) as it:
        response = await it.client.get("/readyz")
        assert (response.status_code, response.json()["missing"]) == (503, "login_required")
        assert "copilot-asgi login" in response.json()["message"]
        assert (await it.client.get("/healthz")).status_code == 200


async def test_head_and_options() -> None:
    """HEAD has headers only, OPTIONS names the methods."""
    async with stand() as it:
        head = await it.client.head("/")
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["content-length"]) > 0
        options = await it.client.options("/v1/chat/completions")
        assert (options.status_code, options.headers["allow"]) == (204, "POST, OPTIONS")
        assert "access-control-allow-origin" not in options.headers


async def test_cors_for_listed_origins_only() -> None:
    """A listed page may ask and read; others are refused before anything happens."""
    async with stand(cors_origins=("https://app.example",)) as it:
        listed = {"origin": "https://app.example"}
        preflight = await it.client.options("/v1/chat/completions", headers=listed)
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"
        assert preflight.headers["access-control-allow-methods"] == "POST, OPTIONS"
        answer = await it.client.post("/v1/chat/completions", json=CHAT, headers=listed)
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        other = await it.client.get("/v1/models", headers={"origin": "https://evil.example"})
        assert (other.status_code, other.json()["error"]["code"]) == (403, "origin_not_allowed")
        assert "access-control-allow-origin" not in other.headers


async def test_foreign_hosts_see_nothing() -> None:
    """The Host is checked on each route, before anything else."""
    async with stand() as it:
        for path in ("/", "/healthz", "/models", "/nothing"):
            response = await it.client.get(path, headers={"host": "evil.example"})
            assert (response.status_code, response.json()["error"]["code"]) == (403, "host_not_allowed")
        assert it.simulator.requests == []


KEYS = {"api_keys": (Secret("one-key"), Secret("another-key"))}


@pytest.mark.parametrize("path", ["/v1/models", "/models/gpt-4o", "/usage", *CALLS])
async def test_keys_are_asked_for(path: str) -> None:
    """With keys configured everybody needs one, and no route that costs or tells something is open."""
    async with stand(**KEYS) as it:
        call: Any = it.client.post if path in CALLS else it.client.get
        more: dict[str, Any] = {"json": CALLS[path]} if path in CALLS else {}
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": "Basic one-key"},
            {"x-api-key": "wrong"},
            {"authorization": "Bearer one-key", "x-api-key": "another-key"},
            {"cookie": "key=one-key"},
        ):
            response = await call(path, headers=headers, **more)
            assert response.status_code == 401, headers
        assert (await call(f"{path}?api_key=one-key", **more)).status_code == 401
        for headers in (
            {"authorization": "Bearer one-key"},
            {"authorization": "bearer another-key"},
            {"x-api-key": "one-key"},
            {"authorization": "Bearer one-key", "x-api-key": "one-key"},
        ):
            assert (await call(path, headers=headers, **more)).status_code == 200, headers


async def test_without_keys_only_this_machine_is_served() -> None:
    """A caller from elsewhere is refused, whatever the Host says."""
    async with stand() as it:
        transport = in_process_transport(it.app, client=("192.168.0.7", 5))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as stranger:
            assert (await stranger.get("/models")).status_code == 401
            assert (await stranger.post("/v1/chat/completions", json=CHAT)).status_code == 401
            assert (await stranger.get("/healthz")).status_code == 200
        assert it.simulator.requests == []


async def test_other_hosts_need_keys() -> None:
    """Where names beyond this machine are served, nobody is without a key, and the answer says what to set."""
    async with stand(allowed_hosts=("ai.example",)) as it:
        for host in ("ai.example", "localhost"):
            response = await it.client.get("/models", headers={"host": host})
            assert response.status_code == 401
            assert "COPILOT_ASGI_API_KEYS" in response.json()["error"]["message"]
        assert it.simulator.requests == []
    async with stand(allowed_hosts=("ai.example",), **KEYS) as it:
        response = await it.client.get("/models", headers={"host": "ai.example", "x-api-key": "one-key"})
        assert response.status_code == 200


BAD_REQUESTS: list[tuple[str, dict[str, Any], int]] = [
    ("GET", {}, 405),
    ("DELETE", {}, 405),
    ("POST", {"content": b"x", "headers": {"content-type": "text/plain"}}, 415),
    ("POST", {"data": {"a": "b"}}, 415),
    ("POST", {"content": b"{}", "headers": {"content-type": "application/json", "content-encoding": "gzip"}}, 415),
    ("POST", {"content": b"{", "headers": {"content-type": "application/json"}}, 400),
    ("POST", {"json": []}, 400),
    ("POST", {"json": {"messages": []}}, 400),
    ("POST", {"json": {"model": "gpt-4o", "stream": "yes"}}, 400),
    ("POST", {"json": {"model": "no-such-model", "messages": [], "input": "x"}}, 404),
    ("POST", {"content": b"x" * 2001, "headers": {"content-type": "application/json"}}, 413),
]


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize(("method", "options", "status"), BAD_REQUESTS)
async def test_bad_requests_are_refused_in_the_dialect(
    path: str, method: str, options: dict[str, Any], status: int
) -> None:
    """Each mistake has its status and a sentence, in the shape that the client's SDK reads; nothing goes upstream."""
    async with stand(max_body=2000) as it:
        response = await it.client.request(method, path, **options)
        assert response.status_code == status, response.text
        body = response.json()
        assert len(body["error"]["message"]) > 10
        if path == "/v1/messages":
            assert (body["type"], body["request_id"]) == ("error", response.headers["request-id"])
        if status == 405:
            assert response.headers["allow"] == "POST"
        assert not any(request.path == path for request in it.simulator.requests)


async def test_unread_bodies_close_the_connection() -> None:
    """What is left of a refused body cannot be read as the next request."""
    async with stand() as it:
        response = await it.client.post("/v1/chat/completions", content=b"GET /usage HTTP/1.1", headers={"a": "b"})
        assert (response.status_code, response.headers["connection"]) == (415, "close")
        assert "connection" not in (await it.client.get("/models")).headers


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1/chat/completions", "text-embedding-3-small"),
        ("/v1/messages", "text-embedding-3-small"),
        ("/v1/embeddings", "gpt-4o"),
        ("/v1/chat/completions", "gpt-41-copilot"),
    ],
)
async def test_a_model_that_cannot_serve_that(path: str, model: str) -> None:
    """The refusal is a plain 400 in the client's dialect that names what to use instead."""
    async with stand() as it:
        response = await it.client.post(path, json={**CALLS[path], "model": model})
        assert response.status_code == 400
        message = response.json()["error"]["message"]
        assert model in message
        assert "POST /v1/" in message or "GET models" in message


async def test_five_hundred_callers_on_an_expired_token_cause_one_exchange() -> None:
    """Upstream refuses the token in mid-burst: everyone is served, and one new token is fetched."""
    async with stand(max_streams=500) as it:
        assert (await it.client.post("/v1/chat/completions", json=CHAT)).status_code == 200
        it.simulator.expire_copilot_tokens()
        before = it.simulator.exchanges
        statuses: list[int] = []

        async def call() -> None:
            statuses.append((await it.client.post("/v1/chat/completions", json=CHAT)).status_code)

        async with anyio.create_task_group() as group:
            for _ in range(500):
                group.start_soon(call)
        assert statuses == [200] * 500
        assert it.simulator.exchanges - before == 1


async def test_after_a_suspend_the_next_request_works() -> None:
    """The wall clock jumps eight hours: the first request fetches a new token, and nobody notices."""
    async with stand() as it:
        assert (await it.client.post("/v1/chat/completions", json=CHAT)).status_code == 200
        it.clock.now += 8 * 3600
        assert (await it.client.post("/v1/chat/completions", json=CHAT)).status_code == 200
        assert it.simulator.exchanges == 2
        it.clock.now -= 365 * 86400
        assert (await it.client.post("/v1/chat/completions", json=CHAT)).status_code == 200


async def test_a_token_that_is_always_refused_is_refreshed_once() -> None:
    """One fresh token, one more try, then the client is told."""
    async with stand() as it:
        await it.client.get("/models")
        it.simulator.enqueue(FAULTS["token_expired"], FAULTS["token_expired"])
        response = await it.client.post("/v1/chat/completions", json=CHAT)
        assert response.status_code == 401
        assert it.simulator.exchanges == 2


async def test_a_revoked_login_is_told_and_kept() -> None:
    """GitHub no longer takes the token: the caller learns what to do."""
    async with stand() as it:
        it.simulator.revoke_github_tokens()
        response = await it.client.post("/v1/chat/completions", json=CHAT)
        assert response.status_code == 401
        assert "sign in again" in response.json()["error"]["message"].lower() or "login" in response.text


async def test_direct_mode_needs_no_exchange() -> None:
    """The GitHub token itself is the credential; the exchange is never asked."""
    async with stand(token_mode=msgspec.convert("direct", Settings.__annotations__["token_mode"])) as it:
        response = await it.client.post("/v1/chat/completions", json=CHAT)
        assert response.status_code == 200
        assert it.simulator.exchanges == 0
        assert it.simulator.violations == []


async def test_a_hostile_endpoint_never_sees_the_token() -> None:
    """GitHub's answer names a foreign host: it is ignored."""
    async with stand(SimulatorSettings(endpoints=Endpoints.HOSTILE)) as it:
        assert (await it.client.post("/v1/chat/completions", json=CHAT)).status_code == 200
        assert {request.host for request in it.simulator.requests} <= {
            "github.com",
            "api.github.com",
            "api.githubcopilot.com",
        }


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("model_not_supported", 400, "not supported"),
        ("policy_403", 403, "policy"),
        ("quota_exceeded", 402, "quota"),
        ("rate_limited", 429, "rate limit"),
        ("429_provider", 429, "exhausted"),
        ("413_text", 413, "Too Large"),
        ("422", 400, "filtered"),
        ("421", 502, ""),
        ("466", 400, ""),
        ("500", 500, "Internal"),
        ("502_html", 502, ""),
        ("503_provider", 503, "rate limited"),
        ("504_text", 504, "timeout"),
        ("400_bodyless", 400, ""),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_upstream_refusals_reach_the_client(*, fault: str, status: int, words: str, stream: bool) -> None:
    """Statuses keep their class, messages are passed on, and without retries nothing is repeated."""
    async with stand(retries=0) as it:
        await it.client.get("/models")
        it.simulator.enqueue(FAULTS[fault])
        response = await it.client.post("/v1/chat/completions", json={**CHAT, "stream": stream})
        assert response.status_code == status, response.text
        assert words in response.json()["error"]["message"]
        assert len([request for request in it.simulator.requests if request.path == "/chat/completions"]) == 1
        other = {**CHAT, "model": "gpt-4.1"}
        # A throttled account is left alone for a while; every other refusal is about this request or its model.
        assert (await it.client.post("/v1/chat/completions", json=other)).status_code == (429 if status == 429 else 200)


async def test_retry_after_is_passed_on() -> None:
    """The client learns how long to wait."""
    async with stand() as it:
        await it.client.get("/models")
        it.simulator.enqueue(FAULTS["rate_limited"])
        response = await it.client.post("/v1/chat/completions", json=CHAT)
        assert response.headers["retry-after"] == "20"


ENDINGS = {
    "/v1/chat/completions": ("message", '"error"'),
    "/v1/messages": ("error", '"type":"error"'),
    "/v1/responses": ("response.failed", '"failed"'),
}


@pytest.mark.parametrize("abort", [False, True], ids=["ends early", "breaks off"])
@pytest.mark.parametrize("path", STREAMS)
async def test_a_cut_stream_ends_in_an_error_event(*, path: str, abort: bool) -> None:
    """Upstream stops half-way: the last event is an error in the client's dialect, never a success."""
    async with stand() as it:
        await it.client.get("/models")
        it.simulator.enqueue(Fault(cut_after=4, abort=abort))
        events = await it.events(path, STREAMS[path])
        name, words = ENDINGS[path]
        assert events[-1][0] == name
        assert words.encode() in events[-1][1]
        text = b"".join(data for _, data in events)
        assert not any(end in text for end in (b"[DONE]", b"message_stop", b"response.completed"))
        if path == "/v1/responses":
            begun, failed = json.loads(events[0][1]), json.loads(events[-1][1])
            assert failed["response"]["id"] == begun["response"]["id"]
            assert failed["sequence_number"] == json.loads(events[-2][1])["sequence_number"] + 1


@pytest.mark.parametrize("path", STREAMS)
async def test_an_error_as_first_event_becomes_a_status(path: str) -> None:
    """Nothing was sent yet, so the client gets a proper error."""
    async with stand() as it:
        await it.client.get("/models")
        it.simulator.enqueue(Fault(error_after=0, error={"message": "overloaded", "code": "rate_limited"}))
        response = await it.client.post(path, json={**STREAMS[path], "stream": True})
        assert response.status_code >= 400
        assert response.json()["error"]["message"]


async def test_an_error_in_the_middle_ends_the_stream() -> None:
    """Upstream's own error event is the last one."""
    async with stand() as it:
        await it.client.get("/models")
        it.simulator.enqueue(Fault(error_after=4, error={"message": "broke", "code": "internal_error"}))
        events = await it.events("/v1/chat/completions", CHAT)
        assert b"broke" in events[-1][1]


async def test_a_hang_after_the_end_is_not_waited_for() -> None:
    """The answer is complete at its terminal event, whatever upstream does then."""
    async with stand() as it:
        await it.client.get("/models")
        it.simulator.enqueue(Fault(hang_after=1000))
        with anyio.fail_after(10):
            response = await it.client.post("/v1/chat/completions", json={**CHAT, "stream": True})
        assert response.status_code == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
async def test_comments_alone_are_no_answer(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that is kept alive with comments and never goes on is given up, with an error event."""
    monkeypatch.setattr("copilot_asgi.stages.translation.EVENT_TIMEOUT", 0.1)
    async with stand() as it:
        await it.client.get("/models")
        it.simulator.enqueue(Fault(endless_comments=True, gap=0.001))
        with anyio.fail_after(10):
            events = await it.events(path, STREAMS[path])
        name, words = ENDINGS[path]
        assert (events[-1][0], words.encode() in events[-1][1]) == (name, True)
        assert it.simulator.open_streams == 0


async def test_a_leaving_client_frees_the_upstream() -> None:
    """Closing the response early closes the stream upstream."""
    async with stand() as it:
        await it.client.get("/models")
        it.simulator.enqueue(Fault(hang_after=4))
        request = it.client.build_request("POST", "/v1/chat/completions", json={**CHAT, "stream": True})
        # Not through the client: on trio its generators complain when they are left early.
        response = await in_process_transport(it.app).handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        await anext(aiter(response.stream))
        assert it.simulator.open_streams == 1
        await response.stream.aclose()
        with anyio.fail_after(5):
            while it.simulator.open_streams:
                await anyio.sleep(0.001)


async def test_the_initiator_follows_the_last_message() -> None:
    """A person's turn is ``user``, a tool's result is ``agent``; a client cannot say otherwise."""
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    tool_turn = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "done"},
    ]
    async with stand() as it:
        for messages, initiator in ((CHAT["messages"], "user"), (tool_turn, "agent")):
            await it.client.post(
                "/v1/chat/completions", json={**CHAT, "messages": messages}, headers={"x-initiator": "agent"}
            )
            assert it.simulator.requests[-1].headers["x-initiator"] == initiator
        assert it.simulator.violations == []


HOSTILE_HEADERS = {
    "cookie": "session=1",
    "x-stainless-os": "Linux",
    "user-agent": "SomeClient/1.0",
    "x-forwarded-for": "10.0.0.1",
    "x-codex-turn-metadata": '{"workspace":"/home/me"}',
    "openai-organization": "org-1",
    "proxy-authorization": "Basic x",
    "x-request-id": "mine",
    "anthropic-beta": "context-1m-2025-08-07, interleaved-thinking-2025-05-14",
}


async def test_nothing_of_the_client_reaches_upstream_but_the_body() -> None:
    """Headers are built from nothing; of the betas only those pass that Copilot takes."""
    async with stand() as it:
        await it.client.post("/v1/messages", json=MESSAGES, headers=HOSTILE_HEADERS)
        sent = it.simulator.requests[-1].headers
        for name, value in HOSTILE_HEADERS.items():
            assert sent.get(name) != value
        assert sent["anthropic-beta"] == "interleaved-thinking-2025-05-14"
        assert not any(name.startswith(("x-stainless", "x-codex", "cookie", "x-forwarded")) for name in sent)
        assert it.simulator.violations == []


async def test_upstream_headers_are_chosen() -> None:
    """Ids and quota pass; cookies, security policies and backend names do not."""
    async with stand() as it:
        response = await it.client.post("/v1/chat/completions", json=CHAT)
        names = {name for name in response.headers if not name.startswith(("x-quota-snapshot-", "x-copilot-asgi-"))}
        assert names <= {"content-type", "content-length", "x-request-id", "x-github-request-id"}


async def test_vision_is_announced() -> None:
    """An image anywhere in the request brings the header without which upstream refuses it."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    content = [{"type": "text", "text": "what is it?"}, image]
    async with stand() as it:
        response = await it.client.post(
            "/v1/chat/completions", json={**CHAT, "messages": [{"role": "user", "content": content}]}
        )
        assert response.status_code == 200, response.text
        assert it.simulator.requests[-1].headers["copilot-vision-request"] == "true"
        await it.client.post("/v1/chat/completions", json=CHAT)
        assert "copilot-vision-request" not in it.simulator.requests[-1].headers


async def test_what_copilot_refuses_is_mended_on_the_way() -> None:
    """Nulls, empty tool lists, service tiers and the old name of the limit do not reach upstream."""
    async with stand() as it:
        body = {**CHAT, "model": "gpt-5-mini", "max_tokens": 50, "tools": [], "stop": None, "service_tier": "auto"}
        assert (await it.client.post("/v1/chat/completions", json=body)).status_code == 200
        sent = json.loads(it.simulator.requests[-1].body)
        assert sent == {"model": "gpt-5-mini", "messages": CHAT["messages"], "max_completion_tokens": 50}
        embedding = await it.client.post(
            "/v1/embeddings", json={**EMBEDDINGS, "input": "x", "encoding_format": "base64"}
        )
        assert isinstance(embedding.json()["data"][0]["embedding"], str)
        assert it.simulator.violations == []


async def test_a_big_body_goes_through_untouched() -> None:
    """187 KB: the bytes that arrive upstream are the bytes that came, and a full decode would have failed on them."""
    text = "x" * 187_000
    body = json.dumps({**MESSAGES, "messages": [{"role": "user", "content": text}]}).encode()
    seen: list[bytes] = []

    def spy(app: Any) -> Any:
        async def between(scope: Any, receive: Any, send: Any) -> None:
            async def watched() -> Any:
                message = await receive()
                if scope["path"] == "/v1/messages" and message.get("body"):
                    seen.append(message["body"])
                return message

            await app(scope, watched, send)

        return between

    async with stand(wrap=spy) as it:
        response = await it.client.post("/v1/messages", content=body, headers={"content-type": "application/json"})
        assert response.status_code == 200
        assert b"".join(seen) == body


async def test_stages_can_be_replaced() -> None:
    """With stages of one's own, those run and no others."""

    async def answer(exchange: Exchange, send: Send, call_next: Handler) -> None:
        await send(Head(200, ((b"content-type", b"application/json"),)))
        await send(msgspec.json.encode({"model": exchange.request.model}))

    app = CopilotApp(Settings(), stages=[answer])
    async with httpx.AsyncClient(transport=in_process_transport(app), base_url="http://localhost") as client:
        response = await client.post("/v1/chat/completions", json={"model": "mine"})
        assert response.json() == {"model": "mine"}
    await app.aclose()


async def test_the_unexpected_is_a_500_without_a_trace() -> None:
    """A stage that breaks gives a plain error with an id; the trace goes to the log, redacted, and nowhere else."""

    async def broken(exchange: Exchange, send: Send, call_next: Handler) -> None:
        raise ZeroDivisionError("Bearer secret-words")

    app = CopilotApp(Settings(), stages=[broken])
    async with httpx.AsyncClient(transport=in_process_transport(app), base_url="http://localhost") as client:
        for path in ("/v1/chat/completions", "/v1/messages"):
            response = await client.post(path, json={"model": "m"})
            assert response.status_code == 500
            assert response.headers["x-request-id"] in response.json()["error"]["message"]
            assert "secret" not in response.text
            assert "Zero" not in response.text
    await app.aclose()


async def test_tests_may_see_the_exception_itself() -> None:
    """With ``raise_exceptions`` an unexpected error is not turned into an answer."""

    async def broken(exchange: Exchange, send: Send, call_next: Handler) -> None:
        raise ZeroDivisionError

    app = CopilotApp(Settings(), stages=[broken], raise_exceptions=True)
    async with httpx.AsyncClient(transport=in_process_transport(app), base_url="http://localhost") as client:
        with pytest.raises(ZeroDivisionError):
            await client.post("/v1/chat/completions", json={"model": "m"})
    await app.aclose()


async def test_breaking_after_the_head_ends_the_stream_with_an_error() -> None:
    """A stage that breaks in mid-stream: the client gets an error event and a proper end."""

    async def broken(exchange: Exchange, send: Send, call_next: Handler) -> None:
        await send(Head(200, ((b"content-type", b"text/event-stream"),)))
        await send(b"data: {}\n\n")
        raise ZeroDivisionError

    app = CopilotApp(Settings(), stages=[broken])
    async with httpx.AsyncClient(transport=in_process_transport(app), base_url="http://localhost") as client:
        response = await client.post("/v1/chat/completions", json={"model": "m", "stream": True})
        assert response.status_code == 200
        assert '"error"' in response.text.strip().split("\n\n")[-1]
    await app.aclose()


async def test_draining_refuses_the_new() -> None:
    """While shutting down new requests get 503 with a hint when to come back."""
    async with stand() as it:
        await it.app.drain(0)
        response = await it.client.post("/v1/chat/completions", json=CHAT)
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")


async def test_streams_that_outlast_the_drain_are_told() -> None:
    """A stream that does not end in time gets an error event."""
    async with stand() as it:
        await it.client.get("/models")
        it.simulator.enqueue(Fault(hang_after=4))
        async with it.client.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as response:
            pieces = response.aiter_bytes()
            await anext(pieces)
            async with anyio.create_task_group() as group:
                group.start_soon(it.app.drain, 0.01)
                rest = b"".join([piece async for piece in pieces])
        assert b"shutting down" in rest
        assert b"[DONE]" not in rest


async def test_a_body_that_does_not_come_is_a_408() -> None:
    """A client that stops in the middle of its body is answered."""

    async def half() -> Any:
        yield b"{"
        await anyio.sleep_forever()

    async with stand(body_timeout=0.02) as it:
        response = await it.client.post(
            "/v1/chat/completions", content=half(), headers={"content-type": "application/json"}
        )
        assert response.status_code == 408


async def test_responses_keep_their_unknown_fields() -> None:
    """On a native route what we do not know goes through, both ways."""
    async with stand() as it:
        body = {**RESPONSES, "prompt_cache_key": "k", "metadata": {"a": "b"}}
        response = await it.client.post("/v1/responses", json=body)
        assert response.status_code == 200, response.text
        assert json.loads(it.simulator.requests[-1].body) == body


@pytest.mark.parametrize("path", STREAMS)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_of_the_other_kind_is_refused(*, path: str, stream: bool) -> None:
    """Events for a client that did not ask for a stream, or JSON for one that did, are not passed on."""
    kinds = {False: ("text/event-stream", "data: {}\n\n"), True: ("application/json", "{}")}
    kind, body = kinds[stream]
    async with stand() as it:
        await it.client.get("/models")
        it.simulator.enqueue(Fault(status=200, headers=(("content-type", kind),), body=body))
        response = await it.client.post(path, json={**STREAMS[path], "stream": stream})
        assert response.status_code == 502
        assert response.json()["error"]["message"]


@pytest.mark.parametrize("body", ["", "{", "[]", "null", "<html>", '{"choices":"x"}', '{"choices":[null]}', "\xff"])
async def test_an_answer_that_is_none_is_a_502(body: str) -> None:
    """Half JSON, other JSON and no JSON under 200 are an error of upstream, not an answer."""
    async with stand() as it:
        await it.client.get("/models")
        it.simulator.enqueue(Fault(status=200, headers=(("content-type", "application/json"),), body=body))
        response = await it.client.post("/v1/chat/completions", json=CHAT)
        assert response.status_code == 502, response.text


async def test_an_endless_answer_is_cut_off() -> None:
    """A whole answer has a limit, and its place comes back."""
    body = '{"choices":[],"x":"' + "x" * (17 * 1024 * 1024) + '"}'
    async with stand() as it:
        await it.client.get("/models")
        it.simulator.enqueue(Fault(status=200, headers=(("content-type", "application/json"),), body=body))
        response = await it.client.post("/v1/chat/completions", json=CHAT)
        assert (response.status_code, response.json()["error"]["code"]) == (502, "response_too_large")
        assert (await it.client.post("/v1/chat/completions", json=CHAT)).status_code == 200


async def test_an_endless_stream_is_cut_off_where_it_is_collected() -> None:
    """A client that wants one body does not make us keep a flood for it."""
    flood = 'data: {"choices":[{"index":0,"delta":{"content":"' + "x" * 900_000 + '"}}]}\n\n'
    async with stand() as it:
        await it.client.get("/models")
        body = flood * 20
        it.simulator.enqueue(Fault(status=200, headers=(("content-type", "text/event-stream"),), body=body))
        response = await it.client.post("/v1/messages", json={**MESSAGES, "model": "gpt-4.1"})
        assert (response.status_code, "16777216 bytes" in response.json()["error"]["message"]) == (502, True)


async def test_headers_that_hold_a_token_stay_here() -> None:
    """A token that upstream echoes in a header is not passed on."""
    headers = (("content-type", "application/json"), ("x-ratelimit-user", "ghu_0123456789abcdef"))
    answer = '{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":'
    answer += '"assistant","content":"hi"},"finish_reason":"stop"}]}'
    async with stand() as it:
        await it.client.get("/models")
        it.simulator.enqueue(Fault(status=200, headers=headers, body=answer))
        response = await it.client.post("/v1/chat/completions", json=CHAT)
        assert response.status_code == 200
        assert "x-ratelimit-user" not in response.headers


@pytest.mark.parametrize("error", [ConnectionResetError(), anyio.BrokenResourceError(), RuntimeError("closed")])
async def test_a_send_that_raises_stays_inside(error: Exception) -> None:
    """Whatever a server raises in ``send``, no exception leaves the app."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        raise error

    scope = {"type": "http", "method": "GET", "path": "/healthz", "headers": [(b"host", b"localhost")]}
    await CopilotApp(Settings())(scope, receive, send)


@pytest.mark.parametrize("error", [ConnectionResetError(), anyio.BrokenResourceError(), RuntimeError("closed")])
async def test_an_error_event_that_nobody_takes_stays_inside(error: Exception) -> None:
    """The same for the last words of a stream that broke off."""
    sent: list[str] = []

    async def broken(exchange: Exchange, send: Send, call_next: Handler) -> None:
        await send(Head(200, ((b"content-type", b"text/event-stream"),)))
        raise ZeroDivisionError

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps({**CHAT, "stream": True}).encode(), "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])
        if message["type"] == "http.response.body":
            raise error

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}
    await CopilotApp(Settings(), stages=[broken])(scope, receive, send)
    assert sent == ["http.response.start", "http.response.body"]


async def test_an_answer_that_fails_at_its_end_is_an_error() -> None:
    """A plain answer is sent when all are done with it: what breaks before that is told, with a status of its own."""

    async def broken(exchange: Exchange, send: Send, call_next: Handler) -> None:
        await send(Head(200, ((b"content-type", b"application/json"),)))
        await send(b'{"choices": [')
        raise ZeroDivisionError

    app = CopilotApp(Settings(), stages=[broken])
    async with httpx.AsyncClient(transport=in_process_transport(app), base_url="http://localhost") as client:
        response = await client.post("/v1/chat/completions", json={"model": "mine"})
        assert response.status_code == 500
        assert response.headers["x-request-id"] in response.json()["error"]["message"]
    await app.aclose()


@pytest.mark.parametrize("status", [204, 206, 302, 304])
async def test_statuses_that_are_no_answer(status: int) -> None:
    """Redirects are not followed, and nothing but 200 is an answer."""
    async with stand() as it:
        await it.client.get("/models")
        it.simulator.enqueue(Fault(status=status, headers=(("location", "https://evil.example/"),)))
        response = await it.client.post("/v1/chat/completions", json=CHAT)
        assert (response.status_code, response.json()["error"]["code"]) == (502, "malformed_response")
        assert it.simulator.requests[-1].path == "/chat/completions"


async def test_embeddings_do_not_stream() -> None:
    """Asking for a stream of embeddings is a plain mistake."""
    async with stand() as it:
        response = await it.client.post("/v1/embeddings", json={**EMBEDDINGS, "stream": True})
        assert (response.status_code, response.json()["error"]["param"]) == (400, "stream")


@pytest.mark.parametrize(("faults", "status"), [(["token_expired"], 200), (["token_expired"] * 2, 401), (["500"], 500)])
async def test_the_model_list_refreshes_its_token_once(faults: list[str], status: int) -> None:
    """A refused token costs one new one; what remains is told."""
    async with stand() as it:
        it.simulator.fail("/models", *[FAULTS[fault] for fault in faults])
        assert (await it.client.get("/models")).status_code == status


async def test_a_stale_list_is_better_than_none_for_a_while() -> None:
    """When the list cannot be renewed the last one serves, and upstream is not asked again at once."""
    async with stand() as it:
        await it.client.get("/models")
        opened = await it.app.upstream.opened()
        opened.catalogs._clock = lambda: 1e12
        it.simulator.fail("/models", *[FAULTS["502_html"]] * 5)
        for _ in range(5):
            assert (await it.client.get("/models")).status_code == 200
        assert len([request for request in it.simulator.requests if request.path == "/models"]) == 2


async def test_the_app_is_its_own_context_as_often_as_asked() -> None:
    """Entering twice is fine; the resources go with the last one out; later requests open them again."""
    async with stand() as it:
        async with it.app.lifespan() as state:
            assert state == {"copilot": it.app}
            first = await it.app.upstream.opened()
        assert await it.app.upstream.opened() is first
        await it.app.aclose()
        assert (await it.client.get("/models")).status_code == 200
        assert await it.app.upstream.opened() is not first


async def test_a_start_that_fails_is_told_to_the_server() -> None:
    """Lifespan reports why the app cannot start."""
    settings = Settings()
    app = CopilotApp(settings, upstream=BrokenUpstream(settings))
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app({"type": "lifespan"}, receive, send)
    assert sent == [{"type": "lifespan.startup.failed", "message": "no certificates"}]


class BrokenUpstream(Upstream):
    """An upstream that cannot be opened."""

    async def opened(self) -> Opened:
        raise OSError("no certificates")


async def test_unknown_scopes_are_left_alone() -> None:
    """A kind of scope that nobody knows yet is neither answered nor an error."""

    async def never(*arguments: object) -> Any:
        raise AssertionError

    await CopilotApp(Settings())({"type": "webtransport"}, never, never)


@pytest.mark.parametrize("library", ["httpx", "httpx2", None])
async def test_the_client_of_the_app(library: Any) -> None:
    """``client()`` calls the app without a socket, in the library that is wanted."""
    async with stand() as it, it.app.client(library) as client:
        assert type(client).__module__.startswith(library or "httpx2")
        assert (await client.get("/healthz")).json() == {"status": "alive"}


async def test_a_client_that_left_while_the_token_was_fetched() -> None:
    """The one who began the exchange leaves; the others get their token, from that same exchange."""
    async with stand() as it:
        it.simulator.fail("/copilot_internal/v2/token", Fault(delay=0.05))
        statuses: list[int] = []

        async def call() -> None:
            statuses.append((await it.client.post("/v1/chat/completions", json=CHAT)).status_code)

        async with anyio.create_task_group() as group:
            with anyio.move_on_after(0.01):
                group.start_soon(call)
                await it.client.post("/v1/chat/completions", json=CHAT)
        assert statuses == [200]
        assert it.simulator.exchanges == 1


async def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without settings of its own the app reads them where people write them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COPILOT_ASGI_MAX_STREAMS", "7")
    assert CopilotApp().settings.max_streams == 7
    from copilot_asgi.asgi import app, create_app

    assert isinstance(app, CopilotApp)
    assert create_app().settings.max_streams == 7


async def test_the_fixtures_for_users(copilot_app: CopilotApp, copilot_simulator: Simulator) -> None:
    """A user's test has an app that is signed in to a simulator."""
    async with copilot_app.client() as client:
        response = await client.post("/v1/chat/completions", json=CHAT)
    assert response.json()["choices"][0]["message"]["content"] == "You said: hello"
    assert copilot_simulator.violations == []
    await copilot_app.aclose()


async def test_a_server_that_lost_count_when_its_client_left() -> None:
    """It refuses the end of a response whose beginning it never took; that is nobody's trouble."""
    async with stand() as it:
        it.app._raise_exceptions = False
        messages = [{"type": "http.request", "body": b"{}"}, {"type": "http.disconnect"}]
        headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/messages",
            "headers": headers,
            "client": ("127.0.0.1", 1),
        }

        async def receive() -> dict[str, Any]:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            raise RuntimeError("Unexpected message type")

        messages.pop(0)
        await it.app(scope, receive, send)
