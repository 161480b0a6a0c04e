"""Events as a Responses stream, and a whole reply as a response."""

import json
from collections import defaultdict
from typing import Any

import pytest
from dialects import server_sent
from sdk_models import accumulated, check_answer, check_event

from copilot_asgi.errors import StreamInterrupted
from copilot_asgi.translate.conversation import Conversation, Seal, SealOrigin, Tool
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
from copilot_asgi.translate.responses_freeform import FreeformText
from copilot_asgi.translate.responses_stream import ResponsesEncoder, render_reply
from copilot_asgi.translate.seals import unwrap, wrap
from copilot_asgi.wire.dialect import Dialect, ResponseProgress, error_event

TEXT, TOOL, THINKING, REFUSAL = Kind.TEXT, Kind.TOOL_CALL, Kind.THINKING, Kind.REFUSAL
USAGE = Usage(input=10, cache_read=4, cache_write=1, output=5, reasoning=2)
STOP = Finished(Finish.STOP, USAGE)
CALLS = Finished(Finish.TOOL_CALLS, USAGE)
LENGTH = Finished(Finish.LENGTH, USAGE)
PLAIN = Conversation(model="client-name", stream=True)
SEALS = Conversation(model="client-name", stream=True, include_seals=True)


def part(index: int, kind: Kind, *texts: str, seal: Seal | None = None, **named: Any) -> list[Event]:
    deltas = [PartDelta(index, text) for text in texts]
    return [PartStarted(index, kind, **named), *deltas, PartFinished(index, seal)]


def call(index: int, *texts: str, name: str = "f", **named: Any) -> list[Event]:
    return part(index, TOOL, *texts, id=f"call_{index}", name=name, **named)


def written(*events: Event, conversation: Conversation = PLAIN) -> list[dict[str, Any]]:
    """The data of each event; everything that is true of every stream is proven here."""
    encoder = ResponsesEncoder(conversation, id="x", created=5, prompt_tokens=7)
    wire = b"".join(encoder.encode(event) for event in check([Started("R1", "up"), *events]))
    found = server_sent("responses", wire)
    assert [event["event"] for event in found] == [event["data"]["type"] for event in found]
    data = [event["data"] for event in found]
    for each in data:
        check_event("responses", each)
    prove_grammar(data)
    reply = json.loads(render_reply(fold([Started(), *events]), conversation, id="x", created=5))
    check_answer("responses", reply)
    assert without_spans(reply) == without_spans(data[-1]["response"])
    if data[-1]["type"] == "response.completed":
        assert without(accumulated("responses", found), "parsed", "parsed_arguments") == data[-1]["response"]
    return data


def without_spans(response: dict[str, Any]) -> object:
    """Whole parts come at once, so their sources span all of it; nothing else may differ."""
    return without(response, "end_index")


def without(value: Any, *names: str) -> Any:
    if isinstance(value, list):
        return [without(each, *names) for each in value]
    if isinstance(value, dict):
        return {key: without(each, *names) for key, each in value.items() if key not in names}
    return value


def prove_grammar(data: list[dict[str, Any]]) -> None:
    assert [each["sequence_number"] for each in data] == list(range(len(data)))
    assert [each["type"] for each in data[:2]] == ["response.created", "response.in_progress"]
    assert {each["response"]["id"] for each in data if "response" in each} == {"resp_x"}
    begun = [each for each in data if each["type"] == "response.output_item.added"]
    assert [each["output_index"] for each in begun] == list(range(len(begun)))
    ended = {each["output_index"]: each["item"] for each in data if each["type"] == "response.output_item.done"}
    assert [ended[index] for index in range(len(begun))] == data[-1]["response"]["output"]
    ids = {index: item["id"] for index, item in ended.items()}
    assert len(set(ids.values())) == len(ids)
    pieces: dict[tuple[object, ...], str] = defaultdict(str)
    for each in data:
        place = (each.get("output_index"), each.get("content_index"), each.get("summary_index"))
        kind, _, end = each["type"].rpartition(".")
        if "item_id" in each:
            assert each["item_id"] == ids[each["output_index"]]
        if end == "delta":
            pieces[(kind, *place)] += each["delta"]
        if end == "done" and "item" not in each and "part" not in each:
            whole = next(each[name] for name in ("text", "refusal", "arguments", "input") if name in each)
            assert pieces.pop((kind, *place), "") == whole
    assert not pieces


