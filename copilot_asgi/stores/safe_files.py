"""Files that hold secrets: read only when they are safely ours, written wholly or not at all.

Rule: a file is opened first and judged by what was opened, so that nobody can swap it in between; a refusal names the
command that mends it. On Windows, where the directory's access list does this work, only the kind of file is judged.
"""

import errno
import os
import secrets
import shlex
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from copilot_asgi.errors import StoreError

__all__ = ["check_directory", "check_file", "explained", "read_regular", "remove", "write_atomically"]

POSIX = os.name == "posix"

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # opening a named pipe must not wait for its other end

_ADVICE = {
    errno.ENOSPC: "Free some disk space.",
    errno.EROFS: "Set data_dir to a directory that can be written.",
    errno.EACCES: "Set data_dir to a directory of your own.",
    errno.EPERM: "Set data_dir to a directory of your own.",
}


class _Fault(msgspec.Struct, frozen=True):
    """What is wrong when ``found`` says so, and the command that mends it."""

    found: Callable[[os.stat_result], bool]
    complaint: str
    remedy: str


def _not_ours(status: os.stat_result) -> bool:
    return POSIX and status.st_uid != os.geteuid()


def _open_to_others(status: os.stat_result) -> bool:
    return POSIX and bool(status.st_mode & 0o077)


_FILE_FAULTS = (
    _Fault(lambda status: not stat.S_ISREG(status.st_mode), "is not a plain file", "mv {path} {path}.old"),
    _Fault(_not_ours, "belongs to another user", "sudo chown {uid} {path}"),
    _Fault(
        lambda status: status.st_nlink > 1,
        "has a second name (hard link)",
        "cp -p {path} {path}.new && mv {path}.new {path}",
    ),
    _Fault(_open_to_others, "can be read or changed by other users", "chmod 600 {path}"),
)
_DIRECTORY_FAULTS = (
    _Fault(lambda status: not stat.S_ISDIR(status.st_mode), "is not a directory", "mv {path} {path}.old"),
    _Fault(_not_ours, "belongs to another user", "sudo chown {uid} {path}"),
    _Fault(_open_to_others, "can be read or changed by other users", "chmod 700 {path}"),
)


def check_file(path: Path, status: os.stat_result) -> None:
    """Raise ``StoreError`` unless the file is plain, ours, has one name, and is closed to others."""
    _check(path, status, _FILE_FAULTS)


def check_directory(path: Path, *, create: bool = True) -> bool:
    """Whether the directory is there, after making it (mode 0700) if that is wanted.

    Raises ``StoreError`` unless it is ours and closed to others.
    """
    with explained("use", path):
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                path.mkdir(mode=0o700)
        try:
            status = path.stat()
        except FileNotFoundError:
            return False
    _check(path, status, _DIRECTORY_FAULTS)
    return True


def read_regular(path: Path, *, limit: int, check: Callable[[Path, os.stat_result], None] = check_file) -> bytes | None:
    """Up to ``limit`` + 1 bytes of a file that is no link and passes ``check``; ``None`` when there is none.

    Raises ``StoreError``.
    """
    with explained("read", path):
        if not POSIX and path.is_symlink():
            raise OSError(errno.ELOOP, "symbolic link")
        try:
            handle = os.open(path, os.O_RDONLY | _NO_FOLLOW | _NO_WAIT)
        except FileNotFoundError:
            return None
        with os.fdopen(handle, "rb") as file:
            check(path, os.fstat(handle))
            return file.read(limit + 1)


def write_atomically(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of the file, readable by us only, on the disk when this returns.

    Raises ``StoreError``; the file is then what it was before, or, if only the last step failed, the new one.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    with explained("write", path):
        try:
            _write_new(temporary, data)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_directory(path.parent)


def remove(path: Path) -> None:
    """Delete the file, and temporary files of it that killed writers have left. Raises ``StoreError``."""
    with explained("delete", path):
        for name in (path, *path.parent.glob(f".{path.name}.*.tmp")):
            name.unlink(missing_ok=True)
        _sync_directory(path.parent)


@contextmanager
def explained(action: str, path: Path) -> Generator[None]:
    """Turn an ``OSError`` into a ``StoreError`` that names the path and the way out."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StoreError(f"{path} is a symbolic link. Run: rm {shlex.quote(str(path))}") from error
        advice = _ADVICE.get(error.errno or 0, "")
        raise StoreError(f"Cannot {action} {path}: {error.strerror or error}. {advice}".rstrip()) from error


def _check(path: Path, status: os.stat_result, faults: tuple[_Fault, ...]) -> None:
    for fault in faults:
        if fault.found(status):
            remedy = fault.remedy.format(path=shlex.quote(str(path)), uid=os.geteuid() if POSIX else "")
            raise StoreError(f"{path} {fault.complaint}. Run: {remedy}")


def _write_new(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, 0o600)
    try:
        if POSIX:
            os.fchmod(handle, 0o600)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_directory(path: Path) -> None:
    """Make a rename last; some network file systems cannot, and say EINVAL."""
    if not POSIX:
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(handle)
