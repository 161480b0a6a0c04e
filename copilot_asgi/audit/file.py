"""Entries in a file that several processes may share, rotated by size.

Rule: a line is wholly in one file. Each batch of lines is one write to the end of the file, so that lines of several
processes never mix; a file that was moved away, by another process or by the system's own rotation, is noticed by its
number before the next write. An entry survives the end of the process, not that of the machine: nothing is synced.
"""

import logging
import os
import stat
import threading
from pathlib import Path

from copilot_asgi.audit import Entry, line
from copilot_asgi.batches import Batches
from copilot_asgi.complaints import Complaints
from copilot_asgi.errors import ConfigError, StoreError
from copilot_asgi.stores.safe_files import explained

__all__ = ["FileSink"]

logger = logging.getLogger(__name__)

LOCK_TIMEOUT = 5.0  # seconds to wait for another process that rotates

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT
_SAFE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)


class FileSink:
    """Appends to ``path``, made with mode 0600 when it is missing; over ``max_bytes`` it becomes ``path.1``.

    ``backups`` files are kept, the newest is number 1; with none the file starts again. Raises ``ConfigError`` when the
    directory does not exist.
    """

    def __init__(self, path: Path, *, max_bytes: int, backups: int) -> None:
        if path.is_dir():
            raise ConfigError(f"audit_file: {path} is a directory. Name a file in it.")
        if not path.parent.is_dir():
            raise ConfigError(f"audit_file: the directory {path.parent} does not exist. Make it, or choose another.")
        self._path = path
        self._max_bytes = max_bytes
        self._backups = backups
        self._batches = Batches(self._append)
        self._alone = threading.Lock()
        self._file: int | None = None
        self._torn = False
        self._unrotated = Complaints(logger, f"{path} cannot be rotated and grows")

    async def write(self, entry: Entry) -> None:
        """Append the entry's line. Raises ``StoreError``.

        On cancellation the line is written first; then the cancellation goes on.
        """
        await self._batches.submit(line(entry).encode() + b"\n")

    def close(self) -> None:
        """Close the file; the next entry opens it again."""
        with self._alone:
            self._close()

    def _append(self, lines: list[bytes]) -> list[None]:
        data = b"".join(lines)
        with self._alone, explained("write", self._path):
            file = self._current()
            size = os.fstat(file).st_size
            if size and size + len(data) > self._max_bytes:
                file = self._rotated(file)
            self._write(file, data)
        return [None] * len(lines)

    def _write(self, file: int, data: bytes) -> None:
        # What a full disk has cut off gets its line end once there is room again.
        rest = memoryview(b"\n" + data if self._torn else data)
        while rest:
            written = os.write(file, rest)
            self._torn = written < len(rest)
            rest = rest[written:]

    def _current(self) -> int:
        """The open file, which is the one at the path."""
        if self._file is not None and not self._is_current(self._file):
            self._close()
        if self._file is None:
            self._file = self._open()
        return self._file

    def _is_current(self, file: int) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(file))
        except FileNotFoundError:
            return False

    def _open(self) -> int:
        file = os.open(self._path, _FLAGS | _SAFE, 0o600)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise StoreError(f"{self._path} is not a plain file. Set audit_file to one.")
        self._torn = False
        return file

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _rotated(self, file: int) -> int:
        """The file to go on with; the old one when it cannot be moved, for a long file is better than a lost line."""
        from filelock import FileLock

        try:
            with FileLock(self._path.with_name(self._path.name + ".lock"), mode=0o600, timeout=LOCK_TIMEOUT):
                if self._is_current(file):  # else another process has just moved it
                    self._shift()
        except (OSError, NotImplementedError) as error:
            self._unrotated.add(error)
            return file
        return self._current()

    def _shift(self) -> None:
        """Every backup gets the next number, the last one goes."""
        if self._backups == 0:
            self._path.unlink()
            return
        for number in range(self._backups - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