def kinds(data: list[dict[str, Any]]) -> list[str]:
    return [each["type"].removeprefix("response.") for each in data[2:]]


def output(*events: Event, conversation: Conversation = PLAIN) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = written(*events, conversation=conversation)[-1]["response"]["output"]
    return found


def test_text() -> None:
    """The whole family of a message, in order."""
    data = written(*part(0, TEXT, "Hé", "llo"), STOP)
    assert kinds(data) == [
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    content = [{"type": "output_text", "text": "Héllo", "annotations": [], "logprobs": []}]
    expected = {"id": "msg_x_0", "type": "message", "role": "assistant", "status": "completed", "content": content}
    assert data[-1]["response"]["output"] == [expected]
    assert data[2]["item"] == {**expected, "status": "in_progress", "content": []}


def test_the_response_object() -> None:
    """The client's name of the model, what it asked for, our own id, and nothing stored."""
    echo = {
        "instructions": b'"Be brief."',
        "tools": b'[{"type":"function","name":"f"},{"type":"web_search"}]',
        "top_p": b"0.5",
    }
    conversation = Conversation(model="client-name", stream=True, echo=echo)
    first, second, last = written(STOP, conversation=conversation)
    assert first["response"] == second["response"]
    assert first["response"].items() >= {"status": "in_progress", "output": [], "usage": None}.items()
    assert last["response"] == {
        "id": "resp_x",
        "object": "response",
        "created_at": 5,
        "status": "completed",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": "client-name",
        "output": [],
        "instructions": "Be brief.",
        "max_output_tokens": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "reasoning": {"effort": None, "summary": None},
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [{"parameters": None, "strict": None, "type": "function", "name": "f"}, {"type": "web_search"}],
        "top_p": 0.5,
        "truncation": "disabled",
        "user": None,
        "previous_response_id": None,
        "store": False,
        "usage": {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 2},
            "total_tokens": 15,
        },
    }


@pytest.mark.parametrize(
    ("started", "finished", "tokens"),
    [(None, None, 7), (Usage(input=9), None, 9), (Usage(input=9), USAGE, 10), (None, USAGE, 10)],
)
def test_where_the_usage_comes_from(started: Usage | None, finished: Usage | None, tokens: int) -> None:
    """The end, else the beginning, else the estimate: clients insist on numbers."""
    encoder = ResponsesEncoder(PLAIN, id="x", created=5, prompt_tokens=7)
    wire = encoder.encode(Started(usage=started)) + encoder.encode(Finished(Finish.STOP, finished))
    assert server_sent("responses", wire)[-1]["data"]["response"]["usage"]["input_tokens"] == tokens


def test_parts_of_one_message() -> None:
    """Texts and refusals in a row share a message."""
    data = written(*part(0, TEXT, "a"), *part(1, TEXT, "b"), *part(2, REFUSAL, "c"), STOP)
    (item,) = data[-1]["response"]["output"]
    assert [part.get("text", part.get("refusal")) for part in item["content"]] == ["a", "b", "c"]
    assert [each["content_index"] for each in data if each["type"] == "response.content_part.added"] == [0, 1, 2]


def test_text_after_something_else_is_another_message() -> None:
    """Items keep the order of the parts."""
    events = [
        *part(0, TEXT, "a"),
        *call(1, "{}"),
        *part(2, TEXT, "b"),
        *part(3, THINKING, "c"),
        *part(4, TEXT, "d"),
        CALLS,
    ]
    assert [item["type"] for item in output(*events)] == ["message", "function_call", "message", "reasoning", "message"]


