"""Reasoning, Copilot's own chunks, filters and usage on ``/chat/completions`` (checklist lines 29 to 31)."""

import msgspec
import pytest
from simulator_client import tool

from copilot_asgi.simulator import FAULTS, Fault, Finish, Quirk, Reply, Usage

pytestmark = pytest.mark.anyio
READ = tool("read_file", path={"type": "string"})


def choices(response):
    """All choices of all chunks that have some."""
    return [choice for event in response.events if isinstance(event, dict) for choice in event.get("choices") or []]


def content(response):
    return "".join(choice["delta"].get("content") or "" for choice in choices(response))


def fields(response):
    """The reasoning fields of a stream in the order they came, and ``text``."""
    names = {"reasoning_text", "reasoning_opaque", "cot_summary", "cot_id", "thinking", "signature"}
    seen = []
    for choice in choices(response):
        delta = choice["delta"]
        found = sorted(names & delta.keys()) + (["text"] if delta.get("content") else [])
        seen += [name for name in found if seen[-1:] != [name]]
    return seen


@pytest.mark.parametrize(
    ("quirks", "order"),
    [
        ((), ["reasoning_text", "text", "reasoning_opaque"]),
        ((Quirk.OPAQUE_FIRST,), ["reasoning_opaque", "reasoning_text", "text"]),
        ((Quirk.OPAQUE_WITH_TEXT,), ["reasoning_text", "reasoning_opaque", "text"]),
        ((Quirk.REASONING_LAST,), ["text", "reasoning_text", "reasoning_opaque"]),
        ((Quirk.COT_FIELDS,), ["cot_summary", "text", "cot_id"]),
        ((Quirk.THINKING_FIELDS,), ["thinking", "text", "signature"]),
    ],
)
async def test_29_reasoning_comes_in_several_orders_and_under_three_names(client, quirks, order):
    """Text and seal, before or after what is said."""
    client.simulator.enqueue(Reply(text="Hi.", reasoning="Short.", quirks=frozenset(quirks)))
    assert fields(await client.chat(model="gemini-3.1-pro-preview", stream=True)) == order


@pytest.mark.parametrize(
    ("quirk", "names"),
    [
        (None, {"reasoning_text", "reasoning_opaque"}),
        (Quirk.COT_FIELDS, {"cot_summary", "cot_id"}),
        (Quirk.THINKING_FIELDS, {"thinking", "signature"}),
    ],
)
async def test_29_reasoning_in_a_whole_answer(client, quirk, names):
    """The same fields, in the message."""
    client.simulator.enqueue(Reply(text="Hi.", reasoning="Short.", quirks=frozenset({quirk} - {None})))
    message = (await client.chat(model="gemini-3.1-pro-preview")).json["choices"][0]["message"]
    assert message.keys() == {"role", "content", *names}


@pytest.mark.parametrize("keep", [True, False])
async def test_29_gemini_wants_its_sealed_thoughts_back(client, keep):
    """A call that came with them is refused without them."""
    model = "gemini-3.1-pro-preview"
    message = (await client.chat("read_file path=a", model=model, tools=[READ])).json["choices"][0]["message"]
    if not keep:
        del message["reasoning_opaque"]
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "data"}
    history = [{"role": "user", "content": "x"}, message, result]
    answer = await client.chat(model=model, messages=history, tools=[READ])
    assert (answer.status == 200) is keep
    assert keep or "thought_signature" in answer.text


@pytest.mark.parametrize(
    ("quirk", "key"),
    [
        (Quirk.REFERENCES, "copilot_references"),
        (Quirk.AGENT_ERRORS, "copilot_errors"),
        (Quirk.CONFIRMATION, "copilot_confirmation"),
    ],
)
async def test_30_copilots_own_chunks_have_null_choices(client, quirk, key):
    """References, errors and confirmations of agents."""
    client.simulator.enqueue(Reply(text="hi", quirks=frozenset({quirk})))
    answer = await client.chat(stream=True)
    (event,) = [event for event in answer.events if isinstance(event, dict) and key in event]
    assert event["choices"] is None
    assert content(answer) == "hi"


async def test_30_annotations_and_legacy_function_calls(client):
    """Annotations sit twice in a delta; a legacy call has its own field and finish reason."""
    client.simulator.enqueue(Reply(text="hi", quirks=frozenset({Quirk.ANNOTATIONS})))
    delta = next(c["delta"] for c in choices(await client.chat(stream=True)) if c["delta"].get("content"))
    assert delta["copilot_annotations"] == delta["annotations"]
    legacy = Reply(tool_calls=(("read", {"a": 1}),), quirks=frozenset({Quirk.FUNCTION_CALL}))
    client.simulator.enqueue(legacy, legacy)
    found = choices(await client.chat(stream=True))
    assert found[0]["delta"]["function_call"] == {"name": "read", "arguments": '{"a":1}'}
    assert found[-1]["finish_reason"] == "function_call"
    assert (await client.chat()).json["choices"][0]["message"]["function_call"]["name"] == "read"


