"""Events become what a chat client reads: OpenAI's own library takes every chunk, and puts them together rightly."""

import json

import msgspec
import pytest
from openai.lib.streaming.chat._completions import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from copilot_asgi.translate.chat_request import parse_request
from copilot_asgi.translate.chat_stream import ChatDecoder, ChatEncoder, render_reply
from copilot_asgi.translate.conversation import Conversation, Seal, SealOrigin, Thinking, Tool
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
    Started,
    Usage,
    check,
    fold,
)
from copilot_asgi.translate.ids import ToolNames
from copilot_asgi.translate.seals import unwrap
from copilot_asgi.wire.shallow import read_object
from copilot_asgi.wire.sse import EventParser

Json = dict[str, object]

USAGE = Usage(input=100, cache_read=80, cache_write=10, output=25, reasoning=5)
COUNTED = {
    "prompt_tokens": 100,
    "completion_tokens": 25,
    "total_tokens": 125,
    "prompt_tokens_details": {"cached_tokens": 80, "cache_write_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 5},
}
CHAT_SEAL, SIGNATURE = Seal(SealOrigin.CHAT, "x"), Seal(SealOrigin.SIGNATURE, "sig")


def asked(**fields: object) -> Conversation:
    return Conversation(model="asked-for", stream=True, **fields)  # type: ignore[arg-type]  # a table of fields


PLAIN, COUNTING = asked(), asked(include_usage=True)
FREEFORM = asked(tools=(Tool(name="patch", freeform=True), Tool(name="f")))
LEGACY = asked(tools=(Tool(name="f"),), legacy_functions=True)


def part(index: int, kind: Kind, *texts: str, seal: Seal | None = None, **fields: object) -> list[Event]:
    start = PartStarted(index, kind, **fields)  # type: ignore[arg-type]  # a table of fields
    return [start, *(PartDelta(index, text) for text in texts), PartFinished(index, seal)]


def call(index: int, *arguments: str, name: str = "f", freeform: bool = False) -> list[Event]:
    return part(index, Kind.TOOL_CALL, *arguments, id=f"call_{index}", name=name, freeform=freeform)


def whole(
    *parts: list[Event], reason: Finish = Finish.STOP, usage: Usage | None = USAGE, detail: str = ""
) -> list[Event]:
    events = [Started("up", "upstream-model"), *(event for part in parts for event in part)]
    return list(check([*events, Finished(reason, usage, detail)]))


def streamed(events: list[Event], conversation: Conversation = PLAIN, *, prompt_tokens: int = 0) -> list[Json]:
    """The chunks, without the end, which must be there."""
    encoder = ChatEncoder(conversation, id="chatcmpl-x", created=7, prompt_tokens=prompt_tokens)
    told = EventParser().feed(b"".join(encoder.encode(event) for event in events))
    assert told[-1].data == b"[DONE]"
    assert encoder.progress is None
    chunks: list[Json] = [json.loads(event.data) for event in told[:-1]]
    for chunk in chunks:
        assert {key: chunk[key] for key in ("id", "object", "created", "model")} == {
            "id": "chatcmpl-x",
            "object": "chat.completion.chunk",
            "created": 7,
            "model": "asked-for",
        }
    return chunks


def deltas(events: list[Event], conversation: Conversation = PLAIN) -> list[Json]:
    return [chunk["choices"][0]["delta"] for chunk in streamed(events, conversation) if chunk["choices"]]  # type: ignore[index]  # JSON


def replied(events: list[Event], conversation: Conversation = PLAIN) -> Json:
    answer: Json = json.loads(render_reply(fold(events), conversation, id="chatcmpl-x", created=7))
    ChatCompletion.model_validate(answer, strict=True) if conversation is not FREEFORM else None
    return answer


def message(events: list[Event], conversation: Conversation = PLAIN) -> Json:
    told: Json = replied(events, conversation)["choices"][0]["message"]  # type: ignore[index]  # JSON
    return told


CITED = [PartStarted(0, Kind.TEXT), PartDelta(0, "ab"), PartDelta(0, "", Annotation("u", "t")), PartFinished(0)]
CITATION = {
    "type": "url_citation",
    "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 2},
}
F = {"type": "function", "function": {"name": "f", "arguments": ""}}

ANSWERS: dict[str, tuple[list[Event], Conversation, list[Json], Json]] = {
    "nothing": (whole(), PLAIN, [], {"content": ""}),
    "text": (
        whole(part(0, Kind.TEXT, "Hel", "", "lo"), part(1, Kind.TEXT, "!")),
        PLAIN,
        [{"content": "Hel"}, {"content": "lo"}, {"content": "!"}],
        {"content": "Hello!"},
    ),
    "refusal": (whole(part(0, Kind.REFUSAL, "no")), PLAIN, [{"refusal": "no"}], {"content": None, "refusal": "no"}),
    "explained": (
        whole(reason=Finish.FILTER, detail="why"),
        PLAIN,
        [{"refusal": "why"}],
        {"content": None, "refusal": "why"},
    ),
    "explained and said": (
        whole(part(0, Kind.REFUSAL, "no"), reason=Finish.FILTER, detail="why"),
        PLAIN,
        [{"refusal": "no"}],
        {"content": None, "refusal": "no"},
    ),
    "a stop word": (whole(reason=Finish.STOP_WORD, detail="END"), PLAIN, [], {"content": ""}),
    "thinking": (
        whole(part(0, Kind.THINKING, "h", "m", seal=CHAT_SEAL), part(1, Kind.TEXT, "a")),
        PLAIN,
        [{"reasoning_text": "h"}, {"reasoning_text": "m"}, {"content": "a"}, {"reasoning_opaque": "x"}],
        {"content": "a", "reasoning_text": "hm", "reasoning_opaque": "x"},
    ),
    "thinking twice": (
        whole(
            part(0, Kind.THINKING, seal=Seal(SealOrigin.CHAT, "old")),
            part(1, Kind.THINKING, "a"),
            part(2, Kind.THINKING, "b", "c", seal=CHAT_SEAL),
        ),
        PLAIN,
        [
            {"reasoning_text": "a"},
            {"reasoning_text": "\n\nb"},
            {"reasoning_text": "c"},
            {"reasoning_opaque": "x"},
        ],
        {"content": "", "reasoning_text": "a\n\nbc", "reasoning_opaque": "x"},
    ),
    "calls": (
        whole(part(0, Kind.TEXT, "a"), call(1, "{", "}"), call(2), reason=Finish.TOOL_CALLS),
        PLAIN,
        [
            {"content": "a"},
            {"tool_calls": [{"index": 0, "id": "call_1", **F}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]},
            {"tool_calls": [{"index": 1, "id": "call_2", **F}]},
        ],
        {
            "content": "a",
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "call_2", **F},
            ],
        },
    ),
    "a freeform call as a function": (
        whole(call(0, '{"input":', '"a\\nb"}', name="patch"), reason=Finish.TOOL_CALLS),
        FREEFORM,
        [
            {"tool_calls": [{"index": 0, "id": "call_0", "type": "custom", "custom": {"name": "patch", "input": ""}}]},
            {"tool_calls": [{"index": 0, "custom": {"input": "a\nb"}}]},
        ],
        {
            "content": None,
            "tool_calls": [{"id": "call_0", "type": "custom", "custom": {"name": "patch", "input": "a\nb"}}],
        },
    ),
    "a freeform call that is one": (
        whole(call(0, "a", "b", name="patch", freeform=True), reason=Finish.TOOL_CALLS),
        FREEFORM,
        [
            {"tool_calls": [{"index": 0, "id": "call_0", "type": "custom", "custom": {"name": "patch", "input": ""}}]},
            {"tool_calls": [{"index": 0, "custom": {"input": "a"}}]},
            {"tool_calls": [{"index": 0, "custom": {"input": "b"}}]},
        ],
        {
            "content": None,
            "tool_calls": [{"id": "call_0", "type": "custom", "custom": {"name": "patch", "input": "ab"}}],
        },
    ),
    "a freeform call that says nothing": (
        whole(call(0, name="patch"), reason=Finish.TOOL_CALLS),
        FREEFORM,
        [{"tool_calls": [{"index": 0, "id": "call_0", "type": "custom", "custom": {"name": "patch", "input": ""}}]}],
        {
            "content": None,
            "tool_calls": [{"id": "call_0", "type": "custom", "custom": {"name": "patch", "input": ""}}],
        },
    ),
    "deprecated calls": (
        whole(call(0, "{}"), call(1, "{}"), reason=Finish.TOOL_CALLS),
        LEGACY,
        [{"function_call": {"name": "f", "arguments": ""}}, {"function_call": {"arguments": "{}"}}],
        {"content": None, "function_call": {"name": "f", "arguments": "{}"}},
    ),
    "deprecated calls in pieces": (
        whole(call(0, "{", "}"), call(1, "{", "}", "}"), reason=Finish.TOOL_CALLS),
        LEGACY,
        [
            {"function_call": {"name": "f", "arguments": ""}},
            {"function_call": {"arguments": "{"}},
            {"function_call": {"arguments": "}"}},
        ],
        {"content": None, "function_call": {"name": "f", "arguments": "{}"}},
    ),
    "no deprecated call": (whole(part(0, Kind.TEXT, "a")), LEGACY, [{"content": "a"}], {"content": "a"}),
    "a source": (
        whole(CITED),
        PLAIN,
        [{"content": "ab"}, {"annotations": [{"index": 0, **CITATION}]}],
        {"content": "ab", "annotations": [CITATION]},
    ),
}
each_answer = pytest.mark.parametrize(("events", "conversation", "said", "told"), ANSWERS.values(), ids=ANSWERS)


