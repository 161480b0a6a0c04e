"""Messages and Responses streams: untouched bytes, an honest end."""

import json
from collections.abc import Callable

import msgspec
import pytest

from copilot_asgi.errors import MalformedResponse, StreamInterrupted, UpstreamStatus
from copilot_asgi.wire.dialect import ResponseProgress
from copilot_asgi.wire.messages import MessagesStream, mend_message
from copilot_asgi.wire.responses import ResponsesStream, mend_response
from copilot_asgi.wire.sse import EventSplitter, encode, parse_block
from copilot_asgi.wire.stream import StreamMender

DONE = b"data: [DONE]\n\n"


def event(type: str, **fields: object) -> bytes:
    return encode(json.dumps({"type": type} | fields).encode(), event=type)


MESSAGE = [
    event("message_start", message={"id": "msg_bdrk_01"}),
    event("ping"),
    event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"}),
    event("message_delta", delta={"stop_reason": "end_turn"}),
]
MESSAGE_STOP = event("message_stop")
RESPONSE = [
    event("response.created", sequence_number=0, response={"id": "RID_a", "model": "gpt-5.4", "created_at": 5}),
    event("response.output_text.delta", sequence_number=1, delta="Hello", logprobs=[]),
    event("response.in_progress", sequence_number=2, response={"id": "RID_a", "model": "x"}),
]


def run(mender: StreamMender, chunk: bytes) -> bytes:
    return mender.feed(chunk) + mender.finish()


def messages() -> StreamMender:
    return MessagesStream(context_management=True)


def responses() -> StreamMender:
    return ResponsesStream()


# what makes the mender, events before the end, the end
STREAMS: list[tuple[Callable[[], StreamMender], list[bytes], bytes]] = [
    (messages, MESSAGE, MESSAGE_STOP),
    (responses, RESPONSE, event("response.completed", sequence_number=3, response={"id": "RID_a"})),
    (responses, RESPONSE, event("response.incomplete", sequence_number=3, response={"id": "RID_a"})),
]


@pytest.mark.parametrize(("make", "events", "end"), STREAMS)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
def test_untouched(make: Callable[[], StreamMender], events: list[bytes], end: bytes, line_end: bytes) -> None:
    """Whole events leave as the same objects, and every cut gives the same bytes, up to the terminal event."""
    wire = b"".join([*events, end]).replace(b"\n", line_end)
    assert make().feed(wire) is wire
    for at in range(0, len(wire), 11):
        mender = make()
        assert mender.feed(wire[:at]) + mender.feed(wire[at:]) == wire
        assert mender.done
        assert mender.complete
        assert mender.finish() == b""


@pytest.mark.parametrize(("make", "events", "end"), STREAMS)
def test_each_event_is_the_same_object(make: Callable[[], StreamMender], events: list[bytes], end: bytes) -> None:
    """One event in one chunk is not copied."""
    mender = make()
    for chunk in [*events, end]:
        assert mender.feed(chunk) is chunk


@pytest.mark.parametrize(("make", "events", "end"), STREAMS)
@pytest.mark.parametrize("tail", [DONE, b"garbage", event("error"), b"data: {\n\n"])
def test_nothing_follows_the_end(
    make: Callable[[], StreamMender], events: list[bytes], end: bytes, tail: bytes
) -> None:
    """What upstream sends behind the terminal event does not reach the client, in one piece or in two."""
    whole = b"".join([*events, end])
    assert make().feed(whole + tail) == whole
    mender = make()
    assert mender.feed(whole) + mender.feed(tail) + mender.finish() == whole


@pytest.mark.parametrize(("make", "events", "end"), STREAMS)
def test_stray_done_before_the_end_is_left_out(
    make: Callable[[], StreamMender], events: list[bytes], end: bytes
) -> None:
    """The terminator of chat streams is no event of these dialects."""
    assert make().feed(b"".join([*events, DONE, end])) == b"".join([*events, end])


@pytest.mark.parametrize(("make", "events", "end"), STREAMS)
@pytest.mark.parametrize("tail", [b"", DONE, b"event: half", b"data: half\n\n", b": comment\n\n"])
def test_an_end_without_the_terminal_event(
    make: Callable[[], StreamMender], events: list[bytes], end: bytes, tail: bytes
) -> None:
    """A stream that just ends was cut, whatever came last."""
    mender = make()
    mender.feed(b"".join(events))
    with pytest.raises(StreamInterrupted):
        run(mender, tail)
    assert not mender.complete


@pytest.mark.parametrize(("make", "events", "end"), STREAMS)
def test_a_terminal_event_without_its_empty_line_counts(
    make: Callable[[], StreamMender], events: list[bytes], end: bytes
) -> None:
    """The end of the body closes the last event."""
    mender = make()
    out = mender.feed(b"".join([*events, end[:-1]])) + mender.finish()
    assert out.rstrip() == b"".join([*events, end]).rstrip()
    assert mender.complete


