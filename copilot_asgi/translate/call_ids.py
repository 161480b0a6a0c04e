"""An id of its own for every tool call, and the same id for its result.

Rule: what has an id of its own keeps it. One that is missing or used again is made from where it stands, so the same
history always gets the same ids (and hits the same prompt cache). No id is ever made for a result alone.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import sha256

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.conversation import Part, Role, ToolCall, ToolResult, Turn

__all__ = ["identified"]


def identified(turns: Iterable[Turn]) -> tuple[Turn, ...]:
    """The turns, neighbours of one role merged already, with ids that tell every call from every other.

    Raises ``BadRequest`` when calls and results without ids do not come in equal numbers.
    """
    named = tuple(_named(turns))
    ids = [part.id for turn in named for part in turn.parts if isinstance(part, ToolCall)]
    return named if len(ids) == len(set(ids)) else tuple(_distinct(named))


def _named(turns: Iterable[Turn]) -> Iterator[Turn]:
    """Calls without an id get one, results without one get that of the calls in front of them, in order."""
    waiting: list[str] = []
    asked = 0
    for number, turn in enumerate(turns):
        count = sum(_is_nameless(part) for part in turn.parts)
        if turn.role is Role.ASSISTANT:
            _refuse_unless_none_or_all(len(waiting), asked)
            waiting, asked = [_made_up("call", f"{number}/{position}") for position in range(count)], count
            given = waiting
        elif count > len(waiting):
            raise _uncountable()
        else:
            given, waiting = waiting[:count], waiting[count:]
        ids = iter(given)
        yield Turn(turn.role, tuple(_with_id(part, ids) for part in turn.parts)) if count else turn
    _refuse_unless_none_or_all(len(waiting), asked)


def _is_nameless(part: Part) -> bool:
    return (isinstance(part, ToolCall) and not part.id) or (isinstance(part, ToolResult) and not part.call_id)


def _with_id(part: Part, ids: Iterator[str]) -> Part:
    match part:
        case ToolCall(id=""):
            return msgspec.structs.replace(part, id=next(ids))
        case ToolResult(call_id=""):
            return msgspec.structs.replace(part, call_id=next(ids))
    return part


def _refuse_unless_none_or_all(waiting: int, asked: int) -> None:
    if waiting not in {0, asked}:
        raise _uncountable()


def _uncountable() -> BadRequest:
    return BadRequest("Tool calls and tool results without ids do not come in equal numbers.", code="invalid_value")


def _made_up(start: str, place: str) -> str:
    return f"{start}_{sha256(place.encode()).hexdigest()[:24]}"


def _distinct(turns: Iterable[Turn]) -> Iterator[Turn]:
    """Some clients count calls anew in each turn; there a result belongs to the latest turn that used its id."""
    again = _Again()
    for turn in turns:
        again.next_turn()
        yield Turn(turn.role, tuple(again.of(part) for part in turn.parts))


class _Again:
    """The ids that stand for those used more than once."""

    def __init__(self) -> None:
        self._uses: Counter[str] = Counter()
        self._waiting: dict[str, list[str]] = {}
        self._here: dict[str, list[str]] = {}

    def next_turn(self) -> None:
        """From here on results belong to the calls so far."""
        self._waiting |= self._here
        self._here = {}

    def of(self, part: Part) -> Part:
        """The part with its id, or the one that stands for it now."""
        match part:
            case ToolCall(id=original):
                self._uses[original] += 1
                use = self._uses[original]
                fresh = original if use == 1 else _made_up(original[:32], f"{original}/{use}")
                self._here.setdefault(original, []).append(fresh)
                return msgspec.structs.replace(part, id=fresh)
            case ToolResult(call_id=original) if original in self._waiting:
                ids = self._waiting[original]
                return msgspec.structs.replace(part, call_id=ids.pop(0) if len(ids) > 1 else ids[0])
        return part
