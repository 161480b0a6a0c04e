"""Neutral events become Anthropic's stream or message, such that Anthropic's own library can put it together."""

import json
from collections.abc import Iterable

import pytest
import sdk_models

from copilot_asgi.translate.conversation import Conversation, Role, Seal, SealOrigin, Text, Turn
from copilot_asgi.translate.events import (
    Annotation,
    Event,
    Finish,
    Finished,
    Kind,
    PartDelta,
    PartFinished,
    PartStarted,
    Started,
    Usage,
    check,
    fold,
)
from copilot_asgi.translate.messages_stream import MessagesEncoder, render_reply
from copilot_asgi.translate.seals import unwrap, wrap
from copilot_asgi.wire.sse import EventParser

CONVERSATION = Conversation(model="claude-asked", stream=True, turns=(Turn(Role.USER, (Text("hello"),)),))
ANTHROPIC = Seal(SealOrigin.SIGNATURE, "sig")
REDACTED = Seal(SealOrigin.REDACTED, "r")
FOREIGN = Seal(SealOrigin.RESPONSES, "gAAA", id="rs_1")
USAGE = Usage(input=260, cache_read=150, cache_write=10, output=60, reasoning=40)


def encode(events: Iterable[Event], *, prompt_tokens: int = 7) -> list[dict]:
    encoder = MessagesEncoder(CONVERSATION, id="1", created=5, prompt_tokens=prompt_tokens)
    stream = b"".join(encoder.encode(event) for event in events)
    told = EventParser().feed(stream)
    for event in told:
        sdk_models.check_event("messages", json.loads(event.data))
        assert event.event == json.loads(event.data)["type"]
    return [json.loads(event.data) for event in told]


def whole(events: Iterable[Event]) -> dict:
    body: dict = json.loads(render_reply(fold(events), CONVERSATION, id="1", created=5))
    sdk_models.check_answer("messages", body)
    return body


def part(index: int, kind: Kind, *texts: str, seal: Seal | None = None, id: str = "", name: str = "") -> list[Event]:
    deltas = [PartDelta(index, text) for text in texts]
    return [PartStarted(index, kind, id, name), *deltas, PartFinished(index, seal)]


def answer(*events: Event, finish: Finish = Finish.STOP, detail: str = "", usage: Usage | None = USAGE) -> list[Event]:
    return list(check([Started("up", "upstream", None), *events, Finished(finish, usage, detail)]))


def content(events: list[dict]) -> list[dict]:
    accumulated = sdk_models.accumulated("messages", [{"data": event} for event in events])
    blocks: list[dict] = accumulated["content"]
    return blocks


THOUGHT = [
    (part(0, Kind.THINKING, "a", "b"), [{"type": "thinking", "thinking": "ab", "signature": ""}]),
    (part(0, Kind.THINKING, "a", seal=ANTHROPIC), [{"type": "thinking", "thinking": "a", "signature": "sig"}]),
    (part(0, Kind.THINKING, seal=ANTHROPIC), [{"type": "thinking", "thinking": "", "signature": "sig"}]),
    (part(0, Kind.THINKING, "a", seal=FOREIGN), [{"type": "thinking", "thinking": "a", "signature": wrap(FOREIGN)}]),
    (part(0, Kind.THINKING, seal=FOREIGN), [{"type": "redacted_thinking", "data": wrap(FOREIGN)}]),
    (part(0, Kind.THINKING, seal=REDACTED), [{"type": "redacted_thinking", "data": "r"}]),
    (part(0, Kind.THINKING), []),
]
SAID = [
    (part(0, Kind.TEXT, "a", "", "b"), [{"type": "text", "text": "ab"}]),
    (part(0, Kind.TEXT), []),
    (part(0, Kind.REFUSAL, "no"), [{"type": "text", "text": "no"}]),
    (
        [PartStarted(0, Kind.TEXT), PartDelta(0, "a", Annotation("https://x")), PartFinished(0)],
        [{"type": "text", "text": "a"}],
    ),
    (
        part(0, Kind.TOOL_CALL, '{"a":', "1}", id="t", name="f"),
        [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}],
    ),
    (part(0, Kind.TOOL_CALL, id="t", name="f"), [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]),
    (
        [*part(0, Kind.TEXT), *part(1, Kind.THINKING), *part(2, Kind.TEXT, "a"), *part(3, Kind.TEXT, "b")],
        [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
    ),
]


@pytest.mark.parametrize(("events", "blocks"), THOUGHT + SAID)
def test_parts(events, blocks):
    """Streamed or whole, a part is the same block, and one that says nothing is none."""
    told = answer(*events)
    assert content(encode(told)) == blocks
    assert whole(told)["content"] == blocks


