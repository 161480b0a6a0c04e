"""A ledger that forgets everything when the process ends; for tests, and for hosts without a disk."""

import threading
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from copilot_asgi.ledger import By, Claim, Reservation, Standing, Total
from copilot_asgi.ledger.rules import Names, add, admit, days_between, settled, span_of, summed
from copilot_asgi.pricing import Usage

__all__ = ["MemoryLedger"]


class MemoryLedger:
    """Records in dictionaries; works from every event loop and thread of the process. Raises no ``StoreError``."""

    def __init__(self) -> None:
        self._alone = threading.Lock()  # never held where anything waits
        self._reservations: dict[str, Reservation] = {}
        self._totals: dict[Names, Total] = {}

    def begin(self, entry: Reservation) -> None:
        """Put a request on record."""
        with self._alone:
            self._reservations[entry.id] = entry

    def end(self, entry: Reservation, usage: Usage | None) -> None:
        """Replace it, which need not be on record, by what was used, if anything was."""
        with self._alone:
            self._reservations.pop(entry.id, None)
            if usage is not None:
                add(self._totals, settled(entry, usage))

    async def reserve(self, entry: Reservation, claims: Sequence[Claim]) -> list[Standing]:
        """Put a request on record, and say how full each budget is. Raises ``BudgetExceeded``."""
        with self._alone:
            standings = [admit(entry, self._standing(claim, entry.at)) for claim in claims]
            self._reservations[entry.id] = entry
            return standings

    async def settle(self, entry: Reservation, usage: Usage) -> None:
        """Replace the reservation, which need not be on record, by what was used."""
        self.end(entry, usage)

    async def release(self, entry: Reservation) -> None:
        """Take the reservation back; it need not be on record."""
        self.end(entry, None)

    async def totals(self, since: datetime, until: datetime | None, by: Collection[By]) -> list[Total]:
        """What was settled on the days from that of ``since`` to the last that begins before ``until``, sorted."""
        with self._alone:
            return summed(self._between(*days_between(since, until)), by)

    async def spent(self, claim: Claim, now: float) -> Standing:
        """How full a budget is at ``now`` (unix seconds)."""
        with self._alone:
            return self._standing(claim, now)

    async def unsettled(self) -> list[Reservation]:
        """Requests under way; the oldest first."""
        with self._alone:
            return sorted(self._reservations.values(), key=lambda entry: (entry.at, entry.id))

    async def close(self) -> None:
        """Nothing is open."""

    def _between(self, first: str, end: str) -> Iterable[Total]:
        return [total for total in self._totals.values() if first <= (total.day or "") < end]

    def _standing(self, claim: Claim, now: float) -> Standing:
        span, currency = span_of(claim, now), claim.budget.currency
        used = [total for total in self._between(span.first, span.end) if claim.counts(total)]
        reserved = [
            entry.cost(currency)
            for entry in self._reservations.values()
            if span.since <= entry.at < span.until and claim.counts(entry)
        ]
        return Standing(claim, used=sum(total.cost(currency) for total in used), reserved=sum(reserved))
