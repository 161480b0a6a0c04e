"""The ledger's file survives crashes, other processes, damage and the people who clean up."""

# ruff: noqa: ASYNC240 - these tests look at the disk between two calls

import logging
import os
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path

import filelock
import pytest

from copilot_asgi.budgets import parse_budget
from copilot_asgi.errors import StoreError
from copilot_asgi.ledger import Claim, Reservation
from copilot_asgi.ledger import sqlite_file as module
from copilot_asgi.ledger.sqlite import SqliteLedger
from copilot_asgi.pricing import NANO, Usage

HERE = Path(__file__).parent
pytestmark = pytest.mark.anyio

EVER = datetime.fromtimestamp(0, UTC)
CREDIT = Usage(nano_credits=NANO)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "data" / "ledger.sqlite3"


@pytest.fixture
async def ledger(path: Path) -> AsyncGenerator[SqliteLedger]:
    made = SqliteLedger(path)
    yield made
    await made.close()


def entry(id: str = "one", *, model: str = "m") -> Reservation:
    return Reservation(id=id, caller="c", account="a", model=model, at=time.time(), nano_credits=NANO)


async def spent(ledger: SqliteLedger) -> int:
    return sum(total.nano_credits for total in await ledger.totals(EVER, None, ())) // NANO


async def test_nobody_else_can_read(ledger: SqliteLedger, path: Path) -> None:
    """Directory 0700, files 0600, those that SQLite makes too, whatever the umask."""
    before = os.umask(0)
    try:
        await ledger.settle(entry(), CREDIT)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {each.name for each in path.parent.iterdir()} >= {path.name, path.name + "-wal"}
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}


def test_nothing_is_made_before_it_is_needed(path: Path) -> None:
    """A ledger that is never used leaves the disk alone."""
    SqliteLedger(path)
    assert not path.parent.exists()


async def test_looking_makes_no_file(ledger: SqliteLedger, path: Path) -> None:
    """Where nothing was ever spent there is nothing to find, and nothing is left behind by the search."""
    claim = Claim(parse_budget("5 credits/day"))
    assert await ledger.totals(EVER, None, ()) == []
    assert await ledger.unsettled() == []
    assert (await ledger.spent(claim, time.time())).used == 0
    assert not path.parent.exists()


async def test_the_next_process_finds_everything(ledger: SqliteLedger, path: Path) -> None:
    """What returned is in the file, also when nobody ever closes it."""
    await ledger.settle(entry("one"), CREDIT)
    await ledger.reserve(entry("two"), [])
    other = SqliteLedger(path)
    assert await spent(other) == 1
    assert [found.id for found in await other.unsettled()] == ["two"]
    await other.close()


async def refusal(ledger: SqliteLedger) -> str:
    with pytest.raises(StoreError) as refused:
        await ledger.reserve(entry(), [Claim(parse_budget("5 credits/day"))])
    return refused.value.message


@pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX's")
async def test_files_that_are_not_safely_ours(ledger: SqliteLedger, path: Path) -> None:
    """Open modes, links and directories in its place are refused with the command that mends them."""
    path.parent.mkdir(parents=True, mode=0o700)
    path.touch(mode=0o644)
    assert await refusal(ledger) == f"{path} can be read or changed by other users. Run: chmod 600 {path}"
    path.chmod(0o600)
    path.with_name("second").hardlink_to(path)
    assert "has a second name" in await refusal(ledger)
    path.unlink()
    path.symlink_to("second")
    assert f"Run: mv {path} {path}.old" in await refusal(ledger)
    path.unlink()
    path.mkdir()
    assert "is not a plain file" in await refusal(ledger)
    path.rmdir()
    path.parent.chmod(0o755)
    assert f"Run: chmod 700 {path.parent}" in await refusal(ledger)
    path.parent.chmod(0o700)
    assert await spent(ledger) == 0


async def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    """An error of the file system names the path."""
    (tmp_path / "file").touch()
    ledger = SqliteLedger(tmp_path / "file" / "data" / "ledger.sqlite3")
    assert str(tmp_path / "file" / "data") in await refusal(ledger)


