"""Tests of what reaches the terminal."""

import io
import sys

import pytest

from copilot_asgi.cli import terminal
from copilot_asgi.cli.commands import run


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain text, ünïcödé 🙂", "plain text, ünïcödé 🙂"),
        ("\x1b]0;title\x07\x1b[2J", "]0;title[2J"),
        ("one\ntwo\r\nthree\tfour\u2028five", "one two  three four five"),
        ("user\u202egnp.exe\u2066\u200f", "usergnp.exe"),
        ("\x9b31m\x85", "31m"),
    ],
)
def test_nothing_from_outside_steers_the_terminal(text, cleaned, capsys) -> None:
    """Controls and direction marks are taken out, and a text stays one line."""
    assert terminal.plain(text) == cleaned
    terminal.say(text)
    terminal.note(text)
    assert capsys.readouterr() == (cleaned + "\n", cleaned + "\n")


def test_markup_and_emoji_codes_are_only_text(capsys) -> None:
    """What looks like markup of the terminal library is printed as it is."""
    terminal.say("[bold red]x[/] :smile: http://a.example/[link]")
    assert capsys.readouterr().out == "[bold red]x[/] :smile: http://a.example/[link]\n"


def test_long_lines_are_not_broken(capsys) -> None:
    """A line to paste stays one line."""
    terminal.say("x" * 500)
    assert capsys.readouterr().out == "x" * 500 + "\n"


def test_json_is_ascii(capsys) -> None:
    """Even characters that would turn the writing around come out as escapes."""
    terminal.say_json({"a": "\u202e\x9b", "b": [1, None]})
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\\u202e" in out


def test_tables_keep_names_whole(capsys) -> None:
    """Without a terminal, a table is as wide as it needs to be."""
    terminal.say_table(("name", "text"), [("n" * 70, "t" * 70), ("\x1b[1mx", "[b]y")])
    lines = capsys.readouterr().out.splitlines()
    assert "n" * 70 in lines[1]
    assert "t" * 70 in lines[1]
    assert lines[2].split() == ["[1mx", "[b]y"]


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("no_color", "colored"), [("", True), ("1", False)])
def test_colours_follow_the_terminal_and_no_color(no_color, colored, monkeypatch) -> None:
    """A terminal gets colours unless NO_COLOR is set."""
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    terminal.warn("careful")
    assert ("\x1b[1;33m" in screen.getvalue()) is colored


def test_names_that_the_terminal_cannot_write_do_not_end_the_program(monkeypatch) -> None:
    """On an encoding without the character, an escape is printed instead."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252"))
    assert run(["config", "show", "--user-agent", "abc"]) == 0
    terminal.say("\u4f60")
    sys.stdout.flush()
    assert b"\\u4f60" in raw.getvalue()


def test_an_output_that_is_no_file_is_left_as_it_is(monkeypatch) -> None:
    """Hosts may put anything with ``write`` in the place of stdout."""
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    assert run(["config", "path"]) == 0
    assert output.getvalue().startswith("settings  ")
