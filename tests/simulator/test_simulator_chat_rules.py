"""What ``/chat/completions`` refuses (checklist lines 33 to 36), and that good requests break no rule."""

import base64

import pytest
from simulator_client import PNG, PNG_BYTES, rules, tool

pytestmark = pytest.mark.anyio
READ = tool("read_file", path={"type": "string"})
NAMED = {"type": "function", "function": {"name": "nothing"}}


def call(call_id="call_1", **changes):
    return {"id": call_id, "type": "function", "function": {"name": "read_file", "arguments": "{}"}, **changes}


def history(*messages):
    return {"messages": [{"role": "user", "content": "x"}, *messages]}


def assistant(*calls, **changes):
    return {"role": "assistant", "content": "ok", "tool_calls": list(calls), **changes}


def result(call_id="call_1", content="data"):
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def image(url=PNG):
    return {"type": "image_url", "image_url": {"url": url}}


REFUSED = [
    ("gpt-5.2", {"max_tokens": 10}, "max-tokens-gpt5", "max_completion_tokens"),
    ("gpt-5-mini", {"stop": ["x"]}, "stop-gpt5", "stop"),
    ("gpt-5.2", {"temperature": 0.1}, "sampling-gpt5", "temperature"),
    ("gpt-5.2", {"top_p": 0.5}, "sampling-gpt5", "top_p"),
    ("gpt-4.1", {"service_tier": "auto"}, "service-tier", "service_tier"),
    ("gpt-4.1", {"tools": [tool(f"t{i}") for i in range(129)]}, "tool-count", "129"),
    ("gpt-4.1", {"tools": [tool("bad name")]}, "tool-shape", "bad name"),
    ("gpt-4.1", {"tools": [{"type": "custom", "name": "x"}]}, "tool-shape", "no function"),
    ("gpt-4.1", {"tools": [READ], "tool_choice": "any"}, "tool-choice", "expected auto"),
    ("gpt-4.1", {"tools": [READ], "tool_choice": {"type": "auto"}}, "tool-choice", "expected auto"),
    ("gpt-4.1", {"tools": [READ], "tool_choice": NAMED}, "tool-choice", "not among the tools"),
    ("gpt-4.1", history(assistant(call())), "tool-pairs", "call_1"),
    ("gpt-4.1", history(assistant(call(), call("call_2")), result()), "tool-pairs", "call_2"),
    ("gpt-4.1", history(result()), "tool-pairs", "role 'tool'"),
    ("gpt-4.1", history(assistant(call(type=None)), result()), "tool-call-type", "type"),
    ("claude-sonnet-4.6", history(assistant(call("a.b")), result("a.b")), "tool-id", "a.b"),
    (
        "claude-sonnet-4.6",
        history({"role": "assistant", "content": [{"type": "text", "text": "x"}]}),
        "assistant-content",
        "",
    ),
    ("gpt-4.1", history(assistant(call()), result(content=[image()])), "tool-image", "text only"),
    ("gpt-4.1", {"messages": [{"role": "user", "content": [image("data:;base64,xx")]}]}, "image-type", "media type"),
    ("gpt-4.1", {"reasoning_effort": "low"}, "reasoning-effort", "low"),
    ("claude-haiku-4.5", {"reasoning_effort": "low"}, "reasoning-effort", "low"),
    ("gpt-5-mini", {"reasoning_effort": "minimal"}, "reasoning-effort", "minimal"),
    ("gpt-4.1", {"messages": []}, "messages", "at least one"),
    ("gpt-4.1", {"messages": "x"}, "messages", "list"),
    ("gpt-4.1", {"messages": [{"role": "robot"}]}, "messages", "robot"),
    ("gpt-4.1", {"messages": ["x"]}, "messages", "unknown role"),
]


@pytest.mark.parametrize(("model", "body", "rule", "told"), REFUSED)
async def test_33_what_is_refused(client, model, body, rule, told):
    """Each rule gives 400, says why, and is on record under its name."""
    message = {"model": model, "messages": [{"role": "user", "content": "x"}], **body}
    answer = await client.call("/chat/completions", message, x_initiator="agent", copilot_vision_request="true")
    assert answer.status == 400
    assert answer.code in {"invalid_request_body", "invalid_reasoning_effort"}
    assert told in answer.text
    assert rules(client.simulator)[0] == rule


