"""Copilot's chat answers become events: in legal order, whatever the order of the pieces and however they were cut."""

import json
from collections.abc import Iterable

import pytest

from copilot_asgi.errors import MalformedResponse, StreamInterrupted, UpstreamStatus
from copilot_asgi.translate.chat_flood import FloodGuard
from copilot_asgi.translate.chat_stream import ChatDecoder, decode_answer
from copilot_asgi.translate.conversation import Seal, SealOrigin
from copilot_asgi.translate.events import (
    Annotation,
    Event,
    Finish,
    Finished,
    Kind,
    PartDelta,
    PartStarted,
    Reply,
    ReplyPart,
    Started,
    Usage,
    check,
    fold,
)
from copilot_asgi.translate.ids import ToolNames

Json = dict[str, object]

DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
CLAUDE = {"created": 1795170003, "id": "msg_vrtx_01", "model": "claude-sonnet-4.6"}


def event(**fields: object) -> bytes:
    return f"data: {json.dumps(fields, ensure_ascii=False)}\n\n".encode()


def chunk(finish: str | None = None, *, at: int | None = 0, usage: Json | None = None, **delta: object) -> bytes:
    choice: Json = {"delta": delta, "finish_reason": finish} | ({} if at is None else {"index": at})
    return event(id="chatcmpl-1", created=1, model="gpt-4.1", choices=[choice], usage=usage)


def fragment(arguments: str | None = None, **fields: object) -> Json:
    """A piece of a tool call."""
    name = fields.pop("name", None)
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**fields, "function": function} if function else dict(fields)


def decode(*chunks: bytes, names: ToolNames | None = None) -> list[Event]:
    decoder = ChatDecoder(names=names or ToolNames())
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    events += decoder.finish()
    assert decoder.done
    assert decoder.feed(chunk(content="late")) == decoder.finish() == []
    return list(check(events))


def folded(*chunks: bytes, names: ToolNames | None = None) -> Reply:
    return fold(decode(*chunks, names=names))


def text(value: str) -> ReplyPart:
    return ReplyPart(kind=Kind.TEXT, text=value)


def thinking(value: str = "", opaque: str = "") -> ReplyPart:
    return ReplyPart(kind=Kind.THINKING, text=value, seal=Seal(SealOrigin.CHAT, opaque) if opaque else None)


def tool(id: str, arguments: str, name: str = "f") -> ReplyPart:
    return ReplyPart(kind=Kind.TOOL_CALL, text=arguments, id=id, name=name)


BEGIN = fragment("", index=0, id="a", type="function", name="f")

