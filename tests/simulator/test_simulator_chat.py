"""``/chat/completions`` as it answers (checklist lines 21 to 28)."""

import pytest
from simulator_client import tool

from copilot_asgi.simulator import Quirk, Reply

pytestmark = pytest.mark.anyio
PATH = {"type": "string"}
READ = tool("read_file", path=PATH)
FILTER_KEYS = {"hate", "self_harm", "sexual", "violence"}
GPT_CHUNK = {"choices", "created", "id", "model", "object", "system_fingerprint", "usage"}
GPT_CHOICE = {"content_filter_results", "delta", "finish_reason", "index", "logprobs"}
GPT_USAGE = {
    "completion_tokens",
    "completion_tokens_details",
    "prompt_tokens",
    "prompt_tokens_details",
    "total_tokens",
}


def choices(response):
    """All choices of all chunks that have some."""
    return [choice for event in response.events if isinstance(event, dict) for choice in event.get("choices") or []]


def content(response):
    return "".join(choice["delta"].get("content") or "" for choice in choices(response))


async def test_21_a_whole_gpt_answer(client):
    """No ``object``, no ``created``, padding, and the dated model."""
    answer = (await client.chat("hello")).json
    assert answer.keys() == {
        "id", "choices", "usage", "model", "prompt_filter_results", "system_fingerprint", "copilot_usage"
    }  # fmt: skip
    assert answer["model"] == "gpt-4.1-2025-04-14"
    (choice,) = answer["choices"]
    assert choice.keys() == {"finish_reason", "index", "message", "content_filter_results"}
    assert choice["content_filter_results"].keys() == FILTER_KEYS
    assert choice["message"].keys() == {"content", "padding", "role"}
    assert (choice["message"]["content"], choice["finish_reason"]) == ("You said: hello", "stop")


async def test_21_a_whole_gpt_tool_call_has_no_content(client):
    """On a tool call ``content`` is absent and the filter results are empty."""
    client.simulator.enqueue(Reply(tool_calls=(("read_file", {"path": "a"}),)))
    (choice,) = (await client.chat("x", tools=[READ])).json["choices"]
    assert "content" not in choice["message"]
    assert choice["content_filter_results"] == {}
    (call,) = choice["message"]["tool_calls"]
    assert (call["type"], call["function"]) == ("function", {"name": "read_file", "arguments": '{"path":"a"}'})


async def test_22_the_first_chunk_of_gpt_is_about_the_prompt(client):
    """Empty choices, empty names, filter results."""
    first = (await client.chat(stream=True)).events[0]
    assert first.keys() == {"choices", "created", "id", "model", "object", "prompt_filter_results"}
    assert (first["choices"], first["created"], first["id"], first["model"], first["object"]) == ([], 0, "", "", "")
    assert first["prompt_filter_results"][0]["content_filter_results"].keys() == FILTER_KEYS


async def test_22_a_gpt_stream_has_the_anatomy_of_real_ones(client):
    """Role chunk, contents, finish, usage, ``[DONE]``; every chunk has exactly the real keys."""
    answer = await client.chat("hello there my friend", stream=True)
    assert answer.headers["content-type"] == "text/event-stream"
    _, role, *contents, finish, usage, done = answer.events
    assert role["choices"][0]["delta"] == {"content": "", "refusal": None, "role": "assistant"}
    assert role["choices"][0]["content_filter_results"] == {}
    assert len(contents) == 3
    for chunk in (role, *contents, finish):
        assert chunk.keys() == GPT_CHUNK
        assert chunk["object"] == "chat.completion.chunk"
        assert chunk["choices"][0].keys() == GPT_CHOICE
    assert all(chunk["choices"][0]["content_filter_results"].keys() == FILTER_KEYS for chunk in contents)
    assert (finish["choices"][0]["delta"], finish["choices"][0]["finish_reason"]) == ({}, "stop")
    assert usage["choices"] == []
    assert usage["usage"].keys() == GPT_USAGE
    assert done == "[DONE]"
    assert content(answer) == "You said: hello there my friend"
    assert len({chunk["id"] for chunk in (role, *contents, finish, usage)}) == 1


async def test_23_usage_is_null_until_the_last_chunk(client):
    """Normal chunks say ``usage: null``."""
    *chunks, usage, _ = (await client.chat(stream=True)).events
    assert [chunk.get("usage", "absent") for chunk in chunks[1:]] == [None] * (len(chunks) - 1)
    total = usage["usage"]
    assert total["total_tokens"] == total["prompt_tokens"] + total["completion_tokens"]


