"""Any client reaches any model: each dialect against models that speak each dialect, over the whole path."""

import json
from typing import Any

import anthropic.types
import openai.types.chat
import openai.types.responses
import pytest

from copilot_asgi.simulator import FAULTS, Fault
from tests.stand import CHAT, MESSAGES, RESPONSES, Stand, stand

pytestmark = pytest.mark.anyio

REQUESTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/messages": MESSAGES,
    "/v1/responses": RESPONSES,
}


def text_of(path: str, body: dict[str, Any]) -> str:
    """The answer's text, by the SDK's own model of it."""
    match path:
        case "/v1/chat/completions":
            return openai.types.chat.ChatCompletion.model_validate(body).choices[0].message.content or ""
        case "/v1/messages":
            message = anthropic.types.Message.model_validate(body)
            return "".join(block.text for block in message.content if block.type == "text")
        case _:
            return openai.types.responses.Response.model_validate(body).output_text


async def not_streaming(it: Stand) -> str:
    """A model of the catalog that does not stream."""
    models = (await it.client.get("/models")).json()["data"]
    return next(
        model["id"]
        for model in models
        if model["copilot"].get("capabilities", {}).get("supports", {}).get("streaming") is False
        and model["copilot"]["capabilities"]["type"] == "chat"
    )


@pytest.mark.parametrize("path", REQUESTS)
@pytest.mark.parametrize("model", ["gpt-4.1", "claude-opus-5.5", "gpt-5.4", "gemini-3.1-pro-preview", "grok-4.6", None])
async def test_every_client_reaches_every_model(path: str, model: str | None) -> None:
    """Streaming and not, the answer is the dialect's own, and upstream has nothing to object to."""
    async with stand() as it:
        body = {**REQUESTS[path], "model": model or await not_streaming(it)}
        response = await it.client.post(path, json=body)
        assert response.status_code == 200, response.text
        assert text_of(path, response.json()) == "You said: hello"
        assert response.headers["content-type"].startswith("application/json")
        events = await it.events(path, body)
        ends = {"/v1/chat/completions": b"[DONE]", "/v1/messages": b"message_stop", "/v1/responses": b"completed"}
        assert ends[path] in events[-1][1]
        assert it.simulator.violations == []


@pytest.mark.parametrize(
    ("path", "model", "way"),
    [
        ("/v1/messages", "claude-opus-5-5", "native"),
        ("/v1/messages", "gpt-5.4", "translated; dialect=responses"),
        ("/v1/chat/completions", "gpt-5.4", "translated; dialect=responses"),
        ("/v1/responses", "grok-4.6", "translated; dialect=chat"),
    ],
)
async def test_headers_say_what_answered(path: str, model: str, way: str) -> None:
    """The model upstream and the way it was asked."""
    async with stand() as it:
        for stream in (False, True):
            response = await it.client.post(path, json={**REQUESTS[path], "model": model, "stream": stream})
            assert response.headers["x-copilot-asgi-model"] == model.replace("5-5", "5.5")
            assert response.headers["x-copilot-asgi-route"] == way


@pytest.mark.parametrize(
    ("path", "prefix"),
    [("/v1/chat/completions", "chatcmpl-"), ("/v1/messages", "msg_"), ("/v1/responses", "resp_")],
)
async def test_ids_look_like_the_dialects_own(path: str, prefix: str) -> None:
    """Answers carry an id of ours, in the form that the dialect's clients know."""
    async with stand() as it:
        model = "gpt-5.4" if path != "/v1/responses" else "gpt-4.1"
        first, second = [(await it.client.post(path, json={**REQUESTS[path], "model": model})).json() for _ in range(2)]
        assert first["id"].startswith(prefix)
        assert first["id"] != second["id"]


