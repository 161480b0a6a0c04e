"""Requests that no budget counts are written behind: soon, together, and whatever becomes of the loop they ran on."""

import asyncio
import gc
import sqlite3
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_asgi.budgets import parse_budget
from copilot_asgi.errors import BudgetExceeded, StoreError
from copilot_asgi.ledger import By, Claim, Ledger, Reservation
from copilot_asgi.ledger import sqlite as module
from copilot_asgi.ledger.memory import MemoryLedger
from copilot_asgi.ledger.sqlite import SqliteLedger
from copilot_asgi.pricing import NANO, Usage

pytestmark = pytest.mark.anyio

EVER = datetime.fromtimestamp(0, UTC)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
CREDIT = Usage(output=1, nano_credits=NANO)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ledger.sqlite3"


@pytest.fixture
async def ledger(path: Path) -> AsyncGenerator[SqliteLedger]:
    made = SqliteLedger(path)
    yield made
    await made.close()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITE_DELAY", 0.005)


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """The delay never passes: what is written is written for another reason."""
    monkeypatch.setattr(SqliteLedger, "_write_late", lambda ledger: None)


def entry(id: str = "one", *, caller: str = "c", at: float = NOON) -> Reservation:
    return Reservation(id=id, caller=caller, account="a", model="m", at=at)


async def spent(ledger: Ledger) -> float:
    return sum(total.nano_credits for total in await ledger.totals(EVER, None, ())) / NANO


