"""How a native Messages request asks Copilot's Claude models to think, and for which form of answer.

Rule: what the model takes stays as it is. Otherwise the nearest that it does take: models that adapt refuse budgets,
the others refuse to adapt, and an effort or a schema goes only to models that list them.
"""

import msgspec

from copilot_asgi.translate.conversation import Effort, Reasoning
from copilot_asgi.translate.effort import level_of_budget, nearest
from copilot_asgi.translate.messages_reading import Count, Place
from copilot_asgi.translate.messages_thinking import plan, thinks
from copilot_asgi.wire.models import Supports
from copilot_asgi.wire.shallow import NULL, Fields, is_null

__all__ = ["thinking_changes"]

_KEPT = frozenset({"effort", "format"})
_ABOUT = frozenset({"thinking", "output_config", "output_format"})
_ADAPTING = frozenset({"adaptive", "between_tools"})


class _Thinking(msgspec.Struct, omit_defaults=True):
    type: str
    budget_tokens: Count | None = None
    display: str | None = None


_thinking = msgspec.json.Decoder(_Thinking)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_limit = msgspec.json.Decoder(Count | None)
_word = msgspec.json.Decoder(str | None)


def thinking_changes(given: Fields, supports: Supports) -> dict[str, bytes | None]:
    """The changes to ``thinking``, ``output_config`` and ``output_format``. Raises ``BadRequest`` for a wrong type."""
    if _ABOUT.isdisjoint(given):
        return {}
    config = Place("output_config", []).read(_object, given.get("output_config", msgspec.Raw(b"{}")))
    changes: dict[str, bytes | None] = {}
    wanted = {**config}
    if "output_format" in given:  # what the key was called while it was a beta
        changes["output_format"] = None
        wanted.setdefault("format", given["output_format"])
    if "thinking" in given:
        asked = Place("thinking", []).read(_thinking, given["thinking"])
        answer = _fitted(asked, _effort_of(config), supports, _max_tokens(given))
        if answer != asked:
            changes["thinking"] = None if answer is None else msgspec.json.encode(answer)
        if answer is not None and answer.type == "adaptive" and asked.budget_tokens:
            wanted.setdefault("effort", msgspec.Raw(msgspec.json.encode(level_of_budget(asked.budget_tokens))))
    wanted = _fitted_config(wanted, supports)
    if wanted != config or ("output_config" in given and not wanted):
        changes["output_config"] = msgspec.json.encode(wanted) if wanted else None
    return changes


def _max_tokens(given: Fields) -> int | None:
    limit: int | None = Place("max_tokens", []).read(_limit, given.get("max_tokens", NULL))
    return limit


def _effort_of(config: Fields) -> Effort | None:
    """The effort asked for, if it is one that we know."""
    word = Place("output_config.effort", []).read(_word, config.get("effort", NULL))
    return next((effort for effort in Effort if effort.value == word), None)


def _fitted(asked: _Thinking, effort: Effort | None, supports: Supports, max_tokens: int | None) -> _Thinking | None:
    """The thinking that the model takes; ``None`` when it takes none."""
    adapts = asked.type in _ADAPTING
    if not adapts and (asked.type != "enabled" or not (supports.adaptive_thinking or thinks(supports))):
        return asked
    # A budget is what the client chose; an effort beside it is for the model to weigh.
    reasoning = Reasoning(effort=effort, adaptive=True) if adapts else Reasoning(budget=asked.budget_tokens or 1)
    wanted = plan(reasoning, supports, max_tokens=max_tokens).thinking
    if wanted is None:
        return None
    budget = wanted.get("budget_tokens")
    return _Thinking(str(wanted["type"]), budget if isinstance(budget, int) else None, asked.display)


def _fitted_config(config: dict[str, msgspec.Raw], supports: Supports) -> dict[str, msgspec.Raw]:
    kept = {name: value for name, value in config.items() if name in _KEPT and not is_null(value)}
    if not supports.structured_outputs:
        kept.pop("format", None)
    asked = _effort_of(kept)
    if not supports.efforts:
        kept.pop("effort", None)
    elif asked is not None and (fitted := nearest(asked, supports.efforts)) is not asked:
        kept["effort"] = msgspec.Raw(msgspec.json.encode(fitted))
    return kept
