"""Rules approve what needs no question; approvals that hold for a while end when they should."""

import pytest

from copilot_asgi.approvals import Approved, Denied, Question
from copilot_asgi.approvals.remembered import Remembered
from copilot_asgi.approvals.rules import AllowRules
from tests.approvals.questions import make_question

pytestmark = pytest.mark.anyio

ASKED = Denied("asked")


def ask(question: Question) -> Denied:
    """A plain function, as users write them."""
    return ASKED


async def ask_async(question: Question) -> Denied:
    return ASKED


ALLOWED = Approved()


@pytest.mark.parametrize(
    ("rules", "asked", "answer"),
    [
        ({}, {}, ASKED),
        ({"models": ("*-mini",)}, {"model": "gpt-5-mini"}, ALLOWED),
        ({"models": ("*-mini",)}, {"model": "GPT-5-MINI"}, ASKED),
        ({"models": ("*-mini",)}, {"model": "gpt-5-mini-pro"}, ASKED),
        ({"models": ("gpt-4o",)}, {"model": "gpt-4o"}, ALLOWED),
        ({"models": ("gpt-4o",)}, {"caller": "gpt-4o", "model": "m"}, ASKED),
        ({"callers": ("ci-*", "bob")}, {"caller": "bob"}, ALLOWED),
        ({"callers": ("ci-*", "bob")}, {"caller": "ci-1"}, ALLOWED),
        ({"callers": ("ci-*", "bob")}, {"caller": "bobby"}, ASKED),
        ({"callers": ("bob",)}, {"caller": "*"}, ASKED),
        ({"above_credits": 1.5}, {"estimated_credits": 1.5}, ALLOWED),
        ({"above_credits": 1.5}, {"estimated_credits": 0.0}, ALLOWED),
        ({"above_credits": 1.5}, {"estimated_credits": 1.51}, ASKED),
        ({"above_credits": 1.5}, {"estimated_credits": None}, ASKED),
        ({"above_credits": 1.5}, {"estimated_credits": float("nan")}, ASKED),
        ({"above_credits": 0.0}, {"estimated_credits": 0.0}, ASKED),
        ({"above_credits": 1.0, "models": ("m",)}, {"model": "m", "estimated_credits": 9.0}, ALLOWED),
        ({"above_credits": 1.0, "models": ("m",)}, {"model": "m", "estimated_credits": None}, ALLOWED),
        ({"max_size": 3, "models": ("*",)}, {"body": b"123"}, ALLOWED),
        ({"max_size": 3, "models": ("*",)}, {"body": b"1234"}, ASKED),
        ({"max_size": 3, "above_credits": 9.0}, {"body": b"1234", "estimated_credits": 1.0}, ASKED),
        ({"max_size": 3}, {"body": b"1"}, ASKED),
    ],
)
@pytest.mark.parametrize("approver", [ask, ask_async])
async def test_rules_allow_or_ask(rules: dict, asked: dict, answer: Approved | Denied, approver) -> None:
    """Any rule that matches is enough; what none matches, costs too much, is too large or unknown is asked about."""
    assert await AllowRules(approver, **rules)(make_question(**asked)) == answer


def test_an_approval_holds_for_its_time() -> None:
    """It ends after its lifetime, belongs to one caller and one model, and is renewed by being given again."""
    remembered = Remembered(10.0)
    remembered.add("bob", "m", 100.0)
    assert remembered.holds("bob", "m", 100.0)
    assert remembered.holds("bob", "m", 109.9)
    assert not remembered.holds("bob", "n", 105.0)
    assert not remembered.holds("eve", "m", 105.0)
    remembered.add("bob", "m", 105.0)
    assert remembered.holds("bob", "m", 114.9)
    assert not remembered.holds("bob", "m", 115.0)


def test_a_clock_that_goes_back_ends_an_approval() -> None:
    """Nobody can prolong it by setting the clock back, and going forth again does not revive it."""
    remembered = Remembered(10.0)
    remembered.add("bob", "m", 100.0)
    assert not remembered.holds("bob", "m", 99.0)
    assert not remembered.holds("bob", "m", 101.0)


def test_of_too_many_the_oldest_is_forgotten() -> None:
    """Memory is bounded; giving one again makes it the newest."""
    remembered = Remembered(10.0, most=2)
    for caller in ("a", "b", "a", "c"):
        remembered.add(caller, "m", 0.0)
    assert [remembered.holds(caller, "m", 1.0) for caller in "abc"] == [True, False, True]