def test_thinking_that_leaves_nothing_leaves_no_item() -> None:
    """The message before it is done, and the next text begins another."""
    seal = Seal(SealOrigin.REDACTED, "r")
    found = output(*part(0, TEXT, "a"), *part(1, THINKING, "", seal=seal), *part(2, TEXT, "b"), STOP)
    assert [item["id"] for item in found] == ["msg_x_0", "msg_x_1"]


def test_annotations() -> None:
    """Numbered within their part, spanning the text so far; refusals cite nothing."""
    source = Annotation("https://e.com", "E")
    data = written(
        PartStarted(0, TEXT),
        PartDelta(0, "ab"),
        PartDelta(0, annotation=source),
        PartDelta(0, "c", Annotation("https://f.com")),
        PartFinished(0),
        PartStarted(1, REFUSAL),
        PartDelta(1, "No", source),
        PartFinished(1),
        STOP,
    )
    cited = [each for each in data if each["type"] == "response.output_text.annotation.added"]
    assert [each["annotation_index"] for each in cited] == [0, 1]
    first = {"type": "url_citation", "url": "https://e.com", "title": "E", "start_index": 0, "end_index": 2}
    second = {"type": "url_citation", "url": "https://f.com", "title": "", "start_index": 0, "end_index": 3}
    assert [each["annotation"] for each in cited] == [first, second]
    assert data[-1]["response"]["output"][0]["content"][0]["annotations"] == [first, second]


def test_a_source_of_a_thought_is_not_told() -> None:
    """Thoughts cite nothing, and lose no text that comes with a source."""
    source = Annotation("https://e.com")
    data = written(PartStarted(0, THINKING), PartDelta(0, "a"), PartDelta(0, "b", source), PartFinished(0), STOP)
    assert [each["delta"] for each in data if "delta" in each] == ["a", "b"]
    assert data[-1]["response"]["output"][0]["summary"] == [{"type": "summary_text", "text": "ab"}]


def test_thinking() -> None:
    """A summary of one part; the seal, with the text it signs, only for who asked for it."""
    seal = Seal(SealOrigin.SIGNATURE, "sig")
    events = [*part(0, THINKING, "a", "", "b", seal=seal), *part(1, TEXT, "x"), STOP]
    data = written(*events, conversation=SEALS)
    assert kinds(data)[:7] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    item = data[-1]["response"]["output"][0]
    assert item["summary"] == [{"type": "summary_text", "text": "ab"}]
    assert unwrap(item["encrypted_content"]) == (seal, "ab")
    assert "encrypted_content" not in output(*events)[0]


def test_a_seal_alone() -> None:
    """An item with nothing to show, for who asked for it."""
    seal = Seal(SealOrigin.REDACTED, "r")
    events = [*part(0, THINKING, seal=seal), *part(1, TEXT, "x"), STOP]
    expected = {"id": "rs_x_0", "type": "reasoning", "summary": [], "encrypted_content": wrap(seal)}
    assert output(*events, conversation=SEALS)[0] == expected
    assert [item["type"] for item in output(*events)] == ["message"]


def test_calls_side_by_side() -> None:
    """Each with its own family, and the final output is what was called done."""
    data = written(
        PartStarted(0, TOOL, "call_a", "f"),
        PartDelta(0, '{"a":'),
        PartStarted(1, TOOL, "call_b", "g"),
        PartDelta(1, "{}"),
        PartDelta(0, "1}"),
        PartFinished(0),
        PartFinished(1),
        CALLS,
    )
    assert [(each["output_index"], each["delta"]) for each in data if "delta" in each] == [
        (0, '{"a":'),
        (1, "{}"),
        (0, "1}"),
    ]
    first, second = data[-1]["response"]["output"]
    assert first == {
        "id": "fc_x_0",
        "type": "function_call",
        "call_id": "call_a",
        "name": "f",
        "arguments": '{"a":1}',
        "status": "completed",
    }
    assert (second["id"], second["arguments"]) == ("fc_x_1", "{}")


