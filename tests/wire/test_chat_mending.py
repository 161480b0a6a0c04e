"""Chat completion streams: what is right passes untouched, what Copilot does differently is mended, no fake ends."""

import json
from collections.abc import Callable, Iterable

import pytest
from openai.types.chat import ChatCompletionChunk

from copilot_asgi.errors import ResponseTooLarge, StreamInterrupted, UpstreamStatus
from copilot_asgi.wire.chat import ChatStream
from copilot_asgi.wire.sse import EVENT_LIMIT, EventParser, encode

Json = dict[str, object]

DONE = b"data: [DONE]\n\n"
FILTERS = {"hate": {"filtered": False, "severity": "safe"}}
SAFE_USAGE = {"prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 13}


def event(**fields: object) -> bytes:
    return encode(json.dumps(fields, separators=(",", ":")).encode())


def gpt(choices: list[Json], **more: object) -> bytes:
    """A chunk as GPT models send it, with every field that the libraries want."""
    fields: Json = {
        "choices": choices,
        "created": 1795170000,
        "id": "chatcmpl-A1",
        "model": "gpt-4o-2024-11-20",
        "object": "chat.completion.chunk",
        "system_fingerprint": "fp_x",
        "usage": None,
    }
    return event(**fields | more)


def gpt_delta(delta: Json, *, finish: str | None = None, index: int = 0) -> bytes:
    return gpt(
        [
            {
                "content_filter_results": FILTERS,
                "delta": delta,
                "finish_reason": finish,
                "index": index,
                "logprobs": None,
            }
        ]
    )


def claude(delta: Json, index: int | None, **more: object) -> bytes:
    """A chunk as Claude models send it: no object, and pieces of one answer under different indexes."""
    choice: Json = {"delta": delta} if index is None else {"index": index, "delta": delta}
    finish = more.pop("finish", None)
    if finish is not None:
        choice["finish_reason"] = finish
    return event(choices=[choice], created=1795170003, id="msg_vrtx_01", model="claude-sonnet-4.6", **more)


def call(
    index: int | None, *, id: str | None = None, name: str | None = None, arguments: str = "", **more: object
) -> Json:
    function: Json = {"arguments": arguments} | ({} if name is None else {"name": name})
    fragment: Json = {"function": function} | ({} if index is None else {"index": index})
    return fragment | ({} if id is None else {"id": id}) | more


PREAMBLE = event(choices=[], created=0, id="", model="", object="", prompt_filter_results=[{"prompt_index": 0}])
FIRST = gpt_delta({"content": "", "refusal": None, "role": "assistant"})
HELLO = gpt_delta({"content": "Hello"})
STOP = gpt_delta({}, finish="stop")
USAGE = gpt([], usage=SAFE_USAGE)

TEXT = [PREAMBLE, FIRST, HELLO, STOP, USAGE, DONE]
CALL = [
    gpt_delta(
        {
            "content": None,
            "role": "assistant",
            "tool_calls": [call(0, id="call_b1", name="read_file", type="function")],
        }
    ),
    gpt_delta({"tool_calls": [call(0, arguments='{"path":')]}),
    gpt_delta({"tool_calls": [call(0, arguments='"a.txt"}')]}),
    gpt_delta({}, finish="tool_calls"),
    USAGE,
    DONE,
]
SPLIT = [
    claude({"content": "I'll look.", "role": "assistant"}, 0),
    claude(
        {"content": None, "tool_calls": [call(0, id="toolu_vrtx_01A", name="read_file", type="function")]},
        1,
    ),
    claude({"content": None, "tool_calls": [call(0, arguments='{"path": "a.txt"}', type="function")]}, 1),
    claude({"content": None}, 0, finish="tool_calls", usage=SAFE_USAGE),
    DONE,
]
REASONING = [
    event(
        choices=[{"index": 0, "delta": {"role": "assistant", "content": None, "reasoning_text": "The user"}}],
        created=1795170004,
        id="r1",
        model="gemini-3.1-pro-preview",
        usage={"completion_tokens": 0, "prompt_tokens": 0, "total_tokens": 0},
    ),
    event(
        choices=[{"index": 0, "delta": {"content": "Hello!"}}],
        created=1795170004,
        id="r1",
        model="gemini-3.1-pro-preview",
    ),
    event(
        choices=[{"index": 0, "delta": {"content": "", "reasoning_opaque": "gAAAAB0000"}}],
        created=1795170004,
        id="r1",
        model="gemini-3.1-pro-preview",
    ),
    event(
        choices=[{"finish_reason": "stop", "index": 0, "delta": {"content": None}}],
        created=1795170004,
        id="r1",
        model="gemini-3.1-pro-preview",
        usage={"completion_tokens": 5, "prompt_tokens": 10, "total_tokens": 46},
    ),
    DONE,
]
FILTERED = [
    event(choices=[{"index": 0, "delta": {"content": "Here is"}, "finish_reason": None}], id="E", model="m", created=1),
    event(choices=[{"delta": {}, "finish_reason": "content_filter", "index": 0}], id="E", model="m", created=1),
    DONE,
]


def stream(*, include_usage: bool = True, choices: int = 1) -> ChatStream:
    return ChatStream(
        "asked-model", include_usage=include_usage, choices=choices, created=1700000000, id="chatcmpl-own"
    )


def run(mender: ChatStream, chunks: Iterable[bytes]) -> bytes:
    out = b"".join([mender.feed(chunk) for chunk in chunks])
    return out + mender.finish()


def read(wire: bytes) -> list[ChatCompletionChunk]:
    """Every chunk, validated as strictly as pydantic can, and the one terminator at the end."""
    *chunks, last = EventParser().feed(wire)
    assert last.data == b"[DONE]"
    return [ChatCompletionChunk.model_validate(json.loads(chunk.data), strict=True) for chunk in chunks]


class Folded:
    """What a client makes of the stream, joining ids and names like the OpenAI libraries do."""

    def __init__(self, chunks: list[ChatCompletionChunk]) -> None:
        self.text = ""
        self.calls: dict[int, list[str]] = {}
        self.finish: list[str] = []
        self.usage = [chunk.usage for chunk in chunks if chunk.usage is not None]
        for chunk in chunks:
            for choice in chunk.choices:
                assert choice.index == 0
                self.text += choice.delta.content or ""
                self.finish += [choice.finish_reason] if choice.finish_reason else []
                for fragment in choice.delta.tool_calls or []:
                    known = self.calls.setdefault(fragment.index, ["", "", "", ""])
                    function = fragment.function
                    assert function is not None
                    pieces = (fragment.id, fragment.type, function.name, function.arguments)
                    for at, piece in enumerate(pieces):
                        known[at] = piece or known[at] if at == 1 else known[at] + (piece or "")


STREAMS = {"text": TEXT, "call": CALL, "split": SPLIT, "reasoning": REASONING, "filtered": FILTERED}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
def test_every_chunk_is_valid_however_it_is_cut(name: str, line_end: bytes) -> None:
    """Each transcript gives strictly valid chunks of one id, the same ones whole, in bytes, and cut anywhere."""
    wire = b"".join(STREAMS[name]).replace(b"\n", line_end)
    chunks = read(run(stream(), [wire]))
    assert len({(chunk.id, chunk.model, chunk.created) for chunk in chunks}) == 1
    assert read(run(stream(), [wire[at : at + 1] for at in range(len(wire))])) == chunks
    for at in range(0, len(wire), 13):
        assert read(run(stream(), [wire[:at], wire[at:]])) == chunks


@pytest.mark.parametrize("chunks", [TEXT[1:], CALL], ids=["text", "call"])
def test_right_chunks_are_the_same_object(chunks: list[bytes]) -> None:
    """What needs no mending is not copied; only the chunk with the finish reason waits for the one after it."""
    mender = stream()
    *pieces, finish, usage, done = chunks
    for piece in pieces:
        assert mender.feed(piece) is piece
    assert mender.feed(finish) == b""
    assert mender.feed(usage) == finish + usage
    assert not mender.done
    assert mender.feed(done) is done
    assert mender.done
    assert mender.complete
    assert mender.finish() == b""


OPENED = [FIRST, CALL[0]]
RIGHT: dict[str, Json] = {
    "text": {"content": "x"},
    "thinking": {"reasoning_text": "x"},
    "refusal": {"refusal": "x"},
    "role once more": {"content": "x", "role": "assistant"},
    "nothing": {},
    "arguments": {"tool_calls": [call(0, arguments="x")]},
    "a fragment of nothing": {"tool_calls": [{"index": 0}]},
}
WRONG: dict[str, Json] = {
    "odd role": {"content": "x", "role": "model"},
    "list of parts": {"content": [{"type": "text", "text": "x"}]},
    "no index": {"tool_calls": [call(None, arguments="x")]},
    "id once more": {"tool_calls": [call(0, id="call_b1", arguments="x")]},
    "name once more": {"tool_calls": [call(0, name="read_file", arguments="x")]},
    "a call that nobody began": {"tool_calls": [call(3, arguments="x")]},
    "two fragments": {"tool_calls": [call(0, arguments="x"), call(None, arguments="y")]},
}


@pytest.mark.parametrize("delta", RIGHT.values(), ids=RIGHT)
def test_right_chunks_go_on_with_the_stream_as_the_same_object(delta: Json) -> None:
    """Text, thinking and arguments need nothing in the middle of a stream, alone or several in one read."""
    mender = stream()
    for opening in OPENED:
        mender.feed(opening)
    chunk = gpt_delta(delta)
    assert mender.feed(chunk) is chunk
    assert mender.feed(chunk + HELLO + chunk) == chunk + HELLO + chunk
    assert mender.events == len(OPENED) + 4


@pytest.mark.parametrize("delta", WRONG.values(), ids=WRONG)
def test_wrong_chunks_are_mended_in_the_middle_of_a_stream(delta: Json) -> None:
    """What would pass at a glance, but that clients cannot take, is written anew."""
    mender, chunk = stream(), gpt_delta(delta)
    out = [mender.feed(each) for each in (*OPENED, chunk)]
    assert out[-1] != chunk
    assert len(read(b"".join(out) + run(mender, [STOP, DONE]))) == len(OPENED) + 2


@pytest.mark.parametrize("before", [b"", b" "])
def test_a_chunk_that_lacks_nothing_but_its_kind_is_given_that(before: bytes) -> None:
    """Some backends never say ``object``: it comes first, and every other byte stays."""
    stream = ChatStream("m", include_usage=True, created=1, id="1")
    stream.feed(claude({"role": "assistant", "content": "a"}, 0))
    data = claude({"role": "assistant", "content": "b"}, 0).removeprefix(b"data: {")
    told = stream.feed(b"data: " + before + b"{" + data)
    assert told == b'data: {"object":"chat.completion.chunk",' + data


@pytest.mark.parametrize("kind", [None, "", "chat.completion"])
def test_a_wrong_kind_is_replaced(kind: str | None) -> None:
    """A key is never there twice."""
    stream = ChatStream("m", include_usage=True, created=1, id="1")
    stream.feed(claude({"content": "a"}, 0))
    told = stream.feed(claude({"content": "b"}, 0, object=kind))
    assert told.count(b'"object":') == told.count(b'"object":"chat.completion.chunk"') == 1


def test_arguments_that_go_on_belong_to_the_call() -> None:
    """An end without a reason counts as one only when the arguments that passed are whole."""
    assert read(run(stream(), [*CALL[:3], DONE]))[-1].choices[0].finish_reason == "tool_calls"
    with pytest.raises(StreamInterrupted):
        run(stream(), [*CALL[:2], DONE])


def test_a_message_in_place_of_a_delta_is_mended() -> None:
    """Clients read deltas only, also of a chunk in the middle."""
    mender = stream()
    mender.feed(FIRST)
    out = mender.feed(gpt([{"index": 0, "message": {"content": "x"}, "finish_reason": None}]))
    assert ChatCompletionChunk.model_validate_json(out[6:]).choices[0].delta.content == "x"


def test_many_right_events_in_one_chunk_are_the_same_object() -> None:
    """A chunk of whole events is passed on as it came, with each kind of line end."""
    for line_end in (b"\n", b"\r\n"):
        wire = b"".join(TEXT[1:]).replace(b"\n", line_end)
        assert stream().feed(wire) is wire


def test_the_first_chunk_without_choices_is_dropped() -> None:
    """Filter results that stand before the answer have no id: they are dropped, and the rest keeps upstream's id."""
    chunks = read(run(stream(), TEXT))
    assert {chunk.id for chunk in chunks} == {"chatcmpl-A1"}
    assert Folded(chunks).text == "Hello"


@pytest.mark.parametrize("key", ["copilot_references", "copilot_errors", "copilot_confirmation"])
def test_chunks_with_null_choices_are_dropped(key: str) -> None:
    """Copilot's own chunks have no choices, which no client understands."""
    assert b"".join(TEXT[1:]) == run(stream(), [event(choices=None, **{key: []}), *TEXT[1:]])


def test_comments_pass_and_do_not_count() -> None:
    """A keep-alive reaches the client, and the answer is still complete."""
    assert run(stream(), [b": ping\n\n", *TEXT[1:]]) == b": ping\n\n" + b"".join(TEXT[1:])


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ({"object": ""}, {"object": "chat.completion.chunk"}),
        ({"id": ""}, {"id": "chatcmpl-own"}),
        ({"created": 0}, {"created": 1700000000}),
        ({"created": 1795170000.5}, {"created": 1795170000}),
        ({"model": ""}, {"model": "asked-model"}),
        ({"usage": {"prompt_tokens": -1, "completion_tokens": 2}}, {"usage": (0, 2, 2)}),
        ({"usage": {"prompt_tokens": 10**18, "completion_tokens": 0, "total_tokens": 5}}, {"usage": (2**53 - 1, 0, 5)}),
        ({"usage": {"prompt_tokens": "many"}}, {"usage": None}),
    ],
)
def test_top_level_is_completed(missing: Json, expected: Json) -> None:
    """A field that is empty or absurd is set; everything else of the chunk stays."""
    chunk = gpt([{"delta": {"content": "x"}, "finish_reason": None, "index": 0}], **missing)
    for first in (chunk, gpt([{"delta": {"content": "x"}, "index": 0}], **dict.fromkeys(missing))):
        found = read(run(stream(), [first, STOP, DONE]))[0].model_dump()
        for name, value in expected.items():
            if name == "usage" and isinstance(value, tuple) and found["usage"]:
                assert (
                    tuple(found["usage"][key] for key in ("prompt_tokens", "completion_tokens", "total_tokens"))
                    == value
                )
            elif first is chunk or name in {"object", "id", "model"}:
                assert found[name] == value
        assert found["system_fingerprint"] == "fp_x"


