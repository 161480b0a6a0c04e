"""What an Ollama client reads: one JSON object a line, or one whole."""

import json
from collections.abc import Callable
from datetime import datetime

import pytest
from generators import answers
from hypothesis import given, settings

from copilot_asgi.translate.conversation import Conversation, Reasoning, Role, Seal, SealOrigin, Text, Turn
from copilot_asgi.translate.events import (
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
from copilot_asgi.translate.ollama_stream import (
    OllamaEncoder,
    OllamaGenerateEncoder,
    render_generate_loaded,
    render_generate_reply,
    render_loaded,
    render_reply,
)

CREATED = 1_760_000_000
HEAD = {"model": "gpt-4.1", "created_at": "2025-10-09T08:53:20Z"}
DURATIONS = {"total_duration", "load_duration", "prompt_eval_duration", "eval_duration"}
USAGE = Usage(input=20, output=30, reasoning=12)


def conversation(*, show: bool | None = None) -> Conversation:
    reasoning = None if show is None else Reasoning(show=show)
    asked = Turn(Role.USER, (Text("hello"),))
    return Conversation(model="gpt-4.1", stream=True, turns=(asked,), reasoning=reasoning)


def whole_part(index: int, kind: Kind, *texts: str, **fields: object) -> list[Event]:
    start = PartStarted(index, kind, **fields)  # type: ignore[arg-type]
    return [start, *(PartDelta(index, text) for text in texts), PartFinished(index)]


def answer(
    *parts: list[Event], finish: Finish = Finish.STOP, usage: Usage | None = USAGE, detail: str = ""
) -> list[Event]:
    events = [Started(id="up"), *(event for part in parts for event in part), Finished(finish, usage, detail)]
    return list(check(events))


def text(index: int, *texts: str) -> list[Event]:
    return whole_part(index, Kind.TEXT, *texts)


def thinking(index: int, *texts: str) -> list[Event]:
    return whole_part(index, Kind.THINKING, *texts)


def call(index: int, *arguments: str, name: str = "f") -> list[Event]:
    return whole_part(index, Kind.TOOL_CALL, *arguments, id=f"call_{index}", name=name)


def called(index: int, arguments: object) -> dict:
    return {"id": f"call_{index}", "function": {"name": "f", "arguments": arguments}}


def lines(wire: bytes) -> list[dict]:
    assert wire.endswith(b"\n")
    return [json.loads(line) for line in wire.decode().removesuffix("\n").split("\n")]


def streamed(
    events: list[Event], *, asked: Conversation | None = None, kind: type[OllamaEncoder] = OllamaEncoder
) -> list[dict]:
    encoder = kind(asked or conversation(), id="r1", created=CREATED, prompt_tokens=7)
    told = lines(b"".join(encoder.encode(event) for event in events))
    assert all({"model": line["model"], "created_at": line["created_at"]} == HEAD for line in told)
    assert [line["done"] for line in told] == [*[False] * (len(told) - 1), True]
    return told


def whole(
    events: list[Event], *, asked: Conversation | None = None, render: Callable[..., bytes] = render_reply
) -> dict:
    reply: dict = json.loads(render(fold(events), asked or conversation(), id="r1", created=CREATED))
    return reply


def message(content: str = "", **fields: object) -> dict:
    return {"role": "assistant", "content": content, **fields}


def test_a_stream() -> None:
    """Each piece of text is a line, the call is one when it is whole, and the last line counts."""
    events = answer(text(0, "he", "llo"), call(1, '{"a":', "\n 1}"), finish=Finish.TOOL_CALLS)
    first, second, third, last = streamed(events)
    assert first == {**HEAD, "message": message("he"), "done": False}
    assert second["message"] == message("llo")
    assert third == {**HEAD, "message": message(tool_calls=[called(1, {"a": 1})]), "done": False}
    assert last.keys() - DURATIONS == {*HEAD, "message", "done", "done_reason", "prompt_eval_count", "eval_count"}
    assert last["message"] == message()
    assert (last["done_reason"], last["prompt_eval_count"], last["eval_count"]) == ("stop", 20, 30)


def test_durations_are_numbers_that_clients_can_divide_by() -> None:
    """Nobody measured them, but speed is shown as tokens by duration."""
    for told in (streamed(answer())[-1], whole(answer())):
        assert all(isinstance(told[name], int) and told[name] > 0 for name in DURATIONS)


def test_the_time_is_rfc_3339() -> None:
    """Clients parse it."""
    assert datetime.fromisoformat(whole(answer())["created_at"]).timestamp() == CREATED


def test_a_whole_answer() -> None:
    """Text, thinking and calls in one message."""
    events = answer(thinking(0, "hm"), text(1, "hi"), call(2), call(3, "{}"), finish=Finish.TOOL_CALLS)
    reply = whole(events)
    assert reply["message"] == message("hi", thinking="hm", tool_calls=[called(2, {}), called(3, {})])
    assert (reply["done"], reply["done_reason"]) == (True, "stop")


def test_generate() -> None:
    """The older way to ask reads the same under other keys."""
    events = answer(thinking(0, "hm"), text(1, "hi"))
    first, second, last = streamed(events, kind=OllamaGenerateEncoder)
    assert first == {**HEAD, "response": "", "thinking": "hm", "done": False}
    assert second == {**HEAD, "response": "hi", "done": False}
    assert (last["response"], last["done_reason"]) == ("", "stop")
    reply = whole(events, render=render_generate_reply)
    assert (reply["response"], reply["thinking"], reply["done"]) == ("hi", "hm", True)
    assert "message" not in reply


@pytest.mark.parametrize("show", [None, True])
def test_thinking_is_shown(show: bool | None) -> None:
    """It has a key of its own, so it is told unless the client turned it off; two thoughts stay two paragraphs."""
    events = answer(thinking(0, "a", "b"), thinking(1, "c"), thinking(2, ""), thinking(3, "d"), text(4, "hi"))
    told = [line["message"].get("thinking") for line in streamed(events, asked=conversation(show=show))]
    assert told == ["a", "b", "\n\nc", "\n\nd", None, None]
    assert whole(events, asked=conversation(show=show))["message"]["thinking"] == "ab\n\nc\n\nd"


def test_thinking_that_was_turned_off_is_hidden() -> None:
    """Some upstreams think all the same."""
    events = answer(thinking(0, "hm"), text(1, "hi"))
    first, _ = streamed(events, asked=conversation(show=False))
    assert first["message"] == message("hi")


def test_a_seal_is_not_told() -> None:
    """There is no key for it."""
    events = [PartStarted(0, Kind.THINKING), PartFinished(0, Seal(SealOrigin.CHAT, "OPAQUE"))]
    assert len(streamed(answer(events))) == 1


def test_refusals_are_text() -> None:
    """There is no other key for them."""
    first, _ = streamed(answer(whole_part(0, Kind.REFUSAL, "no")))
    assert first["message"] == message("no")


@pytest.mark.parametrize("arguments", ["[1]", "{broken", '"text"'])
def test_odd_arguments_are_wrapped(arguments: str) -> None:
    """A call whose arguments are no object is told at the end, for its result must come back."""
    events = answer(call(0, arguments), finish=Finish.TOOL_CALLS)
    first, _ = streamed(events)
    [found] = first["message"]["tool_calls"]
    assert found["function"]["arguments"].keys() <= {"value", "raw"}
    assert whole(events)["message"]["tool_calls"] == [found]


@pytest.mark.parametrize("finish", [Finish.LENGTH, Finish.CONTEXT_FULL])
def test_a_call_that_was_cut_off_was_never_made(finish: Finish) -> None:
    """The answer ended in its arguments; nobody could run it."""
    [last] = streamed(answer(call(0, '{"a": 1'), finish=finish))
    assert (last["message"], last["done_reason"]) == (message(), "length")


REASONS = [
    (Finish.STOP, "stop"),
    (Finish.TOOL_CALLS, "stop"),
    (Finish.LENGTH, "length"),
    (Finish.CONTEXT_FULL, "length"),
    (Finish.STOP_WORD, "stop"),
    (Finish.FILTER, "content_filter"),
    (Finish.PAUSED, "stop"),
]


@pytest.mark.parametrize(("finish", "reason"), REASONS)
def test_finish_reasons(finish: Finish, reason: str) -> None:
    """Each end in Ollama's words, the same in a stream; none is forgotten."""
    assert whole(answer(text(0, "hi"), finish=finish))["done_reason"] == reason
    assert streamed(answer(text(0, "hi"), finish=finish))[-1]["done_reason"] == reason
    assert {each for each, _ in REASONS} == set(Finish)


def test_an_answer_that_was_withheld_says_why() -> None:
    """Where nothing was said, the explanation is; behind a text it is not."""
    events = answer(finish=Finish.FILTER, detail="rude")
    assert streamed(events)[0]["message"] == message("rude")
    assert whole(events)["message"] == message("rude")
    said = answer(text(0, "hi"), finish=Finish.FILTER, detail="rude")
    assert whole(said)["message"] == message("hi")


def test_usage_that_upstream_never_told() -> None:
    """A stream tells the estimate it was given, or what the first event said; a whole answer an estimate of its own."""
    assert streamed(answer(usage=None))[-1]["prompt_eval_count"] == 7
    assert streamed([Started(usage=Usage(input=3)), Finished(Finish.STOP)])[-1]["prompt_eval_count"] == 3
    assert whole(answer(usage=None))["prompt_eval_count"] > 0


@pytest.mark.parametrize("kind", [OllamaEncoder, OllamaGenerateEncoder])
def test_a_ping_is_a_line_that_says_nothing(kind: type[OllamaEncoder]) -> None:
    """Clients read every line as JSON, an empty one too."""
    [line] = lines(kind(conversation(), id="r1", created=CREATED, prompt_tokens=0).ping)
    assert line == {**HEAD, **({"message": message()} if kind is OllamaEncoder else {"response": ""}), "done": False}


def test_loading_a_model() -> None:
    """A request that asks nothing is answered without upstream."""
    ended = {"done": True, "done_reason": "load"}
    assert json.loads(render_loaded("gpt-4.1", created=CREATED)) == {**HEAD, "message": message(), **ended}
    assert json.loads(render_generate_loaded("gpt-4.1", created=CREATED)) == {**HEAD, "response": "", **ended}


@given(events=answers())
@settings(max_examples=80, deadline=None)
def test_the_stream_and_the_whole_answer_say_the_same(events: list[Event]) -> None:
    """Whatever the model says in whatever pieces, both ways to read it agree."""
    told, reply = streamed(events), whole(events)
    pieces = [line["message"] for line in told]
    assert "".join(piece["content"] for piece in pieces) == reply["message"]["content"]
    assert "".join(piece.get("thinking", "") for piece in pieces) == reply["message"].get("thinking", "")
    assert [each for piece in pieces for each in piece.get("tool_calls", [])] == reply["message"].get("tool_calls", [])
    assert told[-1]["done_reason"] == reply["done_reason"]
