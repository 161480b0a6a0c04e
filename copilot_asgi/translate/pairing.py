"""Tool calls and their results, in the order that every dialect accepts.

Rule: each call is answered exactly once, in the user turn right behind it, results first and in the order of the calls;
whatever stood between waits until after them. What had to be mended is named.

One answer never serves two calls, and an id is never made up for a result alone: that would put words into the mouth
of the wrong tool.
"""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import TypeVar

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.conversation import Loss, Part, Role, Text, ToolCall, ToolResult, Turn

__all__ = ["paired"]

_NO_RESULT = "No result was recorded for this tool call."
_ORPHAN = "Result of an earlier call of a tool ({}):"

_DOUBLE = Loss("tool_result (a second one for a call)", matters=True)
_UNCALLED = Loss("tool_result (without its call)", matters=True)
_UNANSWERED = Loss("tool_call (without a result)", matters=True)

# Where a part stands: the number of its turn, and its number there.
_Place = tuple[int, int]
_Named = TypeVar("_Named", ToolCall, ToolResult)


class _Pairs(msgspec.Struct, frozen=True):
    """``answers`` by the place of the call; ``taken`` are the places of results that answer one, or did."""

    answers: dict[_Place, ToolResult]
    taken: set[_Place]
    losses: list[Loss]


def paired(turns: tuple[Turn, ...], *, complete: bool) -> tuple[tuple[Turn, ...], tuple[Loss, ...]]:
    """The same conversation with every tool call answered where upstream looks for it, and what that took.

    ``complete`` is False where the last call may stay open (Responses). Raises ``BadRequest`` for a result in the last
    user turn that answers no call, and for parts without ids that cannot be told apart.
    """
    named = tuple(_named(tuple(_merged(turns))))
    pairs = _pairs(named)
    ordered = tuple(_merged(_ordered(named, pairs, complete=complete)))
    return ordered, tuple(dict.fromkeys(pairs.losses))


def _merged(turns: Iterable[Turn]) -> Iterator[Turn]:
    """Neighbours of one role as one turn, turns without a part left out."""
    role, parts = None, list[Part]()
    for turn in turns:
        if not turn.parts:
            continue
        if turn.role is not role:
            if role is not None:
                yield Turn(role, tuple(parts))
            role, parts = turn.role, []
        parts.extend(turn.parts)
    if role is not None:
        yield Turn(role, tuple(parts))


def _named(turns: tuple[Turn, ...]) -> Iterator[Turn]:
    """The turns with an id for every call and result that came without one, by their order behind the same call."""
    open_ids: list[str] = []
    answered = True
    for number, turn in enumerate(turns):
        if turn.role is Role.ASSISTANT:
            _refuse_unless(answered or not open_ids or not _nameless(turn, ToolCall))
            fresh = [_made_up(number, position) for position in range(len(_nameless(turn, ToolCall)))]
            open_ids, answered = (fresh, False) if fresh else (open_ids, answered)
            yield _with_ids(turn, ToolCall, fresh)
            continue
        count = len(_nameless(turn, ToolResult))
        _refuse_unless(count in {0, 0 if answered else len(open_ids)})
        answered = answered or count > 0
        yield _with_ids(turn, ToolResult, open_ids if count else [])
