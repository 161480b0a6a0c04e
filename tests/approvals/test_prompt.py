"""A question on a terminal cannot be mistaken for anything else, and only yes means yes."""

import pytest

from copilot_asgi.approvals import Approved, Denied
from copilot_asgi.approvals.preview import preview
from copilot_asgi.approvals.prompt import PROMPT, read_answer, render
from copilot_asgi.exchange import Request
from copilot_asgi.wire.dialect import Dialect
from tests.approvals.questions import make_question

GOLDEN = """
A request waits for approval.
  caller   key-1
  account  octocat
  model    gpt-4o
  size     1,234 bytes of chat
  cost     about 1.50 credits
  | ]52;c;cm0gLXJmIH4=harmless
  | approved? y
  | Approved.
  |   caller   admin
  | Send it? y: yes, s: yes, for this session, n or Enter: no > y
  | pay ecila
  | aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
  | aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
  | aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
  | aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
  | aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
  | aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
"""

HOSTILE = (
    r"\u001b]52;c;cm0gLXJmIH4=\u0007\u001b[2J\u009b31mharmless\r\napproved? y\nApproved.\n  caller   admin\n"
    + PROMPT
    + r"y\u2028pay \u202eecila\u202c\n"
    + "a" * 10_000_000
)


def test_a_hostile_request_cannot_speak_as_the_prompt() -> None:
    """Escapes, clipboard writes, turned writing, ten megabytes and spoofed rows end up as short rows behind a bar."""
    body = b'{"model":"gpt-4o","user":"admin","messages":[{"role":"user","content":"' + HOSTILE.encode() + b'"}]}'
    text = preview(Request.decode(Dialect.CHAT, (), body)).replace("[2J31m", "")
    question = make_question(caller="key-1", preview=text, estimated_credits=1.5, body=b"x" * 1234)
    assert render(question, 80) == GOLDEN


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
@pytest.mark.parametrize("letter", ["a", "\u4f60", "\x1b", "\n", "\u202e"])
def test_rows_fit_the_terminal(columns: int, letter: str) -> None:
    """No row is as wide as the terminal, which would go on at its left edge, and there are few of them."""
    long = letter * 3_000
    rows = render(make_question(caller=long, account=long, model=long, preview=long), columns).split("\n")
    cells = [sum(1 if character.isascii() else 2 for character in row) for row in rows]
    assert max(cells[2:]) < columns
    assert len(rows) <= 7 + 12 + 1
    assert all(row.startswith("  | ") for row in rows[7:-1])


def test_what_is_not_known_is_said() -> None:
    """Without an account and an estimate the rows say so."""
    shown = render(make_question(account=None), 80)
    assert "  account  none\n" in shown
    assert "  cost     nobody knows\n" in shown


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"y\n", Approved()),
        (b"Y\n", Approved()),
        (b" y \n", Approved()),
        (b"s\n", Approved(remember=True)),
        (b"n\n", Denied()),
        (b"\n", Denied()),
        (b"", Denied()),
        (b"y", Denied()),
        (b"s\x04", Denied()),
        (b"yes\n", Approved()),
        (b"Session\n", Approved(remember=True)),
        (b"no\n", Denied()),
        (b"yes!\n", Denied()),
        (b"yy\n", Denied()),
        (b"y\x1b\n", Denied()),
        (b"\xff\n", Denied()),
    ],
)
def test_only_yes_means_yes(line: bytes, answer: Approved | Denied) -> None:
    """Two letters and their words approve, with Enter behind them; everything else denies."""
    assert read_answer(line) == answer