STREAMS: dict[str, tuple[list[bytes], tuple[ReplyPart, ...], Finish]] = {
    "text": (
        [chunk(role="assistant", content=""), chunk(content="Hel"), chunk(content="lo"), chunk("stop")],
        (text("Hello"),),
        Finish.STOP,
    ),
    "nothing": ([chunk("stop")], (), Finish.STOP),
    "length": ([chunk(content="a"), chunk("length")], (text("a"),), Finish.LENGTH),
    "filter": (
        [chunk(content="Sorry", refusal="no"), chunk("content_filter")],
        (text("Sorry"), ReplyPart(kind=Kind.REFUSAL, text="no")),
        Finish.FILTER,
    ),
    "an unknown reason": ([chunk(content="a"), chunk("because")], (text("a"),), Finish.STOP),
    "calls without any call": ([chunk(content="a"), chunk("tool_calls")], (text("a"),), Finish.STOP),
    "filters first": (
        [
            event(choices=[], created=0, id="", prompt_filter_results=[]),
            event(choices=None, copilot_references=[]),
            chunk(content="a"),
            chunk("stop"),
        ],
        (text("a"),),
        Finish.STOP,
    ),
    "parts of content": ([chunk(content=[{"type": "text", "text": "a"}]), chunk("stop")], (text("a"),), Finish.STOP),
    "a message for a delta": (
        [event(choices=[{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}])],
        (text("a"),),
        Finish.STOP,
    ),
    "an empty choice": ([event(choices=[{}]), chunk(content="a"), chunk("stop")], (text("a"),), Finish.STOP),
    "a call": (
        [
            chunk(tool_calls=[BEGIN]),
            chunk(tool_calls=[fragment('{"x":', index=0)]),
            chunk(tool_calls=[fragment("1}", index=0)]),
            chunk("tool_calls"),
        ],
        (tool("a", '{"x":1}'),),
        Finish.TOOL_CALLS,
    ),
    "a call and stop": (
        [chunk(tool_calls=[fragment("{}", index=0, id="a", name="f")]), chunk("stop")],
        (tool("a", "{}"),),
        Finish.TOOL_CALLS,
    ),
    "half a call": (
        [chunk(tool_calls=[fragment('{"x', index=0, id="a", name="f")]), chunk("length")],
        (tool("a", '{"x'),),
        Finish.LENGTH,
    ),
    "split choices": (
        [
            chunk(content="I'll look."),
            chunk(at=1, tool_calls=[BEGIN]),
            chunk(at=1, tool_calls=[fragment("{}", index=0)]),
            chunk("tool_calls"),
            chunk("tool_calls", at=1),
        ],
        (text("I'll look."), tool("a", "{}")),
        Finish.TOOL_CALLS,
    ),
    "no index of a choice": (
        [event(choices=[{"delta": {"content": "a"}}, {"delta": {"tool_calls": [BEGIN]}}]), chunk("stop")],
        (text("a"), tool("a", "")),
        Finish.TOOL_CALLS,
    ),
    "several reasons": (
        [chunk("stop", content="a"), chunk("length", at=1, tool_calls=[fragment("{", index=0, id="a", name="f")])],
        (text("a"), tool("a", "{")),
        Finish.LENGTH,
    ),
    "parallel": (
        [
            chunk(tool_calls=[BEGIN, fragment("", index=1, id="b", name="g")]),
            chunk(tool_calls=[fragment("[1", index=1)]),
            chunk(tool_calls=[fragment("{", index=0)]),
            chunk(tool_calls=[fragment("]", index=1), fragment("}", index=0)]),
            chunk("tool_calls"),
        ],
        (tool("a", "{}"), tool("b", "[1]", "g")),
        Finish.TOOL_CALLS,
    ),
    "all calls at index 0": (
        [
            chunk(tool_calls=[fragment("{}", index=0, id="a", name="f")]),
            chunk(tool_calls=[fragment("[]", index=0, id="b", name="f")]),
            chunk("stop"),
        ],
        (tool("a", "{}"), tool("b", "[]")),
        Finish.TOOL_CALLS,
    ),
    "no index at all": (
        [chunk(tool_calls=[fragment("{", id="a", name="f")]), chunk(tool_calls=[fragment("}")]), chunk("stop")],
        (tool("a", "{}"),),
        Finish.TOOL_CALLS,
    ),
    "ids and names told again": (
        [chunk(tool_calls=[BEGIN]), chunk(tool_calls=[fragment("{}", index=0, id="a", name="f")]), chunk("stop")],
        (tool("a", "{}"),),
        Finish.TOOL_CALLS,
    ),
    "a name that comes late": (
        [
            chunk(tool_calls=[fragment("{", index=0, id="a")]),
            chunk(tool_calls=[fragment("}", index=0, name="f")]),
            chunk("stop"),
        ],
        (tool("a", "{}"),),
        Finish.TOOL_CALLS,
    ),
    "a call that says nothing": (
        [chunk(content="a", tool_calls=[{"index": 0, "id": "a"}]), chunk("stop")],
        (text("a"),),
        Finish.STOP,
    ),
    "no id": (
        [chunk(tool_calls=[fragment("{}", index=0, name="f")]), chunk("stop")],
        (tool("call_chatcmpl-1_1_0", "{}"),),
        Finish.TOOL_CALLS,
    ),
    "a deprecated call": (
        [
            chunk(function_call={"name": "f", "arguments": ""}),
            chunk(function_call={"arguments": "{}"}),
            chunk("function_call"),
        ],
        (tool("call_chatcmpl-1_1_0", "{}"),),
        Finish.TOOL_CALLS,
    ),
    "text after a call": (
        [
            chunk(content="a"),
            chunk(tool_calls=[fragment("{}", index=0, id="a", name="f")]),
            chunk(content="b"),
            chunk(tool_calls=[fragment("", index=0)]),
            chunk("stop"),
        ],
        (text("a"), tool("a", "{}"), text("b")),
        Finish.TOOL_CALLS,
    ),
    "thinking": (
        [chunk(reasoning_text="h"), chunk(reasoning_text="m"), chunk(reasoning_opaque="x", content="a"), chunk("stop")],
        (thinking("hm", "x"), text("a")),
        Finish.STOP,
    ),
    "thinking under other names": (
        [
            chunk(reasoning_content="a"),
            chunk(reasoning="b"),
            chunk(cot_summary="c"),
            chunk(thinking="d"),
            chunk(reasoning={"text": "e"}),
            chunk(cot_id="x"),
            chunk("stop"),
        ],
        (thinking("abcd", "x"),),
        Finish.STOP,
    ),
    "a seal first": (
        [chunk(reasoning_opaque="x"), chunk(content="a"), chunk("stop")],
        (thinking("", "x"), text("a")),
        Finish.STOP,
    ),
    "a seal before its thinking": (
        [chunk(reasoning_opaque="x"), chunk(reasoning_text="hm"), chunk(content="a"), chunk("stop")],
        (thinking("hm", "x"), text("a")),
        Finish.STOP,
    ),
    "a seal after the text": (
        [
            chunk(reasoning_text="hm"),
            chunk(content="a"),
            chunk(content="", reasoning_opaque="x"),
            chunk(content="b"),
            chunk("stop"),
        ],
        (thinking("hm"), text("ab"), thinking("", "x")),
        Finish.STOP,
    ),
    "a seal before a call": (
        [chunk(content="a"), chunk(reasoning_opaque="x"), chunk(tool_calls=[BEGIN]), chunk("stop")],
        (text("a"), thinking("", "x"), tool("a", "")),
        Finish.TOOL_CALLS,
    ),
    "a seal among calls": (
        [
            chunk(tool_calls=[BEGIN]),
            chunk(reasoning_opaque="x", tool_calls=[fragment("", index=1, id="b", name="f")]),
            chunk("stop"),
        ],
        (tool("a", ""), tool("b", ""), thinking("", "x")),
        Finish.TOOL_CALLS,
    ),
    "the last of several seals": (
        [chunk(reasoning_text="hm", reasoning_opaque="x"), chunk(reasoning_opaque="y"), chunk("stop")],
        (thinking("hm", "y"),),
        Finish.STOP,
    ),
    "a source": (
        [
            chunk(content="a"),
            chunk(
                annotations=[{"type": "url_citation", "url_citation": {"url": "u", "title": "t"}}, {"type": "other"}]
            ),
            chunk("stop"),
        ],
        (ReplyPart(kind=Kind.TEXT, text="a", annotations=(Annotation("u", "t"),)),),
        Finish.STOP,
    ),
    "a source of nothing": (
        [
            chunk(annotations=[{"url_citation": {"url": "u"}}]),
            chunk(annotations={"CodeVulnerability": []}),
            chunk("stop"),
        ],
        (),
        Finish.STOP,
    ),
    "comments and empty events": (
        [b": keep-alive\n\ndata: \n\n", chunk(content="a"), chunk("stop")],
        (text("a"),),
        Finish.STOP,
    ),
    "characters of many bytes": (
        [chunk(content="Grüße 👋 \u2028 世界"), chunk("stop")],
        (text("Grüße 👋 \u2028 世界"),),
        Finish.STOP,
    ),
}
each_stream = pytest.mark.parametrize(("chunks", "parts", "finish"), STREAMS.values(), ids=STREAMS)


