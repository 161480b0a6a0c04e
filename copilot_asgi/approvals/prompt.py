"""A question as rows on a terminal, and what a typed line means. Pure.

Rule: no row that comes from a request begins like one of ours. Long lines are broken here, as the terminal would go on
at its left edge; and of the answers only the two that say so mean yes.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from types import MappingProxyType

from copilot_asgi.approvals import Approved, Denied, Question
from copilot_asgi.approvals.preview import PREVIEW_LIMIT, one_line, printable

__all__ = ["PROMPT", "read_answer", "render"]

PROMPT = "Send it? y: yes, s: yes, for this session, n or Enter: no > "

_BAR = "  | "
_ROWS = 12
_LABEL_WIDTH = 11
_ANSWERS: Mapping[bytes, Approved] = MappingProxyType(
    {
        **dict.fromkeys((b"y", b"yes"), Approved()),
        **dict.fromkeys((b"s", b"session"), Approved(remember=True)),
    }
)


def render(question: Question, columns: int) -> str:
    """The facts of a question, each in one row, and how its text begins, each row behind a bar."""
    width = max(columns - 1, _LABEL_WIDTH + 2)
    return "\n".join(("", "A request waits for approval.", *_facts(question, width), *_quoted(question, width), ""))


def read_answer(line: bytes) -> Approved | Denied:
    """What a typed line means. One that did not end with Enter means no."""
    if not line.endswith(b"\n"):
        return Denied()
    return _ANSWERS.get(line.strip().lower(), Denied())


def _facts(question: Question, width: int) -> Iterator[str]:
    credits = question.estimated_credits
    facts = {
        "caller": question.caller,
        "account": question.account or "none",
        "model": question.model,
        "size": f"{question.size:,} bytes of {question.dialect.value}",
        "cost": "nobody knows" if credits is None else f"about {credits:,.2f} credits",
    }
    for label, value in facts.items():
        yield f"  {label:<{_LABEL_WIDTH - 2}}" + next(_rows(one_line(value, 512), width - _LABEL_WIDTH))


def _quoted(question: Question, width: int) -> Iterator[str]:
    lines = printable(question.preview, PREVIEW_LIMIT).split("\n")
    rows = (row for line in lines for row in _rows(line, width - len(_BAR)))
    return (_BAR + row for row in islice(rows, _ROWS))


def _rows(line: str, width: int) -> Iterator[str]:
    """``line`` in rows of at most ``width`` cells; a character beyond ASCII may take two."""
    row, used = "", 0
    for character in line:
        cells = 1 if character.isascii() else 2
        if used + cells > width:
            yield row
            row, used = "", 0
        row += character
        used += cells
    yield row
