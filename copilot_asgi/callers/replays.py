"""Signatures that were seen, for as long as they could be used again. Pure; the time is passed in.

Rule: nothing is forgotten before its time; when there is no more room, the new one is refused.
"""

import heapq
import threading

from copilot_asgi.errors import RateLimited, Unauthenticated

__all__ = ["ReplayMemory"]


class ReplayMemory:
    """At most ``size`` signatures, about 150 bytes each. Works from every thread of the process, and for it alone."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._seen: set[bytes] = set()
        self._ends: list[tuple[float, bytes]] = []
        self._lock = threading.Lock()  # around a look and a write that must be one; nothing waits inside

    def admit(self, signature: bytes, *, until: float, now: float) -> None:
        """Remember ``signature`` until that time has passed.

        Raises ``Unauthenticated`` when it was seen before, ``RateLimited`` when there is no room.
        """
        with self._lock:
            while self._ends and self._ends[0][0] < now:
                self._seen.discard(heapq.heappop(self._ends)[1])
            if signature in self._seen:
                raise Unauthenticated("That signature was used before. Sign each request anew.")
            if len(self._seen) >= self._size:
                wait = max(self._ends[0][0] - now, 1.0)
                raise RateLimited("Too many signed requests within the window.", retry_after=wait)
            self._seen.add(signature)
            heapq.heappush(self._ends, (until, signature))
