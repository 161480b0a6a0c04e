"""What Copilot's Messages endpoint answers becomes neutral events, whole or streamed, however the bytes were cut."""

import json
import re
from collections.abc import Iterable

import pytest

from copilot_asgi.errors import MalformedResponse, StreamInterrupted, UpstreamStatus
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
from copilot_asgi.translate.messages_stream import MessagesDecoder, decode_answer

USAGE = {"input_tokens": 10, "cache_read_input_tokens": 80, "cache_creation_input_tokens": 10, "output_tokens": 1}
START = {"type": "message_start", "message": {"id": "msg_1", "model": "claude-x", "content": [], "usage": USAGE}}
STOP = {"type": "message_stop"}
PING = {"type": "ping"}
SIGNED = Seal(SealOrigin.SIGNATURE, "sig")


def sse(*events: dict, named: bool = True) -> bytes:
    return b"".join(
        (f"event: {event['type']}\n".encode() if named else b"")
        + f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
        for event in events
    )


def start(block: dict, index: int = 0) -> dict:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(kind: str, index: int = 0, **fields: object) -> dict:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def stop(index: int = 0) -> dict:
    return {"type": "content_block_stop", "index": index}


def ending(reason: str | None = "end_turn", output: int | None = 25, **fields: object) -> dict:
    return {"type": "message_delta", "delta": {"stop_reason": reason, **fields}, "usage": {"output_tokens": output}}


def call(index: int = 0, id: str = "t1", **fields: object) -> dict:
    return start({"type": "tool_use", "id": id, "name": "f", "input": {}, **fields}, index)


def text(words: str, index: int = 0) -> list[dict]:
    return [start({"type": "text", "text": ""}, index), delta("text_delta", index, text=words), stop(index)]


def decode(chunks: Iterable[bytes], names: ToolNames | None = None) -> list[Event]:
    decoder = MessagesDecoder(names=names or ToolNames())
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    events += decoder.finish()
    assert decoder.done
    return list(check(events))


def reply(*events: dict, names: ToolNames | None = None) -> Reply:
    return fold(decode([sse(START, *events, STOP)], names))


FULL = sse(
    START,
    PING,
    start({"type": "thinking", "thinking": "", "signature": ""}),
    delta("thinking_delta", thinking="Größe…"),
    delta("signature_delta", signature="sig"),
    stop(),
    *text("I'll read\u2028 it. 🦊", 1),
    call(2),
    delta("input_json_delta", 2, partial_json=""),
    delta("input_json_delta", 2, partial_json='{"p":'),
    delta("input_json_delta", 2, partial_json='"ä"}'),
    stop(2),
    call(3, "t2"),
    stop(3),
    ending("tool_use"),
    STOP,
)
FULL_EVENTS = [
    Started("msg_1", "claude-x", Usage(input=100, cache_read=80, cache_write=10, output=1)),
    PartStarted(0, Kind.THINKING),
    PartDelta(0, "Größe…"),
    PartFinished(0, SIGNED),
    PartStarted(1, Kind.TEXT),
    PartDelta(1, "I'll read\u2028 it. 🦊"),
    PartFinished(1),
    PartStarted(2, Kind.TOOL_CALL, "t1", "f"),
    PartDelta(2, '{"p":'),
    PartDelta(2, '"ä"}'),
    PartFinished(2),
    PartStarted(3, Kind.TOOL_CALL, "t2", "f"),
    PartDelta(3, "{}"),
    PartFinished(3),
    Finished(Finish.TOOL_CALLS, Usage(input=100, cache_read=80, cache_write=10, output=25)),
]


def test_whole_stream():
    """One block is one part, in order, with its seal, its arguments and the sums of its tokens."""
    assert decode([FULL]) == FULL_EVENTS


def test_byte_by_byte():
    """How the bytes were cut does not matter: one at a time."""
    assert decode(FULL[at : at + 1] for at in range(len(FULL))) == FULL_EVENTS


def test_cut_at_every_position():
    """How the bytes were cut does not matter: in two, anywhere."""
    for at in range(len(FULL)):
        assert decode([FULL[:at], FULL[at:]]) == FULL_EVENTS


FRAMINGS = [
    FULL.replace(b"\n", b"\r\n"),
    FULL.replace(b"\n", b"\r"),
    b"\xef\xbb\xbf" + FULL,
    b": comment\n\n" + FULL,
    FULL + b"data: [DONE]\n\n",
    FULL.removesuffix(b"\n\n"),
    b"\n".join(line for line in FULL.split(b"\n") if not line.startswith(b"event:")),
    FULL.replace(b"data: {", b"data: [DONE]\n\ndata: {", 1),
    FULL + sse(*text("after the end")),
]