@each_answer
def test_events_become_deltas(events: list[Event], conversation: Conversation, said: list[Json], told: Json) -> None:
    """The role comes first, ids and names once, and an empty delta ends it."""
    assert deltas(events, conversation) == [{"role": "assistant", "content": ""}, *said, {}]


@each_answer
def test_a_reply_is_the_whole_message(
    events: list[Event], conversation: Conversation, said: list[Json], told: Json
) -> None:
    """The same answer for a client that did not ask for a stream."""
    assert message(events, conversation) == {"role": "assistant", "refusal": None, **told}


@pytest.mark.parametrize("name", [name for name in ANSWERS if "freeform" not in name])
def test_the_library_puts_the_stream_together_as_the_whole(name: str) -> None:
    """OpenAI's own accumulator and strict models; it knows no freeform calls in streams."""
    events, conversation, _, told = ANSWERS[name]
    state = ChatCompletionStreamState()
    for chunk in streamed(events, msgspec.structs.replace(conversation, include_usage=True)):
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk, strict=True))
    got = state.current_completion_snapshot.to_dict()["choices"][0]["message"]  # type: ignore[index]  # JSON
    for key in ("function_call", "reasoning_text", "reasoning_opaque", "refusal"):
        assert got.get(key) == told.get(key), key
    assert calls(got) == calls(told)
    assert (got.get("content") or "") == (told["content"] or "")