def test_a_later_chunk_without_id_gets_the_one_before_it() -> None:
    """All chunks of an answer have one id, upstream's own when it ever named one."""
    late = gpt([{"delta": {"content": "x"}, "finish_reason": None, "index": 0}], id="", model="", created=0)
    half = gpt([{"delta": {"content": "y"}, "finish_reason": None, "index": 0}], created=1795170000.5)
    chunks = read(run(stream(), [FIRST, late, half, STOP, DONE]))
    assert {(chunk.id, chunk.created) for chunk in chunks} == {("chatcmpl-A1", 1795170000)}


def test_a_finish_chunk_of_ours_looks_like_the_others() -> None:
    """When upstream forgot the reason, the chunk that tells it has upstream's id, model and whole seconds."""
    odd = gpt([{"delta": {"content": "x"}, "finish_reason": None, "index": 0}], created=1795170000.5)
    last = read(run(stream(), [odd, DONE]))[-1]
    assert (last.id, last.model, last.created) == ("chatcmpl-A1", "gpt-4o-2024-11-20", 1795170000)


def test_split_choices_are_folded() -> None:
    """Claude's text under choice 0 and call under choice 1 become one answer with one finish reason."""
    folded = Folded(read(run(stream(), SPLIT)))
    assert folded.text == "I'll look."
    assert folded.calls == {0: ["toolu_vrtx_01A", "function", "read_file", '{"path": "a.txt"}']}
    assert folded.finish == ["tool_calls"]
    assert len(folded.usage) == 1