@pytest.mark.parametrize(
    ("fragments", "arguments", "told"),
    [
        ([" "], {}, []),
        (["\n", " ", "\t"], {}, []),
        (["null"], {}, []),
        (["n", "ul", "l "], {}, []),
        ([" ", "\n{", '"a": ', "1}"], {"a": 1}, ["{", '"a": ', "1}"]),
        (['{"a":', " ", "null", "}"], {"a": None}, ['{"a":', " ", "null", "}"]),
    ],
)
def test_arguments_begin_with_what_counts(fragments, arguments, told):
    """The library parses at every event, so no blank and no ``null`` comes first; in between nothing changes."""
    events = answer(*part(0, Kind.TOOL_CALL, *fragments, id="t", name="f"), finish=Finish.TOOL_CALLS)
    streamed = encode(events)
    assert [each["delta"]["partial_json"] for each in streamed if each["type"] == "content_block_delta"] == told
    assert content(streamed) == whole(events)["content"]
    assert content(streamed)[0]["input"] == arguments


def test_arguments_that_only_begin_like_null_are_told():
    """Nothing that was held is lost."""
    told = encode(answer(*part(0, Kind.TOOL_CALL, "nul", "x", id="t", name="f")))
    assert [each["delta"]["partial_json"] for each in told if each["type"] == "content_block_delta"] == ["nulx"]


def test_foreign_seals_come_back():
    """Another vendor's seal travels in an envelope that opens again."""
    (block,) = content(encode(answer(*part(0, Kind.THINKING, "a", seal=FOREIGN))))
    assert unwrap(block["signature"]) == (FOREIGN, "")


def test_parallel_calls_are_one_after_the_other():
    """Of parallel calls the first speaks at once, the others wait for it."""
    events = answer(
        PartStarted(0, Kind.TOOL_CALL, "t0", "f"),
        PartStarted(1, Kind.TOOL_CALL, "t1", "g"),
        PartStarted(2, Kind.TOOL_CALL, "t2", "h"),
        PartDelta(1, '{"b":'),
        PartDelta(0, '{"a":'),
        PartDelta(1, "2}"),
        PartFinished(1),
        PartDelta(0, "1}"),
        PartFinished(0),
        PartDelta(2, '{"c":3}'),
        PartFinished(2),
        finish=Finish.TOOL_CALLS,
    )
    told = encode(events)
    kinds = [(event["type"].removeprefix("content_block_"), event["index"]) for event in told if "index" in event]
    block = ["start", "delta", "delta", "stop"]
    assert kinds == [(kind, 0) for kind in block] + [
        *((kind, 1) for kind in ("start", "delta", "stop")),
        *((kind, 2) for kind in ("start", "delta", "stop")),
    ]
    assert [each["input"] for each in content(told)] == [{"a": 1}, {"b": 2}, {"c": 3}]
    assert content(told) == whole(events)["content"]


def test_order_of_fragments_does_not_matter():
    """Whichever call's fragments come first, the client gets the same answer."""
    opened = [PartStarted(0, Kind.TOOL_CALL, "t0", "f"), PartStarted(1, Kind.TOOL_CALL, "t1", "g")]
    first, second = [PartDelta(0, "{"), PartDelta(0, "}")], [PartDelta(1, "{"), PartDelta(1, "}")]
    closed = [PartFinished(0), PartFinished(1)]
    mixes = [
        [*opened, *first, *second, *closed],
        [*opened, *second, *first, *reversed(closed)],
        [*opened, second[0], first[0], second[1], first[1], *closed],
    ]
    assert len({json.dumps(content(encode(answer(*mix)))) for mix in mixes}) == 1


def test_first_event():
    """The client learns its own model's name, our id, and how full its context is before anything is counted."""
    (start, *_) = encode(answer(), prompt_tokens=1234)
    message = start["message"]
    assert (message["id"], message["model"], message["content"]) == ("msg_1", "claude-asked", [])
    assert message["usage"]["input_tokens"] == 1234
    assert message["usage"]["output_tokens"] == 0


def test_first_event_with_counts():
    """What upstream says of the prompt already is better than an estimate; zeros are not (Claude Code needs it)."""
    known = [Started(usage=Usage(input=50, cache_read=20)), Finished(Finish.STOP)]
    start, last, _ = encode(known)
    assert start["message"]["usage"]["input_tokens"] == last["usage"]["input_tokens"] == 30
    zeros = [Started(usage=Usage()), Finished(Finish.STOP)]
    assert encode(zeros)[0]["message"]["usage"]["input_tokens"] == 7


