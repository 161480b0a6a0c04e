"""What a Gemini client reads: responses with parts, as server-sent events, as an array, or whole."""

import json

import pytest
from generators import answers
from hypothesis import given, settings

from copilot_asgi.translate.conversation import Conversation, Reasoning, Role, Seal, SealOrigin, Text, Thinking, Turn
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
from copilot_asgi.translate.gemini_request import parse_request
from copilot_asgi.translate.gemini_stream import GeminiArrayEncoder, GeminiEncoder, render_reply
from copilot_asgi.wire.shallow import read_object
from copilot_asgi.wire.sse import EventParser

MODEL = "gpt-4.1"
USAGE = Usage(input=20, cache_read=8, output=30, reasoning=12)
COUNTED = {
    "promptTokenCount": 20,
    "candidatesTokenCount": 18,
    "totalTokenCount": 50,
    "cachedContentTokenCount": 8,
    "thoughtsTokenCount": 12,
}
SEAL = Seal(SealOrigin.CHAT, "OPAQUE")
CUT = [Finish.LENGTH, Finish.CONTEXT_FULL]


def conversation(*, show: bool | None = None) -> Conversation:
    asked = Turn(Role.USER, (Text("hello"),))
    return Conversation(model=MODEL, stream=True, turns=(asked,), reasoning=Reasoning(show=show))


def whole_part(index: int, kind: Kind, *texts: str, seal: Seal | None = None, **fields: object) -> list[Event]:
    start = PartStarted(index, kind, **fields)  # type: ignore[arg-type]
    return [start, *(PartDelta(index, text) for text in texts), PartFinished(index, seal=seal)]


def answer(
    *parts: list[Event], finish: Finish = Finish.STOP, usage: Usage | None = USAGE, detail: str = ""
) -> list[Event]:
    events = [Started(id="up"), *(event for part in parts for event in part), Finished(finish, usage, detail)]
    return list(check(events))


def text(index: int = 0, *texts: str) -> list[Event]:
    return whole_part(index, Kind.TEXT, *(texts or ("hi",)))


def call(index: int = 0, *arguments: str, name: str = "f", **fields: object) -> list[Event]:
    return whole_part(index, Kind.TOOL_CALL, *arguments, id=f"call_{index}", name=name, **fields)  # type: ignore[arg-type]


def thinking(index: int = 0, *texts: str, seal: Seal | None = None) -> list[Event]:
    return whole_part(index, Kind.THINKING, *texts, seal=seal)


def called(index: int, args: object, name: str = "f") -> dict:
    return {"functionCall": {"id": f"call_{index}", "name": name, "args": args}}


def streamed(events: list[Event], *, asked: Conversation | None = None) -> list[dict]:
    encoder = GeminiEncoder(asked or conversation(), id="r1", created=0, prompt_tokens=7)
    found = EventParser().feed(b"".join(encoder.encode(event) for event in events))
    assert {event.event for event in found} <= {"message"}
    return [json.loads(event.data) for event in found]


def whole(events: list[Event], *, asked: Conversation | None = None) -> dict:
    reply: dict = json.loads(render_reply(fold(events), asked or conversation(), id="r1", created=0))
    return reply


def parts(response: dict) -> list[dict]:
    found: list[dict] = response["candidates"][0]["content"]["parts"]
    return found


def test_a_text_streams_piece_by_piece() -> None:
    """Each piece is a response with the new text only; the last one has the reason and the usage."""
    first, second, last = streamed(answer(text(0, "he", "llo")))
    assert first == {
        "candidates": [{"content": {"role": "model", "parts": [{"text": "he"}]}, "index": 0}],
        "modelVersion": MODEL,
        "responseId": "r1",
    }
    assert parts(second) == [{"text": "llo"}]
    assert last == {
        "candidates": [{"content": {"role": "model", "parts": [{"text": ""}]}, "index": 0, "finishReason": "STOP"}],
        "usageMetadata": COUNTED,
        "modelVersion": MODEL,
        "responseId": "r1",
    }