def test_calls_of_several_choices_are_numbered_densely() -> None:
    """Indexes that start anew in each choice, or are missing, become 0, 1, 2 in order."""
    folded = Folded(
        read(
            run(
                stream(),
                [
                    claude({"tool_calls": [call(0, id="a", name="f", arguments="{}")]}, 0),
                    claude({"tool_calls": [call(0, id="b", name="g", type=None)]}, 1),
                    claude({"tool_calls": [call(0, arguments="{}")]}, 1),
                    claude({"tool_calls": [call(None, id="c", name="h"), call(None, id="d", name="i")]}, 2),
                    claude({"tool_calls": [call(None, arguments="{}")]}, 2),
                    claude({}, None, finish="tool_calls"),
                    DONE,
                ],
            )
        )
    )
    assert folded.calls == {
        0: ["a", "function", "f", "{}"],
        1: ["b", "function", "g", "{}"],
        2: ["c", "function", "h", ""],
        3: ["d", "function", "i", "{}"],
    }


def test_calls_that_are_all_number_0_are_told_apart() -> None:
    """A new id on a known index is a new call; a repeated id and name are not sent twice."""
    folded = Folded(
        read(
            run(
                stream(),
                [
                    claude({"tool_calls": [call(0, id="a", name="f", arguments='{"x":')]}, 0),
                    claude({"tool_calls": [call(0, id="a", name="f", arguments="1}")]}, 0),
                    claude({"tool_calls": [call(0, id="b", name="g", arguments="{}")]}, 0),
                    claude({"tool_calls": [call(3, id="a")]}, 0),
                    claude({}, 0, finish="stop"),
                    DONE,
                ],
            )
        )
    )
    assert folded.calls == {0: ["a", "function", "f", '{"x":1}'], 1: ["b", "function", "g", "{}"]}
    assert folded.finish == ["stop"]