def in_file(path: Path, table: str) -> int:
    """How many rows the table has, as another process sees it."""
    if not path.exists():
        return 0
    connection = sqlite3.connect(path)
    try:
        (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    except sqlite3.OperationalError:  # somebody is just making it
        return 0
    finally:
        connection.close()
    return int(count)


async def until_in_file(path: Path, **rows: int) -> None:
    with anyio.fail_after(10):
        while {table: in_file(path, table) for table in rows} != rows:
            await anyio.sleep(0.005)


@pytest.mark.usefixtures("soon")
async def test_it_is_in_the_file_within_a_moment(ledger: SqliteLedger, path: Path) -> None:
    """Nobody has to ask for it: what is under way is there for all processes, and so is what it used in the end."""
    ledger.begin(entry("one"))
    ledger.begin(entry("two"))
    await until_in_file(path, reservations=2, totals=0)
    ledger.end(entry("one"), CREDIT)
    ledger.end(entry("two"), None)
    await until_in_file(path, reservations=0, totals=1)


@pytest.mark.usefixtures("never")
async def test_whoever_asks_sees_all_that_has_ended(ledger: SqliteLedger) -> None:
    """Each of the methods that look at the record writes first what was noted."""
    day = Claim(parse_budget("4 credits/day"))
    ledger.end(entry("1"), CREDIT)
    assert await spent(ledger) == 1
    ledger.end(entry("2"), CREDIT)
    assert (await ledger.spent(day, NOON)).used == 2 * NANO
    ledger.begin(entry("3"))
    assert await ledger.unsettled() == [entry("3")]
    ledger.end(entry("3"), CREDIT)
    (after,) = await ledger.reserve(entry("4"), [day])
    assert after.used == 3 * NANO
    ledger.end(entry("5"), CREDIT)
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(entry("6"), [day])


@pytest.mark.usefixtures("never")
@pytest.mark.parametrize("operation", ["settle", "release", "close"])
async def test_whatever_is_written_takes_it_along(ledger: SqliteLedger, path: Path, operation: str) -> None:
    """One transaction is for all, and closing leaves nothing unwritten."""
    ledger.end(entry("one"), CREDIT)
    match operation:
        case "settle":
            await ledger.settle(entry("two", caller="d"), CREDIT)
        case "release":
            await ledger.release(entry("two"))
        case "close":
            await ledger.close()
    assert in_file(path, "totals") == (2 if operation == "settle" else 1)


@pytest.mark.usefixtures("never")
async def test_what_ends_at_once_never_is_a_reservation(ledger: SqliteLedger) -> None:
    """Many short requests of a caller are one statement, which adds their sum."""
    await ledger.settle(entry("first"), CREDIT)
    statements: list[str] = []
    connection = ledger._file._connection
    assert connection is not None
    connection.set_trace_callback(statements.append)
    for number in range(100):
        ledger.begin(entry(f"{number}"))
        ledger.end(entry(f"{number}"), CREDIT)
    assert await spent(ledger) == 101
    connection.set_trace_callback(None)
    assert [statement.split()[0] for statement in statements] == ["BEGIN", "INSERT", "SELECT", "COMMIT"]
    assert "INTO totals" in statements[1]


@pytest.mark.usefixtures("never")
async def test_closing_makes_no_file(ledger: SqliteLedger, path: Path) -> None:
    """Where nothing was noted there is nothing to write."""
    await ledger.close()
    assert not path.parent.exists()


class Gate:
    """Stands in for ``time``: the delay passes when the test says so."""

    def __init__(self) -> None:
        self.slept = threading.Semaphore(0)

    def sleep(self, seconds: float) -> None:
        assert seconds == module.WRITE_DELAY
        assert self.slept.acquire(timeout=10)


async def test_one_transaction_for_all_of_the_delay(
    ledger: SqliteLedger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes while the delay lasts is written together, what comes later after another one."""
    gate = Gate()
    monkeypatch.setattr(module, "time", gate)
    for number in range(50):
        ledger.begin(entry(f"{number}"))
    gate.slept.release()
    await until_in_file(path, reservations=50)
    ledger.end(entry("0"), CREDIT)
    assert (in_file(path, "reservations"), in_file(path, "totals")) == (50, 0)
    gate.slept.release()
    await until_in_file(path, reservations=49, totals=1)


@pytest.mark.usefixtures("soon")
async def test_a_file_that_cannot_be_used_keeps_nobody(
    ledger: SqliteLedger, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once in the log; as soon as it is mended everything is written that was noted meanwhile."""
    path.parent.mkdir(mode=0o755)
    ledger.begin(entry("one"))
    ledger.end(entry("one"), CREDIT)
    ledger.begin(entry("two"))
    with anyio.fail_after(10):
        while not ledger._unwritten.count:
            await anyio.sleep(0.005)
    with pytest.raises(StoreError, match="Run: chmod 700"):
        await ledger.unsettled()
    ledger.end(entry("two"), CREDIT)
    path.parent.chmod(0o700)
    ledger.begin(entry("three"))
    await until_in_file(path, reservations=1, totals=1)
    assert await spent(ledger) == 2
    (told,) = caplog.messages
    assert told.startswith(f"Requests are not yet in {path} (1 times so far). StoreError: {path.parent} can be read")


@pytest.mark.usefixtures("never")
async def test_an_operation_that_fails_takes_nothing_with_it(ledger: SqliteLedger) -> None:
    """What was noted is undone with the transaction, and written with the next one."""

    def work(connection: sqlite3.Connection) -> None:
        raise ZeroDivisionError

    ledger.end(entry(), CREDIT)
    with pytest.raises(ZeroDivisionError):
        await ledger._run(work)
    assert await spent(ledger) == 1


async def test_a_thread_that_cannot_be_had(ledger: SqliteLedger, caplog: pytest.LogCaptureFixture) -> None:
    """Noting raises nothing; the log says so, and what was noted is kept."""
    ledger._writer.shutdown()
    ledger.begin(entry())
    ledger.end(entry(), CREDIT)
    assert "RuntimeError" in caplog.text
    assert await spent(ledger) == 1


@pytest.mark.usefixtures("soon")
def test_a_loop_that_ends_loses_nothing(path: Path) -> None:
    """What is noted last, also by tasks that the end of the loop cancels, is written; no loop is kept alive for it."""
    ledger = SqliteLedger(path)

    async def request(number: int) -> None:
        one = entry(f"{number}", caller=f"{number}")
        ledger.begin(one)
        try:
            await anyio.sleep_forever()
        finally:
            ledger.end(one, CREDIT)

    async def main() -> "weakref.ref[asyncio.AbstractEventLoop]":
        requests = [asyncio.ensure_future(request(number)) for number in range(3)]
        await asyncio.sleep(0)
        assert not any(each.done() for each in requests)
        return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(main())
    anyio.run(partial(until_in_file, path, reservations=0, totals=3))
    gc.collect()
    assert loop() is None
    anyio.run(ledger.close)


@pytest.mark.usefixtures("soon")
def test_loops_in_several_threads(path: Path) -> None:
    """Each begins and ends requests, reserves and settles others; the sum is exact."""
    ledger = SqliteLedger(path)

    async def requests(name: int) -> None:
        for number in range(100):
            one = entry(f"{name}-{number}", caller=f"{name % 2}")
            ledger.begin(one)
            if number % 25 == 0:
                budgeted = entry(f"{name}-{number}-budgeted")
                await ledger.reserve(budgeted, [Claim(parse_budget("1000000 credits/day"))])
                await ledger.settle(budgeted, CREDIT)
            ledger.end(one, CREDIT)

    threads = [threading.Thread(target=anyio.run, args=[requests, name]) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def look() -> tuple[float, list[Reservation]]:
        found = await spent(ledger), await ledger.unsettled()
        await ledger.close()
        return found

    assert anyio.run(look) == (4 * 100 + 4 * 4, [])


ids = st.sampled_from(["a", "b", "c"])
credits = st.integers(0, 4)
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["begin", "release", "reserve", "look"]), ids, st.just(0)),
        st.tuples(st.sampled_from(["end", "end without usage", "settle"]), ids, credits),
    ),
    max_size=25,
)


