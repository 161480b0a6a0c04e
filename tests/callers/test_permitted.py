"""Which models a caller may use."""

import pytest

from copilot_asgi.callers.permitted import permitted
from copilot_asgi.exchange import Caller


@pytest.mark.parametrize(
    ("models", "model_id", "expected"),
    [
        ((), "gpt-4o", True),
        (("gpt-4o",), "gpt-4o", True),
        (("GPT-4o",), "gpt-4O", True),
        (("gpt-4o",), "gpt-4o-mini", False),
        (("gpt-*",), "gpt-4o-mini", True),
        (("*-mini", "claude-*"), "claude-haiku-4.5", True),
        (("*-mini", "claude-*"), "gpt-4o", False),
        (("gpt-[45]*",), "gpt-5-mini", True),
        (("gpt-[45]*",), "gpt-3.5-turbo", False),
        (("gpt-?",), "gpt-44", False),
        (("gpt.4o",), "gpt-4o", False),
        (("*",), "anything", True),
    ],
)
def test_patterns(models: tuple[str, ...], model_id: str, expected: bool) -> None:
    """Shell patterns of whole ids, in any case of letters (L5); no patterns are no limits."""
    assert permitted(Caller(name="alice", models=models), model_id) is expected


def test_without_a_caller_nothing_was_agreed() -> None:
    """A pipeline without *identify* has no terms to keep."""
    assert permitted(None, "gpt-4o")
