"""What holds for every answer on its way to a client, however it was cut, interleaved or broken off."""

import json

import dialects
import msgspec
import pytest
import sdk_models
from dialects import ASKED, sent
from generators import LEGAL_IDS, answers
from grammars import CHECKS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from copilot_asgi.translate.conversation import Tool
from copilot_asgi.translate.events import (
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

each_dialect = pytest.mark.parametrize("name", dialects.NAMES)
each_crossing = pytest.mark.parametrize(("upstream", "client"), dialects.CROSSED)
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def told(reply: Reply) -> tuple[object, ...]:
    """What a reply says, without the ids that each dialect makes."""
    return [said(part) for part in reply.parts], reply.finish, reply.usage, reply.detail


def said(part: ReplyPart) -> tuple[object, ...]:
    """A part; the arguments of a call by value, for Messages writes them as an object."""
    if part.kind is Kind.TOOL_CALL:
        return part.kind, part.id, part.name, json.loads(part.text)
    return part.kind, part.text


def received(upstream: str, client: str, text: bytes) -> list[dict]:
    return dialects.stream(upstream, client, [text], ASKED)


def read(name: str, body: dict) -> tuple[object, ...]:
    """What a whole answer in one dialect says."""
    events = dialects.answers(name).decode_answer(json.dumps(body).encode(), names=dialects.ToolNames())
    return told(fold(check(events)))


@each_dialect
@given(events=answers())
@few
def test_an_answer_survives_being_written_and_read(name: str, events: list[Event]) -> None:
    """Parts, texts, calls, finish and usage come back from our own writing."""
    assert told(fold(check(dialects.decoded(name, [sent(name, check(events))])))) == told(fold(events))


@each_dialect
@given(events=answers(), cuts=st.lists(st.integers(1, 40), min_size=1, max_size=5))
@few
def test_the_cut_of_the_bytes_does_not_matter(name: str, events: list[Event], cuts: list[int]) -> None:
    """Event for event the same, whole or in pieces of any size, inside a character too."""
    text = sent(name, events)
    chunks, at = [], 0
    while at < len(text):
        size = cuts[len(chunks) % len(cuts)]
        chunks.append(text[at : at + size])
        at += size
    assert list(dialects.decoded(name, chunks)) == list(dialects.decoded(name, [text]))


@each_crossing
@given(events=answers())
@few
def test_a_client_s_stream_keeps_to_its_grammar(upstream: str, client: str, events: list[Event]) -> None:
    """Order, numbers, ids and ends are those that the client's library relies on, and its models take each event."""
    out = received(upstream, client, sent(upstream, events))
    CHECKS[client](out, complete=True)
    for event in out:
        if event["data"] != "[DONE]":
            sdk_models.check_event(client, event["data"])


@each_crossing
@given(events=answers())
@few
def test_the_library_s_own_sum_is_our_whole_answer(upstream: str, client: str, events: list[Event]) -> None:
    """Streaming and not streaming say the same, and the library's model takes the whole answer."""
    text = sent(upstream, events)
    summed = sdk_models.accumulated(client, received(upstream, client, text))
    reply = fold(check(dialects.decoded(upstream, [text])))
    body = json.loads(dialects.answers(client).render_reply(reply, ASKED, id=dialects.ID, created=dialects.CREATED))
    sdk_models.check_answer(client, body)
    assert read(client, summed) == read(client, body) == told(fold(events))


@each_crossing
@given(events=answers(thinking=False), data=st.data())
@few
def test_interleaved_calls_arrive_whole(upstream: str, client: str, events: list[Event], data: st.DataObject) -> None:
    """Fragments of different calls in any order that keeps each call's own give the same answer."""
    mixed = interleaved(events, data.draw(st.randoms(use_true_random=False)).random)
    summed = sdk_models.accumulated(client, received(upstream, client, sent(upstream, check(mixed))))
    assert read(client, summed) == told(fold(events))


def interleaved(events: list[Event], random: object) -> list[Event]:
    """All calls opened first, then their fragments dealt out."""
    calls = {event.index for event in events if isinstance(event, PartStarted) and event.kind is Kind.TOOL_CALL}
    opening = [event for event in events if isinstance(event, PartStarted) and event.index in calls]
    queues = [[event for event in events if getattr(event, "index", -1) == index][1:] for index in sorted(calls)]
    dealt: list[Event] = []
    while queues := [queue for queue in queues if queue]:
        dealt.append(queues[int(random() * len(queues))].pop(0))  # type: ignore[operator]
    others = [event for event in events if getattr(event, "index", -1) not in calls]
    return [*others[:-1], *opening, *dealt, others[-1]]


EVIDENCE = {
    "chat": lambda data: any(choice.get("finish_reason") for choice in data.get("choices") or []),
    "messages": lambda data: data["type"] == "message_delta" and data["delta"].get("stop_reason"),
    "responses": lambda data: data["type"] in {"response.completed", "response.incomplete"},
}


@each_crossing
@given(events=answers())
@few
def test_a_stream_that_breaks_off_is_never_a_success(upstream: str, client: str, events: list[Event]) -> None:
    """Up to the event that says why it ended the client gets an error; from there on the whole answer."""
    sent_events = dialects.server_sent(upstream, sent(upstream, events))
    ended = False
    for count, event in enumerate(sent_events):
        before = dialects.wire(sent_events[:count])
        CHECKS[client](received(upstream, client, before), complete=ended)
        ended = ended or (event["data"] != "[DONE]" and bool(EVIDENCE[upstream](event["data"])))
    assert ended


FAILURES = {
    "chat": {"error": {"message": "busy", "code": "rate_limited"}},
    "messages": {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}},
    "responses": {"type": "error", "code": "server_error", "message": "busy"},
}