def test_a_whole_answer() -> None:
    """Everything in one response, calls with their arguments as objects; calls are an ordinary end."""
    events = answer(text(), call(1, '{"a":', "\n 1}"), call(2), finish=Finish.TOOL_CALLS)
    assert whole(events) == {
        "candidates": [
            {
                "content": {"role": "model", "parts": [{"text": "hi"}, called(1, {"a": 1}), called(2, {})]},
                "index": 0,
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": COUNTED,
        "modelVersion": MODEL,
        "responseId": "r1",
    }


def test_an_empty_answer_still_has_a_part() -> None:
    """Clients look into the first part without asking whether there is one."""
    assert parts(whole(answer())) == [{"text": ""}]
    [last] = streamed(answer())
    assert parts(last) == [{"text": ""}]


def test_calls_are_sent_whole() -> None:
    """Arguments wait for their end, also when calls overlap, and come on one line."""
    events = [
        Started(),
        PartStarted(0, Kind.TOOL_CALL, id="call_0", name="f"),
        PartStarted(1, Kind.TOOL_CALL, id="call_1", name="g"),
        PartDelta(0, '{"a":'),
        PartDelta(1, "{}"),
        PartFinished(1),
        PartDelta(0, "\n2}"),
        PartFinished(0),
        Finished(Finish.TOOL_CALLS),
    ]
    first, second, _ = streamed(list(check(events)))
    assert (parts(first), parts(second)) == ([called(1, {}, "g")], [called(0, {"a": 2})])


@pytest.mark.parametrize("arguments", ["[1]", "{broken", '"text"'])
def test_odd_arguments_are_wrapped(arguments: str) -> None:
    """A call whose arguments are no object is told at the end, for its result must come back."""
    [last] = streamed(answer(call(0, arguments), finish=Finish.TOOL_CALLS))
    [found] = parts(last)
    assert found["functionCall"]["args"].keys() <= {"value", "raw"}
    assert parts(whole(answer(call(0, arguments)))) == [found]


@pytest.mark.parametrize("finish", CUT)
def test_a_call_that_was_cut_off_was_never_made(finish: Finish) -> None:
    """The answer ended in its arguments; nobody could run it."""
    [last] = streamed(answer(call(0, '{"a": 1'), finish=finish))
    assert parts(last) == [{"text": ""}]
    assert last["candidates"][0]["finishReason"] == "MAX_TOKENS"


def test_raw_text_of_a_tool_is_an_argument() -> None:
    """A client that knows functions only reads raw text as the one argument of it."""
    first, _ = streamed(answer(call(0, "raw text", freeform=True)))
    assert parts(first) == [called(0, {"input": "raw text"})]


def test_refusals_are_text() -> None:
    """Google has no other kind of part for them."""
    first, _ = streamed(answer(whole_part(0, Kind.REFUSAL, "no")))
    assert parts(first) == [{"text": "no"}]


@pytest.mark.parametrize("show", [None, False])
def test_thoughts_are_hidden_unless_asked_for(show: bool | None) -> None:
    """The API shows none on its own accord."""
    first, _ = streamed(answer(thinking(0, "hm"), text(1)), asked=conversation(show=show))
    assert parts(first) == [{"text": "hi"}]


def test_thoughts_are_shown_when_asked_for() -> None:
    """They are parts that say what they are."""
    first, second, *_ = streamed(answer(thinking(0, "h", "m"), text(1)), asked=conversation(show=True))
    assert [*parts(first), *parts(second)] == [{"text": "h", "thought": True}, {"text": "m", "thought": True}]


def said_again(*told: dict) -> tuple[object, ...]:
    """The parts as the model's turn of the next request."""
    body = {"contents": [{"parts": [{"text": "hello"}]}, {"role": "model", "parts": list(told)}]}
    return parse_request(read_object(json.dumps(body).encode()), stream=False).turns[1].parts


@pytest.mark.parametrize("origin", [SealOrigin.CHAT, SealOrigin.RESPONSES, SealOrigin.SIGNATURE, SealOrigin.REDACTED])
def test_a_seal_comes_back_with_its_thinking(origin: SealOrigin) -> None:
    """It is the signature of the part behind it; hidden or not, the next request holds seal and text."""
    seal = Seal(origin, "OPAQUE", id="rs_1", phase="final")
    first, _ = streamed(answer(thinking(0, "h", "m", seal=seal), call(1, "{}")))
    [part] = parts(first)
    assert part.keys() == {"functionCall", "thoughtSignature"}
    assert said_again(part)[0] == Thinking("hm", seal)


def test_a_seal_without_a_part_behind_it() -> None:
    """It stands on the empty text of the end."""
    [last] = streamed(answer(thinking(0, "hm", seal=SEAL)))
    [part] = parts(last)
    assert part["text"] == ""
    assert said_again(part) == (Thinking("hm", SEAL),)


def test_several_seals_all_arrive() -> None:
    """Each has a part of its own; the last one is that of the part behind them."""
    other = Seal(SealOrigin.REDACTED, "r")
    events = answer(thinking(0, "a", seal=SEAL), thinking(1, seal=other), text(2))
    assert said_again(*parts(whole(events))) == (Thinking("a", SEAL), Thinking("", other), Text("hi"))


REASONS = [
    (Finish.STOP, "STOP"),
    (Finish.TOOL_CALLS, "STOP"),
    (Finish.LENGTH, "MAX_TOKENS"),
    (Finish.CONTEXT_FULL, "MAX_TOKENS"),
    (Finish.STOP_WORD, "STOP"),
    (Finish.FILTER, "SAFETY"),
    (Finish.PAUSED, "STOP"),
]


@pytest.mark.parametrize(("finish", "reason"), REASONS)
def test_finish_reasons(finish: Finish, reason: str) -> None:
    """Each end in Google's words, the same in a stream."""
    assert whole(answer(text(), finish=finish))["candidates"][0]["finishReason"] == reason
    assert streamed(answer(text(), finish=finish))[-1]["candidates"][0]["finishReason"] == reason


def test_every_finish_has_a_reason() -> None:
    """None is forgotten."""
    assert {finish for finish, _ in REASONS} == set(Finish)


def test_a_filtered_answer_says_why() -> None:
    """In the middle of an answer it ends the candidate; before anything was said the prompt counts as blocked."""
    last = streamed(answer(text(), finish=Finish.FILTER, detail="rude"))[-1]
    assert last["candidates"][0]["finishMessage"] == "rude"
    [blocked] = streamed(answer(thinking(0, "hm"), finish=Finish.FILTER, detail="rude"))
    assert blocked["promptFeedback"] == {"blockReason": "SAFETY", "blockReasonMessage": "rude"}
    assert "candidates" not in blocked
    assert whole(answer(finish=Finish.FILTER))["promptFeedback"] == {"blockReason": "SAFETY"}


def test_a_stop_word_is_not_an_explanation() -> None:
    """The detail of another end is not told."""
    assert "finishMessage" not in whole(answer(text(), finish=Finish.STOP_WORD, detail="END"))["candidates"][0]


def test_citations() -> None:
    """Cited pages stand with the candidate."""
    cited = [PartStarted(0, Kind.TEXT), PartDelta(0, "hi", Annotation("https://x.test", "X")), PartFinished(0)]
    chunks = {"groundingChunks": [{"web": {"uri": "https://x.test", "title": "X"}}]}
    assert streamed(answer(cited))[-1]["candidates"][0]["groundingMetadata"] == chunks
    assert whole(answer(cited))["candidates"][0]["groundingMetadata"] == chunks


def test_usage_that_upstream_never_told() -> None:
    """A stream tells the estimate it was given, or what the first event said; a whole answer an estimate of its own."""
    assert streamed(answer(text(), usage=None))[-1]["usageMetadata"]["promptTokenCount"] == 7
    events = [Started(usage=Usage(input=3)), *text(), Finished(Finish.STOP)]
    assert streamed(events)[-1]["usageMetadata"] == {
        "promptTokenCount": 3,
        "candidatesTokenCount": 0,
        "totalTokenCount": 3,
    }
    assert whole(answer(text(), usage=None))["usageMetadata"]["promptTokenCount"] > 0


def test_usage_is_never_negative() -> None:
    """An upstream that counts thoughts beside the answer does not make the rest negative."""
    counted = whole(answer(text(), usage=Usage(output=5, reasoning=9)))["usageMetadata"]
    assert (counted["candidatesTokenCount"], counted["thoughtsTokenCount"]) == (0, 5)


def array(events: list[Event]) -> tuple[GeminiArrayEncoder, bytes]:
    encoder = GeminiArrayEncoder(conversation(), id="r1", created=0, prompt_tokens=7)
    return encoder, b"".join(encoder.encode(event) for event in events)


def test_the_array_holds_the_same_responses() -> None:
    """Without server-sent events the stream is one JSON array, pings between its elements included."""
    events = answer(text(0, "a", "b"), call(1, "{}"))
    assert json.loads(array(events)[1]) == streamed(events)
    encoder, _ = array([])
    pinged = b"".join(GeminiArrayEncoder.ping + encoder.encode(event) for event in events)
    assert json.loads(pinged) == streamed(events)


@pytest.mark.parametrize("told", [0, 1, 3])
def test_an_array_that_fails_is_closed(told: int) -> None:
    """The error is its last element, and the text is valid JSON, wherever the answer broke off."""
    encoder, begun = array(answer(text(0, "a", "b"))[:told])
    error = {"error": {"code": 502, "message": "Cut.", "status": "INTERNAL"}}
    *responses, last = json.loads(begun + encoder.fail(json.dumps(error).encode()))
    assert last == error
    assert len(responses) == max(told - 2, 0)


def test_a_ping_is_no_event() -> None:
    """Between events an empty line says nothing, to any parser."""
    events = answer(text())
    encoder = GeminiEncoder(conversation(), id="r1", created=0, prompt_tokens=7)
    pinged = b"".join(GeminiEncoder.ping + encoder.encode(event) for event in events)
    assert [json.loads(event.data) for event in EventParser().feed(pinged)] == streamed(events)


def joined(responses: list[dict]) -> list[object]:
    """The parts of a stream with neighbouring texts of one kind put together."""
    told: list[dict] = []
    for part in (part for response in responses for part in parts(response)):
        if told and "text" in part and told[-1].keys() == part.keys() and "thoughtSignature" not in part:
            told[-1]["text"] += part["text"]
        elif part != {"text": ""}:
            told.append(dict(part))
    return told


@given(events=answers())
@settings(max_examples=80, deadline=None)
def test_the_stream_and_the_whole_answer_say_the_same(events: list[Event]) -> None:
    """Whatever the model says in whatever pieces, both ways to read it agree."""
    asked = conversation(show=True)
    streams, reply = streamed(events, asked=asked), whole(events, asked=asked)
    if "candidates" in reply:
        assert joined(streams) == joined([reply])
        assert streams[-1]["candidates"][0]["finishReason"] == reply["candidates"][0]["finishReason"]
    assert streams[-1].keys() == reply.keys()