async def test_what_is_lost_is_named_or_refused() -> None:
    """By default the names of fields that the other dialect cannot say are in a header; strict mode refuses."""
    body = {**CHAT, "model": "gpt-5.4", "logit_bias": {"1": 5}}
    async with stand() as it:
        response = await it.client.post("/v1/chat/completions", json=body)
        assert response.status_code == 200
        assert "logit_bias" in response.headers["x-copilot-asgi-dropped"]
        assert "x-copilot-asgi-dropped" not in (await it.client.post("/v1/chat/completions", json=CHAT)).headers
    async with stand(strict=True) as it:
        response = await it.client.post("/v1/chat/completions", json=body)
        assert response.status_code == 400
        assert "logit_bias" in response.json()["error"]["message"]
        fine = await it.client.post("/v1/chat/completions", json={**CHAT, "model": "gpt-5.4"})
        assert fine.status_code == 200


async def test_a_native_route_names_what_upstream_refuses() -> None:
    """Keys that Copilot answers with 400 are left out and named; betas that it does not take change nothing."""
    messages = [*MESSAGES["messages"], {"role": "system", "content": "be brief"}, {"role": "user", "content": "go"}]
    body = {**MESSAGES, "messages": messages, "service_tier": "auto", "mcp_servers": [{"name": "x"}], "speed": None}
    beta = {"anthropic-beta": "mid-conversation-system-2026-04-07, context-1m-2025-08-07"}
    async with stand() as it:
        response = await it.client.post("/v1/messages", json=body, headers=beta)
        assert response.status_code == 200, response.text
        assert response.headers["x-copilot-asgi-route"] == "native"
        assert response.headers["x-copilot-asgi-dropped"] == "service_tier, mcp_servers"
        assert "anthropic-beta" not in it.simulator.requests[-1].headers
        assert it.simulator.violations == []
    async with stand(strict=True) as it:
        refused = await it.client.post("/v1/messages", json=body, headers=beta)
        assert (refused.status_code, "mcp_servers" in refused.json()["error"]["message"]) == (400, True)


async def test_aliases_are_names() -> None:
    """An operator's name stands for a model."""
    async with stand(model_aliases=("mine=gpt-4.1",)) as it:
        response = await it.client.post("/v1/chat/completions", json={**CHAT, "model": "mine"})
        assert response.status_code == 200
        assert json.loads(it.simulator.requests[-1].body)["model"] == "gpt-4.1"


@pytest.mark.parametrize("path", REQUESTS)
@pytest.mark.parametrize("model", ["gpt-4.1", "claude-opus-5.5", "gpt-5.4"])
async def test_a_cut_stream_is_cut_in_every_dialect(path: str, model: str) -> None:
    """Whatever upstream speaks, half an answer ends in an error, and as a whole answer it is a 502."""
    async with stand() as it:
        await it.client.get("/models")
        body = {**REQUESTS[path], "model": model}
        it.simulator.enqueue(Fault(cut_after=8))
        events = await it.events(path, {**body, **_prompt(path, "[sim chunks=30] hello")})
        text = b"".join(data for _, data in events)
        assert b"error" in events[-1][1]
        assert not any(end in text for end in (b"[DONE]", b"message_stop", b"response.completed"))


def _prompt(path: str, text: str) -> dict[str, Any]:
    return {"input": text} if path == "/v1/responses" else {"messages": [{"role": "user", "content": text}]}


@pytest.mark.parametrize("path", REQUESTS)
@pytest.mark.parametrize("model", ["gpt-4.1", "claude-opus-5.5", "gpt-5.4"])
async def test_a_prompt_that_is_too_long_is_told_in_the_clients_words(path: str, model: str) -> None:
    """Each client's compaction understands its own sentence."""
    told = {"message": "prompt token count of 9 exceeds the limit of 8", "code": "model_max_prompt_tokens_exceeded"}
    error = json.dumps({"error": told})
    async with stand() as it:
        await it.client.get("/models")
        it.simulator.enqueue(Fault(status=400, headers=(("content-type", "application/json"),), body=error))
        response = await it.client.post(path, json={**REQUESTS[path], "model": model})
        assert response.status_code == 400
        told = response.json()["error"]
        if path == "/v1/messages":
            assert told["message"].startswith("prompt is too long: 9 tokens > 8 maximum")
        else:
            assert told["code"] == "context_length_exceeded"
            assert "maximum context length" in told["message"]