@pytest.mark.parametrize(
    "annotations",
    [
        [{"type": "url_citation", "url_citation": {"url": None, "title": "t"}}],
        [{"type": "url_citation", "url_citation": {"url": ""}}],
        [{"type": "url_citation", "url_citation": {"title": "t"}}],
        [{"type": "url_citation", "url_citation": None}],
        [{"type": "url_citation", "url_citation": {"url": 3}}],
        [None],
    ],
)
def test_a_source_without_an_address_is_passed_over(annotations: list[object]) -> None:
    """The text it belongs to stays, streamed or whole."""
    assert folded(chunk("stop", content="a", annotations=annotations), DONE).parts == (text("a"),)
    message = {"role": "assistant", "content": "a", "annotations": annotations}
    body = json.dumps({"id": "1", "choices": [{"message": message, "finish_reason": "stop"}]}).encode()
    assert fold(decode_answer(body, names=ToolNames())).parts == (text("a"),)


@each_stream
def test_the_pieces_become_one_answer(chunks: list[bytes], parts: tuple[ReplyPart, ...], finish: Finish) -> None:
    """With the end that upstream announces, and without when there was a reason to finish."""
    for stream in ([*chunks, DONE], chunks):
        reply = folded(*stream)
        assert (reply.parts, reply.finish) == (parts, finish)