@pytest.mark.parametrize(("make", "events", "end"), STREAMS)
def test_the_type_may_stand_in_the_name_only(make: Callable[[], StreamMender], events: list[bytes], end: bytes) -> None:
    """Gateways lose one or the other."""
    name = json.loads(end.split(b"data: ")[1])["type"]
    mender = make()
    mender.feed(b"".join(events) + encode(b"{}", event=name))
    assert mender.complete


FAILURES: list[tuple[Callable[[], StreamMender], list[bytes], bytes]] = [
    (messages, MESSAGE, event("error", error={"type": "overloaded_error", "message": "busy"})),
    (responses, RESPONSE, event("error", code="rate_limit_exceeded", message="slow down")),
    (responses, RESPONSE, event("error", error={"code": "rate_limit_exceeded", "message": "slow down"})),
    (responses, RESPONSE, event("response.failed", response={"error": {"code": "server_error", "message": "x"}})),
    (responses, RESPONSE, event("response.cancelled", response={"id": "RID_a"})),
]


@pytest.mark.parametrize(("make", "events", "failure"), FAILURES)
def test_a_failure_ends_the_stream_and_completes_nothing(
    make: Callable[[], StreamMender], events: list[bytes], failure: bytes
) -> None:
    """An error of upstream's own reaches the client as it is."""
    mender = make()
    mender.feed(b"".join(events))
    assert mender.feed(failure + events[0]) == failure
    assert (mender.done, mender.complete) == (True, False)
    assert mender.finish() == b""


@pytest.mark.parametrize(
    ("make", "failure", "status"),
    [
        (messages, FAILURES[0][2], 529),
        (responses, FAILURES[1][2], 429),
        (responses, FAILURES[2][2], 429),
        (responses, FAILURES[3][2], 502),
    ],
)
def test_a_failure_before_anything_else_has_a_status(
    make: Callable[[], StreamMender], failure: bytes, status: int
) -> None:
    """While nothing has been said, the error still is one of the whole request."""
    with pytest.raises(UpstreamStatus) as caught:
        make().feed(b": comment\n\n" + failure)
    assert caught.value.status == status


@pytest.mark.parametrize(("make", "events"), [(messages, MESSAGE), (responses, RESPONSE)])
def test_a_failure_that_echoes_a_token_does_not_show_it(make: Callable[[], StreamMender], events: list[bytes]) -> None:
    """A token is masked even when the error arrives byte by byte."""
    failure = event("error", error={"type": "api_error", "message": "bad token ghu_0123456789abcdef!"})
    for step in (1, len(failure)):
        mender = make()
        mender.feed(b"".join(events))
        out = b"".join([mender.feed(failure[at : at + step]) for at in range(0, len(failure), step)])
        assert b"ghu_" not in out
        assert b"***!" in out
        assert out.startswith(b"event: error\n")


def test_masking_leaves_json() -> None:
    """A token next to a quote, in a list, a key or written with escapes is masked, and the event stays JSON."""
    mender = messages()
    mender.feed(MESSAGE[0])
    message = b'"Bearer abc123\\"x\\" gh\\u0075_0123456789abcdef"'
    failure = b'data: {"type":"error","error":{"message":' + message + b',"n":[1,"tid=a"]}}\n\n'
    out = mender.feed(failure)
    found = json.loads(out.split(b"data: ")[1])
    assert found["error"] == {"message": 'Bearer ***"x" ***', "n": [1, "***"]}


@pytest.mark.parametrize("make", [messages, responses])
@pytest.mark.parametrize("data", [b"{", b"[]", b"null", b'{"type":5}', b"text", b"[" * 100_000])
def test_what_is_no_event(make: Callable[[], StreamMender], data: bytes) -> None:
    """An event that cannot be read is not passed over."""
    with pytest.raises(StreamInterrupted):
        make().feed(encode(data, event="ping"))


def test_progress_is_what_the_client_has_seen() -> None:
    """The first identity and the last number, for an error event of ours to fit to."""
    mender = ResponsesStream()
    assert mender.progress == ResponseProgress()
    mender.feed(b"".join(RESPONSE))
    assert mender.progress == ResponseProgress(sequence_number=2, response_id="RID_a", model="gpt-5.4", created=5)
    mender.feed(event("response.output_text.delta", delta="x"))
    assert mender.progress.sequence_number == 3


