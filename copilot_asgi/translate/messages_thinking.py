"""How a Claude model is asked to think.

Rule: models that adapt get ``adaptive`` and an effort, the others a budget; an effort goes only to models that list
efforts. A model that lists nothing of thinking is not asked.

Source: https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking and .../adaptive-thinking.
"""

import msgspec

from copilot_asgi.translate.conversation import Effort, Reasoning
from copilot_asgi.translate.effort import budget_of, fitted_budget, level_of_budget, nearest
from copilot_asgi.translate.messages_cache import Block
from copilot_asgi.wire.models import Supports

__all__ = ["Plan", "plan", "thinks", "wants_to_think"]

# What Anthropic takes for granted where a model adapts and nothing is said.
_USUAL = Effort.HIGH


class Plan(msgspec.Struct, frozen=True):
    """``thinking`` and the effort of ``output_config``, where they are to be sent."""

    thinking: Block | None = None
    effort: Effort | None = None


def plan(reasoning: Reasoning, supports: Supports, *, max_tokens: int | None) -> Plan:
    """What to ask for, so that the model comes nearest to what was wanted."""
    effort = _effort(reasoning, supports)
    if not wants_to_think(reasoning):
        return Plan(effort=effort)
    if supports.adaptive_thinking:
        return Plan(_adaptive(reasoning), effort)
    budget = fitted_budget(_budget(reasoning), supports, max_tokens) if thinks(supports) else None
    return Plan(None if budget is None else {"type": "enabled", "budget_tokens": budget}, effort)


def wants_to_think(reasoning: Reasoning) -> bool:
    """Whether any thinking is asked for."""
    if reasoning.disabled or reasoning.effort is Effort.NONE:
        return False
    return reasoning.adaptive or reasoning.effort is not None or bool(reasoning.budget)


def _effort(reasoning: Reasoning, supports: Supports) -> Effort | None:
    wanted = reasoning.effort
    if wanted is None and reasoning.budget:
        wanted = level_of_budget(reasoning.budget)
    return None if wanted is None or wanted is Effort.NONE else nearest(wanted, supports.efforts)


def _budget(reasoning: Reasoning) -> int:
    if reasoning.effort is not None:
        return budget_of(reasoning.effort)
    return reasoning.budget or budget_of(_USUAL)


def _adaptive(reasoning: Reasoning) -> Block:
    if reasoning.show is None:
        return {"type": "adaptive"}
    return {"type": "adaptive", "display": "summarized" if reasoning.show else "omitted"}


def thinks(supports: Supports) -> bool:
    """Whether the catalog says anything of a budget for thinking."""
    return bool(supports.thinking or supports.max_thinking_budget or supports.min_thinking_budget)
