"""Keep each caller to so many exchanges at once; more of them wait in the order of their arrival.

Rule: a place is held until the last byte, and comes back exactly once, whichever way the exchange ends.
"""

import threading
from collections.abc import Awaitable
from functools import partial

from copilot_asgi.errors import RateLimited
from copilot_asgi.exchange import Exchange, Handler, Send
from copilot_asgi.fair_queue import FairQueue

__all__ = ["LimitConcurrency"]


class LimitConcurrency:
    """At most ``limit`` exchanges of one caller are under way; a caller's own ``max_concurrent`` takes its place.

    0 is no limit, for either. Places are counted for all event loops of the process; one that is freed in another loop
    is found by the queue's polling.
    """

    def __init__(self, limit: int, queue: FairQueue) -> None:
        self._limit = limit
        self._queue = queue
        self._lock = threading.Lock()
        self._under_way: dict[str, int] = {}

    def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> Awaitable[None]:
        """Raises ``RateLimited`` when no place comes free in time, or too many wait for one."""
        caller = exchange.caller
        assert caller is not None
        limit = self._limit if caller.max_concurrent is None else caller.max_concurrent
        if not limit:
            return call_next(exchange, send)
        return self._limited(f"concurrent:{caller.name}", limit, exchange, send, call_next)

    async def _limited(self, key: str, limit: int, exchange: Exchange, send: Send, call_next: Handler) -> None:
        await self._queue.enter(key, partial(self._take, key, limit))
        try:
            await call_next(exchange, send)
        finally:
            self._give_back(key)
            self._queue.notify(key)

    async def _take(self, key: str, limit: int) -> None:
        """Never suspends, so that cancellation cannot come between taking and telling."""
        with self._lock:
            under_way = self._under_way.get(key, 0)
            if under_way < limit:
                self._under_way[key] = under_way + 1
                return
        raise RateLimited(
            f"{under_way} requests are under way, and this caller may have {limit} at once. Try again when one is done."
        )

    def _give_back(self, key: str) -> None:
        with self._lock:
            self._under_way[key] -= 1
            if not self._under_way[key]:
                del self._under_way[key]