ROTATING = [
    event("response.created", sequence_number=0, response={"id": "R1", "output": []}),
    event("response.in_progress", sequence_number=1, response={"id": "R2"}),
    event("response.output_item.added", output_index=0, item={"type": "message", "id": "A1", "x": [1, 2.50]}),
    event("response.output_text.delta", output_index=0, item_id="A2", delta="caf\u00e9", logprobs=[]),
    event("response.output_item.done", output_index=0, item={"type": "message", "id": "A3"}),
    event("response.output_item.added", output_index=1, item={"type": "function_call", "call_id": "c"}),
    event("response.function_call_arguments.delta", output_index=1, item_id="B2", delta="{}"),
    event("response.output_item.done", output_index=1, item={"type": "function_call", "id": "B3", "call_id": "c"}),
    event("response.output_text.annotation.added", output_index=0, annotation={"url": "https://example.com"}),
    event(
        "response.completed",
        response={
            "id": "R3",
            "usage": {"n": 1, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}},
            "output": [{"id": "A4", "y": 1}, {"id": "B4"}, {"id": "C1"}],
        },
    ),
]


def events_in(wire: bytes) -> list[dict[str, object]]:
    return [json.loads(block.split(b"data: ")[1]) for block in wire.split(b"\n\n") if block]


def test_each_thing_keeps_the_id_first_seen() -> None:
    """Copilot's ids change in every event; the client sees one for the response and one for each output index."""
    whole = b"".join(ROTATING)
    out = ResponsesStream().feed(whole)
    expected = json.loads(
        json.dumps(events_in(whole))
        .replace('"R2"', '"R1"')
        .replace('"R3"', '"R1"')
        .replace('"A2"', '"A1"')
        .replace('"A3"', '"A1"')
        .replace('"A4"', '"A1"')
        .replace('"B3"', '"B2"')
        .replace('"B4"', '"B2"')
    )
    assert events_in(out) == expected
    assert [line for line in out.split(b"\n") if line.startswith(b"event")] == [
        line for line in whole.split(b"\n") if line.startswith(b"event")
    ]


def test_pinning_does_not_depend_on_the_cut() -> None:
    """Every cut gives the same bytes, and events that are right already stay the same object."""
    whole = b"".join(ROTATING)
    expected = ResponsesStream().feed(whole)
    for at in range(0, len(whole), 7):
        mender = ResponsesStream()
        assert mender.feed(whole[:at]) + mender.feed(whole[at:]) == expected
    mender = ResponsesStream()
    same = [mender.feed(block) is block for block in ROTATING]
    assert same == [True, False, True, False, False, True, True, False, True, False]


@pytest.mark.parametrize("more", [{"item_id": ""}, {"item": {"id": "", "k": 1}}], ids=["of the item", "in the item"])
def test_an_empty_id_is_another_one(more: dict[str, object]) -> None:
    """An item that an event leaves without a name keeps the one that the client knows."""
    mender = ResponsesStream()
    mender.feed(event("response.output_item.added", output_index=0, item={"id": "A1"}))
    [told] = events_in(mender.feed(event("response.output_item.done", output_index=0, **more)))
    assert "A1" in {told.get("item_id"), told.get("item", {}).get("id")}


def test_only_the_output_may_differ() -> None:
    """A final response under its first id, whose items have new ones, is mended in its items alone."""
    mender = ResponsesStream()
    mender.feed(b"".join(ROTATING[:4]))
    out = mender.feed(event("response.completed", response={"id": "R1", "output": [{"id": "A9", "k": 1}]}))
    assert events_in(out)[0]["response"] == {"id": "R1", "output": [{"id": "A1", "k": 1}]}


def test_a_failure_keeps_the_first_id_too() -> None:
    """The last event of a failed response names it as the first did, and is masked all the same."""
    mender = ResponsesStream()
    mender.feed(ROTATING[0])
    failure = {"id": "R9", "error": {"code": "server_error", "message": "bad token ghu_0123456789abcdef"}}
    out = mender.feed(event("response.failed", response=failure))
    assert out.startswith(b"event: response.failed\n")
    expected = {"id": "R1", "error": {"code": "server_error", "message": "bad token ***"}}
    assert events_in(out)[0]["response"] == expected


@pytest.mark.parametrize("kind", ["response.output_text.delta", "response.output_text.done"])
@pytest.mark.parametrize("given", [{}, {"logprobs": None}])
def test_text_events_get_their_logprobs(kind: str, given: dict[str, object]) -> None:
    """The published models require the list, which upstream leaves out."""
    sent = event(kind, sequence_number=1, output_index=0, **given)
    [block] = EventSplitter().feed(responses().feed(sent))
    assert msgspec.json.decode(parse_block(block)[1])["logprobs"] == []


USAGES: list[tuple[dict[str, object], dict[str, object]]] = [
    ({}, {"cached_tokens": 0, "cache_write_tokens": 0}),
    ({"input_tokens_details": None}, {"cached_tokens": 0, "cache_write_tokens": 0}),
    ({"input_tokens_details": {"cached_tokens": 7}}, {"cached_tokens": 7, "cache_write_tokens": 0}),
    (
        {"input_tokens_details": {"cached_tokens": None, "cache_write_tokens": 3, "new": 1}},
        {"cached_tokens": 0, "cache_write_tokens": 3, "new": 1},
    ),
]


