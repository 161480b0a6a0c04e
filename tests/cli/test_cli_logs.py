"""Tests of log lines."""

import logging

import msgspec
import pytest

from copilot_asgi.cli import logs
from copilot_asgi.config import LogFormat, LogLevel
from copilot_asgi.secret import Secret

TOKEN = "ghu_" + "b" * 36
KEY = Secret("my own key")


@pytest.fixture(autouse=True)
def _restored():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def raised() -> None:
    raise ValueError(f"{TOKEN} and {KEY.reveal()}")


@pytest.mark.parametrize("form", LogFormat)
def test_no_secret_is_logged_not_even_in_a_traceback(form, capsys) -> None:
    """Tokens by their look and our own keys by value are masked in messages, arguments and tracebacks."""
    logs.configure(LogLevel.INFO, form, secrets=[KEY])
    try:
        raised()
    except ValueError:
        logging.getLogger("x").exception("failed with %s and %s", TOKEN, KEY.reveal())
    shown = capsys.readouterr().err
    assert TOKEN not in shown
    assert KEY.reveal() not in shown
    assert shown.count("***") == 4
    assert "raised()" in shown


def test_text_lines_cannot_be_faked(capsys) -> None:
    """A message with line breaks and controls stays visibly one message."""
    logs.configure(LogLevel.INFO, LogFormat.TEXT)
    logging.getLogger("x").info("one\n2030-01-01 INFO x: two\x1b[2J\r")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("INFO    x: one")
    assert second == "    2030-01-01 INFO x: two\ufffd[2J\ufffd"


def test_json_lines_are_one_object_each(capsys) -> None:
    """Time with zone, level, logger, message; an exception only where there is one."""
    logs.configure(LogLevel.INFO, LogFormat.JSON)
    logging.getLogger("x").warning("line\nbreak")
    line = msgspec.json.decode(capsys.readouterr().err)
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "warning", "logger": "x", "message": "line\nbreak"}


def test_the_level_holds_and_requests_of_libraries_are_quiet(capsys) -> None:
    """Debug lines are left out at info, and HTTP libraries speak from warning on."""
    logs.configure(LogLevel.INFO, LogFormat.TEXT)
    logging.getLogger("x").debug("no")
    for name in logs.QUIET:
        logging.getLogger(name).info("no")
    assert capsys.readouterr().err == ""


def test_configuring_twice_logs_once(capsys) -> None:
    """The second call replaces what the first one set up."""
    logs.configure(LogLevel.INFO, LogFormat.TEXT)
    logs.configure(LogLevel.INFO, LogFormat.TEXT)
    logging.getLogger("x").info("once")
    assert capsys.readouterr().err.count("once") == 1