@pytest.mark.parametrize("stream", FRAMINGS)
def test_framings(stream):
    """Line ends, marks, comments, lost names, stray terminators and what follows the end change nothing."""
    assert decode([stream]) == FULL_EVENTS


def test_end_without_a_reason():
    """``message_stop`` ends the answer also when no reason was given and its empty line never came."""
    assert fold(decode([sse(START, *text("a"), STOP).removesuffix(b"\n\n")])).finish is Finish.STOP


def test_name_of_the_event():
    """An event whose JSON does not say its type has the type of its name."""
    stream = sse(START, *text("a"), ending()) + b"event: message_stop\ndata: {}\n\n"
    assert fold(decode([stream])).parts[0].text == "a"


def test_nothing_after_the_end():
    """Once ``message_stop`` has come, nothing is read."""
    decoder = MessagesDecoder(names=ToolNames())
    assert decoder.feed(FULL) == FULL_EVENTS
    assert decoder.feed(b"data: nonsense\n\n") == []
    assert decoder.finish() == []


def test_every_truncation():
    """A stream cut before its reason to stop is interrupted, one cut behind it is complete."""
    told = FULL.index(sse(STOP))
    for at in range(len(FULL)):
        decoder = MessagesDecoder(names=ToolNames())
        events = decoder.feed(FULL[:at])
        if at >= told - 2:
            assert events + decoder.finish() == FULL_EVENTS
        else:
            with pytest.raises(StreamInterrupted):
                decoder.finish()


def test_empty_stream():
    """A stream without anything is interrupted."""
    with pytest.raises(StreamInterrupted):
        decode([b""])


BLOCKS = [
    ([start({"type": "text", "text": "a"}), stop()], [ReplyPart(kind=Kind.TEXT, text="a")]),
    ([start({"type": "text", "text": ""}), stop()], []),
    ([start({"type": "thinking", "thinking": "a"}), stop()], [ReplyPart(kind=Kind.THINKING, text="a")]),
    ([start({"type": "thinking", "thinking": ""}), stop()], []),
    (
        [start({"type": "thinking", "thinking": ""}), delta("signature_delta", signature="sig"), stop()],
        [ReplyPart(kind=Kind.THINKING, seal=SIGNED)],
    ),
    (
        [start({"type": "redacted_thinking", "data": "r"}), stop()],
        [ReplyPart(kind=Kind.THINKING, seal=Seal(SealOrigin.REDACTED, "r"))],
    ),
    ([call(), stop()], [ReplyPart(kind=Kind.TOOL_CALL, text="{}", id="t1", name="f")]),
    ([call(input={"a": 1}), stop()], [ReplyPart(kind=Kind.TOOL_CALL, text='{"a":1}', id="t1", name="f")]),
    ([call(input=None), stop()], [ReplyPart(kind=Kind.TOOL_CALL, text="{}", id="t1", name="f")]),
    (
        [call(input={"a": 1}), delta("input_json_delta", partial_json='{"b":2}'), stop()],
        [ReplyPart(kind=Kind.TOOL_CALL, text='{"b":2}', id="t1", name="f")],
    ),
    (
        [start({"type": "server_tool_use", "id": "s"}), delta("input_json_delta", partial_json="{}"), stop()],
        [],
    ),
    (
        [start({"type": "web_search_tool_result", "content": []}), stop(), *text("a", 1)],
        [ReplyPart(kind=Kind.TEXT, text="a")],
    ),
    ([start({"type": "text"}), delta("thinking_delta", thinking="x"), stop()], []),
    ([start({"type": "text"}), delta("unheard_of", text="x"), stop()], []),
    ([delta("text_delta", None, text="x")], []),
    ([start({"type": "text", "text": "a"}), *text("b", 1)], [ReplyPart(kind=Kind.TEXT, text=each) for each in "ab"]),
    ([start({"type": "text", "text": "a"})], [ReplyPart(kind=Kind.TEXT, text="a")]),
    ([stop(), {"type": "content_block_start"}, {"type": "message_delta"}, {"type": "novelty"}, START], []),
    ([{"type": "content_block_delta"}], []),
]


