"""The audit file: whole lines, rotated once, shared by processes, and no request fails for it."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import msgspec
import pytest
from audit.entries import ENTRY, entry
from filelock import FileLock
from stages.bench import Answer, Client, make_exchange

import copilot_asgi.audit.file
from copilot_asgi.audit import Entry, line
from copilot_asgi.audit.file import FileSink
from copilot_asgi.errors import ConfigError, StoreError
from copilot_asgi.stages.audit import Audit

resource = pytest.importorskip("resource", reason="limits of a process, as POSIX has them")

pytestmark = pytest.mark.anyio

WORKER = Path(__file__).with_name("audit_worker.py")
LENGTH = len(line(ENTRY)) + 1


def sink_at(path: Path, *, lines: int = 1000, backups: int = 5) -> FileSink:
    """A sink whose file takes so many lines."""
    return FileSink(path, max_bytes=lines * LENGTH, backups=backups)


def ids(path: Path) -> list[str]:
    """The ids of a file's entries; raises for a line that is not whole."""
    text = path.read_bytes()
    assert text.endswith(b"\n")
    return [msgspec.json.decode(each, type=Entry).id for each in text.splitlines()]


def numbered(number: int) -> Entry:
    return entry(id=f"exchange-{number}")


@contextmanager
def full_disk(path: Path, room: int) -> Iterator[None]:
    """No file grows beyond the present size of the one at ``path`` and ``room`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_entries_are_appended_for_our_eyes_only(tmp_path: Path) -> None:
    """One line each, in order, in a file that nobody else can read; what was in it before stays."""
    path = tmp_path / "audit.jsonl"
    for start in (0, 3):
        sink = sink_at(path)
        for number in range(start, start + 3):
            await sink.write(numbered(number))
        sink.close()
        sink.close()
    assert ids(path) == [f"exchange-{number}" for number in range(6)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_closed_file_is_opened_again(tmp_path: Path) -> None:
    """Closing frees the descriptor and is not the end of the sink."""
    sink = sink_at(tmp_path / "audit.jsonl")
    await sink.write(numbered(1))
    sink.close()
    await sink.write(numbered(2))
    sink.close()
    assert ids(tmp_path / "audit.jsonl") == ["exchange-1", "exchange-2"]


def test_the_directory_must_exist(tmp_path: Path) -> None:
    """A wrong path is told when the sink is made, not at the first request."""
    with pytest.raises(ConfigError, match=r"audit_file: the directory .* does not exist"):
        sink_at(tmp_path / "missing" / "audit.jsonl")
    with pytest.raises(ConfigError, match=r"audit_file: .* is a directory"):
        sink_at(tmp_path)


@pytest.mark.parametrize("kind", ["link", "pipe"])
async def test_only_a_plain_file_is_written_to(tmp_path: Path, kind: str) -> None:
    """A link and a pipe are refused, with the path in the message."""
    path = tmp_path / "audit.jsonl"
    reader = None
    match kind:
        case "link":
            path.symlink_to(tmp_path / "elsewhere")
        case _:
            os.mkfifo(path)
            reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(StoreError, match=r"audit\.jsonl"):
        await sink_at(path).write(ENTRY)
    if reader is not None:
        os.close(reader)
    assert not (tmp_path / "elsewhere").exists()


async def test_a_file_is_rotated_before_it_is_too_large(tmp_path: Path) -> None:
    """Backups are numbered from the newest, the oldest goes, and no file is over the limit."""
    path = tmp_path / "audit.jsonl"
    sink = sink_at(path, lines=2, backups=2)
    for number in range(7):
        await sink.write(numbered(number))
    sink.close()
    assert ids(path) == ["exchange-6"]
    assert ids(tmp_path / "audit.jsonl.1") == ["exchange-4", "exchange-5"]
    assert ids(tmp_path / "audit.jsonl.2") == ["exchange-2", "exchange-3"]
    assert not (tmp_path / "audit.jsonl.3").exists()


async def test_without_backups_a_file_starts_again(tmp_path: Path) -> None:
    """Nothing is left of what was in it."""
    path = tmp_path / "audit.jsonl"
    sink = sink_at(path, lines=2, backups=0)
    for number in range(3):
        await sink.write(numbered(number))
    sink.close()
    assert ids(path) == ["exchange-2"]
    assert not (tmp_path / "audit.jsonl.1").exists()


async def test_an_entry_larger_than_a_file_is_written_all_the_same(tmp_path: Path) -> None:
    """It gets a file of its own."""
    path = tmp_path / "audit.jsonl"
    sink = sink_at(path, lines=1)
    await sink.write(entry(prompt="x" * 5000))
    await sink.write(numbered(2))
    sink.close()
    assert ids(tmp_path / "audit.jsonl.1") == ["exchange-1"]
    assert ids(path) == ["exchange-2"]


@pytest.mark.parametrize("moved", [True, False])
async def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path, moved: bool) -> None:
    """The system's own rotation, or a person, may take it at any time."""
    path = tmp_path / "audit.jsonl"
    sink = sink_at(path)
    await sink.write(numbered(1))
    if moved:
        path.rename(tmp_path / "audit.jsonl.old")
        path.write_bytes(line(numbered(0)).encode() + b"\n")
    else:
        path.unlink()
    await sink.write(numbered(2))
    sink.close()
    assert ids(path) == (["exchange-0", "exchange-2"] if moved else ["exchange-2"])


