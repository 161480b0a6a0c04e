"""Requests as GitHub's own command line and OpenCode send them to Copilot break no rule; and nothing crashes."""

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulator_client import Client, function_tool, tool

from copilot_asgi.simulator import Simulator

pytestmark = pytest.mark.anyio
SHELL = {"command": {"type": "string"}, "description": {"type": "string"}}
PATCH = {"type": "custom", "name": "apply_patch", "description": "d", "format": {"type": "grammar", "syntax": "lark"}}

COMMAND_LINE = {
    "user-agent": "copilot/1.0.102 (linux v24) term/unknown client/github/cli",
    "x-interaction-id": "00000000-0000-4000-8000-000000000001",
    "copilot-integration-id": "copilot-developer-cli",
    "x-client-machine-id": "00000000-0000-4000-8000-000000000002",
    "x-stainless-helper-method": "stream",
    "x-github-repository-nwo": "__no_repository__",
    "accept": "application/json",
    "editor-version": "copilot/1.0.102",
    "x-github-api-version": "2026-08-01",
    "x-client-session-id": "00000000-0000-4000-8000-000000000003",
    "content-type": "application/json",
    "openai-intent": "conversation-agent",
    "x-github-repository-host": "__no_repository__",
    "x-agent-task-id": "00000000-0000-4000-8000-000000000004",
    "copilot-harness-id": "copilot-sdk",
    "accept-encoding": "zstd,gzip,deflate,br",
}
OPENCODE = {
    "content-type": "application/json",
    "openai-intent": "conversation-edits",
    "user-agent": "opencode/1.18.33 ai-sdk/provider-utils/4.0.23 runtime/bun/1, opencode/1.18.33",
    "x-github-api-version": "2026-06-01",
    "x-interaction-id": "ses_00000000000000",
    "x-session-affinity": "ses_00000000000000",
    "x-session-id": "ses_00000000000000",
    "connection": "keep-alive",
    "accept": "*/*",
    "accept-encoding": "gzip, deflate, br, zstd",
}


def said(text, number):
    content = [{"annotations": [], "type": "output_text", "text": text}]
    identity = f"msg_00000000-0000-4000-8000-00000000000{number}"
    return {"type": "message", "id": identity, "role": "assistant", "content": content, "status": "completed"}


FIRST = {"role": "user", "content": [{"type": "input_text", "text": "edit it"}], "type": "message"}
VIEW = {
    "type": "function_call",
    "id": "fc_call_0e97",
    "name": "view",
    "arguments": '{"path": "/a"}',
    "call_id": "call_0e97",
    "status": "completed",
}
VIEWED = {"type": "function_call_output", "call_id": "call_0e97", "output": "alpha\n"}
PATCHED = [
    {
        "type": "custom_tool_call",
        "id": "ctc_call_a3",
        "name": "apply_patch",
        "input": "*** Begin",
        "call_id": "call_a3",
    },
    {"type": "custom_tool_call_output", "call_id": "call_a3", "output": "Modified"},
]


@pytest.mark.parametrize(
    ("initiator", "items"),
    [
        ("user", [FIRST]),
        ("agent", [FIRST, said("one", 1), VIEW, VIEWED]),
        ("agent", [FIRST, said("one", 1), VIEW, VIEWED, said("two", 2), *PATCHED]),
    ],
)
async def test_the_command_line_breaks_no_rule(client, initiator, items):
    """List of models and an agent's turns, with a GitHub token."""
    headers = {**COMMAND_LINE, "authorization": f"Bearer {client.simulator.sign_in()}", "x-initiator": initiator}
    assert (await client.get("/models", headers=headers)).status == 200
    body = {
        "model": "gpt-5.3-codex",
        "instructions": "system",
        "input": items,
        "tools": [function_tool("bash", **SHELL) | {"strict": False}, PATCH],
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "parallel_tool_calls": True,
    }
    answer = await client.post("/responses", body, headers=headers)
    assert answer.names[-1] == "response.completed"
    assert client.simulator.violations == []
    assert client.simulator.ledger.premium_requests == (1.0 if initiator == "user" else 0)