async def test_tools_results_and_images_keep_the_initiator_honest() -> None:
    """An image inside a tool's result is lifted into a user message upstream; the turn is still the agent's."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    messages = [
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "shot", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [image]}]},
    ]
    tools = [{"name": "shot", "input_schema": {"type": "object", "properties": {}}}]
    async with stand() as it:
        for model in ("gpt-4.1", "gpt-5.4", "claude-opus-5.5"):
            body = {**MESSAGES, "model": model, "messages": messages, "tools": tools}
            response = await it.client.post("/v1/messages", json=body)
            assert response.status_code == 200, response.text
            sent = it.simulator.requests[-1].headers
            assert (sent["x-initiator"], sent["copilot-vision-request"]) == ("agent", "true")
        assert it.simulator.violations == []


# One grey pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="

COUNT = {"model": "claude-opus-5.5", "messages": [{"role": "user", "content": "How many tokens is that?"}]}


@pytest.mark.parametrize("model", ["claude-opus-5.5", "gpt-5.4", "gpt-4.1"])
async def test_tokens_are_counted(model: str) -> None:
    """By upstream where it counts, else by ourselves; nothing is generated."""
    async with stand() as it:
        response = await it.client.post("/v1/messages/count_tokens", json={**COUNT, "model": model})
        assert response.status_code == 200, response.text
        assert 3 < response.json()["input_tokens"] < 100
        asked = [request.path for request in it.simulator.requests if "count_tokens" in request.path]
        assert len(asked) == (1 if model.startswith("claude") else 0)
        assert it.simulator.ledger.charges == []
        body = {"model": model, "input": "How many tokens is that?"}
        other = (await it.client.post("/v1/responses/input_tokens", json=body)).json()
        assert other["object"] == "response.input_tokens"
        assert 3 < other["input_tokens"] < 100


@pytest.mark.parametrize(
    "fault",
    [
        FAULTS["500"],
        FAULTS["502_html"],
        Fault(status=200, body="not json"),
        Fault(status=200, body='{"input_tokens":-5}'),
    ]
    + [Fault(status=200, body='{"x":' + "[" * 3000 + "]" * 3000 + "}"), Fault(delay=60)],
)
async def test_counting_does_not_depend_on_upstream(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """When upstream does not count in time, an estimate serves."""
    monkeypatch.setattr("copilot_asgi.counting.UPSTREAM_TIMEOUT", 0.2)
    async with stand() as it:
        await it.client.get("/models")
        it.simulator.fail("/v1/messages/count_tokens", fault)
        response = await it.client.post("/v1/messages/count_tokens", json=COUNT)
        assert response.json()["input_tokens"] > 3


async def test_counting_works_without_the_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the optional package the count is an estimate, near the exact one."""
    text = "The quick brown fox jumps over the lazy dog. " * 40
    body = {"model": "gpt-5.4", "input": text}
    async with stand() as it:
        exact = (await it.client.post("/v1/responses/input_tokens", json=body)).json()["input_tokens"]
        monkeypatch.setattr("copilot_asgi.counting.exact_counter", lambda: None)
        about = (await it.client.post("/v1/responses/input_tokens", json=body)).json()["input_tokens"]
    assert exact * 0.7 < about < exact * 1.4
    assert about != exact


async def test_counting_an_unknown_model_is_a_404() -> None:
    """No number is made up."""
    async with stand() as it:
        response = await it.client.post("/v1/messages/count_tokens", json={**COUNT, "model": "none"})
        assert (response.status_code, response.json()["error"]["type"]) == (404, "not_found_error")