async def test_a_file_that_another_process_rotates_is_not_rotated_twice(tmp_path: Path) -> None:
    """Whoever gets the lock second finds another file at the path and goes on with that."""
    path = tmp_path / "audit.jsonl"
    sink = sink_at(path, lines=1)
    await sink.write(numbered(1))
    async with anyio.create_task_group() as tasks:
        with FileLock(f"{path}.lock", thread_local=False):
            tasks.start_soon(sink.write, numbered(2))
            await anyio.sleep(0.05)
            path.rename(tmp_path / "audit.jsonl.1")
    sink.close()
    assert ids(path) == ["exchange-2"]
    assert ids(tmp_path / "audit.jsonl.1") == ["exchange-1"]
    assert not (tmp_path / "audit.jsonl.2").exists()


async def test_a_file_that_cannot_be_rotated_grows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is lost because a backup is in the way or a lock is held; there is a warning."""
    monkeypatch.setattr(copilot_asgi.audit.file, "LOCK_TIMEOUT", 0.01)
    path = tmp_path / "audit.jsonl"
    (tmp_path / "audit.jsonl.1").mkdir()
    sink = sink_at(path, lines=1, backups=1)
    await sink.write(numbered(1))
    await sink.write(numbered(2))
    with FileLock(f"{path}.lock", thread_local=False):
        await sink.write(numbered(3))
    sink.close()
    assert ids(path) == ["exchange-1", "exchange-2", "exchange-3"]
    (warning,) = caplog.messages
    assert "cannot be rotated and grows" in warning


@pytest.mark.parametrize("room", [0, 1, 20])
async def test_a_line_that_a_full_disk_cut_off_spoils_no_other(tmp_path: Path, room: int) -> None:
    """The entry is refused; with room again the next one stands on a line of its own."""
    path = tmp_path / "audit.jsonl"
    sink = sink_at(path)
    await sink.write(numbered(1))
    with full_disk(path, room), pytest.raises(StoreError, match="Cannot write"):
        await sink.write(numbered(2))
    await sink.write(numbered(3))
    sink.close()
    lines = path.read_bytes().splitlines()
    assert lines[0] == line(numbered(1)).encode()
    assert lines[1:-1] == ([] if room == 0 else [line(numbered(2)).encode()[:room]])
    assert lines[-1] == line(numbered(3)).encode()


async def test_requests_go_on_while_the_disk_is_full(tmp_path: Path) -> None:
    """The client gets its answer, the count of lost entries rises, and the log goes on when there is room (L12)."""
    path = tmp_path / "audit.jsonl"
    path.touch(0o600)
    audit = Audit(sink := sink_at(path), prompts=False)
    client = Client()
    with full_disk(path, 0):
        for _ in range(3):
            await audit(make_exchange(), client, Answer())
    assert audit.sink_failures == 3
    await audit(make_exchange(id="after"), client, Answer())
    sink.close()
    assert client.body == b"{}" * 4
    assert ids(path) == ["after"]


async def test_a_cancelled_entry_is_written_first(tmp_path: Path) -> None:
    """A client that leaves takes no entry with it."""
    path = tmp_path / "audit.jsonl"
    sink = sink_at(path)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await sink.write(ENTRY)
    assert scope.cancelled_caught
    sink.close()
    assert ids(path) == ["exchange-1"]


def test_processes_share_a_file(tmp_path: Path) -> None:
    """Three at once: no line is lost, cut or doubled, and no file is moved away before it is full."""
    path = tmp_path / "audit.jsonl"
    full = 20 * LENGTH
    command = [sys.executable, WORKER, path]
    workers = [subprocess.Popen([*command, name, "120", str(full)]) for name in ("a", "b", "c")]
    for worker in workers:
        assert worker.wait() == 0
    files = [each for each in tmp_path.iterdir() if not each.name.endswith(".lock")]
    written = sorted(each for file in files for each in ids(file))
    assert written == sorted(f"{name}-{number}" for name in ("a", "b", "c") for number in range(120))
    # A batch of four lines of each process may come too late for the old file, and one may not fit any more.
    sizes = [file.stat().st_size for file in files if file != path]
    assert min(sizes) > full - 4 * LENGTH
    assert max(sizes) <= full + 8 * LENGTH