async def test_23_usage_may_ride_on_the_finish_chunk(client):
    """By quirk for GPT, always for the others."""
    client.simulator.enqueue(Reply(text="hi", quirks=frozenset({Quirk.USAGE_ON_FINISH})))
    *_, finish, _ = (await client.chat(stream=True)).events
    assert (finish["choices"][0]["finish_reason"], finish["usage"]["completion_tokens"]) == ("stop", 1)
    *_, finish, _ = (await client.chat(model="claude-sonnet-4.6", stream=True)).events
    assert finish["usage"]["completion_tokens"] > 0
    assert "copilot_usage" in finish


async def test_23_reasoning_chunks_may_carry_zero_usage(client):
    """Gemini's do, and the true numbers come last; its thoughts are not in its completion tokens."""
    answer = await client.chat("think", model="gemini-3.1-pro-preview", stream=True)
    first, *_, last, _ = answer.events
    assert first["usage"] == {"completion_tokens": 0, "prompt_tokens": 0, "total_tokens": 0}
    usage = last["usage"]
    reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] + reasoning


@pytest.mark.parametrize(
    ("quirk", "usages"),
    [(Quirk.NO_USAGE, 0), (Quirk.METADATA_CHUNK, 1)],
)
async def test_23_usage_may_be_missing_or_follow_a_chunk_about_nothing(client, quirk, usages):
    """A chunk with neither choices nor usage may come before it."""
    client.simulator.enqueue(Reply(text="hi", quirks=frozenset({quirk})))
    events = (await client.chat(stream=True)).events[1:-1]
    assert sum(event.get("usage") is not None for event in events) == usages
    empty = [event for event in events if event["choices"] == []]
    assert len(empty) == (2 if quirk is Quirk.METADATA_CHUNK else 0)


async def test_24_gpt_tool_fragments(client):
    """Id, type and name on the first fragment only; parallel calls by ``index``."""
    calls = (("read_file", {"path": "a.txt"}), ("read_file", {"path": "b.txt"}))
    client.simulator.enqueue(Reply(tool_calls=calls))
    answer = await client.chat(stream=True, tools=[READ])
    fragments = [call for choice in choices(answer) for call in choice["delta"].get("tool_calls", [])]
    firsts = [fragment for fragment in fragments if "id" in fragment]
    assert [first["index"] for first in firsts] == [0, 1]
    assert {first["type"] for first in firsts} == {"function"}
    assert all("name" not in fragment["function"] for fragment in fragments if "id" not in fragment)
    joined = ["".join(f["function"]["arguments"] for f in fragments if f["index"] == index) for index in (0, 1)]
    assert joined == ['{"path":"a.txt"}', '{"path":"b.txt"}']
    assert choices(answer)[0]["delta"]["role"] == "assistant"
    assert choices(answer)[-1]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("quirk", "indexes"),
    [(Quirk.SAME_CALL_INDEX, {0}), (Quirk.NO_CALL_INDEX, {None})],
)
async def test_24_parallel_calls_may_share_or_lack_an_index(client, quirk, indexes):
    """As Gemini has been seen to do."""
    client.simulator.enqueue(Reply(tool_calls=(("a", {}), ("b", {})), quirks=frozenset({quirk})))
    fragments = [
        call for choice in choices(await client.chat(stream=True)) for call in choice["delta"].get("tool_calls", [])
    ]
    assert {fragment.get("index") for fragment in fragments} == indexes


async def test_25_claude_splits_a_whole_answer_into_choices(client):
    """Text in one, calls in another, both finished, neither with an index or an object."""
    answer = (await client.chat("read_file path=a", model="claude-sonnet-4.6", tools=[READ])).json
    text, calls = answer["choices"]
    assert "object" not in answer
    assert "created" in answer
    assert text == {"finish_reason": "tool_calls", "message": {"role": "assistant", "content": "Let me look."}}
    assert calls.keys() == {"finish_reason", "message"}
    assert calls["message"].keys() == {"role", "tool_calls"}
    assert calls["message"]["tool_calls"][0]["id"].startswith("toolu_vrtx_")


async def test_25_claude_splits_a_stream_into_choices(client):
    """Text at index 0, the call at index 1 with its arguments in one piece, the finish at index 0 with usage."""
    answer = await client.chat("read_file path=a", model="claude-sonnet-4.6", tools=[READ], stream=True)
    assert all("object" not in event for event in answer.events[:-1])
    found = [(choice["index"], sorted(choice["delta"])) for choice in choices(answer)]
    assert found == [
        (0, ["content", "role"]),
        (1, ["content", "tool_calls"]),
        (1, ["content", "tool_calls"]),
        (0, ["content"]),
    ]
    assert choices(answer)[2]["delta"]["tool_calls"][0]["function"]["arguments"] == '{"path":"a"}'
    assert "role" not in choices(answer)[1]["delta"]
    assert choices(answer)[3]["finish_reason"] == "tool_calls"