def test_a_call_is_done_once_something_follows() -> None:
    """So that half a call is never called whole; its arguments are told at once."""
    encoder = ResponsesEncoder(PLAIN, id="x", created=5, prompt_tokens=0)
    told = [encoder.encode(event) for event in [Started(), *call(0, "{}"), *call(1, "{}")]]
    assert b"function_call_arguments.done" in told[3]
    assert b"output_item.done" not in told[3]
    assert b"output_item.done" in told[4]


@pytest.mark.parametrize("texts", [(), ("",), (" ",)])
def test_a_call_without_arguments(texts: tuple[str, ...]) -> None:
    """It is an empty object, also to who reads the pieces."""
    (item,) = output(*call(0, *texts), CALLS)
    assert json.loads(item["arguments"]) == {}


NAMESPACED = Conversation(
    model="m",
    stream=True,
    tools=(
        Tool(name="ns__f", namespace="ns"),
        Tool(name="ns__c", namespace="ns", freeform=True),
        Tool(name="patch", freeform=True),
    ),
)


@pytest.mark.parametrize("name", ["f", "c"])
def test_a_tool_in_a_namespace_is_called_by_both_names(name: str) -> None:
    """As the client declared it."""
    (item,) = output(*call(0, '{"input":""}', name=f"ns__{name}"), CALLS, conversation=NAMESPACED)
    assert (item["name"], item["namespace"]) == (name, "ns")


RAW = '*** a\n"b" \\ \t語🧵\u2028 end'
WRAPPED = [
    json.dumps({"input": RAW}),
    json.dumps({"input": RAW}, ensure_ascii=False),
    ' {\n "input" : ' + json.dumps(RAW) + "\n}",
]


@pytest.mark.parametrize("wrapped", WRAPPED)
@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 1000])
def test_freeform_text_is_unwrapped_as_it_comes(wrapped: str, step: int) -> None:
    """The client sees the raw text, whatever pieces the function's JSON came in."""
    pieces = [wrapped[at : at + step] for at in range(0, len(wrapped), step)]
    data = written(*call(0, *pieces, name="patch"), CALLS, conversation=NAMESPACED)
    item = data[-1]["response"]["output"][0]
    assert (item["type"], item["id"], item["input"]) == ("custom_tool_call", "ctc_x_0", RAW)
    deltas = [each for each in data if each["type"] == "response.custom_tool_call_input.delta"]
    assert step > 7 or len(deltas) > 3


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("", ""),
        ("*** not JSON", "*** not JSON"),
        ('{"other":"x"}', '{"other":"x"}'),
        ('{"input":5}', '{"input":5}'),
        ('{"input":"abc', "abc"),
        ('{"input":"', ""),
        ('{"input":"abc\\', "abc"),
        ('{"input":"abc\\u12', "abc"),
        ('{"input":"a\\u0041b\\/\\b\\f\\r"}', "aAb/\b\f\r"),
        ('{"input":"\\ud83e\\uddf5"}', "🧵"),
        ('{"input":"a\\ud83e!"}', "a�!"),
        ('{"input":"a\\ud83e\\u0041"}', "a�A"),
        ('{"input":"a\\ud83e\\n"}', "a�\n"),
        ('{"input":"a\\udd41b"}', "a�b"),
        ('{"input":"a\\ud83e"}', "a�"),
    ],
)
def test_freeform_text_that_is_wrapped_in_something_else(raw: str, expected: str) -> None:
    """What cannot be unwrapped is the text itself; what breaks off ends there; a cut does not matter."""
    for step in (1, 2, 4, 1000):
        reader = FreeformText()
        told = "".join(reader.feed(raw[at : at + step]) for at in range(0, len(raw), step))
        assert told + reader.finish() == expected


def test_a_freeform_call_from_upstream() -> None:
    """It needs no unwrapping, and no declaration."""
    events = call(0, '{"input":', '"x"}', name="patch", freeform=True)
    assert output(*events, CALLS, conversation=NAMESPACED)[0]["input"] == '{"input":"x"}'
    assert output(*events, CALLS)[0]["type"] == "custom_tool_call"


