"""The answer of a Responses endpoint as events."""

import json
from typing import Any

import pytest

from copilot_asgi.errors import CopilotASGIError, MalformedResponse, ResponseTooLarge, StreamInterrupted, UpstreamStatus
from copilot_asgi.translate.conversation import Seal, SealOrigin
from copilot_asgi.translate.events import (
    Annotation,
    Event,
    Finish,
    Finished,
    Kind,
    PartDelta,
    PartFinished,
    PartStarted,
    Reply,
    ReplyPart,
    Started,
    Usage,
    check,
    fold,
)
from copilot_asgi.translate.ids import ToolNames
from copilot_asgi.translate.responses_stream import ResponsesDecoder, decode_answer

CREATED = {"type": "response.created", "response": {"id": "R1", "model": "gpt-5.4", "status": "in_progress"}}
USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 15,
}
COUNTED = Usage(input=10, cache_read=4, cache_write=1, output=5, reasoning=2)
TEXT, TOOL, THINKING = Kind.TEXT, Kind.TOOL_CALL, Kind.THINKING


def event(kind: str, index: int | None = None, **fields: object) -> dict[str, object]:
    return {"type": f"response.{kind}"} | ({} if index is None else {"output_index": index}) | fields


def added(index: int, kind: str, **fields: object) -> dict[str, object]:
    return event("output_item.added", index, item={"type": kind, "id": f"added{index}"} | fields)


def done(index: int, kind: str, **fields: object) -> dict[str, object]:
    return event("output_item.done", index, item={"type": kind, "id": f"done{index}"} | fields)


def delta(index: int, text: str, content_index: int = 0) -> dict[str, object]:
    return event("output_text.delta", index, content_index=content_index, delta=text)


def arguments(index: int, text: str) -> dict[str, object]:
    return event("function_call_arguments.delta", index, delta=text)


def call(index: int, **fields: object) -> dict[str, object]:
    return added(index, "function_call", **{"call_id": f"call_{index}", "name": "f", "arguments": ""} | fields)


def completed(*output: object, **fields: object) -> dict[str, object]:
    return event(
        "completed", response={"id": "R9", "status": "completed", "output": list(output), "usage": USAGE} | fields
    )


def wire(*events: object) -> bytes:
    return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events)


def decoded(*events: object, names: ToolNames | None = None) -> list[Event]:
    decoder = ResponsesDecoder(names=names or ToolNames())
    found = decoder.feed(wire(CREATED, *events)) + decoder.finish()
    assert decoder.done
    return list(check(found))


def parts(*events: object, end: dict[str, Any] | None = None) -> list[Event]:
    """The events between the beginning and the end."""
    start, *between, end_event = decoded(*events, end or completed())
    assert start == Started("R1", "gpt-5.4")
    assert isinstance(end_event, Finished)
    return between


def reply(*events: object) -> tuple[ReplyPart, ...]:
    return fold(decoded(*events)).parts


def text_part(index: int, *texts: str, kind: Kind = TEXT) -> list[Event]:
    return [PartStarted(index, kind), *(PartDelta(index, text) for text in texts), PartFinished(index)]


MESSAGE = [
    event("in_progress", response={"id": "R2"}),
    added(0, "message", role="assistant", content=[]),
    event("content_part.added", 0, content_index=0, part={"type": "output_text", "text": ""}),
    delta(0, "Hé"),
    delta(0, ""),
    delta(0, "llo"),
    event("output_text.done", 0, content_index=0, text="Héllo"),
    event("content_part.done", 0, content_index=0, part={"type": "output_text", "text": "Héllo", "annotations": []}),
    done(0, "message", content=[{"type": "output_text", "text": "Héllo"}]),
]
FULL = [
    CREATED,
    added(0, "reasoning", summary=[], encrypted_content="early"),
    event("reasoning_summary_part.added", 0, summary_index=0, part={"type": "summary_text", "text": ""}),
    event("reasoning_summary_text.delta", 0, summary_index=0, delta="a"),
    event("reasoning_summary_part.added", 0, summary_index=1, part={"type": "summary_text", "text": ""}),
    event("reasoning_summary_text.delta", 0, summary_index=1, delta="b"),
    done(0, "reasoning", summary=[{"text": "a"}, {"text": "b"}], encrypted_content="gA"),
    added(1, "message", phase="commentary"),
    delta(1, "語"),
    done(1, "message", content=[{"type": "output_text", "text": "語"}]),
    call(2),
    arguments(2, '{"a":'),
    call(3, call_id="call_3"),
    arguments(3, "{}"),
    arguments(2, "1}"),
    event("function_call_arguments.done", 2, arguments='{"a":1}'),
    done(2, "function_call", call_id="call_2", name="f", arguments='{"a":1}'),
    done(3, "function_call", call_id="call_3", name="f", arguments="{}"),
    completed(),
]
FULL_REPLY = Reply(
    id="R1",
    model="gpt-5.4",
    parts=(
        ReplyPart(kind=THINKING, text="a\n\nb", seal=Seal(SealOrigin.RESPONSES, "gA", id="done0", phase="commentary")),
        ReplyPart(kind=TEXT, text="語"),
        ReplyPart(kind=TOOL, text='{"a":1}', id="call_2", name="f"),
        ReplyPart(kind=TOOL, text="{}", id="call_3", name="f"),
    ),
    finish=Finish.TOOL_CALLS,
    usage=COUNTED,
)