async def reserved(ledger: Ledger, one: Reservation) -> object:
    """How full the budget is, or why the request is refused."""
    try:
        return await ledger.reserve(one, [Claim(parse_budget("9 credits/day"))])
    except BudgetExceeded as refusal:
        return refusal.message


async def play(ledger: Ledger, steps: Sequence[tuple[str, str, int]]) -> list[object]:
    """What is seen on the way; a request that is under way does not begin again."""
    seen: list[object] = []
    under_way: set[str] = set()
    for step, id, spent in [*steps, ("look", "", 0)]:
        one, usage = entry(id, caller=id), Usage(output=1, nano_credits=spent * NANO)
        match step:
            case "look":
                seen += [await ledger.unsettled(), await ledger.totals(EVER, None, tuple(By))]
                continue
            case "begin" if id not in under_way:
                ledger.begin(one)
            case "reserve" if id not in under_way:
                seen.append(await reserved(ledger, one))
                if isinstance(seen[-1], str):
                    continue
            case "end" | "end without usage":
                ledger.end(one, usage if step == "end" else None)
            case "settle":
                await ledger.settle(one, usage)
            case "release":
                await ledger.release(one)
        (under_way.add if step in {"begin", "reserve"} else under_way.discard)(id)
    await ledger.close()
    return seen


@settings(max_examples=80, deadline=None)
@given(steps=steps)
def test_it_keeps_the_same_books_as_the_one_in_memory(steps: Sequence[tuple[str, str, int]]) -> None:
    """Whatever begins, ends, is reserved, settled and released, and whenever it is written in between."""
    with TemporaryDirectory() as directory:
        written = anyio.run(play, SqliteLedger(Path(directory) / "data" / "ledger.sqlite3"), steps)
    assert written == anyio.run(play, MemoryLedger(), steps)


def start(mode: str, path: Path, *args: object) -> subprocess.Popen[str]:
    worker = Path(__file__).parent / "spending_worker.py"
    command = [sys.executable, worker, mode, path, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def test_a_process_that_ends_loses_nothing(ledger: SqliteLedger, path: Path) -> None:
    """The interpreter waits for what was noted, although nobody closes the ledger."""
    worker = start("note", path, "x", 300)
    assert worker.communicate(timeout=50)[0] == "done\n"
    assert await spent(ledger) == 300
    assert await ledger.unsettled() == []


async def test_killed_processes_lose_a_moment(ledger: SqliteLedger, path: Path) -> None:
    """What had ended when the record was looked at last counts, and once; of the rest some may be missing."""
    noted = sure = 0
    for round in range(4):
        worker = start("note_until_killed", path, round)
        assert worker.stdout is not None
        lines = [worker.stdout.readline() for _ in range(60 + 37 * round)]
        worker.kill()
        lines += worker.communicate()[0].splitlines(keepends=True)
        words = [line.split()[0] for line in lines if line.endswith("\n")]
        looks = [place for place, word in enumerate(words) if word == "looked"]
        noted += words.count("begins")
        sure += words[: looks[-1]].count("ended") if looks else 0
    count, under_way = await spent(ledger), await ledger.unsettled()
    assert sure > 0
    assert sure <= count <= noted
    assert count + len(under_way) <= noted
    assert not list(path.parent.glob("*corrupt*"))


def test_noting_takes_no_time() -> None:
    """Neither a slow file nor a transaction of another process holds up whoever notes."""
    with TemporaryDirectory() as directory:
        ledger = SqliteLedger(Path(directory) / "data" / "ledger.sqlite3")
        with ledger._alone:
            began = threading.Thread(target=ledger.begin, args=[entry()])
            began.start()
            began.join(10)
            assert not began.is_alive()
        ledger.end(entry(), None)
        anyio.run(ledger.close)
