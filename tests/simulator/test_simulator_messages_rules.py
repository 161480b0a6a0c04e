"""What ``/v1/messages`` refuses and accepts (checklist line 46)."""

import pytest
from simulator_client import PNG_BYTES, messages_tool, rules

from copilot_asgi.simulator import Quirk, Reply

pytestmark = pytest.mark.anyio
READ = messages_tool("read_file", path={"type": "string"})
THINKING = {"type": "enabled", "budget_tokens": 1024}
CACHE = {"cache_control": {"type": "ephemeral"}}
CONTEXT = "context-management-2025-06-27"
SYSTEM = "mid-conversation-system-2026-04-07"
TOOLS = "advanced-tool-use-2025-11-20"


def user(*blocks):
    return [{"role": "user", "content": list(blocks)}]


def text(said="x", **more):
    return {"type": "text", "text": said, **more}


def used(call_id="toolu_1"):
    return {"role": "assistant", "content": [{"type": "tool_use", "id": call_id, "name": "read_file", "input": {}}]}


def resulted(call_id="toolu_1", content="data", **more):
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **more}


def turns(*messages):
    return {"messages": [{"role": "user", "content": "x"}, *messages]}


BAD_THOUGHT = {"type": "thinking", "thinking": "x", "signature": "forged"}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG_BYTES}}
REFUSED = [
    ({"inference_geo": "us"}, "unknown-field", "inference_geo: Extra inputs are not permitted"),
    ({"service_tier": "auto"}, "unknown-field", "service_tier: Extra inputs are not permitted"),
    ({"mcp_servers": []}, "unknown-field", "mcp_servers: Extra inputs"),
    ({"container": "c"}, "unknown-field", "container: Extra inputs"),
    ({"cache_control": {"type": "ephemeral"}}, "unknown-field", "cache_control: Extra inputs"),
    ({"context_management": {"edits": []}}, "unknown-field", "context_management: Extra inputs"),
    ({"output_config": {"effort": "low", "task_budget": 1}}, "unknown-field", "output_config.task_budget"),
    (
        {"output_config": {"format": {"type": "json_schema", "schema": {}, "strict": True}}},
        "unknown-field",
        "output_config.format.strict",
    ),
    ({"thinking": {"type": "adaptive", "budget_tokens": 1024}}, "unknown-field", "thinking.budget_tokens"),
    ({"tools": [{**READ, "eager_input_streaming": True}]}, "tool-shape", "tools.0.custom.eager_input_streaming"),
    ({"tools": [{**READ, "defer_loading": True}]}, "tool-shape", "defer_loading"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tool-shape", "web_search_20250305"),
    ({"tools": [{**READ, "name": "a b"}]}, "tool-shape", "should match pattern"),
    ({"tools": [{"name": "a", "input_schema": {"anyOf": []}}]}, "tool-schema", "Input should be 'object'"),
    ({"temperature": 0, "top_p": 1}, "temperature-top-p", "cannot both"),
    ({"max_tokens": None}, "required-field", "max_tokens: Field required"),
    ({"max_tokens": "9"}, "required-field", "valid integer"),
    ({"messages": []}, "required-field", "at least one message"),
    ({"thinking": {"type": "enabled", "budget_tokens": 100}}, "thinking", "greater than or equal to 1024"),
    ({"thinking": {"type": "enabled", "budget_tokens": 1000_000}}, "thinking", "must be greater than"),
    ({"thinking": {"type": "maybe"}}, "thinking", "maybe"),
    ({"output_config": {"effort": "xhigh"}}, "effort", "xhigh"),
    (
        {"thinking": THINKING, "max_tokens": 2000, "tools": [READ], "tool_choice": {"type": "any"}},
        "forced-thinking",
        "forces tool use",
    ),
    ({"messages": user(*[text(str(i), **CACHE) for i in range(5)])}, "cache-breakpoints", "maximum of 4"),
    (
        {"messages": user(text(cache_control={"type": "ephemeral", "scope": "global"}))},
        "cache-control-keys",
        "messages.0.content.0.cache_control.ephemeral.scope: Extra inputs",
    ),
    (turns({"role": "assistant", "content": "y"}), "prefill", "prefill"),
    (turns({"role": "robot", "content": "y"}), "role", "messages.1.role"),
    (turns({"role": "system", "content": "y"}), "role", "messages.1.role"),
    ({"messages": [{"role": "assistant", "content": "y"}, {"role": "user", "content": "x"}]}, "first-turn", "user"),
    ({"messages": user(text("  "))}, "empty-text", "non-whitespace"),
    ({"messages": [{"role": "user", "content": ""}]}, "empty-text", "non-empty"),
    ({"messages": user({"type": "image", "source": {"type": "url", "url": "https://x"}})}, "image-source", "base64"),
    (
        {"messages": user({**PICTURE, "source": {**PICTURE["source"], "media_type": "image/bmp"}})},
        "image-source",
        "bmp",
    ),
    ({"messages": user({"type": "document", "source": {"type": "file", "file_id": "f"}})}, "document-source", ""),
    (
        turns({"role": "assistant", "content": [BAD_THOUGHT, text()]}, {"role": "user", "content": "x"}),
        "thinking-signature",
        "messages.1.content.0: Invalid `signature` in `thinking` block",
    ),
    (
        turns({"role": "assistant", "content": [{**BAD_THOUGHT, **CACHE}, text()]}, {"role": "user", "content": "x"}),
        "cache-control-thinking",
        "thinking blocks",
    ),
    (turns(used(), {"role": "user", "content": "y"}), "tool-pairs", "toolu_1"),
    (turns({"role": "user", "content": [resulted()]}), "tool-pairs", "unexpected `tool_use_id`"),
    (turns(used("a.b"), {"role": "user", "content": [resulted("a.b")]}), "tool-id", "tool_use.id"),
    (
        turns(used(), {"role": "user", "content": [resulted(content=[text(**CACHE)])]}),
        "cache-control-result",
        "put cache_control on the tool_result",
    ),
    (
        {"messages": user({"type": "tool_reference", "tool_name": "ghost"})},
        "tool-reference",
        "Tool reference 'ghost' not found in available tools",
    ),
]


@pytest.mark.parametrize(("body", "rule", "told"), REFUSED)
async def test_46_what_is_refused(client, body, rule, told):
    """400, the place and the reason, and the rule on record."""
    fields = {"model": "claude-sonnet-4.6", "max_tokens": 1000, "messages": [{"role": "user", "content": "x"}], **body}
    sent = {key: value for key, value in fields.items() if value is not None}
    answer = await client.call("/v1/messages", sent, x_initiator="agent", copilot_vision_request="true")
    assert answer.status == 400
    assert told in answer.text
    assert rules(client.simulator)[0] == rule


@pytest.mark.parametrize(
    ("model", "body", "told"),
    [
        ("claude-opus-5.5", {"thinking": THINKING, "max_tokens": 2000}, "use 'adaptive'"),
        ("claude-haiku-4.5", {"thinking": {"type": "adaptive"}}, "not supported on this model"),
        ("claude-haiku-4.5", {"output_config": {"effort": "low"}}, "does not support the effort"),
        (
            "claude-haiku-4.5",
            {"output_config": {"format": {"type": "json_schema", "schema": {}}}},
            "FAILED_PRECONDITION",
        ),
        ("claude-haiku-4.5", {"tools": [{**READ, "strict": True}]}, "FAILED_PRECONDITION"),
    ],
)
async def test_46_models_differ(client, model, body, told):
    """Adaptive-only models refuse a budget, Haiku refuses effort, adaptive thinking and structured output."""
    answer = await client.messages(model=model, **body)
    assert (answer.status, told in answer.text) == (400, True)


@pytest.mark.parametrize(
    ("model", "beta", "body"),
    [
        (
            "claude-opus-5.5",
            "",
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "xhigh"}},
        ),
        ("claude-sonnet-4.6", "", {"thinking": {"type": "enabled", "budget_tokens": 31999}, "max_tokens": 32000}),
        (
            "claude-sonnet-4.6",
            "",
            {"thinking": {"type": "disabled"}, "top_k": 3, "stop_sequences": ["x"], "metadata": {}},
        ),
        (
            "claude-sonnet-4.6",
            "",
            {"tools": [READ], "messages": user({"type": "tool_reference", "tool_name": "read_file"})},
        ),
        ("claude-sonnet-4.6", CONTEXT, {"context_management": {"edits": []}}),
        ("claude-sonnet-4.6", TOOLS, {"tools": [{**READ, "defer_loading": True}]}),
        ("claude-sonnet-4.6", "", {"tools": [{"type": "tool_search_tool_regex_20251119", "name": "t"}]}),
        ("claude-sonnet-4.6", SYSTEM, turns({"role": "system", "content": "s"}, {"role": "user", "content": "y"})),
        (
            "claude-sonnet-4.6",
            "",
            {"system": [text(**CACHE)], "tools": [{**READ, **CACHE}], "messages": user(text(**CACHE))},
        ),
        ("claude-sonnet-4.6", "", turns(used(), {"role": "user", "content": [resulted(**CACHE), text("and?")]})),
        (
            "claude-sonnet-4.6",
            "",
            {"messages": user({"type": "document", "source": {"type": "base64", "data": "x"}}, text())},
        ),
        ("claude-sonnet-4.6", "", {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}),
    ],
)
async def test_46_what_is_accepted(client, model, beta, body):
    """Well-formed requests pass without a violation."""
    answer = await client.messages(model=model, beta=beta, **body)
    assert answer.status == 200, answer.text
    assert client.simulator.violations == []