@pytest.mark.parametrize(
    ("finish", "refused", "status", "reason"),
    [
        (Finish.STOP, False, "completed", None),
        (Finish.TOOL_CALLS, False, "completed", None),
        (Finish.STOP_WORD, False, "completed", None),
        (Finish.PAUSED, False, "completed", None),
        (Finish.LENGTH, False, "incomplete", "max_output_tokens"),
        (Finish.CONTEXT_FULL, False, "incomplete", "max_output_tokens"),
        (Finish.FILTER, False, "incomplete", "content_filter"),
        (Finish.FILTER, True, "completed", None),
    ],
)
def test_how_an_answer_ends(finish: Finish, refused: bool, status: str, reason: str | None) -> None:
    """The last event is named as the status, and usage is there in any case."""
    data = written(*part(0, REFUSAL if refused else TEXT, "x"), Finished(finish, USAGE))
    response = data[-1]["response"]
    assert (data[-1]["type"], response["status"]) == (f"response.{status}", status)
    assert response["incomplete_details"] == (reason and {"reason": reason})
    assert response["output"][0]["status"] == status
    assert response["usage"]["total_tokens"] == 15


def test_the_explanation_of_a_refusal_is_a_refusal() -> None:
    """There is something to show, so the answer is complete."""
    filtered = Finished(Finish.FILTER, USAGE, detail="Not that.")
    data = written(*part(0, TEXT, "x"), filtered)
    item = data[-1]["response"]["output"][0]
    assert item["content"][1] == {"type": "refusal", "refusal": "Not that."}
    assert data[-1]["response"]["status"] == "completed"
    assert len(output(*part(0, REFUSAL, "No."), filtered)[0]["content"]) == 1


@pytest.mark.parametrize(
    ("events", "statuses"),
    [
        ([*call(0, '{"a":1}'), *call(1, '{"a":')], ["completed", "incomplete"]),
        ([*call(0, '{"a":'), *call(1, '{"a":1}')], ["completed", "completed"]),
        ([*part(0, TEXT, "x"), *call(1, '{"a":')], ["completed", "incomplete"]),
        ([*call(0, '{"input":"a"}', name="patch")], ["completed"]),
        ([*call(0, '{"input":"a', name="patch")], ["incomplete"]),
        ([*call(0, "raw", name="patch", freeform=True)], ["incomplete"]),
    ],
)
def test_half_a_call_is_incomplete(events: list[Event], statuses: list[str]) -> None:
    """A client that runs what is completed must not run what was cut off."""
    found = output(*events, LENGTH, conversation=NAMESPACED)
    assert [item["status"] for item in found] == statuses


def test_calls_that_end_with_the_answer_are_judged_one_by_one() -> None:
    """Upstreams that close no call before the end leave all of them in doubt."""
    start = [PartStarted(index, TOOL, f"c{index}", "f") for index in range(2)]
    events = [*start, PartDelta(0, "{}"), PartDelta(1, "{"), PartFinished(0), PartFinished(1), LENGTH]
    assert [item["status"] for item in output(*events)] == ["completed", "incomplete"]


def test_an_error_event_fits_what_came_before() -> None:
    """The same response, the next number."""
    encoder = ResponsesEncoder(PLAIN, id="x", created=5, prompt_tokens=0)
    assert encoder.progress == ResponseProgress(-1, "resp_x", "client-name", 5)
    sent = encoder.encode(Started()) + encoder.encode(PartStarted(0, TEXT)) + encoder.encode(PartDelta(0, "a"))
    error = error_event(StreamInterrupted("cut"), Dialect.RESPONSES, request_id="r", progress=encoder.progress)
    data = [event["data"] for event in server_sent("responses", sent + error)]
    assert [each["sequence_number"] for each in data] == list(range(len(data)))
    assert (data[-1]["type"], data[-1]["response"]["id"]) == ("response.failed", "resp_x")


def test_the_keep_alive_is_a_comment() -> None:
    """No client reads it."""
    assert server_sent("responses", ResponsesEncoder.ping) == []