@pytest.mark.parametrize(("given", "details"), USAGES)
def test_usage_gets_its_counts(given: dict[str, object], details: dict[str, object]) -> None:
    """Both counts of cached tokens are there, in the stream and in the whole answer; the others stay."""
    response = {"id": "RID_a", "usage": {"input_tokens": 9, **given}, "output": [{"type": "message"}]}
    whole = msgspec.json.decode(mend_response(msgspec.json.encode(response)))
    [block] = EventSplitter().feed(responses().feed(event("response.completed", sequence_number=1, response=response)))
    for told in (whole, msgspec.json.decode(parse_block(block)[1])["response"]):
        assert told["usage"] == {"input_tokens": 9, "input_tokens_details": details}
        assert told["id"] == "RID_a"


@pytest.mark.parametrize(
    "response",
    [
        {"output": [], "usage": {"input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}}},
        {"output": [], "usage": None},
        {"output": [{}]},
    ],
)
def test_whole_answers_that_lack_nothing_are_the_same_object(response: dict[str, object]) -> None:
    """What needs no mending is not copied."""
    body = msgspec.json.encode(response)
    assert mend_response(body) is body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"usage":5,"output":[]}',
        b'{"output":[],"id":"\xff"}',
        b"{}",
        b'{"output":"x"}',
        b'{"output":[null]}',
    ],
)
def test_whole_answers_that_are_none(body: bytes) -> None:
    """What cannot be read is an error of upstream."""
    with pytest.raises(MalformedResponse):
        mend_response(body)


REPORTS = [
    ("message_delta", {"delta": {"stop_reason": "end_turn"}, "context_management": {"applied_edits": []}, "n": 1.50}),
    ("message_start", {"message": {"id": "msg_1", "context_management": {"applied_edits": []}}}),
]


@pytest.mark.parametrize(("kind", "fields"), REPORTS)
def test_a_report_nobody_asked_for_is_left_out(kind: str, fields: dict[str, object]) -> None:
    """Some libraries break on the key without its beta; who asked for it gets the same bytes."""
    sent = event(kind, **fields)
    assert MessagesStream(context_management=True).feed(sent) is sent
    [block] = EventSplitter().feed(MessagesStream(context_management=False).feed(sent))
    name, data = parse_block(block)
    assert name == kind
    assert b"context_management" not in data
    told = msgspec.json.decode(data)
    assert {**fields, **told}.keys() == fields.keys() | {"type"}


def test_text_about_context_management_stays() -> None:
    """Only the key of a report is left out."""
    sent = event("content_block_delta", index=0, delta={"type": "text_delta", "text": 'say "context_management"'})
    assert MessagesStream(context_management=False).feed(sent) is sent
    quoted = event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": "context_management"})
    assert msgspec.json.decode(parse_block(MessagesStream(context_management=False).feed(quoted))[1])["delta"]


def test_whole_messages_likewise() -> None:
    """A whole answer loses the report only, and only when nobody asked."""
    body = b'{"id":"msg_1","content":[],"context_management":{"applied_edits":[]},"n":1.50}'
    assert mend_message(body, context_management=True) is body
    assert mend_message(body, context_management=False) == b'{"id":"msg_1","content":[],"n":1.50}'
    plain = b'{"id":"msg_1","content":[{}]}'
    assert mend_message(plain, context_management=False) is plain


@pytest.mark.parametrize("body", [b"{}", b'{"content":null}', b'{"content":[null]}', b'{"content":"x"}', b"x"])
def test_whole_messages_that_are_none(body: bytes) -> None:
    """A message has a list of blocks; what has none is an error of upstream, not an answer."""
    with pytest.raises(MalformedResponse):
        mend_message(body, context_management=True)


@pytest.mark.parametrize("make", [messages, responses])
@pytest.mark.parametrize("begun", [False, True])
def test_an_error_without_a_type_is_an_error(make: Callable[[], StreamMender], *, begun: bool) -> None:
    """A bare error object ends the stream, or the request if it comes first, and shows no token."""
    mender = make()
    if begun:
        mender.feed(MESSAGE[0] if make is messages else RESPONSE[0])
    bare = b'data: {"error":{"message":"boom ghu_0123456789abcdef","code":"rate_limited"}}\n\n'
    if not begun:
        with pytest.raises(UpstreamStatus) as caught:
            mender.feed(bare)
        assert caught.value.status == 429
        return
    told = mender.feed(bare)
    assert b"boom" in told
    assert b"ghu_" not in told
    assert mender.done
    assert not mender.complete