def test_a_call_without_id_gets_one() -> None:
    """A client cannot answer a call that has no id."""
    folded = Folded(
        read(run(stream(), [claude({"tool_calls": [call(0, name="f")]}, 0), claude({}, 0, finish="stop"), DONE]))
    )
    assert folded.calls == {0: ["call_1795170003_0_0", "function", "f", ""]}


def test_a_fragment_without_function_is_passed() -> None:
    """A fragment that only opens a call is enough to open it."""
    chunks = read(
        run(stream(), [claude({"tool_calls": [{"index": 0, "id": "a"}]}, 0), claude({}, 0, finish="stop"), DONE])
    )
    assert chunks[0].choices[0].delta.tool_calls[0].type == "function"  # type: ignore[index]


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        (["tool_calls", "tool_calls"], "tool_calls"),
        (["stop", "tool_calls"], "tool_calls"),
        (["tool_calls", "stop"], "tool_calls"),
        (["length", "tool_calls"], "length"),
        (["tool_calls", None], "tool_calls"),
        ([None, "stop"], "stop"),
    ],
)
def test_a_finish_reason_inside_the_answer_waits_for_its_end(reasons: list[str | None], expected: str) -> None:
    """Each piece may end with a reason of its own; the client sees one, after everything else."""
    chunks = read(
        run(
            stream(),
            [
                claude({"content": "text"}, 0, finish=reasons[0]),
                claude({"tool_calls": [call(0, id="a", name="f", arguments="{}")]}, 1, finish=reasons[1]),
                DONE,
            ],
        )
    )
    folded = Folded(chunks)
    assert folded.finish == [expected]
    assert chunks[-1].choices[0].finish_reason == expected
    assert folded.text == "text"
    assert folded.calls[0][0] == "a"