@each_stream
def test_an_answer_may_arrive_in_any_cut(chunks: list[bytes], parts: tuple[ReplyPart, ...], finish: Finish) -> None:
    """Byte by byte, and in two pieces cut anywhere, the events are the same."""
    whole = b"".join([*chunks, DONE])
    expected = decode(whole)
    assert decode(*(whole[at : at + 1] for at in range(len(whole)))) == expected
    for at in range(0, len(whole), 7):
        assert decode(whole[:at], whole[at:]) == expected
    assert decode(whole.replace(b"\n", b"\r\n")) == expected


@each_stream
def test_an_answer_that_breaks_off_is_no_success(
    chunks: list[bytes], parts: tuple[ReplyPart, ...], finish: Finish
) -> None:
    """Cut before the reason to finish it is interrupted, cut after it is complete."""
    whole = b"".join(chunks)
    evidence = min(at for at, data in enumerate(chunks) if b'"finish_reason": "' in data)
    needed = len(b"".join(chunks[: evidence + 1])) - 2  # the empty line may be missing at the end
    for at in range(0, len(whole) + 1, 5):
        decoder = ChatDecoder(names=ToolNames())
        decoder.feed(whole[:at])
        if at < needed:
            with pytest.raises(StreamInterrupted):
                decoder.finish()
        else:
            assert isinstance(decoder.finish()[-1], Finished)


FORGOTTEN = [
    ([chunk(content="a")], Finish.STOP),
    ([chunk(reasoning_opaque="x")], Finish.STOP),
    ([chunk(tool_calls=[fragment("{}", index=0, id="a", name="f")])], Finish.TOOL_CALLS),
    ([chunk(tool_calls=[BEGIN])], Finish.TOOL_CALLS),
]


@pytest.mark.parametrize(("chunks", "finish"), FORGOTTEN)
def test_a_forgotten_reason_is_inferred_from_a_whole_answer(chunks: list[bytes], finish: Finish) -> None:
    """Copilot's Claude sometimes names none before the end it announces."""
    assert folded(*chunks, DONE).finish is finish


