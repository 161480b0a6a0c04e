"""A person at a real terminal answers, one question at a time; nothing typed before counts, and nobody is stuck."""

import locale
import os
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from copilot_asgi.approvals import Approved, Denied
from copilot_asgi.approvals.prompt import PROMPT
from copilot_asgi.approvals.terminal import TerminalApprover
from copilot_asgi.errors import ConfigError
from tests.approvals.questions import make_question

pytestmark = pytest.mark.anyio

PATIENCE = 20.0


@pytest.fixture(params=["asyncio", "uvloop", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """The loops that wait for a terminal in different ways."""
    return ("asyncio", {"use_uvloop": True}) if request.param == "uvloop" else request.param


class Screen:
    """A terminal and the person in front of it."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        self.device = os.ttyname(self.slave)
        self.shown = ""

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def look(self) -> str:
        """All that has been shown so far."""
        try:
            while True:
                self.shown += os.read(self.master, 65_536).decode("latin-1").replace("\r\n", "\n")
        except BlockingIOError:
            return self.shown

    async def until(self, text: str, *, times: int = 1) -> None:
        """Wait until ``text`` has been shown that often."""
        with anyio.fail_after(PATIENCE):
            while self.look().count(text) < times:
                await anyio.wait_readable(self.master)

    def close(self) -> None:
        for descriptor in (self.master, self.slave):
            if descriptor >= 0:
                os.close(descriptor)


@pytest.fixture
def screen() -> Iterator[Screen]:
    screen = Screen()
    yield screen
    screen.close()


async def answers(screen: Screen, *typed: str) -> list[Approved | Denied]:
    """Ask as many questions as there are lines to type, and type each when it was asked."""
    approver, given = TerminalApprover(screen.device), []

    async def ask(number: int) -> None:
        given.append(await approver(make_question(str(number))))

    for number, keys in enumerate(typed, 1):
        async with anyio.create_task_group() as group:
            group.start_soon(ask, number)
            await screen.until(PROMPT, times=number)
            screen.type(keys)
    return given


@pytest.mark.parametrize(
    ("keys", "answer", "told"),
    [
        ("y\n", Approved(), "Approved."),
        ("Y\r", Approved(), "Approved."),
        ("s\n", Approved(remember=True), "Approved."),
        ("n\n", Denied(), "Denied."),
        ("\n", Denied(), "Denied."),
        ("yes please\n", Denied(), "Denied."),
        ("n\x7fy\n", Approved(), "Approved."),
        ("\x04", Denied(), "Denied."),
        ("y\x04\x04", Denied(), "Denied."),
    ],
)
async def test_the_answer_is_one_line(screen: Screen, keys: str, answer: Approved | Denied, told: str) -> None:
    """``y`` and ``s`` with Enter approve, anything else denies; the terminal says which it was."""
    assert await answers(screen, keys) == [answer]
    await screen.until(told)


async def test_the_question_is_shown(screen: Screen) -> None:
    """Who, which model, how large, what it costs, and how it begins behind a bar."""
    approver = TerminalApprover(screen.device)
    question = make_question(caller="bob", preview="approved? y\n\x1b[2Jthere", estimated_credits=2, body=b"x" * 2000)
    async with anyio.create_task_group() as group:
        group.start_soon(approver, question)
        await screen.until(PROMPT)
        screen.type("\n")
    assert screen.shown.startswith(
        "\nA request waits for approval.\n"
        "  caller   bob\n"
        "  account  octocat\n"
        "  model    gpt-4o\n"
        "  size     2,000 bytes of chat\n"
        "  cost     about 2.00 credits\n"
        "  | approved? y\n"
        "  | [2Jthere\n" + PROMPT
    )


async def test_what_was_typed_before_does_not_count(screen: Screen) -> None:
    """A line that was waiting when the question came is forgotten."""
    screen.type("y\ny\ny")
    assert await answers(screen, "n\n", "y\n") == [Denied(), Approved()]


async def test_a_question_nobody_waits_for_is_withdrawn(screen: Screen) -> None:
    """The terminal says so, no thread stays behind, and the next answer belongs to the next question."""
    approver, threads = TerminalApprover(screen.device), threading.active_count()
    async with anyio.create_task_group() as group:
        group.start_soon(approver, make_question())
        await screen.until(PROMPT)
        screen.type("half a line, y")
        group.cancel_scope.cancel()
    await screen.until("Withdrawn: the time is up, or the client left.")
    assert threading.active_count() == threads
    given = []

    async def ask() -> None:
        given.append(await approver(make_question()))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await screen.until(PROMPT, times=2)
        screen.type("s\n")
    assert given == [Approved(remember=True)]


async def test_one_question_at_a_time(screen: Screen) -> None:
    """Each is shown when the one before is answered or withdrawn, and gets its own answer."""
    approver, given = TerminalApprover(screen.device), {}
    scopes = {name: anyio.CancelScope() for name in ("first", "second", "third", "fourth")}

    async def ask(name: str) -> None:
        with scopes[name]:
            given[name] = await approver(make_question(caller=name))

    async with anyio.create_task_group() as group:
        group.start_soon(ask, "first")
        await screen.until(PROMPT)
        for name in ("second", "third", "fourth"):
            group.start_soon(ask, name)
            await anyio.wait_all_tasks_blocked()
        assert "second" not in screen.look()
        scopes["second"].cancel()
        screen.type("y\n")
        await screen.until(PROMPT, times=2)
        assert "caller   third" in screen.shown
        scopes["third"].cancel()
        await screen.until(PROMPT, times=3)
        screen.type("n\n")
    assert given == {"first": Approved(), "fourth": Denied()}
    assert "caller   second" not in screen.look()


async def test_a_stopped_terminal_holds_up_nobody_else(screen: Screen) -> None:
    """While output is stopped the question waits without blocking the loop, and can be withdrawn; then it goes on."""
    approver, given = TerminalApprover(screen.device), []
    termios.tcflow(screen.slave, termios.TCOOFF)
    async with anyio.create_task_group() as group:
        group.start_soon(approver, make_question())
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()

    async def ask() -> None:
        given.append(await approver(make_question()))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        assert screen.look() == ""
        termios.tcflow(screen.slave, termios.TCOON)
        await screen.until(PROMPT)
        screen.type("y\n")
    assert given == [Approved()]


async def test_a_terminal_that_is_gone_approves_nothing(screen: Screen) -> None:
    """When it is closed while a question waits, that is no answer; nor is it for each question later."""
    approver, given = TerminalApprover(screen.device), []

    async def ask() -> None:
        try:
            given.append(await approver(make_question()))
        except OSError:
            given.append(Denied())

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await screen.until(PROMPT)
        os.close(screen.master)
        screen.master = -1
    await ask()
    assert given == [Denied(), Denied()]


async def test_a_line_that_another_program_read_is_waited_for_again(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The terminal had something to read, but it is gone: that is no answer."""
    read, stolen = os.read, []

    def sometimes(descriptor: int, size: int) -> bytes:
        data = read(descriptor, size)
        if descriptor != screen.master and not stolen:
            stolen.append(data)
            screen.type("n\n")
            raise BlockingIOError
        return data

    monkeypatch.setattr(os, "read", sometimes)
    assert await answers(screen, "y\n") == [Denied()]
    assert stolen == [b"y\n"]


async def test_a_server_that_goes_into_the_background_gets_no_answer(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is typed then is for the program in front; reading it would stop the server."""
    front = [os.getpgrp()]
    monkeypatch.setattr(os, "tcgetpgrp", lambda terminal: front[0])
    approver, given = TerminalApprover(screen.device), []

    async def ask() -> None:
        given.append(await approver(make_question()))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await screen.until(PROMPT)
        front[0] += 1
        screen.type("y\n")
    assert given == [Denied()]


async def test_letters_are_written_as_the_terminal_reads_them(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal that reads Latin-1 a letter that it lacks does not become a control character."""
    monkeypatch.setattr(locale, "getencoding", lambda: "latin-1")
    approver = TerminalApprover(screen.device)
    async with anyio.create_task_group() as group:
        group.start_soon(approver, make_question(preview="\u00e9 \u015b[31m"))
        await screen.until(PROMPT)
        screen.type("\n")
    assert "  | \u00e9 ?[31m\n" in screen.shown


@pytest.mark.parametrize("device", ["/dev/null", "/nowhere/at/all", __file__])
def test_without_a_terminal_there_is_a_way_out(device: str) -> None:
    """What is no terminal is refused when the app is made, and the message says what to set instead."""
    with pytest.raises(ConfigError, match="approval=queue"):
        TerminalApprover(device)


def test_where_terminals_work_otherwise_there_is_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without POSIX terminals the message says what to set instead."""
    monkeypatch.setitem(sys.modules, "termios", None)
    with pytest.raises(ConfigError, match="approval=queue"):
        TerminalApprover()


PROGRAM = """
import anyio, os, sys
from copilot_asgi.approvals.terminal import TerminalApprover
from copilot_asgi.errors import ConfigError
sys.path.insert(0, sys.argv[3])
from tests.approvals.questions import make_question

def main():
    try:
        print(anyio.run(TerminalApprover(), make_question()), flush=True)
    except ConfigError as error:
        print(error, flush=True)

if sys.argv[1] in ("controlled", "background"):
    os.open(sys.argv[2], os.O_RDWR)  # the first terminal that a session opens controls it
if sys.argv[1] == "background":
    if child := os.fork():
        _, status = os.waitpid(child, os.WUNTRACED)
        print("stopped" if os.WIFSTOPPED(status) else "ended")
        sys.exit()
    os.setpgid(0, 0)
main()
"""


@pytest.mark.servers
@pytest.mark.parametrize(
    ("way", "as_input", "output"),
    [
        ("controlled", True, "Approved(remember=True)\n"),
        ("controlled", False, "Approved(remember=True)\n"),
        ("only input", True, "Approved(remember=True)\n"),
        ("background", True, "Denied(reason='the server runs in the background of its terminal')\nended\n"),
        ("none", False, "approval: there is no terminal to ask on."),
    ],
)
async def test_the_terminal_of_the_process_is_found(screen: Screen, way: str, as_input: bool, output: str) -> None:
    """It is its input or what controls it; in the background nobody is asked and nothing stops."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", PROGRAM, way, screen.device, str(root)]
    source = screen.slave if as_input else subprocess.DEVNULL
    process = await anyio.open_process(
        command, stdin=source, stdout=subprocess.PIPE, stderr=None, start_new_session=True, cwd=root
    )
    printed = b""
    with anyio.fail_after(2 * PATIENCE):
        async with process:
            if output.startswith("Approved"):
                await screen.until(PROMPT)
                screen.type("s\n")
            assert process.stdout is not None
            async for piece in process.stdout:
                printed += piece
    assert printed.decode().startswith(output)
