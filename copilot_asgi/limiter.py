"""Who keeps count for rate limits: the contract, and the one that counts in this process.

Rule: what is reserved is taken from every limit that holds or from none, in one step that nothing can come between.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from copilot_asgi.limits import Costs, RateLimit, Ticket, Wait, Window, take_all

__all__ = ["Limiter", "MemoryLimiter", "Reservation"]


class Reservation(Protocol):
    """Costs that were taken before they are known for sure."""

    async def settle(self, costs: Costs) -> None:
        """Replace what was reserved by ``costs``; zeros give it back. The first call counts, further ones do nothing.

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

    async def reserve(self, shares: Mapping[str, Sequence[RateLimit]], costs: Costs) -> Reservation | Wait:
        """Take ``costs`` under all limits of all keys, or nothing and say how long to wait."""
        with self._lock:
            windows = [window for key, limits in shares.items() for window in self._windows(key, tuple(limits))]
            taken = take_all(windows, self._clock(), costs)
        return (
            taken if isinstance(taken, Wait) else _Held(partial(self._settle, list(zip(windows, taken, strict=True))))
        )

    def _windows(self, key: str, limits: tuple[RateLimit, ...]) -> tuple[Window, ...]:
        windows = self._keys.setdefault((key, limits), tuple(map(Window, limits)))
        self._keys.move_to_end((key, limits))
        if len(self._keys) > self._max_keys:
            self._keys.popitem(last=False)
        return windows

    def _settle(self, held: list[tuple[Window, Ticket]], costs: Costs) -> None:
        with self._lock:
            now = self._clock()
            while held:
                window, ticket = held.pop()
                window.settle(ticket, now, costs.of(window.limit.unit))


class _Held:
    """The reservation of one request; ``settle`` is its limiter's part."""

    def __init__(self, settle: Callable[[Costs], None]) -> None:
        self._settle = settle

    async def settle(self, costs: Costs) -> None:
        """Replace what was reserved by ``costs``."""
        self._settle(costs)
