"""Hold one of the places for calls upstream, from before the last look at the circuit until the last byte.

Sits inside retry, so that a wait between two tries holds none, and around the circuit: who queued for a place while
upstream refused everybody must not be sent on.
"""

from copilot_asgi.exchange import Exchange, Handler, Send
from copilot_asgi.upstream.client import Upstream

__all__ = ["TakePlace"]


class TakePlace:
    """Take one of ``max_streams`` places around one try."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises ``Overloaded`` when none comes free in time. When cancelled the place is free at once."""
        opened = await self._upstream.opened()
        async with opened.http.place():
            await call_next(exchange, send)