@pytest.mark.parametrize(("events", "parts"), BLOCKS)
def test_blocks(events, parts):
    """A block that says something is a part; what is empty, a server's, or unknown is none."""
    assert list(reply(*events, ending()).parts) == parts


CITATIONS = [
    ({"type": "web_search_result_location", "url": "https://x", "title": "T"}, (Annotation("https://x", "T"),)),
    ({"type": "search_result_location", "source": "https://x"}, (Annotation("https://x"),)),
    ({"type": "char_location", "url": "https://x"}, ()),
    ({"type": "web_search_result_location"}, ()),
]


@pytest.mark.parametrize(("citation", "expected"), CITATIONS)
def test_citations(citation, expected):
    """Sources on the web are told, streamed or there from the start; places in documents are not."""
    streamed = [start({"type": "text", "text": "a"}), delta("citations_delta", citation=citation), stop()]
    (part,) = reply(*streamed, ending()).parts
    assert part.annotations == expected
    whole = {"type": "text", "text": "a", "citations": [citation]}
    assert fold(answer(content=[whole])).parts[0].annotations == expected
    assert (
        reply(start({"type": "thinking", "thinking": "a", "citations": [citation]}), ending()).parts[0].annotations
        == ()
    )


def test_citation_without_text():
    """A citation that comes first opens the part; a delta without one says nothing."""
    found = delta("citations_delta", citation=CITATIONS[0][0])
    assert reply(start({"type": "text"}), found, stop(), ending()).parts[0].annotations == CITATIONS[0][1]
    assert reply(start({"type": "text"}), delta("citations_delta"), stop(), ending()).parts == ()


def test_names_of_tools_are_the_clients():
    """A name that was fitted for upstream comes back as the client knows it."""
    names = ToolNames()
    fitted = names.to_upstream("ns.tool")
    (part,) = reply(call(name=fitted), stop(), ending("tool_use"), names=names).parts
    assert part.name == "ns.tool"


FINISHES = [
    ([], ending("end_turn"), Finish.STOP, ""),
    ([], ending("max_tokens"), Finish.LENGTH, ""),
    ([], ending("model_context_window_exceeded"), Finish.CONTEXT_FULL, ""),
    ([], ending("pause_turn"), Finish.PAUSED, ""),
    ([], ending("stop_sequence", stop_sequence="END"), Finish.STOP_WORD, "END"),
    ([], ending("refusal", stop_details={"type": "refusal", "explanation": "no"}), Finish.FILTER, "no"),
    ([], ending("refusal"), Finish.FILTER, ""),
    ([], ending("tool_use"), Finish.STOP, ""),
    ([], ending("brand_new"), Finish.STOP, ""),
    ([call(), stop()], ending("tool_use"), Finish.TOOL_CALLS, ""),
    ([call(), stop()], ending("end_turn"), Finish.TOOL_CALLS, ""),
    ([call(), stop()], ending("stop_sequence", stop_sequence="END"), Finish.TOOL_CALLS, ""),
    ([call(), stop()], ending("max_tokens"), Finish.LENGTH, ""),
    ([call(), stop()], ending("refusal"), Finish.FILTER, ""),
]


@pytest.mark.parametrize(("events", "last", "finish", "detail"), FINISHES)
def test_finish(events, last, finish, detail):
    """The limit beats the filter, the filter beats calls, calls beat every natural end."""
    told = reply(*events, last)
    assert (told.finish, told.detail) == (finish, detail)


def test_reason_is_not_taken_back():
    """A later ``message_delta`` without a reason keeps the one that was given."""
    assert reply(ending("max_tokens"), ending(None)).finish is Finish.LENGTH


def test_usage():
    """Later numbers replace earlier ones, ``null`` does not; all that was read is the input."""
    last = {**ending(output=None), "usage": {"input_tokens": 20, "output_tokens_details": {"thinking_tokens": 5}}}
    assert reply(last).usage == Usage(input=110, cache_read=80, cache_write=10, output=1, reasoning=5)
    silent = {"type": "message_start", "message": {}}
    assert fold(decode([sse(silent, {**ending(), "usage": None}, STOP)])).usage is None


DAMAGED = [
    sse(START) + b"data: {\n\n",
    sse(START) + b'data: "text"\n\n',
    sse(START) + b'data: {"type": "content_block_start", "content_block": 1}\n\n',
    sse(*text("before the start")),
    sse(STOP),
    sse(START, start({"type": "text"}), delta("text_delta", 1, text="elsewhere")),
    sse(START)
    + b'data: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","input":{"a":"\xff"}}}\n\n'
    + sse(stop()),
]