async def test_a_file_of_a_newer_version(ledger: SqliteLedger, path: Path) -> None:
    """It is left as it is, and the message says what can be done."""
    await ledger.settle(entry(), CREDIT)
    await ledger.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    before = path.read_bytes()
    message = await refusal(ledger)
    assert message == (
        f"{path} was written by a newer copilot_asgi. Upgrade this one, or start a new ledger with: "
        f"mv {path} {path}.old"
    )
    assert path.read_bytes() == before


async def test_a_damaged_file_is_moved_aside(
    ledger: SqliteLedger, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be understood is kept under another name, with a warning, and a new ledger begins; each time."""
    path.parent.mkdir(parents=True, mode=0o700)
    for number in (1, 2):
        path.write_bytes(b"this is no ledger" * 100)
        path.chmod(0o600)
        path.with_name(path.name + "-wal").write_bytes(b"leftover")
        await ledger.settle(entry(), CREDIT)
        assert await spent(ledger) == 1
        await ledger.close()
        aside = path.with_name(f"{path.name}.corrupt-{number}")
        assert aside.read_bytes() == b"this is no ledger" * 100
        assert f"{path} is damaged; moved to {aside}." in caplog.messages[-1]


async def test_a_file_damaged_inside(ledger: SqliteLedger, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Damage behind a sound beginning is found as well."""
    for number in range(200):
        await ledger.settle(entry(model=f"{number}" * 20), CREDIT)
    await ledger.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))
    assert await spent(ledger) == 0
    assert "is damaged; moved to" in caplog.text


async def test_damage_that_comes_to_light_later(ledger: SqliteLedger, path: Path) -> None:
    """An operation on a damaged page fails and says so; the next use starts anew."""
    for number in range(200):
        await ledger.settle(entry(model=f"{number}" * 20), CREDIT)
    await ledger.close()
    await ledger.unsettled()  # it is open and sound
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))
    with pytest.raises(StoreError, match="It is moved aside when it is used next"):
        await ledger.totals(EVER, None, ())
    assert await spent(ledger) == 0
    assert path.with_name(f"{path.name}.corrupt-1").exists()


