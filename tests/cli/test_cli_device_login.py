"""Tests of the picture that a person sees while signing in."""

import base64
import io
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from copilot_asgi.cli import clipboard
from copilot_asgi.cli.device_login import Prompter
from copilot_asgi.credentials.device_flow import DeviceCode
from copilot_asgi.secret import Secret

pytestmark = pytest.mark.anyio

CODE = DeviceCode(
    user_code="ABCD-EFGH",
    verification_uri="https://github.com/login/device",
    expires_in=90.0,
    interval=5.0,
    device_code=Secret("not to be shown"),
)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await anyio.lowlevel.checkpoint()


@pytest.fixture
def attach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], Screen]:
    """Makes stderr a terminal, in the test itself because capturing replaces it before; there are no programs."""

    def attached() -> Screen:
        screen = Screen()
        monkeypatch.setattr(sys, "stderr", screen)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("NO_COLOR", "1")
        return screen

    return attached


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(anyio, "sleep", clock.sleep)
    return clock


async def test_the_countdown_goes_down_and_goes_away(attach: Callable[[], Screen], clock: Clock) -> None:
    """It is drawn once a second over itself, and wiped at the end."""
    screen = attach()
    prompter = Prompter(browser=False, clock=clock)
    await prompter.show(CODE)
    await prompter.sleep(2.5)
    drawn = screen.getvalue().split("\r")[1:]
    assert [text[:29] for text in drawn] == [f"Waiting for GitHub, 1:{s} left" for s in ("30", "29", "28")]
    prompter.clear()
    assert screen.getvalue().endswith("\r" + " " * len(drawn[-1]) + "\r")
    assert "not to be shown" not in screen.getvalue()


async def test_without_a_terminal_there_is_one_plain_line(clock: Clock, capsys) -> None:
    """Nothing is drawn over anything, and nothing needs to be wiped."""
    prompter = Prompter(browser=False, clock=clock)
    await prompter.show(CODE)
    await prompter.sleep(2.5)
    prompter.clear()
    assert capsys.readouterr().err.splitlines() == [
        "",
        "  Open   https://github.com/login/device",
        "  Enter  ABCD-EFGH",
        "",
        "Waiting for GitHub, at most 1:30.",
    ]


@pytest.mark.parametrize("opens", [True, False])
async def test_a_browser_opens_the_address_when_asked_for(opens, attach: Callable[[], Screen], monkeypatch) -> None:
    """When none can be opened, that is said."""
    screen = attach()
    opened: list[str] = []

    def browse(address: str) -> bool:
        opened.append(address)
        return opens

    monkeypatch.setattr(webbrowser, "open", browse)
    await Prompter(browser=True).show(CODE)
    assert opened == [CODE.verification_uri]
    assert ("No browser" in screen.getvalue()) is not opens


async def test_the_code_is_copied_by_the_terminal(attach: Callable[[], Screen]) -> None:
    """OSC 52 works over SSH, too."""
    screen = attach()
    await clipboard.copy("ABCD-EFGH")
    assert screen.getvalue() == f"\x1b]52;c;{base64.b64encode(b'ABCD-EFGH').decode()}\a"


async def test_the_code_is_copied_by_the_first_program_found(attach: Callable[[], Screen], tmp_path: Path) -> None:
    """It gets the code on its standard input."""
    attach()
    target = tmp_path / "copied"
    program = tmp_path / "wl-copy"
    program.write_text(f"#!{sys.executable}\nimport sys\nopen({str(target)!r}, 'w').write(sys.stdin.read())\n")
    program.chmod(0o700)
    await clipboard.copy("ABCD-EFGH")
    assert target.read_text() == "ABCD-EFGH"


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 3\n", "no program at all"])
async def test_a_clipboard_that_fails_is_no_error(text, attach: Callable[[], Screen], tmp_path: Path) -> None:
    """The terminal has the code anyway, and no word of the program's."""
    screen = attach()
    program = tmp_path / "pbcopy"
    program.write_text(text)
    program.chmod(0o700)
    await clipboard.copy("ABCD-EFGH")
    assert screen.getvalue() == f"\x1b]52;c;{base64.b64encode(b'ABCD-EFGH').decode()}\a"


async def test_without_a_terminal_nothing_is_copied(tmp_path: Path, monkeypatch, capsys) -> None:
    """A script's run leaves the clipboard alone."""
    await clipboard.copy("ABCD-EFGH")
    assert capsys.readouterr().err == ""