@pytest.mark.parametrize("stream", DAMAGED)
def test_damaged_streams(stream):
    """What is not Anthropic's protocol ends the answer at once."""
    decoder = MessagesDecoder(names=ToolNames())
    with pytest.raises(StreamInterrupted):
        decoder.feed(stream) + decoder.feed(b"")
    assert decoder.done


@pytest.mark.parametrize(
    ("error", "status"),
    [({"type": "overloaded_error", "message": "busy"}, 529), ({"type": "invalid_request_error", "message": "no"}, 400)],
)
def test_error_events(error, status):
    """An error event is upstream's error, with the status that belongs to it."""
    failed = sse({"type": "error", "error": error})
    with pytest.raises(UpstreamStatus) as caught:
        MessagesDecoder(names=ToolNames()).feed(failed)
    assert caught.value.status == status


@pytest.mark.parametrize("told", [[], [ending()]])
@pytest.mark.parametrize(
    ("data", "failure"),
    [
        (sse({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}), UpstreamStatus),
        (b"data: {nonsense}\n\n", StreamInterrupted),
    ],
)
def test_what_came_before_a_failure_is_given_out_first(told, data, failure):
    """Also when one read holds both; then nothing more comes, and the failure is raised by whatever is called next."""
    before = sse(START, *text("a"), *told)
    expected = MessagesDecoder(names=ToolNames()).feed(before)
    for go_on in (lambda decoder: decoder.feed(sse(*text("late", 1))), lambda decoder: decoder.finish()):
        decoder = MessagesDecoder(names=ToolNames())
        assert decoder.feed(before + data) == expected
        assert decoder.done
        for _ in range(2):
            with pytest.raises(failure):
                go_on(decoder)


@pytest.mark.parametrize("message_id", ["msg_1", "", None, "é" * 100])
def test_calls_without_an_id_get_one(message_id):
    """A legal one, another for each call, the same for the same answer, streamed or whole; only calls get any."""
    first = {"type": "message_start", "message": {"id": message_id, "usage": USAGE}}
    calls = [each for index in range(2) for each in (call(index, id=""), stop(index))]
    stream = sse(first, *calls, *text("a", 2), ending(), STOP)
    *made, none = [part.id for part in fold(decode([stream])).parts]
    assert len(set(made)) == 2
    assert all(re.fullmatch(r"call_[A-Za-z0-9_-]{1,59}", id) for id in made)
    assert none == ""
    content = [{"type": "tool_use", "name": "f", "input": {}}, {"type": "tool_use", "id": None, "name": "f"}]
    assert [part.id for part in fold(answer(content=content, id=message_id)).parts] == made


def answer(names: ToolNames | None = None, **fields: object) -> list[Event]:
    body = {"id": "msg_1", "type": "message", "model": "claude-x", "stop_reason": "end_turn", "usage": USAGE, **fields}
    return list(check(decode_answer(json.dumps(body).encode(), names=names or ToolNames())))


def test_whole_answer_is_the_stream():
    """A whole answer gives what its stream gives."""
    content = [
        {"type": "thinking", "thinking": "Größe…", "signature": "sig"},
        {"type": "text", "text": "I'll read\u2028 it. 🦊"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"p": "x"}},
        {"type": "tool_use", "id": "t2", "name": "f", "input": {}},
    ]
    told = fold(answer(content=content, stop_reason="tool_use", usage={**USAGE, "output_tokens": 25}))
    streamed = fold(FULL_EVENTS)
    assert [part.text for part in told.parts] == ["Größe…", "I'll read\u2028 it. 🦊", '{"p":"x"}', "{}"]
    assert (told.finish, told.usage, told.parts[0]) == (streamed.finish, streamed.usage, streamed.parts[0])


def test_whole_answer_without_a_reason():
    """A whole answer is complete, also when it does not say why it ended."""
    assert fold(answer(content=[], stop_reason=None)).finish is Finish.STOP


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"content": "text"}', b'{"content":[{"type":"text","text":"\xff"}]}']
)
def test_answers_that_are_none(body):
    """What is no message is refused as malformed."""
    with pytest.raises(MalformedResponse):
        decode_answer(body, names=ToolNames())


def test_error_under_success():
    """An error body under 200 is upstream's error."""
    with pytest.raises(UpstreamStatus) as caught:
        decode_answer(b'{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}', names=ToolNames())
    assert caught.value.status == 429
