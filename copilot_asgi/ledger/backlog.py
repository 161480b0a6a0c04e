"""What happened to requests that no budget counts, until it is written.

Rule: noting never waits, and is for every thread; adding up is for the one that writes, off the event loops. What ends
before it was written leaves nothing but its sum. What could not be written stays, and more comes on top.
"""

from collections import deque
from itertools import islice
from typing import TypeVar

from copilot_asgi.complaints import Complaints
from copilot_asgi.ledger import Reservation, Total
from copilot_asgi.ledger.rules import Names, add, settled
from copilot_asgi.pricing import Usage

__all__ = ["MOST_KEPT", "Backlog"]

K = TypeVar("K")
V = TypeVar("V")

MOST_KEPT = 100_000
"""How many notes, and then requests, ids and sums, are kept while nothing can be written: some tens of megabytes."""


class Backlog:
    """``ended`` (ids) are to be taken off the record, then ``begun`` put on it and ``totals`` added.

    What cannot be kept any longer is counted and warned of by ``dropped``.
    """

    def __init__(self, dropped: Complaints) -> None:
        self.ended: dict[str, None] = {}  # in the order of their ends
        self.begun: dict[str, Reservation] = {}
        self.totals: dict[Names, Total] = {}
        self._dropped = dropped
        # A deque, as its two ends are safe between threads.
        self._notes: deque[tuple[Reservation, bool, Usage | None]] = deque()

    def __bool__(self) -> bool:
        return bool(self._notes or self.ended or self.begun or self.totals)

    def note(self, entry: Reservation, usage: Usage | None, *, has_ended: bool) -> None:
        """Note that a request began, or ended with what it used, if anything was charged."""
        if len(self._notes) < MOST_KEPT:
            self._notes.append((entry, has_ended, usage))
        else:
            self._dropped.add("Nothing could be written for too long.")

    def gather(self) -> None:
        """Add up what was noted."""
        while self._notes:
            entry, has_ended, usage = self._notes.popleft()
            if not has_ended:
                self.begun[entry.id] = entry
            elif self.begun.pop(entry.id, None) is None:
                self.ended[entry.id] = None
            if usage is not None:
                add(self.totals, settled(entry, usage))
        for surplus in (_shortened(self.ended), _shortened(self.begun), _shortened(self.totals)):
            if surplus:
                self._dropped.add(f"Nothing could be written for too long; the {surplus} oldest are given up.")

    def clear(self) -> None:
        """Forget what was added up: it is written."""
        self.ended.clear()
        self.begun.clear()
        self.totals.clear()


def _shortened(kept: dict[K, V]) -> int:
    """Drop the oldest beyond ``MOST_KEPT``, and say how many there were."""
    surplus = list(islice(kept, max(0, len(kept) - MOST_KEPT)))
    for key in surplus:
        del kept[key]
    return len(surplus)
