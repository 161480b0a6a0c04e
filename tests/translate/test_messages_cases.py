"""Known faults of translators, by name: an Anthropic client before another upstream, or the other way round."""

import dialects
import msgspec
import pytest

from copilot_asgi.translate.conversation import Seal, SealOrigin
from copilot_asgi.translate.seals import wrap
from copilot_asgi.wire.models import Model

TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {}}}
ASKED = {"model": "asked", "max_tokens": 4000, "messages": [{"role": "user", "content": "go"}], "tools": [TOOL]}
FUNCTION = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
EFFORTS = {"reasoning_effort": ["low", "medium", "high"]}


def chunk(finish: str | None = None, **delta: object) -> dict:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"data": {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}}


def streamed(*events: dict) -> list[dict]:
    stream = dialects.wire(events)
    told = dialects.stream("chat", "messages", [stream], dialects.parsed("messages", {**ASKED, "stream": True}))
    return [event["data"] for event in told]


def answered(finish: str, **message: object) -> dict:
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", **message}}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": USAGE}
    return dialects.answer("chat", "messages", body, dialects.parsed("messages", ASKED))


def asked(upstream: str, on: Model | None = None, **fields: object) -> dict:
    return dialects.request("messages", upstream, {**ASKED, **fields}, on)


def kinds(events: list[dict]) -> list[str]:
    return [event["type"] for event in events]


def test_stop_with_tools():
    """A complete call is a call, also when upstream says ``stop``."""
    told = answered("stop", content=None, tool_calls=[{"id": "t", **FUNCTION}])
    assert (told["stop_reason"], told["content"][0]["type"]) == ("tool_use", "tool_use")


@pytest.mark.parametrize(("code", "kind"), [("rate_limited", "rate_limit_error"), ("odd", "api_error")])
def test_error_in_the_middle(code, kind):
    """An error in the middle of a stream is an error event in Anthropic's words, and no success follows."""
    told = streamed(chunk(content="a"), {"data": {"error": {"message": "slow down", "code": code}}})
    assert told[-1]["error"]["type"] == kind
    assert "slow down" in told[-1]["error"]["message"]
    assert not {"message_delta", "message_stop"} & set(kinds(told))


def test_truncated():
    """A stream that just ends is an error, not a success."""
    told = streamed(chunk(content="a"))
    assert told[-1]["type"] == "error"
    assert not {"message_delta", "message_stop"} & set(kinds(told))


def test_thinking_is_not_in_the_text():
    """What the model thought is never what it said, and its call stays next to the result."""
    turns = [
        *ASKED["messages"],
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "secret", "signature": "native"},
                {"type": "text", "text": "A"},
                {"type": "tool_use", "id": "t", "name": "f", "input": {}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "r"}]},
    ]
    told = asked("chat", messages=turns)["messages"]
    assert told[1]["content"] == "A"
    assert [message["role"] for message in told] == ["user", "assistant", "tool"]
    assert "secret" not in str(told)


EFFORT_CASES = [
    ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, EFFORTS, "low"),
    ({"thinking": {"type": "enabled", "budget_tokens": 8000}}, EFFORTS, "medium"),
    ({"thinking": {"type": "enabled", "budget_tokens": 20000}}, EFFORTS, "high"),
    ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, EFFORTS, "high"),
    ({"thinking": {"type": "disabled"}}, EFFORTS, None),
    ({"thinking": {"type": "enabled", "budget_tokens": 4000}}, {}, None),
]


@pytest.mark.parametrize(("fields", "supports", "effort"), EFFORT_CASES)
def test_effort_and_budget(fields, supports, effort):
    """A budget is the effort that the model lists nearest below."""
    told = asked("chat", dialects.model(**supports), max_tokens=32_000, tools=None, **fields)
    assert told.get("reasoning_effort") == effort


def test_text_after_a_call():
    """Text behind a call is a block of its own, not part of the call."""
    told = streamed(
        chunk(content="a"),
        chunk(tool_calls=[{"index": 0, "id": "t", **FUNCTION}]),
        chunk(content="b"),
        chunk("stop"),
        {"data": "[DONE]"},
    )
    starts = [event["content_block"]["type"] for event in told if event["type"] == "content_block_start"]
    assert starts == ["text", "tool_use", "text"]
    assert told[-2]["delta"]["stop_reason"] == "tool_use"