@each_crossing
def test_the_cut_of_a_stream_that_fails_does_not_matter(upstream: str, client: str) -> None:
    """The text before the error reaches the client also when both arrive in one read."""
    answer: list[Event] = [Started(), PartStarted(0, Kind.TEXT), PartDelta(0, "so far")]
    before = dialects.wire(dialects.server_sent(upstream, sent(upstream, answer)))
    whole = before + dialects.wire([{"data": json.dumps(FAILURES[upstream])}])
    at_once = received(upstream, client, whole)
    assert "so far" in json.dumps(at_once)
    CHECKS[client](at_once, complete=False)
    for cuts in ([whole[:-9], whole[-9:]], [before, whole[len(before) :]], [bytes([byte]) for byte in whole]):
        assert dialects.stream(upstream, client, cuts, ASKED) == at_once


@each_crossing
@given(events=answers(written=True))
@few
def test_usage_adds_up(upstream: str, client: str, events: list[Event]) -> None:
    """Nothing negative, totals that are sums, and the same tokens whoever counts them."""
    out = received(upstream, client, sent(upstream, events))
    usage = fold(events).usage
    assert usage is not None
    assert USAGES[client](out) == (usage.input, usage.cache_read, usage.output, usage.reasoning)


def chat_usage(events: list[dict]) -> tuple[int, ...]:
    (usage,) = [event["data"]["usage"] for event in events[:-1] if event["data"].get("usage")]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    return usage["prompt_tokens"], cached, usage["completion_tokens"], thought(usage, "completion_tokens_details")


def messages_usage(events: list[dict]) -> tuple[int, ...]:
    (usage,) = [event["data"]["usage"] for event in events if event["data"]["type"] == "message_delta"]
    counts = [usage[key] for key in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")]
    assert min(counts) >= 0
    return sum(counts), counts[1], usage["output_tokens"], thought(usage, "output_tokens_details", "thinking_tokens")


def responses_usage(events: list[dict]) -> tuple[int, ...]:
    usage = events[-1]["data"]["response"]["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    cached = usage["input_tokens_details"]["cached_tokens"]
    return usage["input_tokens"], cached, usage["output_tokens"], thought(usage, "output_tokens_details")


def thought(usage: dict, details: str, key: str = "reasoning_tokens") -> int:
    return (usage.get(details) or {}).get(key, 0)


USAGES = {"chat": chat_usage, "messages": messages_usage, "responses": responses_usage}

CLASSES = {
    Finish.STOP: "stop",
    Finish.STOP_WORD: "stop",
    Finish.PAUSED: "stop",
    Finish.TOOL_CALLS: "tools",
    Finish.LENGTH: "length",
    Finish.CONTEXT_FULL: "length",
    Finish.FILTER: "filter",
}


@pytest.mark.parametrize("finish", Finish)
@each_crossing
def test_the_class_of_an_ending_survives(upstream: str, client: str, finish: Finish) -> None:
    """A cut answer never looks like a complete one, and a refused one never like a cut one."""
    part = (PartStarted(0, Kind.TEXT), PartDelta(0, "so"), PartFinished(0))
    if finish is Finish.TOOL_CALLS:
        part = (PartStarted(0, Kind.TOOL_CALL, id="c", name="f"), PartDelta(0, "{}"), PartFinished(0))
    events = [Started(), *part, Finished(finish, Usage(input=1, output=1))]
    out = received(upstream, client, sent(upstream, events))
    read_again = fold(check(dialects.decoded(client, [dialects.wire(out)])))
    assert CLASSES[read_again.finish] == CLASSES[finish]


@each_crossing
@given(names=st.sets(st.sampled_from(["read file", "a.b", "é", "x" * 70, "ok"]), min_size=1), ids=LEGAL_IDS)
@few
def test_the_answer_names_only_the_client_s_tools(upstream: str, client: str, names: set[str], ids: str) -> None:
    """A name that had to change for upstream is the client's again in the answer."""
    conversation = msgspec.structs.replace(ASKED, tools=tuple(Tool(name=name) for name in sorted(names)))
    rendered = dialects.rendered(upstream, conversation)
    events: list[Event] = [Started()]
    for index, name in enumerate(sorted(names)):
        fitted = rendered.names.to_upstream(name)
        assert fitted.encode() in rendered.body
        call = PartStarted(index, Kind.TOOL_CALL, id=f"{ids}{index}", name=fitted)
        events += [call, PartDelta(index, "{}"), PartFinished(index)]
    text = sent(upstream, [*events, Finished(Finish.TOOL_CALLS, Usage())])
    reader = dialects.decoder(upstream, rendered.names)
    reply = fold(check([*reader.feed(text), *reader.finish()]))
    assert {part.name for part in reply.parts} == names
