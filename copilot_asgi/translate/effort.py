"""How hard to think: levels and token budgets, and what of them a model takes.

Rule: never more than was asked for, except where the model's least is more.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from copilot_asgi.translate.conversation import Effort
from copilot_asgi.wire.models import Supports

__all__ = ["budget_of", "fitted_budget", "level_of_budget", "nearest"]

_BUDGETS: Mapping[Effort, int] = MappingProxyType(
    {
        Effort.NONE: 0,
        Effort.MINIMAL: 1024,
        Effort.LOW: 1024,
        Effort.MEDIUM: 8192,
        Effort.HIGH: 24576,
        Effort.XHIGH: 32768,
        Effort.MAX: 128_000,
    }
)
# The largest budget that still counts as that level; anything above is the most.
_UP_TO: tuple[tuple[int, Effort], ...] = (
    (0, Effort.NONE),
    (1024, Effort.LOW),
    (8192, Effort.MEDIUM),
    (24576, Effort.HIGH),
    (65536, Effort.XHIGH),
)
_ORDER = tuple(Effort)
# Anthropic's least budget: https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking
_LEAST_BUDGET = 1024


def level_of_budget(budget: int) -> Effort:
    """The level that a budget of thinking tokens stands for."""
    return next((level for most, level in _UP_TO if budget <= most), Effort.MAX)


def budget_of(effort: Effort) -> int:
    """The budget of thinking tokens that a level stands for; 0 is no thinking."""
    return _BUDGETS[effort]


def nearest(effort: Effort, listed: Sequence[str]) -> Effort | None:
    """The strongest listed level that is not above ``effort``, else the weakest listed one.

    No thinking at all is what it was asked for only: nothing steps down to it, and it steps up to nothing. ``None``
    when the model lists nothing that fits.
    """
    if effort is Effort.NONE:
        return effort if effort.value in listed else None
    known = [level for level in _ORDER[1:] if level.value in listed]
    below = [level for level in known if _ORDER.index(level) <= _ORDER.index(effort)]
    return below[-1] if below else next(iter(known), None)


def fitted_budget(budget: int, supports: Supports, max_tokens: int | None) -> int | None:
    """``budget`` within the model's bounds and below ``max_tokens``; ``None`` when there is no room to think."""
    least = max(_LEAST_BUDGET, supports.min_thinking_budget or 0)
    bounds = [max(budget, least)]
    if supports.max_thinking_budget is not None:
        bounds.append(supports.max_thinking_budget)
    if max_tokens is not None:
        bounds.append(max_tokens - 1)
    fitted = min(bounds)
    return fitted if budget > 0 and fitted >= least else None