async def test_a_file_removed_while_in_use(ledger: SqliteLedger, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Requests go on in a new file, and one that was under way is counted there."""
    await ledger.settle(entry("one"), CREDIT)
    await ledger.reserve(entry("two"), [])
    for each in path.parent.iterdir():
        each.unlink()
    await ledger.settle(entry("two"), CREDIT)
    assert await spent(ledger) == 1
    assert await ledger.unsettled() == []
    assert "was removed or replaced while in use" in caplog.text
    assert path.exists()


async def test_a_link_put_in_its_place(ledger: SqliteLedger, path: Path) -> None:
    """A link that leads nowhere is refused like any other."""
    await ledger.settle(entry(), CREDIT)
    path.unlink()
    path.symlink_to(path)
    assert await refusal(ledger) == f"{path} is a symbolic link. Run: rm {path}"


async def test_another_program_that_does_not_let_go(
    ledger: SqliteLedger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that is held too long is an error with advice; when it is gone everything works again."""
    monkeypatch.setattr(module, "BUSY_TIMEOUT", 0.01)
    await ledger.settle(entry(), CREDIT)
    greedy = sqlite3.connect(path, isolation_level=None)
    greedy.execute("BEGIN IMMEDIATE")
    assert await refusal(ledger) == (
        f"Cannot use {path}: database is locked. Another program keeps it locked. Close that, and try again."
    )
    greedy.execute("ROLLBACK")
    greedy.close()
    assert await spent(ledger) == 1


async def test_a_file_that_cannot_be_looked_at(
    ledger: SqliteLedger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is only locked is not taken for damaged."""
    monkeypatch.setattr(module, "BUSY_TIMEOUT", 0.01)
    path.parent.mkdir(parents=True, mode=0o700)
    path.touch(mode=0o600)
    greedy = sqlite3.connect(path, isolation_level=None)
    greedy.execute("BEGIN EXCLUSIVE")
    assert "database is locked" in await refusal(ledger)
    greedy.close()
    assert await spent(ledger) == 0
    assert not list(path.parent.glob("*corrupt*"))


async def test_another_process_that_is_opening(
    ledger: SqliteLedger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process at a time opens the file; whoever waits too long for that says so."""
    monkeypatch.setattr(module, "OPEN_TIMEOUT", 0.01)
    path.parent.mkdir(parents=True, mode=0o700)
    with filelock.FileLock(f"{path}.lock"):
        assert await refusal(ledger) == f"Cannot open {path}: another program keeps {path}.lock locked."
    assert await spent(ledger) == 0


async def test_a_file_system_without_locks(ledger: SqliteLedger, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be locked no ledger is kept."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise NotImplementedError("no flock here")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    assert await refusal(ledger) == f"Cannot lock {path}.lock: no flock here."


async def test_a_full_disk(ledger: SqliteLedger) -> None:
    """Nothing of a transaction that does not fit is kept, and what was there still is."""
    await ledger.settle(entry(), CREDIT)
    connection = ledger._file._connection
    assert connection is not None
    connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StoreError, match="Free some disk space"):
        await ledger.settle(entry(model="m" * 20_000), CREDIT)
    assert await spent(ledger) == 1
    await ledger.settle(entry(model="m" * 20_000), CREDIT)
    assert await spent(ledger) == 2


async def test_an_operation_that_fails_undoes_its_transaction(ledger: SqliteLedger) -> None:
    """A fault that is not SQLite's leaves nothing half done either."""

    def work(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM totals")
        raise ZeroDivisionError

    await ledger.settle(entry(), CREDIT)
    with pytest.raises(ZeroDivisionError):
        await ledger._run(work)
    assert await spent(ledger) == 1


def start(*args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, HERE / "spending_worker.py", *map(str, args)], stdout=subprocess.PIPE, text=True
    )


async def test_many_processes_spend_one_budget(ledger: SqliteLedger, path: Path) -> None:
    """Together they spend what the budget holds, not a credit more or less, and the sum is exact."""
    workers = [start("spend", path, name, 100, "500 credits/month") for name in range(8)]
    passed = [int(worker.communicate(timeout=50)[0]) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 8
    assert sum(passed) == 500
    assert await spent(ledger) == 500
    assert await ledger.unsettled() == []


async def test_killed_processes(ledger: SqliteLedger, path: Path) -> None:
    """What was settled stays settled, once; what was under way stays listed; the file stays sound."""
    begun: set[str] = set()
    settled: set[str] = set()
    for round in range(6):
        worker = start("until_killed", path, round)
        assert worker.stdout is not None
        lines = [worker.stdout.readline() for _ in range(20 + 17 * round)]
        worker.kill()
        lines += worker.communicate()[0].splitlines(keepends=True)
        words = [line.split() for line in lines if line.endswith("\n")]
        begun |= {id for word, id in words if word == "begun"}
        settled |= {id for word, id in words if word == "settled"}
    count, under_way = await spent(ledger), {found.id for found in await ledger.unsettled()}
    assert under_way <= begun - settled
    assert len(settled) <= count <= len(begun) - len(under_way)
    assert not list(path.parent.glob("*corrupt*"))


def test_nothing_is_imported_before_it_is_needed() -> None:
    """SQLite and file locks are loaded when the ledger is used, not when it is made."""
    code = (
        "import sys; from pathlib import Path; before = set(sys.modules);"
        "from copilot_asgi.ledger.sqlite import SqliteLedger; SqliteLedger(Path('ledger'));"
        "print({'sqlite3', 'filelock', 'fractions', 'json'} & (set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


async def test_logs_hold_no_surprises(ledger: SqliteLedger, caplog: pytest.LogCaptureFixture) -> None:
    """Ordinary use logs nothing."""
    with caplog.at_level(logging.DEBUG, logger="copilot_asgi"):
        await ledger.reserve(entry(), [])
        await ledger.settle(entry(), CREDIT)
    assert caplog.messages == []
