"""Ask whoever sits at the terminal that the server was started in.

Rule: one question at a time, and only what is typed after it counts. Nothing here blocks: who gives up waiting leaves
no thread behind that would eat the next answer.
"""

import locale
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import anyio

from copilot_asgi.approvals import Approved, Denied, Question
from copilot_asgi.approvals.prompt import PROMPT, read_answer, render
from copilot_asgi.approvals.turns import Turns
from copilot_asgi.errors import ConfigError

__all__ = ["TerminalApprover"]

_COLUMNS = 80  # of a terminal that does not say
_LONGEST_LINE = 4096
_WITHDRAWN = "\nWithdrawn: the time is up, or the client left.\n"
_BACKGROUND = "the server runs in the background of its terminal"


class TerminalApprover:
    """An approver that shows each question on the terminal and reads one line.

    ``device`` is the terminal's path, by default the one that the process was started in. Raises ``ConfigError`` where
    there is none. A terminal that is gone later makes asking raise ``OSError``.
    """

    def __init__(self, device: str | None = None) -> None:
        self._device = _find_terminal(device)
        self._turns = Turns()

    async def __call__(self, question: Question) -> Approved | Denied:
        """What the person says. When cancelled the terminal says that the question is withdrawn."""
        return await self._turns.run(partial(_ask, self._device, question))


async def _ask(device: str, question: Question) -> Approved | Denied:
    with _opened(device) as terminal:
        return await _converse(terminal, question) if _in_front(terminal) else Denied(_BACKGROUND)


async def _converse(terminal: int, question: Question) -> Approved | Denied:
    try:
        await _write(terminal, render(question, _columns(terminal)))
        _forget_typed(terminal)
        await _write(terminal, PROMPT)
        answer = read_answer(await _read_line(terminal))
    except BaseException:
        _note(terminal, _WITHDRAWN)
        raise
    _note(terminal, "Approved.\n" if isinstance(answer, Approved) else "Denied.\n")
    return answer


async def _read_line(terminal: int) -> bytes:
    """One line; nothing when the person ended the input, or put the server into the background."""
    while True:
        await anyio.wait_readable(terminal)
        if not _in_front(terminal):
            return b""
        with suppress(BlockingIOError):  # another program that reads the same terminal was faster
            return os.read(terminal, _LONGEST_LINE)


async def _write(terminal: int, text: str) -> None:
    rest = _encoded(text)
    while rest:
        try:
            rest = rest[os.write(terminal, rest) :]
        except BlockingIOError:  # output is stopped, with Ctrl-S or because the other end does not keep up
            await anyio.wait_writable(terminal)


def _note(terminal: int, text: str) -> None:
    """Tell how it ended, where that can be told at once: nothing depends on it, and cancellation does not wait."""
    with suppress(OSError):
        os.write(terminal, _encoded(text))


def _encoded(text: str) -> bytes:
    """As the terminal reads it: bytes of UTF-8 would hold control characters for one that reads Latin-1."""
    return text.encode(locale.getencoding(), "replace")


def _columns(terminal: int) -> int:
    return os.get_terminal_size(terminal).columns or _COLUMNS


def _forget_typed(terminal: int) -> None:
    import termios

    termios.tcflush(terminal, termios.TCIFLUSH)


def _in_front(terminal: int) -> bool:
    """Whether the process may read the terminal; one in the background would be stopped by the attempt (SIGTTIN)."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:  # not the terminal that controls us, so there is no background
        return True


@contextmanager
def _opened(device: str) -> Iterator[int]:
    """The terminal as an open file of its own, so that not blocking on it changes nothing for other programs."""
    terminal = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        yield terminal
    finally:
        os.close(terminal)


def _find_terminal(device: str | None) -> str:
    try:
        import termios  # noqa: F401 - whether it is there says whether terminals work as below
    except ImportError:
        raise ConfigError(
            "approval: asking on the terminal does not work on this system. Use approval=queue."
        ) from None
    for path in [device] if device else _usual_devices():
        if _is_terminal(path):
            return path
    raise ConfigError(
        "approval: there is no terminal to ask on. Start the server in one, without redirecting its input, or use "
        "approval=queue (COPILOT_ASGI_APPROVAL)."
    )


def _usual_devices() -> Iterator[str]:
    # The proper name first: macOS cannot wait for input on /dev/tty (kqueue refuses it).
    with suppress(OSError):
        yield os.ttyname(0)
    yield os.ctermid()


def _is_terminal(path: str) -> bool:
    try:
        with _opened(path) as terminal:
            return os.isatty(terminal)
    except OSError:
        return False