def test_stream_without_usage():
    """Without any usage the end still has its numbers."""
    told = streamed(chunk(content="a"), chunk("stop"), {"data": "[DONE]"})
    assert kinds(told)[-2:] == ["message_delta", "message_stop"]
    assert told[-2]["usage"]["output_tokens"] >= 0


def test_instructions_in_the_middle():
    """Instructions between a call and its result come behind the result, and stay the system's."""
    turns = [
        *ASKED["messages"],
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t", "content": "r"}, {"type": "text", "text": "so?"}],
        },
    ]
    told = asked("chat", messages=turns)["messages"]
    roles = [message["role"] for message in told]
    assert roles[:3] == ["user", "assistant", "tool"]
    assert "system" in roles[3:]


def test_content_filter():
    """A filtered answer is a refusal, with its text and its usage."""
    told = answered("content_filter", content="Sorry", refusal="no")
    assert told["stop_reason"] == "refusal"
    assert told["content"][0]["text"] == "Sorry"
    assert told["usage"]["input_tokens"] == 10


def chat(*messages: dict, **fields: object) -> dict:
    body = {"model": "asked", "messages": [{"role": "user", "content": "go"}, *messages], **fields}
    return dialects.request("chat", "messages", body)


def test_several_answers():
    """Several answers to one question cannot be had; one can."""
    told = chat(n=3)
    assert (told["status"], told["body"]["error"]["param"]) == (400, "n")
    assert "messages" in chat(n=1)


CALLING = {"role": "assistant", "content": None, "tool_calls": [{"id": "t", **FUNCTION}]}


def test_orphaned_results():
    """A result that answers nothing is refused by its id at the end, and becomes text in older history."""
    orphan = {"role": "tool", "tool_call_id": "lost", "content": "r"}
    told = chat(orphan)
    assert told["status"] == 400
    assert "lost" in told["body"]["error"]["message"]
    assert "messages" in chat(CALLING, {**orphan, "tool_call_id": "t"})
    older = chat(orphan, {"role": "assistant", "content": "a"}, {"role": "user", "content": "b"})
    assert {block["type"] for message in older["messages"] for block in message["content"]} == {"text"}


CLAUDE = msgspec.convert(
    {"id": "claude", "capabilities": {"supports": {"min_thinking_budget": 1024, "max_thinking_budget": 32000}}}, Model
)
CALL_ITEMS = [
    {"type": "function_call", "call_id": "t", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "t", "output": "r"},
]
REPLAYED = [
    (
        wrap(Seal(SealOrigin.SIGNATURE, "sig"), text="deep"),
        {"type": "thinking", "thinking": "deep", "signature": "sig"},
    ),
    (wrap(Seal(SealOrigin.REDACTED, "r")), {"type": "redacted_thinking", "data": "r"}),
    ("gAAA", None),
    (None, None),
]


@pytest.mark.parametrize(("sealed", "block"), REPLAYED)
def test_reasoning_replay(sealed, block):
    """Anthropic's thinking comes back as it was, OpenAI's stays away; without it a budget is not asked for."""
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed}
    items = [{"role": "user", "content": "go"}, *([reasoning] if sealed else []), *CALL_ITEMS]
    body = {"model": "asked", "input": items, "reasoning": {"effort": "low"}, "max_output_tokens": 4000}
    told = dialects.request("responses", "messages", body, CLAUDE)
    said = told["messages"][1]["content"]
    assert [each["type"] for each in said][-1] == "tool_use"
    assert (said[0] if len(said) > 1 else None) == block
    assert ("thinking" in told) is (block is not None)


def test_adaptive_thinking_survives_a_lost_block():
    """A model that adapts demands no thinking of earlier turns."""
    body = {"model": "asked", "input": [{"role": "user", "content": "go"}, *CALL_ITEMS], "reasoning": {"effort": "low"}}
    told = dialects.request("responses", "messages", body, dialects.model(adaptive_thinking=True))
    assert told["thinking"]["type"] == "adaptive"