def test_text() -> None:
    """Each piece once, though it is told four times."""
    assert decoded(*MESSAGE, completed()) == [
        Started("R1", "gpt-5.4"),
        *text_part(0, "Hé", "llo"),
        Finished(Finish.STOP, COUNTED),
    ]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_the_cut_does_not_matter(line_end: bytes) -> None:
    """Whole, byte by byte, and cut in two anywhere, a stream is the same answer."""
    whole = wire(*FULL).replace(b"\n", line_end)
    cuts: list[list[bytes]] = [[whole], [whole[at : at + 1] for at in range(len(whole))]]
    cuts += [[whole[:at], whole[at:]] for at in range(0, len(whole), 17)]
    for chunks in cuts:
        decoder = ResponsesDecoder(names=ToolNames())
        found = [each for chunk in chunks for each in decoder.feed(chunk)] + decoder.finish()
        assert fold(check(found)) == FULL_REPLY


@pytest.mark.parametrize("position", range(len(FULL)))
def test_every_cut_before_the_end_is_an_interruption(position: int) -> None:
    """Only the terminal event is an end, whatever closes the stream."""
    for tail in (b"", b"data: [DONE]\n\n", b": comment\n\n", b'data: {"type":"resp'):
        decoder = ResponsesDecoder(names=ToolNames())
        decoder.feed(wire(*FULL[:position]) + tail)
        with pytest.raises(StreamInterrupted):
            decoder.finish()


def test_the_last_event_needs_no_empty_line() -> None:
    """The end of the body closes it."""
    decoder = ResponsesDecoder(names=ToolNames())
    found = decoder.feed(wire(*FULL).rstrip()) + decoder.finish()
    assert fold(check(found)) == FULL_REPLY


def test_nothing_follows_the_end() -> None:
    """A chat completion's last chunk has been seen there."""
    decoder = ResponsesDecoder(names=ToolNames())
    found = decoder.feed(wire(*FULL, {"choices": []}, event("failed")) + b"data: {\n\n")
    assert fold(check(found)) == FULL_REPLY
    assert decoder.feed(wire(CREATED)) + decoder.finish() == []


def test_the_type_may_stand_in_the_name_only() -> None:
    """Gateways lose one or the other."""
    decoder = ResponsesDecoder(names=ToolNames())
    found = decoder.feed(wire(CREATED) + b'event: response.completed\ndata: {"response":{"status":"completed"}}\n\n')
    assert found == [Started("R1", "gpt-5.4"), Finished(Finish.STOP)]


def test_a_stream_need_not_begin_with_created() -> None:
    """Whatever comes first begins the answer."""
    decoder = ResponsesDecoder(names=ToolNames())
    found = decoder.feed(wire(delta(0, "x"), {"type": "response.completed"}))
    assert found == [Started(), *text_part(0, "x"), Finished(Finish.STOP)]


