"""Files that hold secrets survive crashes, attackers, full disks and each other."""

# ruff: noqa: ASYNC240 - these tests look at the disk between two calls

import errno
import os
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import anyio
import filelock
import pytest

from copilot_asgi.errors import StoreError
from copilot_asgi.stores import safe_files
from copilot_asgi.stores.file import LARGEST, FileStore
from copilot_asgi.stores.safe_files import read_regular, write_atomically

HERE = Path(__file__).parent
pytestmark = pytest.mark.anyio


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "data"


@pytest.fixture
def store(directory: Path) -> FileStore:
    return FileStore(directory)


def leftovers(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name != "login.json")


async def test_nobody_else_can_read(store: FileStore, directory: Path) -> None:
    """Directory 0700, files 0600, whatever the umask; lock files too."""
    before = os.umask(0)
    try:
        await store.set("login", b"secret")
        async with store.lock("login"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    assert leftovers(directory) == ["login.lock"]


async def test_reading_makes_nothing(store: FileStore, directory: Path) -> None:
    """Looking into a store that was never used leaves the disk alone."""
    assert await store.get("login") is None
    assert await store.keys() == []
    assert not directory.exists()


async def test_another_instance_reads_it(store: FileStore, directory: Path) -> None:
    """The value is on the disk, not in the object."""
    await store.set("login", b"secret")
    assert await FileStore(directory).get("login") == b"secret"


def damage(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _chmod(path: Path) -> None:
    path.chmod(0o640)


def _symlink(path: Path) -> None:
    target = path.with_name("target")
    path.rename(target)
    path.symlink_to(target)


def _hard_link(path: Path) -> None:
    path.with_name("second").hardlink_to(path)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    ("spoil", "remedy"),
    [(_chmod, "chmod 600 "), (_symlink, "rm "), (_hard_link, "cp -p "), (_pipe, "mv ")],
)
async def test_an_unsafe_file_is_refused(
    store: FileStore, directory: Path, spoil: Callable[[Path], None], remedy: str
) -> None:
    """Reading and writing refuse it, name the command that mends it, and leave it as it is."""
    await store.set("login", b"secret")
    path = directory / "login.json"
    spoil(path)
    before = path.lstat()
    for attempt in (store.get("login"), store.set("login", b"other"), store.keys()):
        with pytest.raises(StoreError) as caught:
            await attempt
        assert f"Run: {remedy}" in caught.value.message
        assert str(path) in caught.value.message
    after = path.lstat()
    assert (before.st_ino, before.st_mode, before.st_nlink) == (after.st_ino, after.st_mode, after.st_nlink)


async def test_the_remedies_work(store: FileStore, directory: Path) -> None:
    """The command in the message, run as it stands, mends a file and a directory."""
    await store.set("login", b"secret")
    path = directory / "login.json"
    for spoil in (lambda: path.chmod(0o644), lambda: _hard_link(path), lambda: directory.chmod(0o755)):
        spoil()
        with pytest.raises(StoreError) as caught:
            await store.get("login")
        command = caught.value.message.partition("Run: ")[2]
        await anyio.run_process(command, check=True)
        assert await store.get("login") == b"secret"


async def test_a_directory_of_others_is_refused(store: FileStore, directory: Path) -> None:
    """A directory that others may enter is refused, as is a file in its place."""
    directory.mkdir(parents=True, mode=0o755)
    for attempt in (store.get("login"), store.set("login", b"x"), store.keys(), store.delete("login")):
        with pytest.raises(StoreError, match="chmod 700"):
            await attempt
    with pytest.raises(StoreError, match="chmod 700"):
        async with store.lock("login"):
            pytest.fail("locked")
    directory.rmdir()
    directory.write_bytes(b"")
    with pytest.raises(StoreError, match="not a directory"):
        await store.get("login")


async def test_a_foreign_owner_is_refused(store: FileStore, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of another user are not used, even when they can be read."""
    await store.set("login", b"secret")
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with pytest.raises(StoreError, match=f"sudo chown {mine + 1} "):
        await store.get("login")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 100,
        b"{",
        b"[]",
        b"{}",
        b'{"version":2,"expires_at":null,"value":"eA=="}',
        b'{"version":1,"expires_at":null,"value":"%%"}',
        b'{"version":1,"expires_at":null,"value":"eA==","extra":1}',
        b"\xff\xfe",
        b'"' + b"x" * (LARGEST + 1) + b'"',
    ],
    ids=["empty", "zeros", "torn", "list", "no fields", "newer", "not base64", "unknown field", "not text", "huge"],
)
async def test_a_damaged_file_is_moved_aside(
    store: FileStore, directory: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It reads as missing, is kept under another name, never overwritten, and that is told."""
    await store.set("login", b"secret")
    path = directory / "login.json"
    for _ in range(2):
        damage(path, content)
        assert await store.get("login") is None
    damage(path, content)
    await store.set("login", b"new")
    assert await store.get("login") == b"new"
    assert leftovers(directory) == [f"login.json.corrupt-{number}" for number in (1, 2, 3)]
    assert {(directory / name).read_bytes() for name in leftovers(directory)} == {content}
    assert str(path) in caplog.text
    assert await store.keys() == ["login"]


@pytest.mark.parametrize("key", ["", "x" * 201, "\u20ac" * 30])
async def test_a_key_that_names_no_file_is_refused(store: FileStore, key: str) -> None:
    """Empty and endless keys are told, not cut."""
    with pytest.raises(StoreError, match="cannot name a file"):
        await store.set(key, b"x")


async def test_an_enormous_value_is_refused(store: FileStore) -> None:
    """What could not be read back is not written."""
    with pytest.raises(StoreError, match="more than a store keeps"):
        await store.set("login", bytes(LARGEST))


FAULTS = [("open", errno.EACCES), ("fchmod", errno.EPERM), ("write", errno.ENOSPC), ("fsync", errno.EIO)]
FAULTS += [("replace", errno.EROFS), ("close", errno.EIO)]


@pytest.mark.parametrize(("call", "code"), FAULTS)
async def test_a_failing_system_call_changes_nothing(
    store: FileStore, directory: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    """Full, read-only and broken disks are told with the path; the old value stays and nothing is left behind."""
    await store.set("login", b"old")
    real = getattr(os, call)

    def failing(*args: object, **kwargs: object) -> object:
        if call == "open" and not str(args[0]).endswith(".tmp"):
            return real(*args, **kwargs)
        if call == "close":
            real(*args, **kwargs)
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, failing)
        with pytest.raises(StoreError, match="login") as caught:
            await store.set("login", b"new")
    assert os.strerror(code) in caught.value.message
    assert await store.get("login") == b"old"
    assert leftovers(directory) == []


async def test_a_short_write_goes_on(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may take fewer bytes than offered."""
    real = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda handle, data: real(handle, bytes(data[:7])))
        await store.set("login", b"a rather long value")
    assert await store.get("login") == b"a rather long value"


@pytest.mark.parametrize(("code", "told"), [(errno.EINVAL, False), (errno.EIO, True)])
async def test_syncing_the_directory(
    store: FileStore, directory: Path, monkeypatch: pytest.MonkeyPatch, code: int, *, told: bool
) -> None:
    """File systems that cannot do it are forgiven, broken ones are told."""
    real = os.fsync

    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, os.strerror(code))
        real(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        if told:
            with pytest.raises(StoreError):
                await store.set("login", b"new")
        else:
            await store.set("login", b"new")
    assert await store.get("login") == b"new"


async def test_order_of_the_steps(store: FileStore, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mode is set before a byte is written, the file is synced before it is renamed, the directory after."""
    await store.set("login", b"old")
    steps: list[str] = []

    def noted(name: str) -> Callable[..., object]:
        real = getattr(os, name)

        def call(*args: object, **kwargs: object) -> object:
            if name != "open" or str(args[0]).endswith(".tmp"):
                steps.append(name)
            if name == "open" and str(args[0]).endswith(".tmp"):
                assert isinstance(args[1], int)
                assert args[1] & os.O_EXCL
                assert args[1] & os.O_NOFOLLOW
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patched:
        for name in ("open", "fchmod", "write", "fsync", "replace"):
            patched.setattr(os, name, noted(name))
        await store.set("login", b"new")
    assert steps == ["open", "fchmod", "write", "fsync", "replace", "fsync"]


@pytest.mark.servers
def test_a_kill_at_every_system_call_leaves_old_or_new(directory: Path) -> None:
    """A process that dies anywhere in a write leaves the whole old or the whole new value, and a usable store."""
    store = FileStore(directory)
    outcomes = []
    for deadly in range(1, 30):
        anyio.run(store.set, "login", b"old")
        worker = subprocess.run([sys.executable, HERE / "crash_worker.py", directory, str(deadly)], check=False)
        value = anyio.run(store.get, "login")
        assert value in {b"old", b"new" * 1000}
        assert not [name for name in leftovers(directory) if "corrupt" in name]
        outcomes.append((worker.returncode, value[:3]))
        if worker.returncode == 0:
            break
    assert (9, b"old") in outcomes
    assert (9, b"new") in outcomes
    assert outcomes[-1] == (0, b"new")
    anyio.run(store.delete, "login")
    assert leftovers(directory) == []


@pytest.mark.servers
def test_eight_processes_pay_once(directory: Path) -> None:
    """Whoever waits for the lock finds the winner's value."""
    directory.mkdir(parents=True, mode=0o700)
    names = [str(number) for number in range(8)]
    workers = [subprocess.Popen([sys.executable, HERE / "lock_worker.py", directory, name]) for name in names]
    try:
        deadline = time.monotonic() + 30
        while len(list(directory.parent.glob("ready-*"))) < 8 and time.monotonic() < deadline:
            time.sleep(0.01)
        (directory.parent / "go").touch()
        assert [worker.wait(30) for worker in workers] == [0] * 8
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    (paid,) = directory.parent.glob("paid-*")
    assert anyio.run(FileStore(directory).get, "token") == paid.name.removeprefix("paid-").encode()


def test_an_attacker_who_swaps_links_gains_nothing(tmp_path: Path) -> None:
    """While links replace our file again and again, no secret goes to their target and none is read from it."""
    victim, link, path = tmp_path / "victim", tmp_path / "link", tmp_path / "ours"
    victim.write_bytes(b"evil")
    victim.chmod(0o600)
    stop = threading.Event()

    def attack() -> None:
        while not stop.wait(0.0002):
            link.symlink_to(victim)
            link.replace(path)

    attacker = threading.Thread(target=attack)
    attacker.start()
    outcomes: Counter[bytes | None] = Counter()
    try:
        while len(outcomes) < 2 or outcomes.total() < 1000:
            write_atomically(path, b"mine")
            try:
                outcomes[read_regular(path, limit=10)] += 1
            except StoreError:
                outcomes[b"refused"] += 1
    finally:
        stop.set()
        attacker.join()
    assert victim.read_bytes() == b"evil"
    assert set(outcomes) == {b"mine", b"refused"}


async def test_a_frozen_holder_is_waited_for_and_then_passed(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After the time limit the waiter goes on alone, with a warning, and the holder's lock stays the holder's."""
    patient, hasty = FileStore(directory), FileStore(directory, lock_timeout=0.05)
    async with patient.lock("key"):
        async with hasty.lock("key"):
            pass
        assert "going on without it" in caplog.text
        caplog.clear()
        async with hasty.lock("key"):
            pass
        assert "going on without it" in caplog.text


async def test_waiting_does_not_block_the_loop(directory: Path) -> None:
    """Other tasks run while a lock is waited for."""
    store, ticks = FileStore(directory), 0
    async with store.lock("key"), anyio.create_task_group() as tasks:

        async def wait() -> None:
            async with store.lock("key"):
                pass

        tasks.start_soon(wait)
        for _ in range(20):
            await anyio.sleep(0.002)
            ticks += 1
        tasks.cancel_scope.cancel()
    assert ticks == 20


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError("no flock")])
async def test_a_file_system_without_locks_is_told(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The caller can decide to go on without."""

    def acquire(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with pytest.raises(StoreError, match="Cannot lock"):
        async with store.lock("key"):
            pytest.fail("locked")


async def test_a_read_only_directory_is_told_at_once(
    store: FileStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No ten seconds of waiting for a lock file that cannot be made."""
    await store.set("login", b"x")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(StoreError, match="read-only"):
        async with store.lock("login"):
            pytest.fail("locked")


async def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """The message names the directory."""
    (tmp_path / "file").write_bytes(b"")
    store = FileStore(tmp_path / "file" / "data")
    with pytest.raises(StoreError, match="data"):
        await store.set("login", b"x")


async def test_without_posix_only_the_kind_of_file_counts(
    store: FileStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where modes and owners mean nothing everything still works, and links are still refused."""
    monkeypatch.setattr(safe_files, "POSIX", False)
    monkeypatch.setattr(safe_files, "_NO_FOLLOW", 0)
    monkeypatch.delattr(os, "fchmod")
    monkeypatch.delattr(os, "geteuid")
    await store.set("login", b"secret")
    path = directory / "login.json"
    path.chmod(0o644)
    assert await store.get("login") == b"secret"
    await store.delete("login")
    path.symlink_to(directory / "target")
    with pytest.raises(StoreError, match="symbolic link"):
        await store.get("login")