def test_two_choices_in_one_chunk_become_two_chunks() -> None:
    """Clients read the first choice only, so pieces that come together leave one after the other."""
    both = event(
        choices=[
            {"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"},
            {"index": 1, "delta": {"content": "b"}, "finish_reason": "stop"},
        ],
        id="i",
        model="m",
        created=1,
        usage=SAFE_USAGE,
    )
    chunks = read(run(stream(), [both, DONE]))
    assert [len(chunk.choices) for chunk in chunks] == [1, 1]
    folded = Folded(chunks)
    assert (folded.text, folded.finish, len(folded.usage)) == ("ab", ["stop"], 1)


def test_a_finish_reason_after_the_usage_is_not_repeated() -> None:
    """When usage has shown the end, a second reason is dropped."""
    folded = Folded(read(run(stream(), [HELLO, STOP, USAGE, STOP, DONE])))
    assert folded.finish == ["stop"]


@pytest.mark.parametrize("include_usage", [True, False])
def test_the_usage_chunk_is_for_those_who_asked(include_usage: bool) -> None:
    """The chunk with usage alone is dropped unless asked for; the finish reason is let go before it."""
    mender = stream(include_usage=include_usage)
    mender.feed(HELLO)
    mender.feed(STOP)
    assert mender.feed(USAGE) == (STOP + USAGE if include_usage else STOP)
    assert mender.feed(DONE) is DONE


