"""A store of files: one file a key, for logins and tokens that must survive.

Rule: what is read is a plain file of ours that nobody else can read; what is written is either wholly there or not at
all, and never in the place of something we could not make sense of.
"""

import logging
import os
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import anyio
import msgspec
from anyio import to_thread

from copilot_asgi.errors import StoreError
from copilot_asgi.stores.safe_files import check_directory, explained, read_regular, remove, write_atomically

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["FileStore"]

logger = logging.getLogger(__name__)

VERSION = 1
LARGEST = 1024 * 1024  # bytes of a file; a login or a token is a few thousand
LONGEST_NAME = 200
SUFFIX = ".json"
SAFE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")

_POLL = 0.05  # seconds between two tries for a lock


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    expires_at: float | None
    value: bytes


class FileStore:
    """Bytes in files under ``directory``, which is made with mode 0700 when it is missing.

    Every method raises ``StoreError`` with the path, and the command that mends it, when the file system refuses or the
    files are not safely ours. All file work runs in worker threads and is finished, not abandoned, on cancellation.
    """

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.time, lock_timeout: float = 10.0) -> None:
        self._directory = directory
        self._clock = clock
        self._lock_timeout = lock_timeout

    async def get(self, key: str) -> bytes | None:
        """The value, or ``None``: there is none, it has expired, or its file was damaged and has been moved aside."""
        return await to_thread.run_sync(self._get, key)

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        """Keep ``value`` for ``ttl`` seconds, or for good; it is on the disk when this returns."""
        expires_at = None if ttl is None else self._clock() + ttl
        await to_thread.run_sync(self._set, key, _Envelope(VERSION, expires_at, value))

    async def delete(self, key: str) -> None:
        """Remove the file, and what killed writers have left of it."""
        await to_thread.run_sync(self._delete, key)

    async def keys(self, prefix: str = "") -> list[str]:
        """The keys that begin with ``prefix`` and have not expired, sorted."""
        return await to_thread.run_sync(self._keys, prefix)

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncGenerator[None]:
        """A block that one task of one process at a time runs; the system frees the lock of a process that dies.

        Whoever has waited ``lock_timeout`` seconds goes on alone, with a warning: the holder may be frozen.
        """
        lock = await to_thread.run_sync(self._make_lock, key)
        try:
            await self._acquire(lock)
            yield
        finally:
            if lock.is_locked:
                with anyio.CancelScope(shield=True):
                    await to_thread.run_sync(lock.release)

    async def _acquire(self, lock: "BaseFileLock") -> None:
        deadline = anyio.current_time() + self._lock_timeout
        while not await to_thread.run_sync(_try_lock, lock):
            if anyio.current_time() >= deadline:
                logger.warning("%s was held for %g s; going on without it.", lock.lock_file, self._lock_timeout)
                return
            await anyio.sleep(_POLL)

    def _make_lock(self, key: str) -> "BaseFileLock":
        from filelock import FileLock

        path = self._path(key).with_suffix(".lock")
        check_directory(self._directory)
        if not os.access(self._directory, os.W_OK):
            raise StoreError(f"Cannot make {path}: the directory is read-only.")
        return FileLock(path, mode=0o600, thread_local=False)

    def _path(self, key: str) -> Path:
        name = "".join(char if char in SAFE else _escape(char) for char in key)
        if not name or len(name) > LONGEST_NAME:
            raise StoreError(f"A key of {len(key)} characters cannot name a file in {self._directory}.")
        return self._directory / (name + SUFFIX)

    def _get(self, key: str) -> bytes | None:
        path = self._path(key)
        if not check_directory(self._directory, create=False):
            return None
        envelope = _read(path)
        return None if envelope is None or self._is_expired(envelope) else envelope.value

    def _set(self, key: str, envelope: _Envelope) -> None:
        path = self._path(key)
        data = msgspec.json.encode(envelope)
        if len(data) > LARGEST:
            raise StoreError(f"Cannot write {path}: {len(data)} bytes are more than a store keeps.")
        check_directory(self._directory)
        _read(path)  # refuses what is not ours, moves aside what is damaged
        write_atomically(path, data)

    def _delete(self, key: str) -> None:
        if check_directory(self._directory, create=False):
            remove(self._path(key))

    def _keys(self, prefix: str) -> list[str]:
        if not check_directory(self._directory, create=False):
            return []
        with explained("list", self._directory):
            names = {unquote(path.stem): path for path in self._directory.glob("*" + SUFFIX)}
        return sorted(key for key, path in names.items() if key.startswith(prefix) and self._is_alive(path))

    def _is_alive(self, path: Path) -> bool:
        envelope = _read(path)
        return envelope is not None and not self._is_expired(envelope)

    def _is_expired(self, envelope: _Envelope) -> bool:
        return envelope.expires_at is not None and self._clock() >= envelope.expires_at


def _escape(char: str) -> str:
    """Per cent and hexadecimal digits, for each byte. Capitals too: some file systems do not tell them apart."""
    return "".join(f"%{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))


def _read(path: Path) -> _Envelope | None:
    data = read_regular(path, limit=LARGEST)
    if data is None:
        return None
    envelope = _decode(data)
    if envelope is None:
        _move_aside(path)
    return envelope


def _decode(data: bytes) -> _Envelope | None:
    if len(data) > LARGEST:
        return None
    try:
        envelope = msgspec.json.decode(data, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return envelope if envelope.version == VERSION else None


def _move_aside(path: Path) -> None:
    aside = next(
        name for number in count(1) if not os.path.lexists(name := path.with_name(f"{path.name}.corrupt-{number}"))
    )
    with explained("move aside", path):
        path.rename(aside)
    logger.warning("%s cannot be understood; moved to %s. Sign in again if it held a login.", path, aside)


def _try_lock(lock: "BaseFileLock") -> bool:
    from filelock import Timeout

    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    except (OSError, NotImplementedError) as error:
        raise StoreError(f"Cannot lock {lock.lock_file}: {error}.") from error
    return True