def test_usage():
    """What a cache read or wrote is beside the input, thinking within the output."""
    expected = {
        "input_tokens": 100,
        "cache_read_input_tokens": 150,
        "cache_creation_input_tokens": 10,
        "output_tokens": 60,
        "output_tokens_details": {"thinking_tokens": 40},
    }
    assert encode(answer())[-2]["usage"] == expected
    assert whole(answer())["usage"] == expected


def test_usage_is_never_negative():
    """More cached than read is upstream's mistake, not ours."""
    counted = answer(usage=Usage(input=5, cache_read=9, output=1))
    assert encode(counted)[-2]["usage"]["input_tokens"] == whole(counted)["usage"]["input_tokens"] == 0


def test_answer_without_usage():
    """Without usage the estimate stands, and nothing is null."""
    uncounted = answer(usage=None)
    usage = encode(uncounted)[-2]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (7, 0)
    assert whole(uncounted)["usage"]["input_tokens"] > 0


FINISHES = [
    (Finish.STOP, "", "end_turn", None),
    (Finish.TOOL_CALLS, "", "tool_use", None),
    (Finish.LENGTH, "", "max_tokens", None),
    (Finish.CONTEXT_FULL, "", "model_context_window_exceeded", None),
    (Finish.STOP_WORD, "END", "stop_sequence", "END"),
    (Finish.FILTER, "", "refusal", None),
    (Finish.PAUSED, "", "pause_turn", None),
]


@pytest.mark.parametrize(("finish", "detail", "reason", "word"), FINISHES)
def test_finish(finish, detail, reason, word):
    """Each end has its reason; there is one ``message_delta`` and one ``message_stop``, last."""
    told = answer(finish=finish, detail=detail)
    events = encode(told)
    assert [event["type"] for event in events] == ["message_start", "message_delta", "message_stop"]
    for ending in (events[1]["delta"], whole(told)):
        assert (ending["stop_reason"], ending["stop_sequence"]) == (reason, word)
        assert "stop_details" not in ending


def test_refusal():
    """A refusal is text and the reason, with upstream's explanation where there is one."""
    explained = answer(finish=Finish.FILTER, detail="policy")
    for ending in (encode(explained)[-2]["delta"], whole(explained)):
        assert ending["stop_details"]["explanation"] == "policy"
    spoken = answer(*part(0, Kind.REFUSAL, "no"))
    assert encode(spoken)[-2]["delta"]["stop_reason"] == whole(spoken)["stop_reason"] == "refusal"
    cut = answer(*part(0, Kind.REFUSAL, "no"), finish=Finish.LENGTH)
    assert encode(cut)[-2]["delta"]["stop_reason"] == "max_tokens"


ARGUMENTS = [
    ('{"a":1}', Finish.TOOL_CALLS, {"a": 1}),
    ("", Finish.LENGTH, {}),
    ('{"a":', Finish.TOOL_CALLS, {"raw": '{"a":'}),
    ("[1]", Finish.TOOL_CALLS, {"value": [1]}),
]


@pytest.mark.parametrize(("text", "finish", "expected"), ARGUMENTS)
def test_arguments_of_whole_calls(text, finish, expected):
    """The input of a call is always an object."""
    (call,) = whole(answer(*part(0, Kind.TOOL_CALL, text, id="t", name="f"), finish=finish))["content"]
    assert call["input"] == expected


@pytest.mark.parametrize("finish", [Finish.LENGTH, Finish.CONTEXT_FULL])
def test_call_cut_off_in_its_arguments(finish):
    """A call that the limit cut off is left out: nobody could run it."""
    told = answer(*part(0, Kind.TEXT, "a"), *part(1, Kind.TOOL_CALL, '{"a":', id="t", name="f"), finish=finish)
    assert [block["type"] for block in whole(told)["content"]] == ["text"]


def test_keep_alive():
    """The keep-alive is an event that every client passes over; errors of ours need no progress."""
    encoder = MessagesEncoder(CONVERSATION, id="1", created=5, prompt_tokens=1)
    (event,) = EventParser().feed(encoder.ping)
    assert (event.event, json.loads(event.data)) == ("ping", {"type": "ping"})
    assert encoder.progress is None


def test_line_separators_stay_in_one_event():
    """Characters that other libraries take for line ends do not cut an event in two."""
    told = answer(*part(0, Kind.TEXT, "a\u2028b\x0bc\r\nd\x85"))
    assert content(encode(told)) == [{"type": "text", "text": "a\u2028b\x0bc\r\nd\x85"}]
