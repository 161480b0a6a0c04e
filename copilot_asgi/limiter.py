"""Who keeps count for rate limits: the contract, and the one that counts in this process.

Rule: what is reserved is taken from every limit that holds or from none, in one step that nothing can come between.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from copilot_asgi.limits import Costs, RateLimit, Ticket, Wait, Window, take_all

__all__ = ["Held", "Limiter", "MemoryLimiter", "Reservation"]


class Reservation(Protocol):
    """Costs that were taken before they are known for sure."""

    def settle(self, costs: Costs) -> Awaitable[None] | None:
        """Replace what was reserved by ``costs``; zeros give it back. The first call counts, further ones do nothing.

        It may be async, or plain where it never waits. A request that was served and counts as one only is not settled.
        When it cannot be kept the reservation stays as it is: an answer that was given must not fail afterwards.
        """


class Limiter(Protocol):
    """Keeps count of what each key has taken under its limits."""

    async def reserve(self, shares: Mapping[str, Sequence[RateLimit]], costs: Costs) -> Reservation | Wait:
        """Take ``costs`` under all limits of all keys, or nothing and say how long to wait.

        When cancelled, nothing is taken.
        """


class MemoryLimiter:
    """Keeps count in memory, for all event loops and threads of this process.

    It holds ``max_keys`` keys; the one that was unused for longest is forgotten first. A key whose limits change starts
    anew. No call ever suspends, so that cancellation cannot come between taking and telling. ``clock`` is in seconds
    and monotonic.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, max_keys: int = 10_000) -> None:
        self._clock = clock
        self._max_keys = max_keys
        self._lock = threading.Lock()
        self._keys: OrderedDict[tuple[str, tuple[RateLimit, ...]], tuple[Window, ...]] = OrderedDict()

    async def reserve(self, shares: Mapping[str, Sequence[RateLimit]], costs: Costs) -> "Held | Wait":
        """Take ``costs`` under all limits of all keys, or nothing and say how long to wait."""
        with self._lock:
            windows: Sequence[Window] = ()
            for key, limits in shares.items():
                windows = (*windows, *self._windows(key, tuple(limits)))
            taken = take_all(windows, self._clock(), costs)
        return taken if isinstance(taken, Wait) else Held(windows, taken, self._lock, self._clock)

    def _windows(self, key: str, limits: tuple[RateLimit, ...]) -> tuple[Window, ...]:
        place = (key, limits)
        windows = self._keys.get(place)
        if windows is None:
            windows = self._keys[place] = tuple(map(Window, limits))
            if len(self._keys) > self._max_keys:
                self._keys.popitem(last=False)
        else:
            self._keys.move_to_end(place)
        return windows


class Held(msgspec.Struct, eq=False):
    """What one request has taken of some ``windows``, which are behind ``lock``; ``MemoryLimiter`` makes it."""

    windows: Sequence[Window]
    tickets: Sequence[Ticket]
    lock: threading.Lock
    clock: Callable[[], float]

    def settle(self, costs: Costs) -> None:
        """Replace what was reserved by ``costs``."""
        with self.lock:
            now = self.clock()
            tickets, self.tickets = self.tickets, ()
            for window, ticket in zip(self.windows, tickets, strict=False):
                window.settle(ticket, now, costs.of(window.limit.unit))