def test_a_usage_chunk_is_completed() -> None:
    """Usage without choices and counts becomes a valid chunk."""
    odd = event(usage={"prompt_tokens": 1, "completion_tokens": 2}, choices=None)
    chunk = read(run(stream(), [HELLO, STOP, odd, DONE]))[-1]
    assert chunk.usage is not None
    assert (chunk.id, chunk.choices, chunk.usage.total_tokens) == ("chatcmpl-A1", [], 3)


def test_usage_before_the_answer_is_no_end() -> None:
    """Usage alone does not invent a finish reason."""
    assert run(stream(), [USAGE, HELLO, STOP, DONE]) == USAGE + HELLO + STOP + DONE


def test_several_answers_are_left_apart() -> None:
    """With n above 1 the choices are the client's own, and each finish reason passes at once."""
    mender = stream(choices=2)
    chunks = [
        gpt_delta({"content": "a"}, index=0),
        gpt_delta({"content": "b"}, index=1),
        gpt_delta({}, finish="stop", index=1),
        gpt_delta({}, finish="stop", index=0),
    ]
    for chunk in chunks:
        assert mender.feed(chunk) is chunk
    assert mender.finish() == DONE
    assert mender.complete


def test_several_answers_are_completed_too() -> None:
    """Missing fields and a forgotten finish reason are supplied for each of several answers."""
    both = event(choices=[{"delta": {"content": "a"}}, {"delta": {"content": "b"}, "finish_reason": "length"}])
    chunks = read(run(stream(choices=2), [both, DONE]))
    assert [[choice.index for choice in chunk.choices] for chunk in chunks] == [[0, 1], [0]]
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", "stop"),
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("something_new", "stop"),
        ("function_call", "function_call"),
    ],
)
def test_finish_reasons_are_those_that_clients_know(given: str, expected: str) -> None:
    """A reason in another vendor's words is translated; an empty one is none."""
    assert Folded(read(run(stream(), [HELLO, gpt_delta({}, finish=given), DONE]))).finish == [expected]


