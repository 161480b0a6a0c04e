"""Calls and results: each call answered once, right behind it, results first; the rest mended by rule or refused."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.conversation import Loss, Part, Role, Text, ToolCall, ToolResult, Turn
from copilot_asgi.translate.pairing import paired

CALL_LOSS = Loss("tool_call", matters=True)
RESULT_LOSS = Loss("tool_result", matters=True)


def user(*parts: Part) -> Turn:
    return Turn(Role.USER, parts)


def assistant(*parts: Part) -> Turn:
    return Turn(Role.ASSISTANT, parts)


def system(*parts: Part) -> Turn:
    return Turn(Role.SYSTEM, parts)


def call(name: str, *, id: str | None = None) -> ToolCall:
    return ToolCall(name if id is None else id, name, "{}")


def result(name: str, text: str = "ok") -> ToolResult:
    return ToolResult(name, (Text(text),))


def missing(name: str) -> ToolResult:
    return ToolResult(name, (Text("No result was recorded for this tool call."),), is_error=True)


HI, GO, YES = Text("hi"), Text("go on"), Text("yes")
A, B = call("a"), call("b")
RA, RB = result("a"), result("b")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([user(HI)], [user(HI)], id="no tools"),
        pytest.param([user(HI), user(), user(GO)], [user(HI, GO)], id="neighbours merge over an empty turn"),
        pytest.param(
            [assistant(A), assistant(YES, B), user(RA), user(RB)],
            [assistant(A, YES, B), user(RA, RB)],
            id="neighbours merge",
        ),
        pytest.param([assistant(A, B), user(RB, RA)], [assistant(A, B), user(RA, RB)], id="results in call order"),
        pytest.param([assistant(A), user(HI, RA)], [assistant(A), user(RA, HI)], id="results before text"),
        pytest.param(
            [assistant(A, B), user(RA), user(HI), user(RB, GO)],
            [assistant(A, B), user(RA, RB, HI, GO)],
            id="text between results waits",
        ),
        pytest.param(
            [assistant(A), system(HI), user(RA, GO)],
            [assistant(A), user(RA), system(HI), user(GO)],
            id="system text between waits",
        ),
        pytest.param(
            [assistant(A), user(HI), assistant(YES), user(RA)],
            [assistant(A), user(RA, HI), assistant(YES)],
            id="a late result moves up",
        ),
        pytest.param(
            [assistant(A), user(HI), assistant(B), user(RA, RB)],
            [assistant(A), user(RA, HI), assistant(B), user(RB)],
            id="each result behind its own call",
        ),
    ],
)
@pytest.mark.parametrize("complete", [True, False])
def test_turns_are_put_in_order(before: list[Turn], after: list[Turn], complete: bool) -> None:
    """Nothing is lost and nothing is reported when only the order was free."""
    assert paired(tuple(before), complete=complete) == (tuple(after), ())


@pytest.mark.parametrize("complete", [True, False])
def test_a_call_that_was_never_answered_gets_an_error(complete: bool) -> None:
    """Every upstream insists on a result once the conversation went on."""
    turns = (user(HI), assistant(A, B), user(RB, GO))
    expected = (user(HI), assistant(A, B), user(missing("a"), RB, GO))
    assert paired(turns, complete=complete) == (expected, (CALL_LOSS,))


@pytest.mark.parametrize("behind", [(), (system(HI),)])
def test_the_last_call_may_stay_open_where_upstream_allows(behind: tuple[Turn, ...]) -> None:
    """Responses takes a conversation that ends with a call; the others want a result."""
    turns = (user(HI), assistant(A), *behind)
    assert paired(turns, complete=False) == (turns, ())
    assert paired(turns, complete=True) == ((user(HI), assistant(A), user(missing("a")), *behind), (CALL_LOSS,))


def test_of_two_results_the_later_counts() -> None:
    """A client that corrects a result means the second; the loss is named once."""
    turns = (assistant(A), user(result("a", "1"), result("a", "2")), assistant(YES), user(result("a", "3")))
    assert paired(turns, complete=True) == ((assistant(A), user(result("a", "3")), assistant(YES)), (RESULT_LOSS,))


def test_a_result_without_a_call_in_the_last_user_turn_is_refused() -> None:
    """The client lost the call; the message names the id."""
    with pytest.raises(BadRequest, match="'b' belongs to no tool call"):
        paired((user(HI), assistant(A), user(RA, RB)), complete=True)


def test_a_result_before_its_call_has_no_call() -> None:
    """Order counts: it answers nothing that was asked before it."""
    with pytest.raises(BadRequest, match="'a'"):
        paired((user(RA), assistant(A)), complete=False)


def test_an_old_result_without_a_call_becomes_text() -> None:
    """Long conversations are cut by clients; what the tool said stays readable."""
    turns = (user(RA, HI), assistant(YES), user(GO))
    expected = (user(Text("Result of an earlier tool call (a):"), Text("ok"), HI), assistant(YES), user(GO))
    assert paired(turns, complete=True) == (expected, (RESULT_LOSS,))


def test_parts_without_ids_are_paired_by_order() -> None:
    """Both get one id, the same in every request that repeats this history, and another in another turn."""
    turns = (
        assistant(call("f", id=""), A, call("f", id="")),
        user(result("", "1"), HI, RA, result("", "2")),
        assistant(call("f", id="")),
        user(result("", "3")),
    )
    (first, answers, second, last), losses = paired(turns, complete=True)
    one, _, two = [part.id for part in first.parts]  # type: ignore[union-attr]
    (three,) = [part.id for part in second.parts]  # type: ignore[union-attr]
    assert len({one, two, three, "a"}) == 4
    assert answers == user(result(one, "1"), RA, result(two, "2"), HI)
    assert last == user(result(three, "3"))
    assert losses == ()
    assert paired(turns[:2], complete=True)[0] == (first, answers)


def test_calls_without_ids_may_be_unanswered() -> None:
    """No result at all is like any other call without one."""
    (_, answer), losses = paired((assistant(call("f", id="")),), complete=True)
    assert answer.parts[0].is_error  # type: ignore[union-attr]
    assert losses == (CALL_LOSS,)


@pytest.mark.parametrize(
    ("turns", "texts_by_call"),
    [
        ((assistant(A), user(result("a", "1")), assistant(A), user(result("a", "2"))), ["1", "2"]),
        ((assistant(A, A), user(result("a", "1"), result("a", "2"))), ["1", "2"]),
        ((assistant(A), user(HI), assistant(YES, A), user(result("a", "2"))), ["No result", "2"]),
        ((assistant(A, A), user(result("a", "1"), HI, result("a", "2"), result("a", "3"))), ["1", "3"]),
    ],
)
def test_an_id_used_again_becomes_another(turns: tuple[Turn, ...], texts_by_call: list[str]) -> None:
    """The first call keeps it; results belong to the latest turn that used the id, there in order."""
    ordered, _ = paired(turns, complete=True)
    calls = [part.id for turn in ordered for part in turn.parts if isinstance(part, ToolCall)]
    results = [part for turn in ordered for part in turn.parts if isinstance(part, ToolResult)]
    assert calls[0] == "a"
    assert calls[1] != "a"
    assert [part.call_id for part in results] == calls
    for part, text in zip(results, texts_by_call, strict=True):
        assert part.parts[0].text.startswith(text)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "turns",
    [
        (user(result("")),),
        (assistant(A), user(result(""))),
        (assistant(call("f", id="")), user(result(""), result(""))),
        (assistant(call("f", id=""), call("f", id="")), user(result(""))),
        (assistant(call("f", id=""), call("f", id="")), user(result("")), assistant(YES), user(result(""))),
    ],
)
def test_unequal_numbers_without_ids_are_refused(turns: tuple[Turn, ...]) -> None:
    """Nobody can tell which result belongs to which call."""
    with pytest.raises(BadRequest, match="without ids"):
        paired(turns, complete=True)


IDS = st.sampled_from(["", "a", "b", "c"])
TEXTS = st.builds(Text, st.sampled_from(["x", "y"]))
TURNS = st.one_of(
    st.builds(assistant, TEXTS | st.builds(ToolCall, IDS, st.just("f"), st.just("{}"))),
    st.builds(user, TEXTS | st.builds(ToolResult, IDS, st.tuples(TEXTS))),
    st.builds(system, TEXTS),
)


@given(st.lists(TURNS, max_size=12).map(tuple))
def test_whatever_comes_in_goes_out_in_order_or_is_refused(turns: tuple[Turn, ...]) -> None:
    """Results stand first behind their calls, one each, in order; texts survive; a second pass changes nothing."""
    try:
        ordered, _ = paired(turns, complete=True)
    except BadRequest:
        return
    assert all(left.role is not right.role for left, right in pairwise(ordered))
    for number, turn in enumerate(ordered):
        calls = [part.id for part in turn.parts if isinstance(part, ToolCall)]
        if calls:
            answers = ordered[number + 1].parts[: len(calls)]
            assert [part.call_id for part in answers if isinstance(part, ToolResult)] == calls
    count = sum(isinstance(part, ToolCall) for turn in ordered for part in turn.parts)
    assert count == sum(isinstance(part, ToolResult) for turn in ordered for part in turn.parts)
    assert texts(turns) <= texts(ordered)
    assert paired(ordered, complete=True) == (ordered, ())


def texts(turns: tuple[Turn, ...]) -> int:
    return sum(isinstance(part, Text) for turn in turns for part in turn.parts)
