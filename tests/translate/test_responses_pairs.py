"""Responses on one side and another dialect on the other: the cases that proxies are known to get wrong."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from dialects import CREATED, ID, answer, answers, decoder, parsed, rendered, request, server_sent, stream, wire
from dialects import model as able
from sdk_models import check_event

from copilot_asgi.translate.conversation import Conversation, Seal, SealOrigin
from copilot_asgi.translate.events import check
from copilot_asgi.translate.ids import ToolNames
from copilot_asgi.translate.seals import unwrap, wrap

PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: LINE"},
}
RAW = '*** Begin Patch\n+ "é"\\\n*** End Patch'


def chunk(delta: dict[str, object], finish: str | None = None, **fields: object) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {
        "data": {
            "id": "c1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "up",
            "choices": [choice],
            **fields,
        }
    }


def fragment(index: int, arguments: str, **head: object) -> dict[str, object]:
    function = {"arguments": arguments} | ({"name": head.pop("name")} if "name" in head else {})
    return {"tool_calls": [{"index": index, **head, "function": function}]}


USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
DONE = {"data": "[DONE]"}


def streamed(*events: dict[str, object], **fields: object) -> list[dict[str, Any]]:
    """A chat stream as a Responses client sees it."""
    conversation = parsed("responses", {"model": "m", "input": "hi", "stream": True} | fields)
    found = stream("chat", "responses", [wire(events)], conversation)
    for event in found:
        check_event("responses", event["data"])
    return [event["data"] for event in found]


def test_c2r_stream_length_usage() -> None:
    """A cut text is an incomplete item in an incomplete response, with its usage."""
    data = streamed(chunk({"content": "Hel"}), chunk({}, "length", usage=USAGE), DONE)
    done = next(each for each in data if each["type"] == "response.output_item.done")
    assert done["item"]["status"] == "incomplete"
    assert data[-1]["type"] == "response.incomplete"
    assert data[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert data[-1]["response"]["usage"]["total_tokens"] == 13


def test_c2r_stream_tool_lifecycle() -> None:
    """Two calls by index are two items with a full family each, and no message."""
    data = streamed(
        chunk(fragment(0, "", id="call_a", type="function", name="f")),
        chunk(fragment(0, '{"a"')),
        chunk(fragment(1, "", id="call_b", type="function", name="g")),
        chunk(fragment(1, "{}")),
        chunk(fragment(0, ":1}")),
        chunk({}, "tool_calls", usage=USAGE),
        DONE,
    )
    for index, arguments in ((0, '{"a":1}'), (1, "{}")):
        family = [each for each in data if each.get("output_index") == index]
        assert family[0]["type"] == "response.output_item.added"
        assert "".join(each["delta"] for each in family if "delta" in each) == arguments
        assert family[-2]["type"] == "response.function_call_arguments.done"
        assert family[-2]["arguments"] == arguments
        assert family[-1]["item"] == data[-1]["response"]["output"][index]
    assert [item["type"] for item in data[-1]["response"]["output"]] == ["function_call"] * 2


def test_r2c_req_custom_tool() -> None:
    """A freeform tool is a function with one text, in its declaration and in the history."""
    items = [
        {"role": "user", "content": "patch"},
        {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": RAW},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "ok"},
    ]
    body = request("responses", "chat", {"model": "m", "input": items, "tools": [PATCH]})
    (tool,) = body["tools"]
    assert tool["type"] == "function"
    assert tool["function"]["parameters"]["properties"]["input"]["type"] == "string"
    assert tool["function"]["parameters"]["required"] == ["input"]
    assert "start: LINE" in tool["function"]["description"]
    (call,) = body["messages"][1]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"input": RAW}
    assert body["messages"][2] == {"role": "tool", "tool_call_id": "c1", "content": "ok"}


@pytest.mark.parametrize("step", [1, 4, 1000])
def test_a_freeform_tool_is_answered_as_one(step: int) -> None:
    """The client declared raw text and gets raw text, though the model wrote JSON."""
    arguments = json.dumps({"input": RAW})
    pieces = [arguments[at : at + step] for at in range(0, len(arguments), step)]
    head = chunk(fragment(0, "", id="c1", type="function", name="apply_patch"))
    data = streamed(
        head, *(chunk(fragment(0, piece)) for piece in pieces), chunk({}, "tool_calls"), DONE, tools=[PATCH]
    )
    (item,) = data[-1]["response"]["output"]
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "apply_patch", RAW)
    assert "".join(each["delta"] for each in data if "delta" in each) == RAW


NAMESPACE = {
    "type": "namespace",
    "name": "agents",
    "description": "Other agents.",
    "tools": [{"type": "function", "name": "wait", "parameters": {"type": "object"}, "strict": False}],
}


@pytest.mark.parametrize("upstream", ["chat", "messages"])
def test_a_namespace_is_flat_upstream_and_a_namespace_again(upstream: str) -> None:
    """History and declaration have the joined name; the answer has both."""
    items = [
        {"role": "user", "content": "x"},
        {"type": "function_call", "call_id": "c1", "name": "wait", "namespace": "agents", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "ok"},
    ]
    asked = {"model": "m", "input": items, "tools": [NAMESPACE], "tool_choice": {"type": "function", "name": "wait"}}
    body = request("responses", upstream, asked)
    text = json.dumps(body)
    assert text.count('"agents__wait"') == 3
    conversation = parsed("responses", asked)
    call = {"id": "c2", "type": "function", "function": {"name": "agents__wait", "arguments": "{}"}}
    reply = {
        "choices": [{"index": 0, "message": {"role": "assistant", "tool_calls": [call]}, "finish_reason": "tool_calls"}]
    }
    (item,) = answer("chat", "responses", reply, conversation)["output"]
    assert (item["name"], item["namespace"]) == ("wait", "agents")


SIGNED = wrap(Seal(SealOrigin.SIGNATURE, "sig"), text="I think.")
CALL = [
    {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "ok"},
]
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}


def replayed(encrypted: str | None, **supports: object) -> dict[str, Any]:
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": encrypted}
    items = [{"role": "user", "content": "x"}, *([item] if encrypted else []), *CALL]
    fields = {
        "model": "m",
        "input": items,
        "tools": [TOOL],
        "reasoning": {"effort": "medium"},
        "max_output_tokens": 12_000,
    }
    return request("responses", "messages", fields, able(reasoning_effort=["low", "medium", "high"], **supports))


MANUAL = {"max_thinking_budget": 32_000, "min_thinking_budget": 1024, "thinking": True}


def test_r2m_req_reasoning_replay_of_ours() -> None:
    """A signature that Anthropic made goes back with its very text, before the call."""
    content = replayed(SIGNED, **MANUAL)["messages"][1]["content"]
    assert content[0] == {"type": "thinking", "thinking": "I think.", "signature": "sig"}
    assert content[1]["type"] == "tool_use"


@pytest.mark.parametrize("encrypted", ["gAAAA", None])
def test_r2m_req_reasoning_replay_of_others(encrypted: str | None) -> None:
    """What Anthropic did not sign is dropped; then thinking by hand is off, and adaptive thinking stays."""
    manual = replayed(encrypted, **MANUAL)
    assert [block["type"] for block in manual["messages"][1]["content"]] == ["tool_use"]
    assert manual.get("thinking", {}).get("type") != "enabled"
    assert replayed(encrypted, adaptive_thinking=True)["thinking"]["type"] == "adaptive"


def test_a_signature_travels_through_a_responses_client() -> None:
    """What one answer sealed, the next request gives back."""
    asked = {"model": "m", "input": "hi", "include": ["reasoning.encrypted_content"]}
    thinking = {"type": "thinking", "thinking": "I think.", "signature": "sig"}
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "up",
        "content": [thinking, {"type": "tool_use", "id": "c1", "name": "f", "input": {}}],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    reasoning, call = answer("messages", "responses", body, parsed("responses", asked))["output"]
    assert unwrap(reasoning["encrypted_content"]) == (Seal(SealOrigin.SIGNATURE, "sig"), "I think.")
    items = [{"role": "user", "content": "hi"}, reasoning, call, CALL[1]]
    again = request("responses", "messages", {"model": "m", "input": items, "tools": [TOOL]})
    assert again["messages"][1]["content"][0] == thinking


def test_a_responses_item_travels_through_a_messages_client() -> None:
    """Id, content and the phase of the message behind it, all three."""
    output = [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Hm."}],
            "encrypted_content": "gA",
        },
        {
            "type": "message",
            "id": "m",
            "phase": "commentary",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Hi"}],
        },
    ]
    body = {"id": "r", "object": "response", "status": "completed", "model": "up", "output": output}
    conversation = parsed("messages", {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "x"}]})
    told = answer("responses", "messages", body, conversation)
    turns = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": told["content"]},
        {"role": "user", "content": "y"},
    ]
    again = request("messages", "responses", {"model": "m", "max_tokens": 20, "messages": turns})
    reasoning, message = again["input"][1:3]
    assert reasoning == {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gA"}
    assert message["phase"] == "commentary"


EVERYTHING = [
    {"type": "response.created", "response": {"id": "R1", "model": "up"}},
    {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "Hm"},
    {
        "type": "response.output_item.done",
        "output_index": 0,
        "item": {"type": "reasoning", "id": "rs", "encrypted_content": "gA"},
    },
    {"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "Hé"},
    {"type": "response.output_text.done", "output_index": 1, "content_index": 0, "text": "Hé 語"},
    {"type": "response.output_item.done", "output_index": 1, "item": {"type": "message"}},
    {
        "type": "response.output_item.added",
        "output_index": 2,
        "item": {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": ""},
    },
    {"type": "response.custom_tool_call_input.delta", "output_index": 2, "delta": RAW},
    {"type": "response.output_item.done", "output_index": 2, "item": {"type": "custom_tool_call", "input": RAW}},
    {
        "type": "response.completed",
        "response": {"status": "completed", "usage": {"input_tokens": 3, "output_tokens": 2}},
    },
]


def everything() -> Iterator[dict[str, object]]:
    yield from ({"event": data["type"], "data": data} for data in EVERYTHING)


@pytest.mark.parametrize("client", ["chat", "messages", "responses"])
def test_a_stream_and_its_whole_answer_say_the_same(client: str) -> None:
    """Decoded, folded and rendered, or event by event: for a Responses upstream and any client."""
    base = {"chat": {"messages": [{"role": "user", "content": "x"}]}, "responses": {"input": "x"}}
    asked = base.get(client, {"max_tokens": 10, "messages": [{"role": "user", "content": "x"}]})
    conversation: Conversation = parsed(client, {"model": "m", **asked})
    reader = decoder("responses", ToolNames())
    events = list(check(reader.feed(wire(everything())) + reader.finish()))
    writer = getattr(answers(client), f"{client.capitalize()}Encoder")
    encoder = writer(conversation, id=ID, created=CREATED, prompt_tokens=0)
    out = server_sent(client, b"".join(encoder.encode(event) for event in events))
    text = json.dumps([event["data"] for event in out], ensure_ascii=False)
    assert "Hé" in text
    assert "語" in text


def test_the_names_of_a_request_lead_its_answer_back() -> None:
    """A name that upstream cannot take is the client's again in the answer."""
    name = "weather.today"
    conversation = parsed(
        "chat",
        {
            "model": "m",
            "messages": [{"role": "user", "content": "x"}],
            "tools": [
                {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
            ],
        },
    )
    made = rendered("responses", conversation)
    fitted = json.loads(made.body)["tools"][0]["name"]
    item = {"type": "function_call", "call_id": "c", "name": fitted, "arguments": "{}"}
    body = json.dumps({"status": "completed", "output": [item]}).encode()
    found = answers("responses").decode_answer(body, names=made.names)
    assert fitted != name
    assert found[1].name == name
