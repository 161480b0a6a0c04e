"""Google's and Ollama's own libraries as clients, over the whole path."""

import json
import re
from typing import Any

import httpx
import ollama
import pytest
from google import genai
from google.genai import types

from copilot_asgi.in_process import in_process_transport
from copilot_asgi.simulator import FAULTS, Fault
from tests.stand import KEY, Stand, stand

pytestmark = pytest.mark.anyio

MODELS = ["gpt-4.1", "gpt-5.4", "claude-opus-5.5"]
WEATHER: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ASK = "use get_weather with city=Paris"


def google(it: Stand) -> genai.Client:
    options = types.HttpOptions(
        base_url="http://localhost",
        async_client_args={"transport": in_process_transport(it.app)},
        httpx_async_client=httpx.AsyncClient(transport=in_process_transport(it.app)),
    )
    return genai.Client(api_key="unused", http_options=options)


def ollama_client(it: Stand) -> ollama.AsyncClient:
    return ollama.AsyncClient(host="http://localhost", transport=in_process_transport(it.app))


@pytest.mark.parametrize("model", MODELS)
async def test_googles_library_gets_answers(model: str) -> None:
    """Whole and streamed answers, a tool call, a count and the list of models."""
    async with stand() as it:
        models = google(it).aio.models
        whole = await models.generate_content(model=model, contents="hello")
        assert whole.text == "You said: hello"
        assert whole.usage_metadata is not None
        pieces = [
            piece.text or "" async for piece in await models.generate_content_stream(model=model, contents="hello")
        ]
        assert "".join(pieces) == "You said: hello"
        tool = types.Tool(
            function_declarations=[types.FunctionDeclaration(name="get_weather", parameters_json_schema=WEATHER)]
        )
        config = types.GenerateContentConfig(tools=[tool])
        called = await models.generate_content(model=model, contents=ASK, config=config)
        assert called.function_calls is not None
        assert (called.function_calls[0].name, called.function_calls[0].args) == ("get_weather", {"city": "Paris"})
        counted = await models.count_tokens(model=model, contents="hello")
        assert (counted.total_tokens or 0) > 0
        assert it.simulator.violations == []


async def test_a_stream_without_events_is_an_array() -> None:
    """Clients that do not ask for events get one JSON array, valid also when the answer breaks off."""
    body = {"contents": [{"role": "user", "parts": [{"text": "[sim chunks=20] hello"}]}]}
    path = "/v1beta/models/gpt-4.1:streamGenerateContent"
    async with stand() as it:
        response = await it.client.post(path, json=body)
        assert response.headers["content-type"] == "application/json"
        assert response.json()[-1]["candidates"][0]["finishReason"] == "STOP"
        it.simulator.enqueue(Fault(cut_after=6))
        cut = (await it.client.post(path, json=body)).json()
        assert cut[0]["candidates"]
        assert cut[-1]["error"]["status"]
        events = await it.client.post(path + "?alt=sse", json=body)
        assert events.headers["content-type"] == "text/event-stream"
        it.simulator.enqueue(Fault(cut_after=6))
        last = (await it.client.post(path + "?alt=sse", json=body)).text.strip().split("\n\n")[-1]
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == 502


