"""An Ollama client on models that speak other dialects: requests there, answers back."""

import json

import dialects
import pytest
import sdk_models

from copilot_asgi.translate.conversation import Conversation
from copilot_asgi.translate.ollama_request import parse_request, wants_stream
from copilot_asgi.translate.ollama_stream import OllamaEncoder
from copilot_asgi.wire.shallow import read_object

REQUEST = {
    "model": "some-model:latest",
    "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"function": {"name": "look_up", "arguments": {"city": "Ulm"}}},
                {"function": {"name": "look_up", "arguments": {"city": "Bern"}}},
            ],
        },
        {"role": "tool", "content": "rain", "tool_name": "look_up"},
        {"role": "tool", "content": "sun", "tool_name": "look_up"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
    ],
    "options": {"num_predict": 100},
}


def parsed() -> Conversation:
    fields = read_object(json.dumps(REQUEST).encode())
    return parse_request(fields, stream=wants_stream(fields))


@pytest.mark.parametrize("upstream", dialects.NAMES)
def test_every_upstream_takes_the_request(upstream: str) -> None:
    """What comes out is valid for the vendor's own types, whichever dialect the model speaks."""
    sdk_models.check_request(upstream, json.loads(dialects.rendered(upstream, parsed()).body))


def test_the_request_over_chat() -> None:
    """Calls have ids, arguments are a string, results belong to their calls."""
    body = json.loads(dialects.rendered("chat", parsed()).body)
    assert body["stream"] is True
    _, _, assistant, first, second = body["messages"]
    assert [json.loads(call["function"]["arguments"]) for call in assistant["tool_calls"]] == [
        {"city": "Ulm"},
        {"city": "Bern"},
    ]
    ids = [call["id"] for call in assistant["tool_calls"]]
    assert len(set(ids)) == 2
    assert [(first["tool_call_id"], first["content"]), (second["tool_call_id"], second["content"])] == [
        (ids[0], "rain"),
        (ids[1], "sun"),
    ]


def test_c2o_stream_ndjson() -> None:
    """Text, a call that is whole with an object, and a last line that counts; nobody had to ask for a stream."""
    begun = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":'}}
    deltas = (
        ({"role": "assistant", "content": "let me"}, None),
        ({"tool_calls": [begun]}, None),
        ({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}, None),
        ({}, "tool_calls"),
    )
    head = {"id": "x", "model": "up"}
    chunks = [
        {"data": {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}} for delta, end in deltas
    ]
    chunks += [{"data": {**head, "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3}}}]
    chunks += [{"data": "[DONE]"}]
    encoder = OllamaEncoder(parsed(), id="r", created=0, prompt_tokens=1)
    wire = b"".join(encoder.encode(event) for event in dialects.decoded("chat", [dialects.wire(chunks)]))
    text, call, last = [json.loads(line) for line in wire.splitlines()]
    assert text["message"]["content"] == "let me"
    assert call["message"]["tool_calls"] == [{"id": "c1", "function": {"name": "f", "arguments": {"a": 1}}}]
    assert (text["done"], call["done"], last["done"], last["done_reason"]) == (False, False, True, "stop")
    assert (last["prompt_eval_count"], last["eval_count"]) == (5, 3)