INTERRUPTED = [
    [],
    [DONE],
    [chunk(role="assistant"), DONE],
    [event(choices=[], usage=USAGE), DONE],
    [chunk(tool_calls=[fragment('{"x"', index=0, id="a", name="f")]), DONE],
    [chunk(content="a"), chunk("error"), DONE],
    [b"data: {nonsense}\n\n"],
    [b"data: []\n\n"],
    [chunk(tool_calls=[fragment("{}", index=0, id="a")]), chunk("stop"), DONE],
    [chunk(tool_calls=[BEGIN]), chunk(content="b"), chunk(tool_calls=[fragment("{}", index=0)]), DONE],
    [chunk(tool_calls=[BEGIN]), chunk(tool_calls=[fragment("\n" * 21, index=0)]), DONE],
]


@pytest.mark.parametrize("chunks", INTERRUPTED)
def test_what_is_no_whole_answer_is_an_interruption(chunks: list[bytes]) -> None:
    """Never a success: nothing at all, half a call, a call that goes on after its end, a flood of line ends."""
    with pytest.raises(StreamInterrupted):
        decode(*chunks)


def test_an_empty_reason_is_none() -> None:
    """What follows it belongs to the answer, which needs a real one to be complete."""
    assert folded(chunk("", content="a"), chunk("length", content="b")).finish is Finish.LENGTH
    with pytest.raises(StreamInterrupted):
        decode(chunk("", content="a"))


def test_half_an_event_after_the_reason_does_not_undo_the_answer() -> None:
    """The answer was complete; only the rest of the line is gone."""
    assert folded(chunk("stop", content="a"), b'data: {"choices":[],"usa').parts == (text("a"),)


ERRORS = [
    (event(error={"message": "slow down", "code": "rate_limited"}), 429),
    (event(error="boom"), 502),
    (event(error={"message": "x", "code": "content_filter"}, choices=[]), 422),
    (b"event: error\n" + event(message="x"), 502),
]


@pytest.mark.parametrize(("data", "status"), ERRORS)
def test_c2m_stream_midstream_error(data: bytes, status: int) -> None:
    """An error in the stream is that error, with the status it should have had."""
    decoder = ChatDecoder(names=ToolNames())
    assert fold(decoder.feed(chunk(content="a"))).parts == (text("a"),)
    with pytest.raises(UpstreamStatus) as caught:
        decoder.feed(data)
    assert caught.value.status == status


LATE_FAILURES = [(data, UpstreamStatus) for data, _ in ERRORS] + [
    (b"data: {nonsense}\n\n", StreamInterrupted),
    (chunk("error"), StreamInterrupted),
    (chunk(tool_calls=[fragment("{}", index=0, id="a")]) + DONE, StreamInterrupted),  # never named
]


@pytest.mark.parametrize("reason", [None, "stop"])
@pytest.mark.parametrize(("data", "failure"), LATE_FAILURES)
def test_what_came_before_a_failure_is_given_out_first(
    data: bytes, failure: type[Exception], reason: str | None
) -> None:
    """Also when one read holds both; then nothing more comes, and the failure is raised by whatever is called next."""
    read = chunk(reason, content="a") + data
    for go_on in (lambda decoder: decoder.feed(chunk(content="late")), lambda decoder: decoder.finish()):
        decoder = ChatDecoder(names=ToolNames())
        assert text("a") == fold(decoder.feed(read)).parts[0]
        assert decoder.done
        for _ in range(2):
            with pytest.raises(failure):
                go_on(decoder)


def test_the_last_event_counts_without_its_empty_line() -> None:
    """What it says is part of the answer, not only that it ends."""
    assert folded(chunk(content="a"), chunk("stop", content="b").rstrip()).parts == (text("ab"),)


def test_c2m_stream_text_after_tool() -> None:
    """Text behind a call is a part of its own."""
    kinds = [event.kind for event in decode(*STREAMS["text after a call"][0]) if isinstance(event, PartStarted)]
    assert kinds == [Kind.TEXT, Kind.TOOL_CALL, Kind.TEXT]


def test_c2m_stream_no_usage() -> None:
    """Nothing is made up."""
    assert folded(chunk(content="a"), chunk("stop"), DONE).usage is None