@pytest.mark.parametrize(
    "events",
    [
        [delta(0, "ab")],
        [added(0, "message"), event("output_text.done", 0, text="ab")],
        [delta(0, "a"), event("output_text.done", 0, text="ab")],
        [delta(0, "a"), event("content_part.done", 0, part={"type": "output_text", "text": "ab"})],
        [delta(0, "a"), done(0, "message", content=[{"type": "output_text", "text": "ab"}])],
        [done(0, "message", content=[{"type": "output_text", "text": "ab"}])],
        [delta(0, "ab"), done(0, "message", content=[{"type": "output_text", "text": "other"}])],
        [delta(0, "ab"), event("output_text.done", 0, text=None), event("content_part.done", 0)],
        [delta(0, "ab"), done(0, "message"), done(0, "message", content=[{"type": "output_text", "text": "abc"}])],
        [delta(0, "ab"), event("content_part.done", 0, part={"text": "ab"}), delta(0, "late")],
    ],
)
def test_what_is_missing_is_told_and_nothing_twice(events: list[object]) -> None:
    """Pieces and ends are reconciled."""
    assert [(part.kind, part.text) for part in reply(*events, completed())] == [(TEXT, "ab")]


def test_an_item_that_only_the_end_tells() -> None:
    """The final response may hold what no event did."""
    output = [
        {"type": "reasoning", "id": "rs", "summary": [{"text": "t"}], "encrypted_content": "gA"},
        {"type": "message", "phase": "final_answer", "content": [{"type": "output_text", "text": "x"}]},
        {"type": "web_search_call"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    ]
    assert [(part.kind, part.text, part.seal) for part in reply(completed(*output))] == [
        (THINKING, "t", Seal(SealOrigin.RESPONSES, "gA", id="rs", phase="final_answer")),
        (TEXT, "x", None),
        (TOOL, "{}", None),
    ]


def test_parts_of_a_message() -> None:
    """Text and refusal are parts of their own; the next one ends the last."""
    refusal = {"type": "refusal", "refusal": "No."}
    found = parts(
        delta(0, "a"),
        delta(0, "b", content_index=1),
        event("refusal.delta", 0, content_index=2, delta="N"),
        event("refusal.done", 0, content_index=2, refusal="No"),
        done(0, "message", content=[{"text": "a"}, {"text": "b"}, refusal]),
    )
    assert found == [*text_part(0, "a"), *text_part(1, "b"), *text_part(2, "N", "o", ".", kind=Kind.REFUSAL)]


def test_a_refusal_is_the_reason() -> None:
    """An answer that ends with one was filtered."""
    assert decoded(event("refusal.delta", 0, delta="No"), completed())[-1] == Finished(Finish.FILTER, COUNTED)


CITED = {"type": "url_citation", "url": "https://e.com", "title": "E"}


def test_annotations() -> None:
    """Sources on the web, each once, whether told by an event or at the end; others mean nothing elsewhere."""
    annotations = [CITED, {"type": "file_citation", "file_id": "x"}, {"type": "url_citation", "url": "https://f.com"}]
    found = parts(
        delta(0, "a"),
        event("output_text.annotation.added", 0, annotation=CITED),
        event("output_text.annotation.added", 0),
        event("output_text.annotation.added", 0, content_index=5, annotation=CITED),
        event("content_part.done", 0, part={"type": "output_text", "text": "a", "annotations": annotations}),
        done(0, "message", content=[{"type": "output_text", "text": "a", "annotations": annotations}]),
    )
    cited = [
        PartDelta(0, annotation=Annotation("https://e.com", "E")),
        PartDelta(0, annotation=Annotation("https://f.com")),
    ]
    assert found == [PartStarted(0, TEXT), PartDelta(0, "a"), *cited, PartFinished(0)]


@pytest.mark.parametrize(
    "events",
    [
        [call(0, arguments='{"a":1}')],
        [call(0, arguments='{"a"'), arguments(0, ":1}")],
        [call(0), arguments(0, " "), arguments(0, '\n{"a":1}')],
        [call(0), event("function_call_arguments.done", 0, arguments='{"a":1}')],
        [call(0), arguments(0, '{"a"'), event("function_call_arguments.done", 0, arguments='{"a":1}')],
        [call(0), arguments(0, '{"a":1}'), done(0, "function_call", call_id="x", name="y", arguments='{"a":2}')],
        [call(0), arguments(0, "c2VhbGVk"), event("function_call_arguments.done", 0, arguments='{"a":1}')],
        [call(0), arguments(0, "c2Vh"), done(0, "function_call", call_id="call_0", arguments='{"a":1}')],
        [call(0, name=None), arguments(0, '{"a":1}'), done(0, "function_call", call_id="call_0", name="f")],
        [done(0, "function_call", call_id="call_0", name="f", arguments='{"a":1}')],
        [call(0, arguments='{"a":1}'), call(0), done(0, "function_call"), arguments(0, "late")],
    ],
)
def test_arguments(events: list[object]) -> None:
    """However they are told, once, and never in a form that nobody can read."""
    found = reply(*events, completed())
    assert [(part.id, part.name, part.text.strip()) for part in found] == [("call_0", "f", '{"a":1}')]


def test_arguments_that_stay_sealed_are_told_in_the_end() -> None:
    """Nothing else is known of them."""
    assert reply(call(0), arguments(0, "c2Vh"), arguments(0, "bGVk"), completed())[0].text == "c2VhbGVk"


def test_a_call_without_a_name_is_none() -> None:
    """Nobody could run it."""
    assert parts(call(0, name=None), arguments(0, "{}"), done(0, "function_call", call_id="c")) == []


def test_a_call_without_an_id_gets_one() -> None:
    """Another for each call, and the same when it is read again."""
    events = [
        call(0, call_id=None),
        done(0, "function_call"),
        call(1, call_id=None),
        done(1, "function_call"),
        completed(),
    ]
    ids = [part.id for part in reply(*events)]
    assert [part.id for part in reply(*events)] == ids
    assert len(set(ids)) == 2
    assert all(id.startswith("call_") for id in ids)


def test_arguments_of_nothing() -> None:
    """What belongs to no call is passed over."""
    events = [
        arguments(0, "{}"),
        event("function_call_arguments.done", 0, arguments="{}"),
        delta(1, "x"),
        arguments(1, "{}"),
    ]
    assert parts(*events, event("function_call_arguments.done", 1, arguments="{}")) == text_part(0, "x")


def test_names_lead_back_to_the_client() -> None:
    """Also those of a namespace, which only the finished item may tell."""
    names = ToolNames()
    fitted = names.to_upstream("a name with blanks")
    events = decoded(call(0, name=fitted), call(1, namespace="ns"), completed(), names=names)
    assert [each.name for each in events if isinstance(each, PartStarted)] == ["a name with blanks", "ns__f"]


def test_freeform_calls() -> None:
    """Their raw text is told as it comes."""
    found = parts(
        added(0, "custom_tool_call", call_id="c", name="patch", input=""),
        event("custom_tool_call_input.delta", 0, delta="*** "),
        event("custom_tool_call_input.delta", 0, delta="x\n" + "\t" * 30),
        event("custom_tool_call_input.done", 0, input="*** x\n" + "\t" * 30 + "y"),
        done(0, "custom_tool_call", call_id="c", name="patch", input="*** x\n" + "\t" * 30 + "y"),
    )
    texts = ["*** ", "x\n" + "\t" * 30, "y"]
    start = PartStarted(0, TOOL, "c", "patch", freeform=True)
    assert found == [start, *(PartDelta(0, text) for text in texts), PartFinished(0)]


@pytest.mark.parametrize("pieces", [["\t" * 21], ["\n" * 10, "\t\r" * 6], ["\t"] * 21])
def test_blanks_without_end_are_an_error(pieces: list[str]) -> None:
    """A known fault of upstream's that would go on until the limit."""
    decoder = ResponsesDecoder(names=ToolNames())
    decoder.feed(wire(CREATED, call(0), arguments(0, '{"a":1')))
    for piece in pieces[:-1]:
        decoder.feed(wire(arguments(0, piece)))
    with pytest.raises(StreamInterrupted):
        decoder.feed(wire(arguments(0, pieces[-1])))


def test_a_few_blanks_are_none() -> None:
    """Indented JSON is JSON."""
    events = [call(0), *(arguments(0, piece) for piece in ["{", "\n" + "\t" * 19, '"a":1', "\n" + "\t" * 19, "}"])]
    assert json.loads(reply(*events, completed())[0].text) == {"a": 1}


@pytest.mark.parametrize(
    ("events", "texts"),
    [
        ([event("reasoning_summary_text.delta", 0, delta="a"), event("reasoning_text.delta", 0, delta="raw")], "a"),
        ([event("reasoning_text.delta", 0, delta="raw"), event("reasoning_summary_text.delta", 0, delta="a")], "raw"),
        ([done(0, "reasoning", summary=[{"text": "a"}, {"text": "b"}], content=[{"text": "raw"}])], "a\n\nb"),
        ([done(0, "reasoning", summary=[], content=[{"text": "raw"}])], "raw"),
        ([event("reasoning_summary_text.delta", 0, delta="a"), done(0, "reasoning", summary=[{"text": "ab"}])], "ab"),
        (
            [
                event("reasoning_text.delta", 0, delta="r"),
                done(0, "reasoning", summary=[{"text": "r2"}], content=[{"text": "raw"}]),
            ],
            "raw",
        ),
        ([added(0, "reasoning"), event("reasoning_summary_text.delta", 0, delta="")], ""),
        ([done(0, "reasoning", summary=[{"text": None}])], ""),
    ],
)
def test_thinking(events: list[object], texts: str) -> None:
    """The summary rather than the text, told once."""
    found = reply(*events, completed())
    assert [(part.kind, part.text, part.seal) for part in found] == ([(THINKING, texts, None)] if texts else [])


def test_a_seal_alone_is_thinking() -> None:
    """It has to come back, though there is nothing to show; whatever follows completes it."""
    sealed = done(0, "reasoning", summary=[], encrypted_content="gA")
    expected = [PartStarted(0, THINKING), PartFinished(0, Seal(SealOrigin.RESPONSES, "gA", id="done0"))]
    assert parts(added(0, "reasoning"), sealed) == expected
    assert parts(added(0, "reasoning"), sealed, added(1, "web_search_call"))[:2] == expected
    decoder = ResponsesDecoder(names=ToolNames())
    assert decoder.feed(wire(CREATED, sealed))[1:] == expected[:1]
    assert decoder.feed(wire(call(1)))[:1] == expected[1:]


def test_interleaved_items_are_put_in_order() -> None:
    """Calls run side by side; text waits for them, and a call for text, and nothing is lost."""
    found = parts(
        added(0, "message"),
        delta(0, "a"),
        call(1),
        arguments(1, "{"),
        delta(0, "b"),
        done(0, "message"),
        call(2),
        arguments(2, "{}"),
        delta(3, "c"),
        done(3, "message"),
        done(2, "function_call"),
        arguments(1, "}"),
    )
    assert found == [
        *text_part(0, "a", "b"),
        PartStarted(1, TOOL, "call_1", "f"),
        PartDelta(1, "{"),
        PartStarted(2, TOOL, "call_2", "f"),
        PartDelta(2, "{}"),
        PartFinished(2),
        PartDelta(1, "}"),
        PartFinished(1),
        *text_part(3, "c"),
    ]


def test_other_items_and_events_are_signs_of_life() -> None:
    """They say nothing to another dialect."""
    assert (
        parts(
            added(0, "web_search_call"),
            event("web_search_call.searching", 0, delta={"not": "text"}),
            done(0, "web_search_call", action={}),
            {"type": "keepalive"},
            event("queued"),
            added(1, "hologram"),
            {"type": "response.output_item.added", "output_index": 2},
            {"type": "response.output_item.done", "output_index": 3},
        )
        == []
    )


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, Finish.LENGTH),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, Finish.FILTER),
        ({"status": "incomplete", "incomplete_details": {"reason": "steered"}}, Finish.STOP),
        ({"status": "incomplete", "incomplete_details": None}, Finish.STOP),
        ({"incomplete_details": {"reason": "max_output_tokens"}}, Finish.LENGTH),
        ({"status": "completed", "incomplete_details": {"reason": "max_output_tokens"}}, Finish.STOP),
    ],
)
@pytest.mark.parametrize("name", ["completed", "incomplete"])
def test_incomplete_answers(response: dict[str, object], expected: Finish, name: str) -> None:
    """The inner status counts, for the outer name has been seen to disagree; usage is not lost."""
    end = event(name, response={"usage": USAGE} | response)
    assert decoded(delta(0, "x"), end)[-1] == Finished(expected, COUNTED)