ACCEPTED = [
    ("gpt-5.2", {"max_completion_tokens": 100, "temperature": 1, "top_p": None, "reasoning_effort": "high"}),
    ("gpt-5-mini", {"max_completion_tokens": 100, "reasoning_effort": "low", "tools": [READ]}),
    ("gpt-4o", {"max_tokens": 10, "stop": ["x"], "temperature": 0.2, "top_p": 0.9, "n": 1}),
    ("claude-sonnet-4.6", {"max_tokens": 10, "temperature": 0, "thinking_budget": 2000}),
    ("gpt-4.1", {"tools": [READ], "tool_choice": "none", "parallel_tool_calls": False}),
    ("gpt-4.1", {"tools": [tool(f"t{i}") for i in range(128)]}),
    ("gpt-4.1", {"tools": [], "stop": None, "stream": None, "response_format": {"type": "json_object"}}),
    (
        "gpt-4.1",
        {"stream_options": {"include_usage": True}, "stream": True, "prediction": None, "snippy": {"enabled": False}},
    ),
    (
        "gpt-4.1",
        history(assistant(call(), call("call_2")), result(), result("call_2"), {"role": "user", "content": "y"}),
    ),
]


@pytest.mark.parametrize(("model", "body"), ACCEPTED)
async def test_33_what_is_accepted(client, model, body):
    """Ordinary requests pass without a single violation."""
    assert (await client.chat(**{"model": model, **body})).status == 200
    assert client.simulator.violations == []


async def test_33_effort_with_tools_is_refused_by_the_newest_gpt(make):
    """On chat, models from 5.4 on take either."""
    entry = {
        "id": "gpt-5.6-x",
        "vendor": "OpenAI",
        "capabilities": {"type": "chat", "supports": {"reasoning_effort": ["low"], "streaming": True}},
    }
    client = make(catalog=(entry,))
    assert (await client.chat(model="gpt-5.6-x", reasoning_effort="low")).status == 200
    refused = await client.chat(model="gpt-5.6-x", reasoning_effort="low", tools=[READ])
    assert refused.code == "invalid_reasoning_effort"


def sees(url=PNG):
    return [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, image(url)]}]


async def test_34_images_need_the_header(client):
    """Without it 400, with it the image is seen."""
    refused = await client.chat(messages=sees())
    assert (refused.status, refused.code) == (400, "invalid_request_body")
    assert "Copilot-Vision-Request" in refused.text
    assert rules(client.simulator) == ["vision-header"]
    seen = await client.chat(messages=sees(), vision=True)
    assert seen.json["choices"][0]["message"]["content"] == "I see 1 image: image/png. You said: what is it?"


async def test_34_images_need_a_model_with_eyes_and_a_decent_size(client):
    """A blind model refuses, a large image is 413 in plain text."""
    blind = await client.chat(messages=sees(), model="grok-4.6", vision=True)
    assert (blind.status, "does not support image" in blind.text) == (400, True)
    huge = PNG.removesuffix(PNG_BYTES) + base64.b64encode(bytes(3_145_731)).decode()
    large = await client.chat(messages=sees(huge), vision=True)
    assert (large.status, large.text) == (413, "Request Entity Too Large\n")
    assert rules(client.simulator) == ["vision-model", "image-size"]


async def test_34_a_large_body_is_413(make):
    """The limit is a setting."""
    client = make(max_body=100)
    assert (await client.chat("x" * 100)).status == 413
    assert rules(client.simulator) == ["body-size"]


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/chat/completions", "gpt-5.4"),
        ("/chat/completions", "gpt-41-copilot"),
        ("/chat/completions", "text-embedding-3-small"),
        ("/responses", "claude-sonnet-4.6"),
        ("/responses", "gemini-3.1-pro-preview"),
        ("/v1/messages", "gpt-5.2"),
        ("/embeddings", "gpt-4.1"),
        ("/v1/messages/count_tokens", "gpt-4.1"),
    ],
)
async def test_35_the_wrong_endpoint_of_a_model(client, path, model):
    """``unsupported_api_for_model``, naming the endpoint."""
    answer = await client.call(path, {"model": model})
    assert (answer.status, answer.code) == (400, "unsupported_api_for_model")
    assert rules(client.simulator) == ["endpoint"]


async def test_36_a_prompt_that_is_too_long(client):
    """The message quotes the count and the catalog's limit."""
    answer = await client.chat("x" * 300_000, model="gpt-4o")
    assert (answer.status, answer.code) == (400, "model_max_prompt_tokens_exceeded")
    assert answer.json["error"]["message"] == "prompt token count of 75003 exceeds the limit of 64000"


async def test_bodies_that_are_no_json_object_are_refused(client):
    """Before a model is looked for."""
    token = await client.exchange()
    headers = {"authorization": f"Bearer {token}", "editor-version": "x/1", "x-initiator": "user"}
    answer = await client.post(
        "/chat/completions", content=b"[1]", headers={**headers, "content-type": "application/json"}
    )
    assert (answer.status, answer.code) == (400, "invalid_request_body")
    assert rules(client.simulator) == ["json"]