@pytest.mark.parametrize("model", ["gpt-4.1", "claude-sonnet-4.5"])
@pytest.mark.parametrize("with_result", [False, True])
async def test_opencode_breaks_no_rule(client, model, with_result):
    """Chat with tools and cache marks, with a token that only works directly."""
    token = client.simulator.sign_in(client_id="Ov23li8tweQw6odWQebz")
    headers = {**OPENCODE, "authorization": f"Bearer {token}", "x-initiator": "agent" if with_result else "user"}
    cached = {"cache_control": {"type": "ephemeral"}} if model.startswith("claude") else {}
    call = {"id": "toolu_vrtx_b9", "type": "function", "function": {"name": "read", "arguments": "{}"}}
    exchange = [
        {"role": "assistant", "content": "Step.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "toolu_vrtx_b9", "content": "x", **cached},
    ]
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    read = tool("read", filePath={"type": "string"})
    read["function"]["parameters"] |= schema
    body = {
        "model": model,
        **({"max_tokens": 32000} if cached else {}),
        "messages": [
            {"role": "system", "content": "s", **cached},
            {"role": "user", "content": "edit", **cached},
            *(exchange if with_result else []),
        ],
        "tools": [read],
        "tool_choice": "auto",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert (await client.post("/chat/completions", body, headers=headers)).events[-1] == "[DONE]"
    assert client.simulator.violations == []


async def test_the_same_fingerprint_from_anybody_else_is_noted(client):
    """Only GitHub's own command line may send its SDK's headers."""
    headers = {
        **OPENCODE,
        "authorization": f"Bearer {client.simulator.sign_in()}",
        "x-stainless-helper-method": "stream",
    }
    await client.get("/models", headers=headers)
    assert [violation.rule for violation in client.simulator.violations] == ["sdk-fingerprint"]


KEYS = """
role content type text tools messages input name function parameters id call_id tool_calls tool_choice reasoning effort
thinking system cache_control source image_url url input_schema properties required stream max_tokens output_config
format schema tool_use_id encrypted_content output store temperature response_format media_type stop reasoning_effort
enum minItems anyOf $ref items
"""
WORDS = """
user assistant tool system text function tool_result tool_use image thinking x object enabled adaptive message reasoning
function_call function_call_output json_schema custom namespace input_image auto any low array
"""
NAMES = st.sampled_from(KEYS.split())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.sampled_from(WORDS.split()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=30,
)
SAID = [{"role": "user", "content": "read and think"}]
CHAT = {"messages": SAID, "tools": [tool("read", path={"type": "string"})]}
MESSAGES = {"messages": SAID, "max_tokens": 100}
CALLS = [
    ("/chat/completions", {"model": "gpt-5-mini", **CHAT}),
    ("/chat/completions", {"model": "claude-sonnet-4.6", **CHAT, "stream": True}),
    ("/responses", {"model": "gpt-5.4", "input": SAID}),
    ("/v1/messages", {"model": "claude-haiku-4.5", **MESSAGES}),
    ("/v1/messages/count_tokens", {"model": "claude-opus-5.5", **MESSAGES}),
    ("/embeddings", {"model": "text-embedding-3-small", "input": ["x"]}),
]


@pytest.mark.parametrize(("path", "base"), CALLS)
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.dictionaries(NAMES, VALUES, max_size=8))
async def test_no_body_crashes_the_simulator(path, base, body):
    """Whatever the values are, there is an answer of 200 or 4xx, and it is whole."""
    client = Client(Simulator())
    token = client.simulator.sign_in()
    answer = await client.call(path, base | body, token=token)
    assert answer.complete
    assert answer.status in {200, 400, 401, 404, 413}
    if answer.headers["content-type"].startswith("application/json"):
        msgspec.json.decode(answer.body)
