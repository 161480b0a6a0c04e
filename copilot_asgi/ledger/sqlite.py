"""A ledger in a file of SQLite's, shared by all processes that use the file.

Rule: what returned is committed. What was only noted is committed with whatever comes next, at the latest a moment
later. Settled requests are added up by day, caller, account and model, so the file stays small; what a killed process
had under way stays on record as a reservation.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio import to_thread
from msgspec.structs import astuple

from copilot_asgi.batches import Batches
from copilot_asgi.budgets import Currency
from copilot_asgi.complaints import Complaints
from copilot_asgi.errors import BudgetExceeded
from copilot_asgi.ledger import By, Claim, Reservation, Standing, Total
from copilot_asgi.ledger.backlog import Backlog
from copilot_asgi.ledger.rules import admit, days_between, settled, span_of, summed
from copilot_asgi.ledger.sqlite_file import LedgerFile
from copilot_asgi.pricing import Usage

if TYPE_CHECKING:
    import sqlite3

__all__ = ["SqliteLedger"]

logger = logging.getLogger(__name__)

WRITE_DELAY = 0.05
"""Seconds from the first thing that is noted until all is written; a killed process may lose what was noted since."""

T = TypeVar("T")

Operation = Callable[["sqlite3.Connection"], None]

_RESERVE = "INSERT OR REPLACE INTO reservations VALUES (?, ?, ?, ?, ?, ?, ?)"
_RELEASE = "DELETE FROM reservations WHERE id = ?"
_SETTLE = """
    INSERT INTO totals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (day, caller, account, model) DO UPDATE SET
        requests = requests + excluded.requests, fresh = fresh + excluded.fresh,
        cache_read = cache_read + excluded.cache_read, cache_write = cache_write + excluded.cache_write,
        output = output + excluded.output, nano_credits = nano_credits + excluded.nano_credits,
        nano_premium = nano_premium + excluded.nano_premium, estimated = estimated + excluded.estimated"""
_COUNTED = """
    AND (:caller IS NULL OR caller = :caller) AND (:account IS NULL OR account = :account)
    AND (:model IS NULL OR model = :model)"""
_AMOUNTS = "SELECT coalesce(sum(nano_credits), 0), coalesce(sum(nano_premium), 0) FROM "
_USED = _AMOUNTS + "totals WHERE day >= :first AND day < :end" + _COUNTED
_RESERVED = _AMOUNTS + "reservations WHERE at >= :since AND at < :until" + _COUNTED
_TOTALS = "SELECT * FROM totals WHERE day >= ? AND day < ?"
_UNSETTLED = "SELECT * FROM reservations ORDER BY at, id"


class SqliteLedger:
    """Records in the file ``path``, which is opened at first use and made when there is something to write.

    Operations of parallel requests share transactions. Every async method raises ``StoreError`` with the path and the
    way out when the file cannot be used; it is finished, not abandoned, on cancellation.

    What begins and ends is written by a thread of the ledger's own, and before anything else that is asked of it. It
    belongs to no event loop, whose end could lose it, and the interpreter waits for it when it exits. What could not be
    written is tried again with the next request.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = LedgerFile(path)
        self._alone = threading.Lock()  # around what is done with the backlog, but for noting
        self._backlog = Backlog(Complaints(logger, f"Requests are missing in {path}"))
        self._batches: Batches[Operation, None] = Batches(self._apply)
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="copilot_asgi_ledger")
        self._unwritten = Complaints(logger, f"Requests are not yet in {path}")
        self._is_due = False

    def begin(self, entry: Reservation) -> None:
        """Put a request on record, within ``WRITE_DELAY``."""
        self._backlog.note(entry, None, has_ended=False)
        self._write_soon()

    def end(self, entry: Reservation, usage: Usage | None) -> None:
        """Replace it, which need not be on record, by what was used, if anything was; within ``WRITE_DELAY``."""
        self._backlog.note(entry, usage, has_ended=True)
        self._write_soon()

    async def reserve(self, entry: Reservation, claims: Sequence[Claim]) -> list[Standing]:
        """Put a request on record, and say how full each budget is. Raises ``BudgetExceeded``."""
        answer = await self._run(lambda connection: _reserve(connection, entry, claims))
        if isinstance(answer, BudgetExceeded):
            raise answer
        return answer

    async def settle(self, entry: Reservation, usage: Usage) -> None:
        """Replace the reservation, which need not be on record, by what was used."""
        await self._run(lambda connection: _settle(connection, entry, usage))

    async def release(self, entry: Reservation) -> None:
        """Take the reservation back; it need not be on record."""
        await self._run(lambda connection: _release(connection, entry))

    async def totals(self, since: datetime, until: datetime | None, by: Collection[By]) -> list[Total]:
        """What was settled on the days from that of ``since`` to the last that begins before ``until``, sorted."""
        days = days_between(since, until)
        return summed(await self._read(lambda connection: _totals(connection, days), []), by)

    async def spent(self, claim: Claim, now: float) -> Standing:
        """How full a budget is at ``now`` (unix seconds)."""
        return await self._read(lambda connection: _standing(connection, claim, now), Standing(claim, used=0))

    async def unsettled(self) -> list[Reservation]:
        """Requests under way, and those that a crash cut off; the oldest first."""
        return await self._read(_unsettled, [])

    async def close(self) -> None:
        """Write what is left to write, and close the file; the next use opens it again."""
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self._close)

    async def _read(self, work: Callable[["sqlite3.Connection"], T], nothing: T) -> T:
        """What ``work`` finds, or ``nothing`` where no file is: looking makes none."""
        return nothing if await to_thread.run_sync(self._is_empty) else await self._run(work)

    async def _run(self, work: Callable[["sqlite3.Connection"], T]) -> T:
        results: list[T] = []
        await self._batches.submit(lambda connection: results.append(work(connection)))
        return results[-1]

    def _apply(self, operations: list[Operation]) -> list[None]:
        """Do them, after what was noted until now, in one transaction. Blocks."""
        with self._alone:
            self._backlog.gather()
            if not operations and not self._backlog:
                return []
            with self._file.transaction() as connection:
                _write(connection, self._backlog)
                results = [operation(connection) for operation in operations]
            self._backlog.clear()
            return results

    def _write_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            try:
                self._writer.submit(self._write_late)
            except RuntimeError as error:  # the interpreter is about to end, or there are too many threads
                self._is_due = False
                self._unwritten.add(error)

    def _write_late(self) -> None:
        time.sleep(WRITE_DELAY)
        self._is_due = False  # what is noted from here on may come too late for this time
        self._flush()

    def _flush(self) -> None:
        try:
            self._apply([])
        except Exception as error:  # noqa: BLE001 - nobody waits for it who could be told
            self._unwritten.add(error)

    def _is_empty(self) -> bool:
        with self._alone:
            return not self._backlog and not self._path.exists()

    def _close(self) -> None:
        self._flush()
        self._file.close()