def test_a_call_that_is_cut_off_is_no_reason_to_run_it() -> None:
    """Length beats everything; a call in an answer that was only steered is one."""
    cut = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    assert decoded(call(0), arguments(0, '{"a'), event("incomplete", response=cut))[-1] == Finished(Finish.LENGTH)
    steered = cut | {"incomplete_details": {"reason": "steered"}}
    assert decoded(call(0), event("incomplete", response=steered))[-1] == Finished(Finish.TOOL_CALLS)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None),
        ({}, Usage()),
        ({"input_tokens": 3, "output_tokens": 2, "input_tokens_details": None}, Usage(input=3, output=2)),
        (
            {
                "input_tokens": 3,
                "output_tokens": 2,
                "total_tokens": 9,
                "output_tokens_details": {"reasoning_tokens": 4},
            },
            Usage(input=3, output=6, reasoning=4),
        ),
        ({"input_tokens": -3, "output_tokens": -1, "input_tokens_details": {"cached_tokens": -2}}, Usage()),
        ({"input_tokens": 3, "input_tokens_details": {"cached_tokens": 5}}, Usage(input=5, cache_read=5)),
    ],
)
def test_usage(usage: object, expected: Usage | None) -> None:
    """Nothing negative, nothing counted twice; reasoning beside the output is added to it."""
    assert decoded(completed(usage=usage))[-1] == Finished(Finish.STOP, expected)


