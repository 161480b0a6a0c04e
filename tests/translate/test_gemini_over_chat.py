"""A Gemini client on models that speak other dialects: requests there, answers back."""

import json

import dialects
import pytest
import sdk_models
from generators import PNG
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_asgi.errors import BadRequest, StreamInterrupted, TranslationError
from copilot_asgi.translate.conversation import Conversation, SealOrigin, Thinking
from copilot_asgi.translate.events import check, fold
from copilot_asgi.translate.gemini_request import parse_request
from copilot_asgi.translate.gemini_stream import GeminiEncoder, render_reply
from copilot_asgi.translate.ids import ToolNames
from copilot_asgi.wire.shallow import read_object

FUNCTIONS = [
    {
        "name": "look.up",
        "description": "d",
        "parameters": {
            "type": "OBJECT",
            "properties": {"city": {"type": "STRING"}, "days": {"type": "INTEGER", "nullable": True}},
            "required": ["city"],
        },
    }
]
REQUEST = {
    "model": "some-model",
    "systemInstruction": {"parts": [{"text": "be brief"}]},
    "contents": [
        {"role": "user", "parts": [{"text": "weather?"}]},
        {
            "role": "model",
            "parts": [
                {"functionCall": {"name": "look.up", "args": {"city": "Ulm"}}},
                {"functionCall": {"name": "look.up", "args": {"city": "Bern"}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "look.up", "response": {"output": "rain"}}},
                {"functionResponse": {"name": "look.up", "response": {"error": "no such city"}}},
            ],
        },
    ],
    "tools": [{"functionDeclarations": FUNCTIONS}],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["look.up"]}},
    "generationConfig": {"temperature": 0.5, "maxOutputTokens": 100},
}


def parsed(body: dict) -> Conversation:
    return parse_request(read_object(json.dumps(body).encode()), stream=False)


def test_g2c_req_functions() -> None:
    """Schemas get lower-case types, two calls two ids, and the results find them in order."""
    body = json.loads(dialects.rendered("chat", parsed(REQUEST)).body)
    [tool] = body["tools"]
    assert tool["function"]["parameters"]["properties"] == {
        "city": {"type": "string"},
        "days": {"type": ["integer", "null"]},
    }
    system, user, assistant, first, second = body["messages"]
    assert (system["content"], user["content"]) == ("be brief", "weather?")
    ids = [call["id"] for call in assistant["tool_calls"]]
    assert len(set(ids)) == 2
    assert [first["tool_call_id"], second["tool_call_id"]] == ids
    assert [first["content"], second["content"]] == ["rain", "[tool error] no such city"]
    assert body["tool_choice"]["function"]["name"] == tool["function"]["name"]


@pytest.mark.parametrize("upstream", dialects.NAMES)
def test_every_upstream_takes_the_request(upstream: str) -> None:
    """What comes out is valid for the vendor's own types, whichever dialect the model speaks."""
    sdk_models.check_request(upstream, json.loads(dialects.rendered(upstream, parsed(REQUEST)).body))


def test_c2g_resp_usage() -> None:
    """Thoughts count beside the answer, cached tokens within the prompt, calls end ordinarily with objects."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    completion = {
        "id": "x",
        "model": "up",
        "choices": [
            {"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "tool_calls": [call]}}
        ],
        "usage": {
            "prompt_tokens": 20,
            "completion_tokens": 30,
            "prompt_tokens_details": {"cached_tokens": 8},
            "completion_tokens_details": {"reasoning_tokens": 12},
        },
    }
    events = dialects.answers("chat").decode_answer(json.dumps(completion).encode(), names=ToolNames())
    reply = json.loads(render_reply(fold(check(events)), parsed(REQUEST), id="r", created=0))
    assert reply["usageMetadata"] == {
        "promptTokenCount": 20,
        "candidatesTokenCount": 18,
        "thoughtsTokenCount": 12,
        "cachedContentTokenCount": 8,
        "totalTokenCount": 50,
    }
    [candidate] = reply["candidates"]
    assert candidate["finishReason"] == "STOP"
    assert candidate["content"]["parts"] == [{"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}}]


BEGUN = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
CHUNKS = dialects.wire(
    {"data": {"id": "x", "model": "up", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}}
    for delta, reason in (
        ({"role": "assistant", "reasoning_text": "hm"}, None),
        ({"reasoning_opaque": "OPAQUE"}, None),
        (
            {"tool_calls": [BEGUN]},
            None,
        ),
        ({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1}'}}]}, None),
        ({}, "tool_calls"),
    )
)


def test_reasoning_survives_the_client() -> None:
    """What Copilot's chat sealed comes back to it with the next request, though the client saw a signature only."""
    encoder = GeminiEncoder(parsed(REQUEST), id="r", created=0, prompt_tokens=1)
    wire = b"".join(encoder.encode(event) for event in dialects.decoded("chat", [CHUNKS, b"data: [DONE]\n\n"]))
    told = [json.loads(block.removeprefix("data: ")) for block in wire.decode().strip().split("\n\n")]
    parts = [part for response in told for part in response["candidates"][0]["content"]["parts"]]
    history = [REQUEST["contents"][0], {"role": "model", "parts": parts}]
    conversation = parsed({**REQUEST, "contents": history})
    [thinking] = [part for part in conversation.turns[1].parts if isinstance(part, Thinking)]
    assert thinking.text == "hm"
    assert thinking.seal
    assert thinking.seal.origin is SealOrigin.CHAT
    answered = {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}
    body = json.loads(dialects.rendered("chat", parsed({**REQUEST, "contents": [*history, answered]})).body)
    assert body["messages"][2]["reasoning_opaque"] == "OPAQUE"


def test_a_stream_that_breaks_off_has_no_end() -> None:
    """No reason is told for what did not finish, and no call that nobody knows to be complete."""
    encoder = GeminiEncoder(parsed(REQUEST), id="r", created=0, prompt_tokens=1)
    told: list[bytes] = []
    events = dialects.decoded("chat", [CHUNKS.rpartition(b"data:")[0]])
    with pytest.raises(StreamInterrupted):
        told.extend(encoder.encode(event) for event in events)
    assert b"finishReason" not in b"".join(told)


PARTS = st.sampled_from(
    [
        {"text": "a"},
        {"text": ""},
        {"text": "hm", "thought": True},
        {"text": "a", "thoughtSignature": "QUJD"},
        {"inlineData": {"mimeType": "image/png", "data": PNG}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBE"}},
        {"functionCall": {"name": "f"}},
        {"functionCall": {"name": "g.h:i", "id": "x y", "args": {"a": 1}}},
        {"functionResponse": {"name": "f", "response": {"output": "a"}}},
        {"functionResponse": {"name": "g.h:i", "id": "x y", "response": {"error": "a"}}},
        {"executableCode": {"code": "1"}},
    ]
)
CONTENTS = st.fixed_dictionaries({"role": st.sampled_from(["user", "model", "function"]), "parts": st.lists(PARTS)})


@pytest.mark.parametrize("upstream", dialects.NAMES)
@given(contents=st.lists(CONTENTS, max_size=5))
@settings(max_examples=100, deadline=None)
def test_any_order_of_parts_is_a_request_or_a_refusal(upstream: str, contents: list[dict]) -> None:
    """Histories that no model wrote are common; nothing but a refusal is raised, and what is sent is valid."""
    try:
        body = json.loads(dialects.rendered(upstream, parsed({**REQUEST, "contents": contents})).body)
    except (BadRequest, TranslationError):
        return
    sdk_models.check_request(upstream, body)
