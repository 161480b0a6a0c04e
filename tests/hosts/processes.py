"""Servers as real processes that listen on ports of their own, found by the line in which they say so.

Rule: nothing of this machine's settings reaches them, and none outlives the block or fixture that started it.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE = 20.0  # seconds; only what is broken takes that long
HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
# Programs name their address in many ways; port 0 is what they were asked for, not what they got.
ADDRESS = r"(http://127\.0\.0\.1:[1-9]\d*)"

_PRIVATE = ("COPILOT_", "GH_TOKEN", "GITHUB_TOKEN", "OPENAI_", "ANTHROPIC_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def clean_environment(**given: str) -> dict[str, str]:
    """The environment without anything that our program or a client library would take a setting from.

    The examples can be imported in it, wherever the program runs.
    """
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(_PRIVATE)}
    modules = os.pathsep.join(map(str, (EXAMPLES, HERE)))
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONPATH": modules, **given}


def until(condition: Callable[[], bool], what: str) -> None:
    """Poll ``condition`` until it holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.002)


def free_port() -> int:
    """A port that is free now, for servers that cannot say which one they got."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Process:
    """A program under way, with a process group of its own; ``output`` is what it has written so far."""

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> None:
        self._process = subprocess.Popen(
            command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        self.output = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match in the output."""
        until(lambda: re.search(pattern, self.output) is not None or not self._reader.is_alive(), pattern)
        match = re.search(pattern, self.output)
        assert match is not None, f"ended without {pattern!r}: {self.output}"
        return match

    def url(self) -> str:
        """Its address, once it accepts connections there."""
        url = self.wait_for(ADDRESS)[1]
        until(lambda: self.ended or _accepts(url), f"{url} accepts connections")
        assert not self.ended, self.output
        return url

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit status after a signal."""
        self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Its exit status, once nobody writes any more: not it, not one of its workers."""
        status = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert not self._reader.is_alive(), f"a worker is left behind: {self.output}"
        return status

    def close(self) -> None:
        # Its workers, too: they would keep the output open.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in iter(self._process.stdout.read1, b""):
            self.output += line.decode(errors="replace")


@contextmanager
def running(*command: str, env: Mapping[str, str], cwd: Path) -> Iterator[Process]:
    """A program for the length of a block; ``python`` is this interpreter."""
    words = [sys.executable if word == "python" else word for word in command]
    process = Process(words, env=env, cwd=cwd)
    try:
        yield process
    finally:
        process.close()


def _accepts(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except OSError:
        return False
    return True