def test_a_finish_reason_of_failure_is_a_failure() -> None:
    """The reason 'error' never becomes a success."""
    mender = stream()
    mender.feed(HELLO)
    with pytest.raises(StreamInterrupted):
        mender.feed(gpt_delta({}, finish="error"))


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"index": 0, "message": {"role": "assistant", "content": "hi"}}, "hi"),
        ({"index": 0, "delta": {"role": "function", "content": "hi"}}, "hi"),
        ({"index": 0, "delta": {"content": [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]}}, "hi"),
        ({"index": 0, "delta": None}, ""),
        ({"index": 0}, ""),
    ],
)
def test_odd_deltas_are_mended(choice: Json, text: str) -> None:
    """Whatever form a delta has, the client sees a delta with a string."""
    assert Folded(read(run(stream(), [gpt([choice]), STOP, DONE]))).text == text


def test_what_a_chunk_has_beside_is_kept() -> None:
    """Mending one key leaves the others of the chunk, the choice and the delta alone."""
    out = run(stream(), [claude({"content": "x", "reasoning_opaque": "gA"}, 1, extra=[1, 2]), STOP, DONE])
    chunk = json.loads(EventParser().feed(out)[0].data)
    assert chunk["extra"] == [1, 2]
    assert chunk["choices"][0] == {"index": 0, "delta": {"content": "x", "reasoning_opaque": "gA"}}


# How a stream may end: events, what a client must be told (None: it was cut short).
ENDS: dict[str, tuple[list[bytes], str | None]] = {
    "finish without done": ([HELLO, STOP], "stop"),
    "finish and usage without done": ([HELLO, STOP, USAGE], "stop"),
    "finish and half an event": ([HELLO, STOP, b'data: {"choices":[],"us'], "stop"),
    "done without its empty line": ([HELLO, STOP, b"data: [DONE]"], "stop"),
    "done with spaces": ([HELLO, STOP, b"data:  [DONE] \n\n"], "stop"),
    "done without finish, text": ([HELLO, DONE], "stop"),
    "done without finish, whole call": ([*CALL[:3], DONE], "tool_calls"),
    "done without finish, call without arguments": ([CALL[0], DONE], "tool_calls"),
    "after done": ([HELLO, STOP, DONE, DONE, b"garbage", b"data: {}\n\n"], "stop"),
    "after done in one piece": ([HELLO + STOP + DONE + DONE + b"data: nonsense\n\n"], "stop"),
    "last event without its empty line": ([HELLO, STOP[:-2]], "stop"),
    "done without finish, half a call": ([*CALL[:2], DONE], None),
    "done without finish, nothing said": ([FIRST, DONE], None),
    "only done": ([DONE], None),
    "only filter results": ([PREAMBLE], None),
    "nothing": ([], None),
    "no end": ([HELLO], None),
    "half an event": ([HELLO, b'data: {"choices'], None),
    "cut in a call": (CALL[:2], None),
    "comments only": ([b": ping\n\n"], None),
}


@pytest.mark.parametrize("name", ENDS)
def test_ends(name: str) -> None:
    """A stream counts as complete only when its answer is; then it has one reason and one terminator."""
    chunks, expected = ENDS[name]
    mender = stream()
    if expected is None:
        with pytest.raises(StreamInterrupted):
            run(mender, chunks)
        assert not mender.complete
        return
    assert Folded(read(run(mender, chunks))).finish == [expected]
    assert mender.done
    assert mender.complete
    assert mender.feed(b"more") == b""


@pytest.mark.parametrize(
    "data",
    [
        b"not json",
        b'{"choices":[{"index":0,"delta":{"content":"x"}}',
        b"null",
        b"[]",
        b"5",
        b'"text"',
        b'{"choices":"x"}',
        b'{"choices":[null]}',
        b'{"choices":[{"delta":5}]}',
        b'{"choices":[{"delta":{"content":5}}]}',
        b'{"choices":[{"delta":{"content":"\xff"}}]}',
        b'{"choices":[{"delta":{"content":"\\ud800"}}]}',
        b'{"choices":[{"delta":{"tool_calls":{}}}]}',
        b'{"choices":[{"index":NaN,"delta":{}}]}',
        b'{"choices":[{"index":0,"delta":{}}],"created":1e999}',
        b'{"choices":' + b"[" * 100_000,
    ],
)
def test_what_is_no_chunk_ends_the_stream(data: bytes) -> None:
    """No event is skipped silently: what cannot be read is an error."""
    mender = stream()
    mender.feed(HELLO)
    with pytest.raises(StreamInterrupted):
        mender.feed(encode(data))


