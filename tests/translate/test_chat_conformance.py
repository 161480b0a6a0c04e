"""Chat on one side, another dialect on the other: the public cases, by their names, through both translators."""

import json

import dialects
import pytest

HELLO = {"role": "user", "content": "hi"}
CHAT = {"model": "m", "messages": [HELLO], "stream": True}
MESSAGES = {"model": "m", "max_tokens": 100, "messages": [HELLO]}
RESPONSES = {"model": "m", "input": "hi"}
USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def chunk(finish: str | None = None, **delta: object) -> dict:
    return {"data": {"id": "x", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}}


def fragment(index: int, arguments: str, **fields: object) -> dict:
    name = {"name": fields.pop("name")} if "name" in fields else {}
    return {"index": index, **fields, "function": {**name, "arguments": arguments}}


def stream(client: str, body: dict, *events: dict) -> list[dict]:
    return dialects.stream("chat", client, [dialects.wire(events)], dialects.parsed(client, body))


def answer(**message: object) -> dict:
    finish = message.pop("finish", "stop")
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", **message}}
    body = {"id": "x", "model": "m", "choices": [choice], "usage": USAGE}
    return dialects.answer("chat", "messages", body, dialects.parsed("messages", MESSAGES))


def types(events: list[dict]) -> list[str]:
    return [event["data"]["type"] for event in events]


def test_c2m_resp_stop_with_tools() -> None:
    """A call that ended with stop is a call all the same."""
    assert answer(content=None, tool_calls=[CALL])["stop_reason"] == "tool_use"


def test_c2m_resp_content_filter() -> None:
    """A filtered answer is a refusal, with its text and its usage."""
    told = answer(content="Sorry", refusal="no", finish="content_filter")
    assert told["stop_reason"] == "refusal"
    assert "Sorry" in "".join(block["text"] for block in told["content"])
    assert told["usage"]["output_tokens"] == 3


def test_c2m_stream_midstream_error() -> None:
    """An error in the stream ends the client's with the same message and no success."""
    failed = {"data": {"error": {"message": "slow down", "code": "rate_limited"}}}
    events = stream("messages", MESSAGES, chunk(content="a"), failed)
    assert events[-1]["event"] == "error"
    assert events[-1]["data"]["error"]["type"] == "rate_limit_error"
    assert "slow down" in events[-1]["data"]["error"]["message"]
    assert not {"message_delta", "message_stop"} & set(types(events))


def test_c2m_stream_text_after_tool() -> None:
    """Text behind a call is a block of its own, and the reason is still the call."""
    call = chunk(tool_calls=[fragment(0, "{}", id="a", name="f")])
    events = stream("messages", MESSAGES, chunk(content="a"), call, chunk(content="b"), chunk("stop"))
    blocks = [event["data"]["content_block"]["type"] for event in events if "content_block" in event["data"]]
    assert blocks == ["text", "tool_use", "text"]
    ends = [event["data"]["delta"] for event in events if event["data"]["type"] == "message_delta"]
    assert [end["stop_reason"] for end in ends] == ["tool_use"]


def test_c2m_stream_no_usage() -> None:
    """Without any count the client still gets numbers."""
    events = stream("messages", MESSAGES, chunk(content="a"), chunk("stop"), {"data": "[DONE]"})
    assert types(events)[-2:] == ["message_delta", "message_stop"]
    assert events[-2]["data"]["usage"]["output_tokens"] == 0


def test_c2r_stream_length_usage() -> None:
    """A cut answer is incomplete, item and whole, and says what it used."""
    counted = {"data": {"choices": [], "usage": USAGE}}
    *_, done, last = stream("responses", RESPONSES, chunk(content="a"), chunk("length"), counted, {"data": "[DONE]"})
    assert done["data"]["item"]["status"] == "incomplete"
    assert last["event"] == "response.incomplete"
    assert last["data"]["response"]["incomplete_details"]["reason"] == "max_output_tokens"
    assert last["data"]["response"]["usage"]["total_tokens"] == 15


def test_c2r_stream_tool_lifecycle() -> None:
    """Two calls whose pieces alternate are two items, each told from beginning to end, and no message."""
    events = stream(
        "responses",
        RESPONSES,
        chunk(tool_calls=[fragment(0, "", id="a", name="f")]),
        chunk(tool_calls=[fragment(1, "[", id="b", name="g"), fragment(0, "{")]),
        chunk(tool_calls=[fragment(0, "}"), fragment(1, "]")]),
        chunk("tool_calls"),
    )
    items = [event["data"]["item"] for event in events if event["event"] == "response.output_item.done"]
    assert [(item["type"], item["call_id"], item["arguments"]) for item in items] == [
        ("function_call", "a", "{}"),
        ("function_call", "b", "[]"),
    ]
    assert events[-1]["data"]["response"]["output"] == items
    added = [event["data"]["output_index"] for event in events if event["event"] == "response.output_item.added"]
    assert added == [0, 1]


@pytest.mark.parametrize("upstream", ["messages", "responses"])
def test_c2m_req_n_reject(upstream: str) -> None:
    """Several answers cannot be had; one can."""
    refused = dialects.request("chat", upstream, {**CHAT, "n": 3})
    assert refused["status"] == 400
    assert refused["body"]["error"]["type"] == "invalid_request_error"
    assert refused["body"]["error"]["param"] == "n"
    assert "status" not in dialects.request("chat", upstream, {**CHAT, "n": 1})


@pytest.mark.parametrize(("asked", "counts"), [(False, 0), (None, 0), (True, 1)])
def test_m2c_stream_usage_optin(asked: bool | None, counts: int) -> None:
    """Usage is told to the client that asked, once."""
    options = {} if asked is None else {"stream_options": {"include_usage": asked}}
    events = [
        {"type": "message_start", "message": {"id": "x", "model": "m", "content": [], "usage": {"input_tokens": 5}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]
    wire = dialects.wire({"event": event["type"], "data": event} for event in events)
    told = dialects.stream("messages", "chat", [wire], dialects.parsed("chat", {**CHAT, **options}))
    assert told[-1]["data"] == "[DONE]"
    used = [event["data"]["usage"] for event in told[:-1] if event["data"].get("usage")]
    assert [usage["total_tokens"] for usage in used] == [7] * counts


def test_deprecated_functions_end_to_end() -> None:
    """A client of the old kind asks with functions and is answered with a function call."""
    body = {**CHAT, "functions": [{"name": "f"}], "function_call": {"name": "f"}}
    sent = dialects.request("chat", "messages", body)
    assert sent["tools"][0]["name"] == "f"
    assert sent["tool_choice"] == {"type": "tool", "name": "f", "disable_parallel_tool_use": True}
    native = {
        "id": "x",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    told = dialects.answer("messages", "chat", native, dialects.parsed("chat", body))
    called = told["choices"][0]["message"]["function_call"]
    assert (called["name"], json.loads(called["arguments"])) == ("f", {"x": 1})
    assert told["choices"][0]["finish_reason"] == "function_call"