async def test_46_signatures_that_were_given_out_are_taken_back(client):
    """Thinking and redacted blocks of an earlier answer pass."""
    client.simulator.enqueue(Reply(text="hi", reasoning="hm", quirks=frozenset({Quirk.REDACTED})))
    blocks = (await client.messages(thinking=THINKING, max_tokens=2000)).json["content"]
    assert [block["type"] for block in blocks] == ["redacted_thinking", "thinking", "text"]
    history = turns({"role": "assistant", "content": blocks}, {"role": "user", "content": "y"})
    assert (await client.messages(**history)).status == 200


async def test_46_thoughts_can_be_hidden(client):
    """``display: omitted`` leaves the signature only."""
    thinking = {"type": "adaptive", "display": "omitted"}
    blocks = (await client.messages(thinking=thinking, model="claude-opus-5.5")).json["content"]
    assert blocks[0]["thinking"] == ""
    assert blocks[0]["signature"]


@pytest.mark.parametrize("beta", ["context-1m-2025-08-07", "claude-code-20250219"])
async def test_46_unknown_betas_are_refused(client, beta):
    """Only a handful of flags pass."""
    answer = await client.messages(beta=beta)
    assert (answer.status, beta in answer.text) == (400, True)
    assert rules(client.simulator) == ["anthropic-beta"]


async def test_46_only_one_anthropic_version_is_known(client):
    """Another one is noted, since nobody has seen it sent."""
    body = {"model": "claude-sonnet-4.6", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    assert (await client.call("/v1/messages", body, anthropic_version="2023-06-01")).status == 200
    assert client.simulator.violations == []
    assert (await client.call("/v1/messages", body, anthropic_version="2026-10-21")).status == 200
    assert rules(client.simulator) == ["anthropic-version"]
