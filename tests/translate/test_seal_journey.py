"""Sealed reasoning on its way: out through a client of any dialect, and back with its next request."""

import json

import dialects
import pytest
import sdk_models
from dialects import ASKED

from copilot_asgi.translate.seals import is_wrapped

THINKER = dialects.model(reasoning_effort=["low", "medium", "high"], max_thinking_budget=32_000, thinking=True)
SEAL = "U0VBTEVE"
GO = "go"
each_way = pytest.mark.parametrize(("upstream", "client"), dialects.PAIRS)
texts = pytest.mark.parametrize("thought", ["I should look.", ""], ids=["with text", "without text"])


def from_chat(thought: str) -> bytes:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    deltas = [
        {"role": "assistant", "reasoning_text": thought},
        {"content": "Looking.", "reasoning_opaque": SEAL},
        {"tool_calls": [call]},
    ]
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    return dialects.wire([*({"data": chunk} for chunk in chunks), {"data": "[DONE]"}])


def from_messages(thought: str) -> bytes:
    thinking = {"type": "thinking", "thinking": "", "signature": ""}
    pieces: list[tuple[dict, list[dict]]] = [
        (
            thinking,
            [{"type": "thinking_delta", "thinking": thought}, {"type": "signature_delta", "signature": SEAL}],
        ),
        ({"type": "text", "text": ""}, [{"type": "text_delta", "text": "Looking."}]),
        ({"type": "tool_use", "id": "call_1", "name": "look", "input": {}}, []),
    ]
    if not thought:
        pieces[0] = ({"type": "redacted_thinking", "data": SEAL}, [])
    events: list[dict] = [{"type": "message_start", "message": {"id": "m", "model": "m", "content": [], "usage": {}}}]
    for index, (block, deltas) in enumerate(pieces):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    events += [{"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {}}, {"type": "message_stop"}]
    return dialects.wire({"event": data["type"], "data": data} for data in events)


def from_responses(thought: str) -> bytes:
    summary = [{"type": "summary_text", "text": thought}] if thought else []
    content = [{"type": "output_text", "text": "Looking.", "annotations": []}]
    items = [
        {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": SEAL},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": "{}"},
    ]
    response = {"id": "resp_1", "model": "m", "status": "completed", "output": items}
    events: list[dict] = [{"type": "response.created", "response": {**response, "output": []}}]
    for index, item in enumerate(items):
        bare = {**item, "summary": [], "content": [], "arguments": ""}
        events.append({"type": "response.output_item.added", "output_index": index, "item": bare})
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": "response.completed", "response": response})
    return dialects.wire({"event": data["type"], "data": data} for data in events)


# A signature covers its text; encrypted reasoning belongs to its item, whose summary nobody needs again.
BELONGS = {"chat": "", "messages": "", "responses": "rs_1"}
FROM = {"chat": from_chat, "messages": from_messages, "responses": from_responses}


def received(upstream: str, client: str, thought: str) -> dict:
    """What the client's library makes of the answer."""
    return sdk_models.accumulated(client, dialects.stream(upstream, client, [FROM[upstream](thought)], ASKED))


def next_chat(body: dict) -> dict:
    said = body["choices"][0]["message"]
    kept = {
        key: said[key]
        for key in ("role", "content", "tool_calls", "reasoning_text", "reasoning_opaque")
        if said.get(key)
    }
    for call in kept["tool_calls"]:
        call.pop("index", None)
    result = {"role": "tool", "tool_call_id": "call_1", "content": "seen"}
    function = {"name": "look", "parameters": {"type": "object", "properties": {}}}
    return {
        "model": "m",
        "messages": [{"role": "user", "content": GO}, kept, result],
        "tools": [{"type": "function", "function": function}],
        "max_completion_tokens": 8000,
        "reasoning_effort": "low",
    }


def next_messages(body: dict) -> dict:
    result = {"type": "tool_result", "tool_use_id": "call_1", "content": "seen"}
    assistant = {"role": "assistant", "content": body["content"]}
    return {
        "model": "m",
        "messages": [{"role": "user", "content": GO}, assistant, {"role": "user", "content": [result]}],
        "tools": [{"name": "look", "input_schema": {"type": "object", "properties": {}}}],
        "max_tokens": 8000,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }


def next_responses(body: dict) -> dict:
    result = {"type": "function_call_output", "call_id": "call_1", "output": "seen"}
    return {
        "model": "m",
        "input": [{"role": "user", "content": GO}, *body["output"], result],
        "tools": [{"type": "function", "name": "look", "parameters": None, "strict": False}],
        "max_output_tokens": 8000,
        "reasoning": {"effort": "low"},
        "include": ["reasoning.encrypted_content"],
    }


NEXT = {"chat": next_chat, "messages": next_messages, "responses": next_responses}


@each_way
@texts
def test_a_seal_comes_home(upstream: str, client: str, thought: str) -> None:
    """The upstream that sealed it gets back exactly what it sent: with the text, or the id, that it belongs to."""
    follow_up = NEXT[client](received(upstream, client, thought))
    body = dialects.request(client, upstream, follow_up, THINKER)
    assert SEAL in strings(body), body
    assert not any(map(is_wrapped, strings(body)))
    assert BELONGS[upstream] or thought in ["", *strings(body)]
    assert BELONGS[upstream] in ["", *strings(body)]


@each_way
@texts
@pytest.mark.parametrize("elsewhere", dialects.NAMES)
def test_nobody_else_sees_it(upstream: str, client: str, elsewhere: str, thought: str) -> None:
    """After a change of model the seal stays behind, also inside its envelope, and so does the thinking."""
    if elsewhere == upstream:
        return
    follow_up = NEXT[client](received(upstream, client, thought))
    body = dialects.request(client, elsewhere, follow_up, THINKER)
    assert "call_1" in json.dumps(body)
    assert SEAL not in json.dumps(body)
    assert not any(map(is_wrapped, strings(body)))


def strings(value: object) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [each for inner in value.values() for each in strings(inner)]
        case list():
            return [each for inner in value for each in strings(inner)]
    return []