async def test_25_each_call_may_have_its_own_choice(client):
    """Then ``tool_calls[].index`` starts again in each."""
    reply = Reply(text="Look.", tool_calls=(("a", {}), ("b", {})), quirks=frozenset({Quirk.CHOICE_PER_CALL}))
    client.simulator.enqueue(reply, reply)
    streamed = await client.chat(model="claude-sonnet-4.6", stream=True)
    calls = [
        (choice["index"], call["index"])
        for choice in choices(streamed)
        for call in choice["delta"].get("tool_calls", [])
    ]
    assert set(calls) == {(1, 0), (2, 0)}
    whole = (await client.chat(model="claude-sonnet-4.6")).json["choices"]
    assert len(whole) == 3


@pytest.mark.parametrize(
    ("quirk", "check"),
    [
        (Quirk.NO_ROLE, lambda found: all("role" not in choice["delta"] for choice in found)),
        (Quirk.NO_DELTA_INDEX, lambda found: all("index" not in choice for choice in found)),
        (Quirk.NO_FINISH, lambda found: all(choice.get("finish_reason") is None for choice in found)),
        (Quirk.DOUBLE_FINISH, lambda found: sum(choice.get("finish_reason") is not None for choice in found) == 2),
        (Quirk.SPLIT_FINISH, lambda found: [c["index"] for c in found if c.get("finish_reason")] == [1, 0]),
        (Quirk.NO_CALL_TYPE, lambda found: "type" not in found[1]["delta"]["tool_calls"][0]),
    ],
)
async def test_25_what_may_be_missing_or_doubled_in_a_stream(client, quirk, check):
    """Role, index, finish reason and call type."""
    client.simulator.enqueue(Reply(text="Look.", tool_calls=(("a", {}),), quirks=frozenset({quirk})))
    assert check(choices(await client.chat(model="claude-sonnet-4.6", stream=True)))


@pytest.mark.parametrize(
    ("quirk", "check"),
    [
        (Quirk.NO_ROLE, lambda choice: "role" not in choice["message"]),
        (Quirk.NO_FINISH, lambda choice: "finish_reason" not in choice),
        (Quirk.NO_CALL_TYPE, lambda choice: "type" not in choice["message"]["tool_calls"][0]),
    ],
)
async def test_25_what_may_be_missing_in_a_whole_answer(client, quirk, check):
    """The same, in one piece."""
    client.simulator.enqueue(Reply(tool_calls=(("a", {}),), quirks=frozenset({quirk})))
    assert check((await client.chat(model="claude-sonnet-4.6")).json["choices"][0])


async def test_26_the_newest_claude_answers_chat_in_anthropics_form(client):
    """Not streamed: blocks instead of choices. Streamed: chunks as ever."""
    answer = (await client.chat(model="claude-opus-5.5")).json
    assert "choices" not in answer
    assert answer["content"] == [{"type": "text", "text": "You said: hello"}]
    assert (answer["stop_reason"], answer["usage"]["input_tokens"] > 0) == ("end_turn", True)
    assert content(await client.chat(model="claude-opus-5.5", stream=True)) == "You said: hello"


@pytest.mark.parametrize("stream", [False, True])
async def test_27_thoughts_may_eat_the_whole_cap(client, stream):
    """Claude then has no choices at all, and usage shows the cap spent."""
    answer = await client.chat("think", model="claude-sonnet-4.6", max_tokens=5, reasoning_effort="low", stream=stream)
    told = answer.events[0] if stream else answer.json
    assert told["choices"] == []
    assert told["usage"]["completion_tokens"] == 5
    assert answer.events[1:] == (["[DONE]"] if stream else [])


async def test_27_a_cap_cuts_the_text(client):
    """The answer stops at the limit with ``length``."""
    answer = (await client.chat("tell me a long story", max_tokens=2)).json
    assert (answer["choices"][0]["message"]["content"], answer["choices"][0]["finish_reason"]) == ("You said", "length")
    assert answer["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize(
    ("choice", "finish"),
    [({"type": "function", "function": {"name": "read_file"}}, "stop"), ("required", "tool_calls")],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_28_a_named_tool_ends_with_stop(client, choice, finish, stream):
    """``required`` ends with ``tool_calls``; both call."""
    answer = await client.chat("hello", tools=[READ], tool_choice=choice, stream=stream)
    found = choices(answer)[-1] if stream else answer.json["choices"][0]
    assert found["finish_reason"] == finish
    assert "read_file" in answer.text
