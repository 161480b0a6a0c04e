"""A client run to its end, as a person would run it, with nothing of this machine's settings.

Rule: whatever it starts ends with it.
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["Outcome", "Room"]

PATIENCE = 90.0  # seconds; agents take five, on a busy machine
# The rest could point a client elsewhere or carry a key.
KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR")


class Outcome:
    """What a client has written, and its exit status."""

    def __init__(self, status: int, output: str, complaints: str) -> None:
        self.status = status
        self.output = output
        self.complaints = complaints

    def said(self, text: str) -> None:
        """Raises unless it went well and ``text`` is in the output."""
        assert self.status == 0, f"{self.output}\n{self.complaints}"
        assert text in self.output, f"{self.output}\n{self.complaints}"


class Room:
    """A home and a working directory for one client."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.work = home / "work"
        self.work.mkdir()

    def run(self, *command: str, exports: str = "") -> Outcome:
        """Run ``command`` in a shell into which ``exports`` was pasted."""
        return self._run(["sh", "-c", f'{exports}\nexec "$@"', "sh", *command])

    def _run(self, command: Sequence[str]) -> Outcome:
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        with subprocess.Popen(
            command, env={**kept, "HOME": str(self.home)}, cwd=self.work, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                output, complaints = process.communicate(timeout=PATIENCE)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        return Outcome(process.returncode, output, complaints)
