"""Real processes of the command line, with and without a terminal, read line by line."""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

COMMAND = (sys.executable, "-m", "copilot_asgi")
PATIENCE = 20.0


class Process:
    """A command under way. Its output is collected; ``wait_for`` waits until it holds a pattern."""

    def __init__(self, *arguments: str, env: dict[str, str], cwd: Path, command: Sequence[str] = COMMAND) -> None:
        self._process = subprocess.Popen(
            [*command, *arguments], env=env, cwd=cwd, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._changed = threading.Condition()
        self._texts = {"stdout": "", "stderr": ""}
        streams = {"stdout": self._process.stdout, "stderr": self._process.stderr}
        self._readers = [threading.Thread(target=self._read, args=item, daemon=True) for item in streams.items()]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stdout(self) -> str:
        return self._texts["stdout"]

    @property
    def stderr(self) -> str:
        return self._texts["stderr"]

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match in stdout or stderr."""
        deadline = time.monotonic() + PATIENCE
        with self._changed:
            while True:
                for text in self._texts.values():
                    if match := re.search(pattern, text):
                        return match
                left = deadline - time.monotonic()
                assert left > 0, f"no {pattern!r} in {self._texts}"
                ended = self._process.poll() is not None and not any(reader.is_alive() for reader in self._readers)
                assert not ended, f"ended without {pattern!r}: {self._texts}"
                self._changed.wait(min(left, 0.1))

    def url(self) -> str:
        """The address in the line that says where it listens."""
        return self.wait_for(r"listening on (http://\S+)\n")[1]

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit status, once all output has been read."""
        status = self._process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return status

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self.wait()
        for stream in (self._process.stdout, self._process.stderr):
            stream.close()

    def _read(self, name: str, stream: object) -> None:
        for line in stream:
            with self._changed:
                self._texts[name] += line.decode()
                self._changed.notify_all()


@contextlib.contextmanager
def running(*arguments: str, env: dict[str, str], cwd: Path, command: Sequence[str] = COMMAND) -> Iterator[Process]:
    """A command for the length of a block."""
    process = Process(*arguments, env=env, cwd=cwd, command=command)
    try:
        yield process
    finally:
        process.close()


def workers_of(pid: int) -> set[int]:
    """The worker processes of a server."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()}


def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in another process."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "never happens"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def finished(*arguments: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command that has ended."""
    return subprocess.run(
        [*COMMAND, *arguments], env=env, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


class Terminal:
    """A command on a pseudo terminal that is its controlling terminal, so that Ctrl-C is a real one.

    It finds no programs, so that the clipboard of whoever runs the tests stays as it is.
    """

    def __init__(self, *arguments: str, env: dict[str, str], cwd: Path) -> None:
        import fcntl
        import pty
        import termios

        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [*COMMAND, *arguments], env={**env, "TERM": "xterm", "PATH": str(cwd)}, cwd=cwd,
            stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )  # fmt: skip
        os.close(slave)
        self.text = ""

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match in what the terminal shows, raw."""
        deadline = time.monotonic() + PATIENCE
        while not (match := re.search(pattern, self.text)):
            assert time.monotonic() < deadline, f"no {pattern!r} in {self.text!r}"
            assert self._read(), f"ended without {pattern!r}: {self.text!r}"
        return match

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C, once the command waits for input.

        Python misses a signal that comes between its last look at the flag and the system call that reads; nobody types
        that fast, but a test does.
        """
        state = Path(f"/proc/{self._process.pid}/stat")
        deadline = time.monotonic() + PATIENCE
        while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < deadline, "never waits"
        self.type("\x03")

    def wait(self) -> int:
        while self._read():
            pass
        return self._process.wait(PATIENCE)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(PATIENCE)
        os.close(self._master)

    def _read(self) -> bool:
        """Read what is there; false at the end."""
        if not select.select([self._master], [], [], PATIENCE)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux says EIO when the other side is gone
            return False
        self.text += data.decode(errors="replace")
        return bool(data)


@contextlib.contextmanager
def on_terminal(*arguments: str, env: dict[str, str], cwd: Path) -> Iterator[Terminal]:
    """A command on a terminal for the length of a block."""
    terminal = Terminal(*arguments, env=env, cwd=cwd)
    try:
        yield terminal
    finally:
        terminal.close()