def test_an_event_over_the_limit() -> None:
    """A chunk of more than a megabyte is refused."""
    with pytest.raises(ResponseTooLarge):
        stream().feed(b"data: " + b"x" * EVENT_LIMIT)


def test_an_error_event_passes_and_completes_nothing() -> None:
    """A failure in the middle reaches the client as it is, and nothing follows it."""
    failure = event(error={"message": "upstream model provider error", "code": "internal_error"})
    mender = stream()
    mender.feed(HELLO)
    assert mender.feed(failure + STOP + DONE) == failure
    assert mender.done
    assert not mender.complete
    assert mender.finish() == b""


@pytest.mark.parametrize(
    ("failure", "message", "code"),
    [
        (b'data: {"error":"went wrong"}\n\n', "went wrong", None),
        (b'event: error\ndata: {"message":"went wrong","code":"c"}\n\n', "went wrong", "c"),
        (b"event: error\ndata: went wrong\n\n", "went wrong", None),
        (b"event: error\ndata: []\n\n", "GitHub Copilot ended the stream with an error.", None),
        (b'event: error\ndata: {"error":{"message":"went wrong","code":"c"}}\n\n', "went wrong", "c"),
        (b'data: {"error":{"message":"ghu_0123456789abcdef went","code":"c"}}\n\n', "*** went", "c"),
    ],
)
def test_error_events_of_every_form(failure: bytes, message: str, code: str | None) -> None:
    """Clients look for an object under 'error'; a token in it is not shown."""
    mender = stream()
    mender.feed(HELLO)
    error = json.loads(EventParser().feed(mender.feed(failure))[0].data)["error"]
    assert (error["message"], error.get("code")) == (message, code)


def test_an_error_before_the_answer_is_an_error_of_the_request() -> None:
    """While nothing has been said, the status that the error should have had can still be sent."""
    with pytest.raises(UpstreamStatus) as caught:
        stream().feed(PREAMBLE + b'data: {"error":{"message":"slow down","code":"rate_limited"}}\n\n')
    assert caught.value.status == 429


def test_a_byte_order_mark_is_read_over() -> None:
    """A mark at the very start belongs to the encoding, not to the first event."""
    assert Folded(read(run(stream(), [b"\xef\xbb\xbf" + STOP, HELLO, STOP, DONE]))).text == "Hello"


def test_the_line_feed_of_a_split_line_end_is_sent_once() -> None:
    """Mended events before a CR LF leave a stream that reads the same, without waiting for the next event."""
    mender = stream(include_usage=False)
    first = (PREAMBLE + HELLO).replace(b"\n", b"\r\n")
    assert mender.feed(first).lstrip(b"\n") == HELLO.replace(b"\n", b"\r\n")
    rest = b"".join([HELLO, STOP, DONE]).replace(b"\n", b"\r\n")
    assert mender.feed(rest) == rest


@pytest.mark.parametrize("cut", [lambda wire: [wire], lambda wire: [wire[:300], wire[300:]]])
def test_sdk_helper_folds_the_same(cut: Callable[[bytes], list[bytes]]) -> None:
    """The accumulator of the OpenAI library reads a mended split answer as one message with its call."""
    from openai.lib.streaming.chat import ChatCompletionStreamState

    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for chunk in read(run(stream(), cut(b"".join(SPLIT)))):
        list(state.handle_chunk(chunk))
    message = state.get_final_completion().choices[0].message
    assert message.content == "I'll look."
    assert message.tool_calls
    assert message.tool_calls[0].function.arguments == '{"path": "a.txt"}'