def test_pieces_are_passed_on_at_once() -> None:
    """Nothing waits but what cannot be placed yet."""
    decoder = ChatDecoder(names=ToolNames())
    assert decoder.feed(event(choices=[])) == []
    assert decoder.feed(chunk(content="a")) == [
        Started(id="chatcmpl-1", model="gpt-4.1"),
        PartStarted(0, Kind.TEXT),
        PartDelta(0, "a"),
    ]
    assert decoder.feed(chunk(content="b")) == [PartDelta(0, "b")]


def test_names_are_the_clients() -> None:
    """A name that had to change for upstream comes back as it was."""
    names = ToolNames(["a.b"])
    told = names.to_upstream("a.b")
    assert folded(chunk(tool_calls=[fragment("{}", index=0, id="a", name=told)]), chunk("stop"), names=names).parts == (
        tool("a", "{}", "a.b"),
    )


USAGES = [
    (USAGE, Usage(input=12, output=3)),
    (
        {
            **USAGE,
            "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 2},
        },
        Usage(input=12, cache_read=5, cache_write=4, output=3, reasoning=2),
    ),
    (
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 46,
            "completion_tokens_details": {"reasoning_tokens": 31},
        },
        Usage(input=10, output=36, reasoning=31),
    ),
    ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None),
    ({"prompt_tokens": -5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9}}, Usage(output=1)),
    ({"prompt_tokens": "many"}, None),
    ({}, None),
]


@pytest.mark.parametrize(("usage", "expected"), USAGES)
def test_usage_is_read_once_and_rightly(usage: Json, expected: Usage | None) -> None:
    """Thinking that was counted beside the completion is added, nothing twice; nonsense counts as nothing."""
    assert folded(chunk(content="a"), chunk("stop", usage=usage), DONE).usage == expected


def test_the_last_usage_that_counts_wins() -> None:
    """Some models send zeros on the way, some the sum so far in every chunk, most send it behind the end."""
    zero = dict.fromkeys(USAGE, 0)
    first = {**USAGE, "completion_tokens": 1}
    stream = (chunk(content="a", usage=first), chunk("stop", usage=zero), event(choices=[], usage=USAGE), DONE)
    assert folded(*stream).usage == Usage(input=12, output=3)


def answer(*choices: object, **fields: object) -> bytes:
    return json.dumps({"id": "r1", "model": "m", "choices": list(choices), "usage": USAGE, **fields}).encode()


def choice(finish: str | None = "stop", **message: object) -> Json:
    return {"finish_reason": finish, "message": {"role": "assistant", **message}}


CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ANSWERS = [
    ([choice(content="a")], (text("a"),), Finish.STOP),
    ([choice(content="")], (), Finish.STOP),
    ([choice(None, content="a")], (text("a"),), Finish.STOP),
    ([choice("length", content="a")], (text("a"),), Finish.LENGTH),
    ([choice(content=None, tool_calls=[CALL])], (tool("a", "{}"),), Finish.TOOL_CALLS),
    (
        [choice("tool_calls", content="I'll look."), choice("tool_calls", tool_calls=[CALL])],
        (text("I'll look."), tool("a", "{}")),
        Finish.TOOL_CALLS,
    ),
    (
        [choice("tool_calls", tool_calls=[CALL]), choice("tool_calls", content="a", tool_calls=[CALL])],
        (text("a"), tool("a", "{}")),
        Finish.TOOL_CALLS,
    ),
    (
        [choice(tool_calls=[{**CALL, "id": None}, {**CALL, "id": None}])],
        (tool("call_r1_0_0", "{}"), tool("call_r1_0_1", "{}")),
        Finish.TOOL_CALLS,
    ),
    ([choice(function_call={"name": "f", "arguments": "{}"})], (tool("call_r1_0_0", "{}"),), Finish.TOOL_CALLS),
    (
        [choice(content="a", reasoning_text="hm", reasoning_opaque="x", padding="abc")],
        (thinking("hm", "x"), text("a")),
        Finish.STOP,
    ),
    (
        [choice("content_filter", content="Sorry", refusal="no")],
        (text("Sorry"), ReplyPart(kind=Kind.REFUSAL, text="no")),
        Finish.FILTER,
    ),
]


