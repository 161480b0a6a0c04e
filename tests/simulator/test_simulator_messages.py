"""``/v1/messages`` and ``count_tokens`` (checklist lines 45 to 48)."""

import pytest
from simulator_client import PNG_BYTES, messages_tool

from copilot_asgi.simulator import Finish, Quirk, Reply

pytestmark = pytest.mark.anyio
READ = messages_tool("read_file", path={"type": "string"})
THINKING = {"type": "enabled", "budget_tokens": 1024}
CACHE = {"cache_control": {"type": "ephemeral"}}


async def test_45_a_stream_is_anthropics_with_done_at_the_end(client):
    """Named events in order, a ping, and a stray ``[DONE]``."""
    answer = await client.messages("read_file path=a", tools=[READ], thinking=THINKING, max_tokens=2000, stream=True)
    kinds = [event["type"] for event in answer.events[:-1]]
    assert answer.names == kinds
    assert (kinds[0], kinds[1], kinds[-2:]) == ("message_start", "ping", ["message_delta", "message_stop"])
    assert answer.events[-1] == "[DONE]"
    blocks = [e["content_block"] for e in answer.events[:-1] if e["type"] == "content_block_start"]
    assert [block["type"] for block in blocks] == ["thinking", "text", "tool_use"]
    assert blocks[0] == {"type": "thinking", "thinking": "", "signature": ""}
    assert blocks[2]["input"] == {}
    deltas = [e["delta"] for e in answer.events[:-1] if e["type"] == "content_block_delta"]
    joined = "".join(delta["partial_json"] for delta in deltas if delta["type"] == "input_json_delta")
    assert joined == '{"path":"a"}'
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 3


async def test_45_usage_and_copilots_extras(client):
    """Input up front, output at the end, billing and context management in ``message_delta``."""
    answer = await client.messages(stream=True)
    start, delta = answer.events[0]["message"], answer.events[-3]
    assert start["usage"].keys() == {
        "input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"
    }  # fmt: skip
    assert start["usage"]["input_tokens"] > 0
    assert delta["usage"]["output_tokens"] > 0
    assert delta["copilot_usage"]["total_nano_aiu"] > 0
    assert delta["context_management"] == {"applied_edits": []}
    assert start["id"].startswith("msg_bdrk_")
    assert start["model"] == "claude-sonnet-4-6"


async def test_45_a_whole_answer(client):
    """The same blocks in one body."""
    answer = (await client.messages("read_file path=a", tools=[READ])).json
    assert answer.keys() == {
        "content", "context_management", "copilot_usage", "id", "model", "role", "stop_reason", "stop_sequence",
        "type", "usage",
    }  # fmt: skip
    assert [block["type"] for block in answer["content"]] == ["text", "tool_use"]
    assert answer["content"][1]["input"] == {"path": "a"}
    assert answer["content"][1]["id"].startswith("toolu_bdrk_")
    assert answer["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("quirk", "told"),
    [
        (Quirk.BEDROCK_METRICS, "amazon-bedrock-invocationMetrics"),
        (Quirk.VERTEX_IDS, "msg_vrtx_"),
        (Quirk.CITATIONS, "IPCodeCitations"),
        (Quirk.REDACTED, "redacted_thinking"),
    ],
)
async def test_45_hosts_leave_their_marks(client, quirk, told):
    """Bedrock's metrics, Vertex's ids, citations, redacted thoughts."""
    client.simulator.enqueue(Reply(text="hi", reasoning="hm", quirks=frozenset({quirk})))
    assert told in (await client.messages(stream=True)).text


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        (Finish.STOP, "end_turn"),
        (Finish.LENGTH, "max_tokens"),
        (Finish.REFUSAL, "refusal"),
        (Finish.PAUSE, "pause_turn"),
        (Finish.ERROR, "model_context_window_exceeded"),
    ],
)
async def test_45_stop_reasons(client, finish, reason):
    """Each way to stop has Anthropic's word."""
    client.simulator.enqueue(Reply(text="hi", finish=finish))
    assert (await client.messages()).json["stop_reason"] == reason


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


PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG_BYTES}}


async def test_47_errors_come_in_both_envelopes(client):
    """Anthropic's form for most, a bare message for a few."""
    enveloped = (await client.messages(top_secret=1)).json
    assert (enveloped["type"], enveloped["error"]["type"]) == ("error", "invalid_request_error")
    bare = (await client.messages(**turns(used(), {"role": "user", "content": "y"}))).json
    assert bare.keys() == {"message", "code"}


async def test_47_a_prompt_that_is_too_long(client):
    """In the words that make clients compact."""
    answer = await client.messages("x" * 800_000)
    assert answer.json["error"]["message"] == "prompt is too long: 200006 tokens > 168000 maximum"


async def test_45_a_stream_may_lack_ping_and_done(client):
    """As Anthropic's own."""
    client.simulator.enqueue(Reply(text="hi", plain=True))
    answer = await client.messages(stream=True)
    assert "ping" not in answer.names
    assert answer.events[-1] == {"type": "message_stop"}


async def test_48_tokens_are_counted(client):
    """Also for shapes that generation refuses; no initiator is needed, and nothing is charged."""
    body = {
        "model": "claude-sonnet-4.6",
        "messages": user({"type": "image", "source": {"type": "url", "url": "x"}}, text("x" * 40)),
    }
    answer = await client.call("/v1/messages/count_tokens", body, x_initiator="")
    assert answer.json == {"input_tokens": 3 + 3 + (40 + 1 + 3000) // 4}
    assert client.simulator.violations == []
    assert client.simulator.ledger.charges == []


async def test_caching_is_written_then_read(client):
    """Marked prompts: first written, then read; fresh tokens are few."""
    body = {"system": [text("s" * 4000, **CACHE)]}
    first = (await client.messages(**body)).json["usage"]
    second = (await client.messages(**body)).json["usage"]
    assert first["cache_creation_input_tokens"] > 1000 > first["input_tokens"]
    assert (second["cache_creation_input_tokens"], second["cache_read_input_tokens"] > 1000) == (0, True)


async def test_images_in_tool_results_are_seen(client):
    """A picture that a tool took."""
    body = turns(used(), {"role": "user", "content": [resulted(content=[PICTURE])]})
    assert "I see 1 image: image/png." in (await client.messages(**body)).text