def _reserve(
    connection: "sqlite3.Connection", entry: Reservation, claims: Sequence[Claim]
) -> list[Standing] | BudgetExceeded:
    """A refusal is a value here: it must not undo what others do in the same transaction."""
    try:
        standings = [admit(entry, _standing(connection, claim, entry.at)) for claim in claims]
    except BudgetExceeded as refusal:
        return refusal
    connection.execute(_RESERVE, _row(entry))
    return standings


def _settle(connection: "sqlite3.Connection", entry: Reservation, usage: Usage) -> None:
    _release(connection, entry)
    connection.execute(_SETTLE, _total_row(settled(entry, usage)))


def _release(connection: "sqlite3.Connection", entry: Reservation) -> None:
    connection.execute(_RELEASE, (entry.id,))


def _write(connection: "sqlite3.Connection", backlog: Backlog) -> None:
    connection.executemany(_RELEASE, [(id,) for id in backlog.ended])
    connection.executemany(_RESERVE, [_row(entry) for entry in backlog.begun.values()])
    connection.executemany(_SETTLE, [_total_row(total) for total in backlog.totals.values()])


def _row(entry: Reservation) -> tuple[object, ...]:
    id, *names, at, nano_credits, nano_premium = astuple(entry)
    return (id, *map(_text, names), at, nano_credits, nano_premium)


def _total_row(total: Total) -> tuple[object, ...]:
    day, caller, account, model, *counts = astuple(total)
    return (day, _text(caller), _text(account), _text(model), *counts)


def _standing(connection: "sqlite3.Connection", claim: Claim, now: float) -> Standing:
    span = span_of(claim, now)
    values = {
        "caller": _text(claim.caller),
        "account": _text(claim.account),
        "model": _text(claim.model),
        "first": span.first,
        "end": span.end,
        "since": span.since,
        "until": span.until,
    }
    place = 0 if claim.budget.currency is Currency.CREDITS else 1
    used = connection.execute(_USED, values).fetchone()[place]
    reserved = connection.execute(_RESERVED, values).fetchone()[place]
    return Standing(claim, used=used, reserved=reserved)


def _totals(connection: "sqlite3.Connection", days: tuple[str, str]) -> list[Total]:
    return [Total(**dict(zip(Total.__struct_fields__, row, strict=True))) for row in connection.execute(_TOTALS, days)]


def _unsettled(connection: "sqlite3.Connection") -> list[Reservation]:
    rows = connection.execute(_UNSETTLED)
    return [Reservation(**dict(zip(Reservation.__struct_fields__, row, strict=True))) for row in rows]


def _text(name: str | None) -> str | None:
    """A name as the file can hold it: a caller's may have characters that UTF-8 has not."""
    return None if name is None else name.encode("utf-8", "backslashreplace").decode()
