"""Whole chat completions: mended until the strict model of the OpenAI library takes them, or refused."""

import json

import pytest
from openai.types.chat import ChatCompletion

from copilot_asgi.errors import MalformedResponse, UpstreamStatus
from copilot_asgi.wire.chat import mend_answer

Json = dict[str, object]

USAGE = {"completion_tokens": 3, "prompt_tokens": 12, "total_tokens": 15}
FUNCTION = {"name": "read_file", "arguments": '{"path":"a.txt"}'}
CALL = {"function": FUNCTION, "id": "toolu_vrtx_01A", "type": "function"}

RIGHT: Json = {
    "id": "chatcmpl-ABC",
    "object": "chat.completion",
    "created": 1795170000,
    "model": "gpt-4o-2024-11-20",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi!"}}],
    "usage": USAGE,
}
GPT: Json = {
    "choices": [
        {
            "finish_reason": "stop",
            "index": 0,
            "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}},
            "message": {"content": "Hi!", "padding": "abcdefgh", "role": "assistant"},
        }
    ],
    "id": "chatcmpl-ABC",
    "usage": USAGE,
    "model": "gpt-4o-2024-11-20",
    "prompt_filter_results": [{"prompt_index": 0}],
    "system_fingerprint": "fp_0a1b2c3d4e",
}
CLAUDE: Json = {
    "id": "00000000-0000-4000-8000-000000000001",
    "model": "claude-sonnet-4.6",
    "created": 1795170002,
    "choices": [
        {"finish_reason": "tool_calls", "message": {"content": "I'll look.", "role": "assistant"}},
        {"finish_reason": "tool_calls", "message": {"role": "assistant", "tool_calls": [CALL]}},
    ],
    "usage": USAGE,
}


def mend(body: Json | bytes, *, choices: int = 1) -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return mend_answer(text, model="asked", created=1700000000, id="chatcmpl-own", choices=choices)


def read(body: Json, *, choices: int = 1) -> ChatCompletion:
    return ChatCompletion.model_validate_json(mend(body, choices=choices), strict=True)


def one(message: Json, **choice: object) -> Json:
    return RIGHT | {"choices": [{"index": 0, "finish_reason": "stop", "message": message} | choice]}


def test_a_right_answer_is_the_same_object() -> None:
    """What needs no mending is not copied."""
    body = json.dumps(RIGHT).encode()
    assert mend(body) is body


def test_gpt() -> None:
    """Object and created are supplied, the padding goes, everything else stays."""
    answer = read(GPT)
    assert (answer.id, answer.created, answer.object) == ("chatcmpl-ABC", 1700000000, "chat.completion")
    found = json.loads(mend(GPT))
    assert found["choices"][0]["message"] == {"content": "Hi!", "role": "assistant"}
    assert found["prompt_filter_results"] == [{"prompt_index": 0}]
    assert "content_filter_results" in found["choices"][0]


def test_split_choices_become_one() -> None:
    """Claude's text and its call, in choices without index, are one message."""
    [choice] = read(CLAUDE).choices
    assert (choice.index, choice.finish_reason, choice.message.content) == (0, "tool_calls", "I'll look.")
    assert choice.message.tool_calls
    assert [call.id for call in choice.message.tool_calls] == ["toolu_vrtx_01A"]