@pytest.mark.parametrize(("choices", "parts", "finish"), ANSWERS)
def test_a_whole_answer_is_the_same_events(choices: list[Json], parts: tuple[ReplyPart, ...], finish: Finish) -> None:
    """Pieces in several choices are one answer: texts first, each call once; stop with a call means calls."""
    reply = fold(check(decode_answer(answer(*choices), names=ToolNames())))
    assert (reply.id, reply.model, reply.parts, reply.finish) == ("r1", "m", parts, finish)
    assert reply.usage == Usage(input=12, output=3)


def test_an_answer_without_choices_was_all_thinking() -> None:
    """When the tokens were spent it is cut off, not broken."""
    events = list(check(decode_answer(answer(), names=ToolNames())))
    assert events == [Started("r1", "m"), Finished(Finish.LENGTH, Usage(input=12, output=3))]


def test_a_messages_body_in_place_of_a_completion_is_read_as_one() -> None:
    """The newest Claude models answer in Anthropic's words, whatever they were asked in."""
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-4.8",
        "content": [
            {"type": "text", "text": "a"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": 1}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 3},
    }
    reply = fold(check(decode_answer(json.dumps(body).encode(), names=ToolNames())))
    assert [part.kind for part in reply.parts] == [Kind.TEXT, Kind.TOOL_CALL]
    assert json.loads(reply.parts[1].text) == {"x": 1}
    assert reply.finish is Finish.TOOL_CALLS
    assert reply.usage == Usage(input=4, cache_read=3, output=2)


MALFORMED = [
    b"",
    b"<html>",
    b"[]",
    b"{}",
    answer(usage=None),
    answer(choices=None),
    answer({"finish_reason": "stop"}),
    answer(choice("error", content="a")),
    answer(choice(tool_calls=[{"id": "a", "function": {"arguments": "{}"}}])),
]


@pytest.mark.parametrize("body", MALFORMED)
def test_what_is_no_answer_is_an_error(body: bytes) -> None:
    """Never an empty success."""
    with pytest.raises(MalformedResponse):
        decode_answer(body, names=ToolNames())


def test_an_error_under_success_is_that_error() -> None:
    """With the status that it should have had."""
    with pytest.raises(UpstreamStatus) as caught:
        decode_answer(json.dumps({"error": {"code": "rate_limited", "message": "x"}}).encode(), names=ToolNames())
    assert caught.value.status == 429


HARMLESS = [
    "\n" * 20 + "{}",
    '{"a":"' + "\n" * 100 + '"}',
    '{"a":"\\"' + "\t" * 100 + '\\\\"}' + "\n" * 20,
    "{" + ("\n" + " " * 60 + '"a":1,') * 50 + "}",
]
FLOODS = ["\n" * 21, "{" + "\t \r\n " * 7, '{"a":"\\\\"' + "\n" * 21, '{"a":1,' + " \n" * 21]


def read_all(pieces: Iterable[str]) -> None:
    guard = FloodGuard()
    for piece in pieces:
        guard.feed(piece)


def cuts(text: str) -> Iterable[list[str]]:
    yield [text]
    yield list(text)
    yield from ([text[:at], text[at:]] for at in range(len(text)))


@pytest.mark.parametrize("arguments", HARMLESS)
def test_line_ends_in_their_place_are_no_flood(arguments: str) -> None:
    """Indentation, and whatever stands inside a string, however it was cut."""
    for pieces in cuts(arguments):
        read_all(pieces)


@pytest.mark.parametrize("arguments", FLOODS)
def test_a_flood_of_line_ends_is_stopped(arguments: str) -> None:
    """A model that fell into it writes on until its limit, at the user's cost."""
    for pieces in cuts(arguments):
        with pytest.raises(StreamInterrupted):
            read_all(pieces)