def calls(message: dict) -> list[tuple[str, str, str]]:
    functions = [(each["id"], each["function"]) for each in message.get("tool_calls") or []]
    return [(id, function["name"], function["arguments"]) for id, function in functions]


FINISHES = [
    (Finish.STOP, "stop"),
    (Finish.TOOL_CALLS, "tool_calls"),
    (Finish.LENGTH, "length"),
    (Finish.CONTEXT_FULL, "length"),
    (Finish.STOP_WORD, "stop"),
    (Finish.FILTER, "content_filter"),
    (Finish.PAUSED, "stop"),
]


@pytest.mark.parametrize(("finish", "reason"), FINISHES)
def test_m2c_stream_refusal_and_context_window(finish: Finish, reason: str) -> None:
    """Each end has its reason, told once, in the last chunk with a choice."""
    events = whole(part(0, Kind.TEXT, "a"), reason=finish)
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in streamed(events)]  # type: ignore[index]  # JSON
    assert reasons == [None, None, reason]
    assert replied(events)["choices"][0]["finish_reason"] == reason  # type: ignore[index]  # JSON


def test_deprecated_calls_have_a_reason_of_their_own() -> None:
    """Clients that old look for it."""
    last = streamed(whole(call(0, "{}"), reason=Finish.TOOL_CALLS), LEGACY)[-1]
    assert last["choices"][0]["finish_reason"] == "function_call"  # type: ignore[index]  # JSON


def test_m2c_stream_usage_optin() -> None:
    """Usage is told to those who asked for it, behind everything else, and announced as null before."""
    events = whole(part(0, Kind.TEXT, "a"))
    assert all("usage" not in chunk for chunk in streamed(events))
    *chunks, last = streamed(events, COUNTING)
    assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)
    assert (last["choices"], last["usage"]) == ([], COUNTED)