def test_more_pieces_are_joined() -> None:
    """Texts and thoughts are joined in order, a call that is told twice counts once, the first of other keys wins."""
    pieces = [
        {"message": {"role": "assistant", "content": "a", "reasoning_text": "x", "reasoning_opaque": "o1"}},
        {"message": {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_opaque": "o2"}},
        {"message": {"role": "assistant", "content": "b", "reasoning_text": "y", "tool_calls": [CALL]}},
        {"message": {"role": "assistant", "tool_calls": [{"function": FUNCTION}]}, "finish_reason": "length"},
    ]
    [choice] = read(RIGHT | {"choices": pieces}).choices
    message = json.loads(choice.message.model_dump_json())
    assert (message["content"], message["reasoning_text"], message["reasoning_opaque"]) == ("ab", "xy", "o1")
    assert [call["id"] for call in message["tool_calls"]] == ["toolu_vrtx_01A", "call_3_0"]
    assert choice.finish_reason == "length"


def test_pieces_without_calls() -> None:
    """Texts alone are joined; a null where calls would be is none."""
    pieces: list[Json] = [
        {"message": {"role": "assistant", "content": "a", "tool_calls": None}},
        {"message": {"role": "assistant", "content": None}},
        {"message": {"role": "assistant", "content": "b"}},
    ]
    [choice] = read(RIGHT | {"choices": pieces}).choices
    assert (choice.message.content, choice.message.tool_calls, choice.finish_reason) == ("ab", None, "stop")


def test_several_answers_are_left_apart() -> None:
    """With n above 1 choices are completed, not folded."""
    choices = read(CLAUDE, choices=2).choices
    assert [choice.index for choice in choices] == [0, 1]
    assert [choice.message.content for choice in choices] == ["I'll look.", None]


@pytest.mark.parametrize(
    ("body", "path", "expected"),
    [
        (RIGHT | {"id": "", "model": None, "created": 0, "object": ""}, "id", "chatcmpl-own"),
        (RIGHT | {"model": None}, "model", "asked"),
        (RIGHT | {"created": 1795170000.7}, "created", 1795170000),
        (RIGHT | {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}, "usage.total_tokens", 3),
        (RIGHT | {"usage": {"prompt_tokens": "x"}}, "usage", None),
        (RIGHT | {"usage": None}, "usage", None),
        (one({"role": "assistant", "content": "x"}, index=1), "choices.0.index", 0),
        (one({"role": "assistant", "content": "x"}, finish_reason="max_tokens"), "choices.0.finish_reason", "length"),
        (one({"role": "assistant", "content": "x"}, finish_reason=None), "choices.0.finish_reason", "stop"),
        (one({"content": None, "tool_calls": [CALL]}, finish_reason=None), "choices.0.finish_reason", "tool_calls"),
        (one({"role": None, "content": "x"}), "choices.0.message.role", "assistant"),
        (one({"role": "assistant"}), "choices.0.message.content", None),
        (
            one({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}),
            "choices.0.message.content",
            "ab",
        ),
        (one({"content": "x", "annotations": {"IPCodeCitations": []}}), "choices.0.message.annotations", None),
        (one({"content": "x", "annotations": []}), "choices.0.message.annotations", []),
        (
            one({"content": None, "tool_calls": [{"id": "a", "type": None, "function": {"name": "f"}}]}),
            "choices.0.message.tool_calls.0",
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
        ),
    ],
)
def test_fields_are_completed(body: Json, path: str, expected: object) -> None:
    """Each thing that upstream leaves out or writes otherwise becomes what the library wants."""
    value = json.loads(read(body).model_dump_json())
    for step in path.split("."):
        value = value[int(step)] if isinstance(value, list) else value[step]
    assert value == expected


def test_an_explicit_null_content_is_right() -> None:
    """Null content of a call needs no mending."""
    body = json.dumps(one({"role": "assistant", "content": None, "tool_calls": [CALL]})).encode()
    assert mend(body) is body


def test_content_is_null_where_it_is_absent() -> None:
    """The key is there, for clients that look without asking."""
    assert (
        json.loads(mend(one({"role": "assistant", "tool_calls": [CALL]})))["choices"][0]["message"]["content"] is None
    )


def test_no_choice_with_spent_tokens_ended_by_length() -> None:
    """A model that thought until the cap answers with no choice; the client sees that the length was the reason."""
    [choice] = read(RIGHT | {"choices": []}).choices
    assert (choice.finish_reason, choice.message.content) == ("length", None)


def test_an_anthropic_message_becomes_a_completion() -> None:
    """The newest Claude models answer in their own dialect."""
    native: Json = {
        "type": "message",
        "id": "msg_01",
        "model": "claude-opus-4.8",
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "text", "text": "a"},
            {"type": "text", "text": "b"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": 1}},
            {"type": "something_new"},
        ],
        "stop_reason": "tool_use",
        "usage": {
            "input_tokens": 5,
            "output_tokens": 7,
            "cache_read_input_tokens": 10,
            "cache_creation_input_tokens": 1,
        },
    }
    answer = read(native)
    [choice] = answer.choices
    assert (answer.id, answer.model, choice.finish_reason) == ("msg_01", "claude-opus-4.8", "tool_calls")
    message = json.loads(choice.message.model_dump_json())
    assert (message["content"], message["reasoning_text"], message["reasoning_opaque"]) == ("ab", "hm", "sig")
    function = message["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("f", {"x": 1})
    assert answer.usage
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (16, 7, 23)
    assert answer.usage.prompt_tokens_details
    assert answer.usage.prompt_tokens_details.cached_tokens == 10


def test_an_empty_anthropic_message_has_empty_text() -> None:
    """No text and no call is an empty string, with usage of zeros."""
    [choice] = read({"type": "message", "content": [], "stop_reason": None}).choices
    assert (choice.finish_reason, choice.message.content) == ("stop", "")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"message": "slow down", "code": "rate_limited"}, 429),
        ({"message": "{}", "code": 429}, 429),
        ({"message": "no", "type": "invalid_request_error"}, 400),
        ({"message": "prompt token count of 5 exceeds the limit of 4"}, 400),
        ({"message": "oops", "code": "internal_error"}, 502),
        ("oops", 502),
    ],
)
def test_an_error_under_success(error: object, status: int) -> None:
    """An error that came with 200 gets the status that it should have had, and keeps its body."""
    with pytest.raises(UpstreamStatus) as caught:
        mend({"error": error})
    assert caught.value.status == status
    assert caught.value.body == json.dumps({"error": error}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"<html>",
        b"data: {}\n\n",
        b"[]",
        b"null",
        b"5",
        b"{}",
        b'{"choices":null}',
        b'{"choices":"x"}',
        b'{"choices":[null]}',
        b'{"choices":[]}',
        b'{"choices":[],"usage":{"completion_tokens":"many"}}',
        b'{"choices":[{}]}',
        b'{"choices":[{"message":null}]}',
        b'{"choices":[{"message":{"content":5}}]}',
        b'{"choices":[{"message":{"content":NaN}}]}',
        b'{"choices":[{"message":{"content":"\\ud800"}}]}',
        b'{"choices":[{"message":{"content":"x"},"finish_reason":"error"}]}',
        b'{"choices":[{"message":{"content":"x"}}],"other":"\xff"}',
        b'{"choices":[{"message":{"content":"x"}}],"other":NaN}',
        b'\xef\xbb\xbf{"choices":[{"message":{"content":"x"}}]}',
        b'{"choices":' + b"[" * 100_000,
        b'{"type":"message"}',
        b'{"type":"message","content":"text"}',
    ],
)
def test_what_is_no_answer(body: bytes) -> None:
    """Whatever else comes is refused, and never passed on as a success."""
    with pytest.raises(MalformedResponse):
        mend(body)