FAILURES = [
    (event("failed", response={"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "slow"}}), 429),
    (event("cancelled", response={"status": "cancelled"}), 502),
    (event("completed", response={"status": "failed", "error": {"code": "server_error", "message": "x"}}), 502),
    ({"type": "error", "code": "invalid_prompt", "message": "x", "param": None}, 400),
    ({"type": "error", "error": {"code": "server_error", "message": "x"}, "item": 5}, 502),
]


@pytest.mark.parametrize(("failure", "status"), FAILURES)
def test_failures(failure: dict[str, object], status: int) -> None:
    """An error keeps its class, alone and after what was said; never before it."""
    decoder = ResponsesDecoder(names=ToolNames())
    with pytest.raises(UpstreamStatus) as caught:
        decoder.feed(wire(failure))
    assert caught.value.status == status
    decoder = ResponsesDecoder(names=ToolNames())
    assert decoder.feed(wire(CREATED, delta(0, "x"), failure)) == [Started("R1", "gpt-5.4"), *text_part(0, "x")[:2]]
    assert decoder.done
    for again in (decoder.finish, lambda: decoder.feed(b"")):
        with pytest.raises(UpstreamStatus) as caught:
            again()
        assert caught.value.status == status


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b'{"type":5}', b'{"type":"response.output_text.delta","delta":5}', b"\xff"]
)
def test_what_is_no_event(data: bytes) -> None:
    """An event that cannot be read is not passed over."""
    with pytest.raises(StreamInterrupted):
        ResponsesDecoder(names=ToolNames()).feed(b"data: " + data + b"\n\n")


def test_an_event_without_end_is_given_up() -> None:
    """The memory that one event may take is bounded."""
    decoder = ResponsesDecoder(names=ToolNames())
    for _ in range(32):
        decoder.feed(b"x" * 2**20)
    with pytest.raises(ResponseTooLarge):
        decoder.feed(b"x")


def test_empty_events_are_nothing() -> None:
    """Comments and blank data keep a connection alive."""
    assert ResponsesDecoder(names=ToolNames()).feed(b": hi\n\ndata:\n\ndata: [DONE]\n\n") == []


def test_a_whole_answer() -> None:
    """It reads as its stream does."""
    body = {
        "id": "R1",
        "model": "gpt-5.4",
        "status": "completed",
        "usage": USAGE,
        "error": None,
        "output": [
            {"type": "reasoning", "id": "done0", "summary": [{"text": "a"}, {"text": "b"}], "encrypted_content": "gA"},
            {"type": "message", "phase": "commentary", "content": [{"type": "output_text", "text": "語"}]},
            {"type": "function_call", "call_id": "call_2", "name": "f", "arguments": '{"a":1}'},
            {"type": "function_call", "call_id": "call_3", "name": "f", "arguments": "{}"},
        ],
    }
    events = decode_answer(json.dumps(body).encode(), names=ToolNames())
    assert fold(check(events)) == FULL_REPLY


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", MalformedResponse),
        (b"[]", MalformedResponse),
        (b'{"output":5}', MalformedResponse),
        (b"{}", MalformedResponse),
        (b'{"error":{"code":"server_error","message":"x"}}', UpstreamStatus),
        (b'{"status":"failed","output":[]}', UpstreamStatus),
    ],
)
def test_a_whole_answer_that_is_none(body: bytes, error: type[CopilotASGIError]) -> None:
    """It is an error of upstream's."""
    with pytest.raises(error):
        decode_answer(body, names=ToolNames())