USAGES = [
    (Usage(input=9), None, 9),
    (Usage(input=9), Usage(input=10), 10),
    (None, Usage(input=10), 10),
    (None, None, 4),
]


@pytest.mark.parametrize(("at_start", "at_end", "prompt"), USAGES)
def test_the_prompt_is_counted_by_whoever_knows_best(at_start: Usage | None, at_end: Usage | None, prompt: int) -> None:
    """What upstream said last, else first, else our estimate."""
    events: list[Event] = [Started(usage=at_start), Finished(Finish.STOP, at_end)]
    last = streamed(events, COUNTING, prompt_tokens=4)[-1]
    assert last["usage"]["prompt_tokens"] == last["usage"]["total_tokens"] == prompt  # type: ignore[index]  # JSON


def test_a_reply_has_all_that_the_library_insists_on() -> None:
    """With the id that the client asked for, and usage in numbers, known or not."""
    answer = replied(whole(part(0, Kind.TEXT, "a")))
    assert (answer["id"], answer["object"], answer["created"], answer["model"]) == (
        "chatcmpl-x",
        "chat.completion",
        7,
        "asked-for",
    )
    assert answer["usage"] == COUNTED
    unknown = replied(whole(usage=None))["usage"]
    assert unknown["total_tokens"] == 0  # type: ignore[index]  # JSON
    assert unknown["prompt_tokens_details"] == {"cached_tokens": 0}  # type: ignore[index]  # JSON


def test_a_foreign_seal_travels_in_an_envelope_and_comes_back() -> None:
    """With the exact text that it is bound to, whatever else was thought."""
    events = whole(part(0, Kind.THINKING, "one"), part(1, Kind.THINKING, "t", "wo", seal=SIGNATURE))
    opaque = deltas(events)[-2]["reasoning_opaque"]
    assert unwrap(str(opaque)) == (SIGNATURE, "two")
    told = message(events)
    assert told["reasoning_opaque"] == opaque
    body = json.dumps({"model": "m", "messages": [told]}).encode()
    assert parse_request(read_object(body), stream=False).turns[0].parts[0] == Thinking("two", SIGNATURE)


def test_sources_count_from_the_beginning_of_the_whole_text() -> None:
    """Each spans its own text in the joined one, in characters."""
    second = [PartStarted(1, Kind.TEXT), PartDelta(1, "cde", Annotation("v")), PartFinished(1)]
    events = whole(CITED, second)
    spans = [(each["url_citation"]["start_index"], each["url_citation"]["end_index"]) for each in sources(events)]
    assert spans == [(0, 2), (2, 5)]
    told = message(events)["annotations"]
    assert [each["url_citation"]["end_index"] for each in told] == [2, 5]  # type: ignore[attr-defined]  # JSON


def sources(events: list[Event]) -> list[dict]:
    return [each for delta in deltas(events) for each in delta.get("annotations", [])]  # type: ignore[attr-defined]  # JSON


def test_the_keep_alive_is_a_comment() -> None:
    """Event streams pass over it."""
    assert ChatEncoder.ping == b": keep-alive\n\n"
    assert EventParser().feed(ChatEncoder.ping) == []


@pytest.mark.parametrize("name", [name for name in ANSWERS if not name.startswith(("a ", "dep", "expl", "thinking t"))])
def test_what_is_written_is_read_back(name: str) -> None:
    """Our own chunks as an upstream's give the same answer."""
    events, _, _, _ = ANSWERS[name]
    encoder = ChatEncoder(COUNTING, id="up", created=7, prompt_tokens=0)
    decoder = ChatDecoder(names=ToolNames())
    again = decoder.feed(b"".join(encoder.encode(event) for event in events))
    assert decoder.done
    before, after = fold(events), fold(check(again))
    assert [(each.kind, each.text, each.id) for each in after.parts if each.text or each.id] == joined(before)
    assert after.finish is before.finish
    assert after.usage == before.usage


def joined(reply: Reply) -> list[tuple[Kind, str, str]]:
    """The parts as chat can tell them: neighbouring texts are one."""
    told: list[tuple[Kind, str, str]] = []
    for each in reply.parts:
        if told and each.kind is Kind.TEXT is told[-1][0]:
            told[-1] = (each.kind, told[-1][1] + each.text, "")
        else:
            told.append((each.kind, each.text, each.id))
    return told
