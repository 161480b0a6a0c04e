"""Levels and budgets: the table, stepping down, and bounds that are never crossed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_asgi.translate.conversation import Effort
from copilot_asgi.translate.effort import budget_of, fitted_budget, level_of_budget, nearest
from copilot_asgi.wire.models import Supports

COUNTS = st.none() | st.integers(0, 200_000)


@pytest.mark.parametrize(
    ("budget", "level"),
    [
        (0, Effort.NONE),
        (1, Effort.LOW),
        (1024, Effort.LOW),
        (1025, Effort.MEDIUM),
        (8192, Effort.MEDIUM),
        (8193, Effort.HIGH),
        (24576, Effort.HIGH),
        (24577, Effort.XHIGH),
        (65536, Effort.XHIGH),
        (65537, Effort.MAX),
    ],
)
def test_a_budget_has_a_level(budget: int, level: Effort) -> None:
    """Every border of the table."""
    assert level_of_budget(budget) is level


@pytest.mark.parametrize("level", [level for level in Effort if level is not Effort.MINIMAL])
def test_a_level_survives_as_a_budget(level: Effort) -> None:
    """There and back is the same level; only minimal and low share a budget."""
    assert level_of_budget(budget_of(level)) is level


def test_a_higher_level_never_has_a_smaller_budget() -> None:
    """Budgets follow the order of the levels."""
    budgets = [budget_of(level) for level in Effort]
    assert budgets == sorted(budgets)


@pytest.mark.parametrize(
    ("asked", "listed", "given_level"),
    [
        (Effort.HIGH, ["low", "medium", "high"], Effort.HIGH),
        (Effort.MAX, ["low", "medium", "high"], Effort.HIGH),
        (Effort.XHIGH, ["max", "low"], Effort.LOW),
        (Effort.MINIMAL, ["low", "medium"], Effort.LOW),
        (Effort.LOW, ["high"], Effort.HIGH),
        (Effort.MINIMAL, ["none", "low"], Effort.LOW),
        (Effort.LOW, ["none"], None),
        (Effort.NONE, ["none", "low"], Effort.NONE),
        (Effort.NONE, ["low"], None),
        (Effort.HIGH, [], None),
        (Effort.HIGH, ["enormous"], None),
        (Effort.HIGH, ["enormous", "medium"], Effort.MEDIUM),
    ],
)
def test_a_level_steps_down_to_a_listed_one(asked: Effort, listed: list[str], given_level: Effort | None) -> None:
    """Down to the nearest, up only below the least, and no word at all where the model has none."""
    assert nearest(asked, listed) is given_level


@pytest.mark.parametrize(
    ("budget", "supports", "max_tokens", "fitted"),
    [
        (8000, Supports(), None, 8000),
        (100, Supports(), None, 1024),
        (100, Supports(min_thinking_budget=2048), None, 2048),
        (50_000, Supports(max_thinking_budget=32_000), None, 32_000),
        (50_000, Supports(max_thinking_budget=32_000), 16_000, 15_999),
        (8000, Supports(), 1025, 1024),
        (8000, Supports(), 1024, None),
        (8000, Supports(min_thinking_budget=4000), 3000, None),
        (8000, Supports(max_thinking_budget=0), None, None),
        (0, Supports(), None, None),
    ],
)
def test_a_budget_is_fitted(budget: int, supports: Supports, max_tokens: int | None, fitted: int | None) -> None:
    """Within the model's bounds and strictly below the limit of the answer, or no thinking at all."""
    assert fitted_budget(budget, supports, max_tokens) == fitted


@given(st.integers(-5, 200_000), COUNTS, COUNTS, COUNTS)
def test_a_fitted_budget_is_always_legal(budget: int, least: int | None, most: int | None, limit: int | None) -> None:
    """Whatever the catalog says, upstream could not refuse the result."""
    fitted = fitted_budget(budget, Supports(min_thinking_budget=least, max_thinking_budget=most), limit)
    if fitted is not None:
        assert fitted >= max(1024, least or 0)
        assert most is None or fitted <= most
        assert limit is None or fitted < limit
