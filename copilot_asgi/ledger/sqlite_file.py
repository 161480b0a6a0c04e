"""The SQLite file of a ledger: opened safely, one transaction at a time, reopened when somebody replaced it.

Rule: the file is ours alone and of a version we know, or it is not touched; one that is damaged is moved aside, never
overwritten. One process at a time opens it, so that no two repair the same damage.

Sources: SQLite documentation, "Write-Ahead Logging" and "How To Corrupt An SQLite Database File".
"""

import errno
import logging
import os
import shlex
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from copilot_asgi.errors import StoreError
from copilot_asgi.stores.safe_files import check_directory, check_file, explained

if TYPE_CHECKING:
    import sqlite3

__all__ = ["LedgerFile"]

logger = logging.getLogger(__name__)

VERSION = 1
BUSY_TIMEOUT = 5.0  # seconds to wait for another process's transaction
OPEN_TIMEOUT = 10.0  # seconds to wait while another process opens the file

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS reservations (
        id TEXT PRIMARY KEY, caller TEXT NOT NULL, account TEXT NOT NULL, model TEXT NOT NULL, at REAL NOT NULL,
        nano_credits INTEGER NOT NULL, nano_premium INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS totals (
        day TEXT NOT NULL, caller TEXT NOT NULL, account TEXT NOT NULL, model TEXT NOT NULL,
        requests INTEGER NOT NULL, fresh INTEGER NOT NULL, cache_read INTEGER NOT NULL, cache_write INTEGER NOT NULL,
        output INTEGER NOT NULL, nano_credits INTEGER NOT NULL, nano_premium INTEGER NOT NULL,
        estimated INTEGER NOT NULL, PRIMARY KEY (day, caller, account, model)) WITHOUT ROWID""",
    f"PRAGMA user_version = {VERSION}",
)
_SIDE_FILES = ("-wal", "-shm")
_DAMAGED = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB"})
_ADVICE = {
    "SQLITE_BUSY": "Another program keeps it locked. Close that, and try again.",
    "SQLITE_CANTOPEN": "Set data_dir to a directory of your own.",
    "SQLITE_CORRUPT": "It is moved aside when it is used next.",
    "SQLITE_FULL": "Free some disk space.",
    "SQLITE_IOERR": "Look after the disk, or set data_dir to another one.",
    "SQLITE_NOTADB": "It is moved aside when it is used next.",
    "SQLITE_READONLY": "Set data_dir to a directory that can be written.",
}


class LedgerFile:
    """A connection to ``path``, made at first use, with mode 0600 in a directory of mode 0700.

    For worker threads: every method may block, and one call at a time is let in.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._alone = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None

    @contextmanager
    def transaction(self) -> Generator["sqlite3.Connection"]:
        """A block whose changes are all kept when it ends, or none of them when it raises.

        No other process writes meanwhile. Raises ``StoreError``, and the next use opens the file anew.
        """
        import sqlite3

        with self._alone, explained("use", self._path):
            try:
                connection = self._current()
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._close()
                raise self._explain(error) from error
            except BaseException:
                self._close()  # undoes what the block did
                raise

    def close(self) -> None:
        """Close the connection; the next transaction opens it again."""
        with self._alone:
            self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _current(self) -> "sqlite3.Connection":
        """The connection; a new one when the file that it writes to is no longer the one at our path."""
        if self._connection is not None and self._opened != _identity(self._path):
            logger.warning("%s was removed or replaced while in use; going on with what is there now.", self._path)
            self._close()
        if self._connection is None:
            self._connection = self._open()
            self._opened = _identity(self._path)
        return self._connection

    def _open(self) -> "sqlite3.Connection":
        check_directory(self._path.parent)
        with self._opening():
            _make(self._path)
            if _is_damaged(self._path):
                _move_aside(self._path)
                _make(self._path)
            connection = _connect(self._path)
            try:
                _prepare(connection, self._path)
            except BaseException:
                connection.close()
                raise
            return connection

    @contextmanager
    def _opening(self) -> Generator[None]:
        from filelock import FileLock, Timeout

        lock = FileLock(f"{self._path}.lock", mode=0o600, timeout=OPEN_TIMEOUT)
        try:
            lock.acquire()
        except Timeout:
            raise StoreError(f"Cannot open {self._path}: another program keeps {lock.lock_file} locked.") from None
        except NotImplementedError as error:
            raise StoreError(f"Cannot lock {lock.lock_file}: {error}.") from error
        try:
            yield
        finally:
            lock.release()

    def _explain(self, error: "sqlite3.Error") -> StoreError:
        return StoreError(f"Cannot use {self._path}: {error}. {_ADVICE.get(_name(error), '')}".rstrip())


def _connect(path: Path) -> "sqlite3.Connection":
    import sqlite3

    # Worker threads take turns, which the library cannot see.
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)


def _make(path: Path) -> None:
    """See to it that the file is there and ours.

    It is not opened when it exists: closing it would drop the locks that this process has on it.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        check_file(path, path.lstat())


def _is_damaged(path: Path) -> bool:
    import sqlite3

    connection = _connect(path)
    try:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if _name(error) not in _DAMAGED:
            raise
        return True
    finally:
        connection.close()
    return bool(verdict != "ok")


def _prepare(connection: "sqlite3.Connection", path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        quoted = shlex.quote(str(path))
        raise StoreError(
            f"{path} was written by a newer copilot_asgi. Upgrade this one, or start a new ledger with: "
            f"mv {quoted} {quoted}.old"
        )
    connection.execute("PRAGMA journal_mode = WAL")
    # A killed process loses nothing; only a power cut may take the last commits, and never the file's soundness.
    connection.execute("PRAGMA synchronous = NORMAL")
    if version < VERSION:
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute("COMMIT")


def _move_aside(path: Path) -> None:
    aside = next(
        name for number in count(1) if not os.path.lexists(name := path.with_name(f"{path.name}.corrupt-{number}"))
    )
    path.rename(aside)
    for suffix in _SIDE_FILES:
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    logger.warning("%s is damaged; moved to %s. What was spent so far is counted anew from zero.", path, aside)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENOTDIR}:
            raise
        return None
    return status.st_dev, status.st_ino


def _name(error: "sqlite3.Error") -> str:
    """The primary name of SQLite's code, such as SQLITE_IOERR for SQLITE_IOERR_WRITE; empty when there is none."""
    return "_".join((getattr(error, "sqlite_errorname", None) or "").split("_")[:2])