async def test_a_model_that_is_no_name_is_refused() -> None:
    """Control characters and endless names in the path are a mistake of the client."""
    async with stand() as it:
        for name in ("a%00b", "x" * 300):
            response = await it.client.post(f"/v1beta/models/{name}:generateContent", json={"contents": []})
            assert (response.status_code, response.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_google_lists_and_refusals() -> None:
    """The list has Google's shape below v1beta, and errors are Google's."""
    async with stand() as it:
        listed = (await it.client.get("/v1beta/models")).json()["models"]
        assert "models/gpt-4o" in [model["name"] for model in listed]
        assert (await it.client.get("/v1beta/models/gpt-4o")).json()["name"] == "models/gpt-4o"
        absent = await it.client.post("/v1beta/models/none:generateContent", json={"contents": []})
        assert (absent.status_code, absent.json()["error"]["status"]) == (404, "NOT_FOUND")
        broken = await it.client.post(
            "/v1beta/models/gpt-4o:generateContent", content=b"[]", headers={"content-type": "application/json"}
        )
        assert (broken.status_code, broken.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    async with stand(**KEY) as it:
        path = "/v1beta/models"
        assert (await it.client.get(path)).status_code == 401
        assert (await it.client.get(path + "?key=one-key")).status_code == 401
        assert (await it.client.get(path, headers={"x-goog-api-key": "one-key"})).status_code == 200


@pytest.mark.parametrize("model", MODELS)
async def test_ollamas_library_gets_answers(model: str) -> None:
    """Chat and generate, whole and streamed, and a tool call."""
    async with stand() as it:
        client = ollama_client(it)
        messages = [{"role": "user", "content": "hello"}]
        whole = await client.chat(model=model, messages=messages)
        assert (whole.message.content, whole.done) == ("You said: hello", True)
        pieces = [piece async for piece in await client.chat(model=model, messages=messages, stream=True)]
        assert "".join(piece.message.content or "" for piece in pieces) == "You said: hello"
        assert pieces[-1].done
        generated = await client.generate(model=f"{model}:latest", prompt="hello")
        assert generated.response == "You said: hello"
        tool = {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}
        called = await client.chat(model=model, messages=[{"role": "user", "content": ASK}], tools=[tool])
        assert called.message.tool_calls is not None
        assert called.message.tool_calls[0].function.arguments == {"city": "Paris"}
        assert it.simulator.violations == []


async def test_what_ollamas_clients_ask_before_they_chat() -> None:
    """Tags, show, version, what is running, embeddings, and loading a model."""
    async with stand() as it:
        client = ollama_client(it)
        assert "gpt-4o" in [
            model.model.removesuffix(":latest") for model in (await client.list()).models if model.model
        ]
        assert "completion" in ((await client.show("gpt-4o")).capabilities or [])
        assert (await client.ps()).models == []
        assert (await it.client.get("/api/version")).json()["version"]
        embedded = await client.embed(model="text-embedding-3-small", input=["a", "b"])
        assert len(embedded.embeddings) == 2
        old = await client.embeddings(model="text-embedding-3-small", prompt="a")
        assert len(old.embedding) > 100
        for path in ("/api/chat", "/api/generate"):
            loaded = await it.client.post(path, json={"model": "gpt-4o"})
            assert loaded.json()["done_reason"] == "load"
        assert it.simulator.violations == []


async def test_ollama_refusals() -> None:
    """Errors are Ollama's, before and inside a stream; a stream is lines of JSON."""
    async with stand() as it:
        with pytest.raises(ollama.ResponseError, match="no model") as caught:
            await ollama_client(it).chat(model="none", messages=[])
        assert caught.value.status_code == 404
        unnamed = await it.client.post("/api/show", json=[])
        assert (unnamed.status_code, "model" in unnamed.json()["error"]) == (400, True)
        body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "[sim chunks=20] hello"}]}
        it.simulator.enqueue(Fault(cut_after=6))
        cut = await it.client.post("/api/chat", json=body)
        assert cut.headers["content-type"] == "application/x-ndjson"
        assert set(json.loads(cut.text.strip().split("\n")[-1])) == {"error"}
        it.simulator.enqueue(FAULTS["rate_limited"])
        limited = await it.client.post("/api/chat", json=body)
        assert (limited.status_code, "rate limit" in limited.json()["error"]) == (429, True)


async def test_names_of_fields_cannot_break_headers() -> None:
    """What was lost is named in a header; a client's own names cannot end the line or add another."""
    async with stand() as it:
        body = {"model": "gpt-5.4", "messages": [{"role": "user", "content": "hi"}], "a\r\nset-cookie: x\x00é": 1}
        for path in ("/v1/chat/completions", "/v1/messages"):
            response = await it.client.post(path, json={**body, "max_tokens": 100})
            assert response.status_code == 200, response.text
            assert "set-cookie" not in response.headers
            assert re.fullmatch(r"[A-Za-z0-9_.?, \[\]-]+", response.headers["x-copilot-asgi-dropped"])