async def test_30_older_backends_leave_out_and_add(client):
    """No ``object``, no ``model``, a null role, filter offsets."""
    client.simulator.enqueue(Reply(text="hi", quirks=frozenset({Quirk.OLD_AZURE})))
    event = (await client.chat(stream=True)).events[2]
    assert event.keys() & {"object", "model"} == set()
    assert event["choices"][0]["delta"]["role"] is None
    assert "content_filter_offsets" in event["choices"][0]


async def test_31_the_content_filter_ends_a_stream_or_refuses_before_it(client):
    """A finish reason in the middle, or 422 and plain text."""
    client.simulator.enqueue(Reply(text="Here is", finish=Finish.CONTENT_FILTER), FAULTS["422"])
    assert choices(await client.chat(stream=True))[-1]["finish_reason"] == "content_filter"
    refused = await client.chat(stream=True)
    assert (refused.status, refused.headers["content-type"]) == (422, "text/plain; charset=utf-8")


async def test_no_choices_and_no_usage_is_a_stream_of_nothing(client):
    """Only ``[DONE]`` is left."""
    client.simulator.enqueue(Reply(quirks=frozenset({Quirk.EMPTY_CHOICES, Quirk.NO_USAGE})))
    assert (await client.chat(model="claude-sonnet-4.6", stream=True)).events == ["[DONE]"]


async def test_scripted_usage_is_told_in_every_field(client):
    """The split of cached and fresh tokens reaches usage and ``copilot_usage``; the total is count x price."""
    usage = Usage(fresh=3857, cache_write=12539, output=362)
    client.simulator.enqueue(Reply(text="hi", usage=usage))
    answer = (await client.chat(model="claude-sonnet-4.6")).json
    assert answer["usage"]["prompt_tokens"] == 3857 + 12539
    assert answer["copilot_usage"]["total_nano_aiu"] == 6_402_225_000
    lines = {line["token_type"]: line["token_count"] for line in answer["copilot_usage"]["token_details"]}
    assert lines == {"input": 3857, "cache_read": 0, "cache_write": 12539, "output": 362}


async def test_the_same_prefix_is_cached_the_second_time(client):
    """A conversation that grows reads its beginning from the cache."""
    turns = [{"role": "system", "content": "s" * 400}, {"role": "user", "content": "one " * 30}]
    first = (await client.chat(messages=turns)).json["usage"]
    assert first["prompt_tokens_details"]["cached_tokens"] == 0
    more = [*turns, {"role": "assistant", "content": "ok"}, {"role": "user", "content": "two"}]
    second = (await client.chat(messages=more)).json["usage"]
    assert second["prompt_tokens_details"]["cached_tokens"] == first["prompt_tokens"]
    other = (await client.chat(messages=more, model="gpt-4o")).json["usage"]
    assert other["prompt_tokens_details"]["cached_tokens"] == 0


async def test_claude_caches_only_what_is_marked(client):
    """Without a mark nothing is cached; with one the first call writes and the second reads."""
    plain = [{"role": "user", "content": "x" * 400}]
    marked = [{**plain[0], "copilot_cache_control": {"type": "ephemeral"}}]
    for _ in range(2):
        assert (await client.chat(messages=plain, model="claude-haiku-4.5")).json["usage"]["prompt_tokens_details"] == {
            "cached_tokens": 0
        }
    first = (await client.chat(messages=marked, model="claude-haiku-4.5")).json
    second = (await client.chat(messages=marked, model="claude-haiku-4.5")).json
    written = {line["token_type"]: line["token_count"] for line in first["copilot_usage"]["token_details"]}
    assert written["cache_write"] == 100
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] == 102


async def test_plain_replies_have_no_habits(client):
    """``plain`` takes away the family's quirks."""
    client.simulator.enqueue(Reply(text="hi", plain=True))
    answer = (await client.chat(model="claude-sonnet-4.6")).json
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["index"] == 0


async def test_a_model_that_does_not_stream_says_so(client):
    """Streaming is refused, a whole answer works."""
    assert (await client.chat(model="kimi-k3", stream=True)).code == "invalid_request_body"
    assert (await client.chat(model="kimi-k3")).json["object"] == "chat.completion"


def test_scripts_survive_json():
    """Replies and faults come back from JSON as they were."""
    reply = Reply(
        text="é",
        tool_calls=(("a", {"b": [1]}), ("c", "text")),
        quirks=frozenset({Quirk.CRLF}),
        fault=Fault(cut_after=2),
    )
    assert msgspec.json.decode(msgspec.json.encode(reply), type=Reply) == reply
