"""Tool calls and their results, in the order that every dialect accepts.

Rule: each call is answered exactly once, in the user turn right behind it, results first and in the order of the calls;
whatever stood between waits until after them. What had to be mended is named.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, groupby

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.call_ids import identified
from copilot_asgi.translate.conversation import Loss, Part, Role, Text, ToolCall, ToolResult, Turn

__all__ = ["paired"]

_NO_RESULT = "No result was recorded for this tool call."
_ORPHAN = "Result of an earlier tool call ({}):"
_CALL_LOSS = Loss("tool_call", matters=True)
_RESULT_LOSS = Loss("tool_result", matters=True)

# Where a part stands: the number of its turn, and its number there.
_Place = tuple[int, int]


class _Pairs(msgspec.Struct, frozen=True):
    """``answers`` by the place of the call they belong to, and the places of results without a call."""

    answers: dict[_Place, ToolResult]
    orphans: set[_Place]
    losses: list[Loss]


def paired(turns: tuple[Turn, ...], *, complete: bool) -> tuple[tuple[Turn, ...], tuple[Loss, ...]]:
    """The same conversation with every tool call answered where upstream looks for it, and what was mended for that.

    ``complete`` is False where calls of the last turn may stay open (Responses). Raises ``BadRequest`` for a result in
    the last user turn that answers no call, and for parts without ids that cannot be told apart.
    """
    named = identified(_merged(turns))
    pairs = _pairs(named)
    ordered = tuple(_merged(_ordered(named, pairs, complete=complete)))
    return ordered, tuple(dict.fromkeys(pairs.losses))


def _merged(turns: Iterable[Turn]) -> Iterator[Turn]:
    """Neighbours of one role as one turn; turns without parts are left out."""
    for role, neighbours in groupby((turn for turn in turns if turn.parts), key=lambda turn: turn.role):
        yield Turn(role, tuple(chain.from_iterable(turn.parts for turn in neighbours)))


def _pairs(turns: tuple[Turn, ...]) -> _Pairs:
    """Which result answers which call, the call first; of two results the later one counts."""
    pairs = _Pairs({}, set(), [])
    called: dict[str, _Place] = {}
    last_user = max((number for number, turn in enumerate(turns) if turn.role is Role.USER), default=0)
    for number, turn in enumerate(turns):
        for position, part in enumerate(turn.parts):
            match part:
                case ToolCall():
                    called[part.id] = (number, position)
                case ToolResult() if call := called.get(part.call_id):
                    pairs.losses.extend([_RESULT_LOSS] if call in pairs.answers else [])
                    pairs.answers[call] = part
                case ToolResult() if number == last_user:
                    raise BadRequest(
                        f"The tool result for '{part.call_id}' belongs to no tool call of the conversation.",
                        code="invalid_value",
                    )
                case ToolResult():
                    pairs.losses.append(_RESULT_LOSS)
                    pairs.orphans.add((number, position))
                case _:
                    pass
    return pairs


def _ordered(turns: tuple[Turn, ...], pairs: _Pairs, *, complete: bool) -> Iterator[Turn]:
    """Each turn without its results, and behind each assistant turn the results of its calls."""
    last = max((number for number, turn in enumerate(turns) if turn.role is not Role.SYSTEM), default=0)
    for number, turn in enumerate(turns):
        yield Turn(turn.role, tuple(_without_results(number, turn, pairs)))
        if complete or number != last:
            yield Turn(Role.USER, tuple(_results(number, turn, pairs)))


def _results(number: int, turn: Turn, pairs: _Pairs) -> Iterator[ToolResult]:
    """The result of each call of a turn; one that says so where there is none."""
    for position, part in enumerate(turn.parts):
        if isinstance(part, ToolCall):
            answer = pairs.answers.get((number, position))
            pairs.losses.extend([] if answer else [_CALL_LOSS])
            yield answer or ToolResult(part.id, (Text(_NO_RESULT),), is_error=True)


def _without_results(number: int, turn: Turn, pairs: _Pairs) -> Iterator[Part]:
    for position, part in enumerate(turn.parts):
        if not isinstance(part, ToolResult):
            yield part
        elif (number, position) in pairs.orphans:
            yield Text(_ORPHAN.format(part.call_id))
            yield from part.parts
