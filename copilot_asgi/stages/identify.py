"""Find out who is calling, and refuse strangers."""

from copilot_asgi.callers import caller_finder
from copilot_asgi.exchange import Arrival, Caller, Exchange, Handler, Send
from copilot_asgi.hooks import Hook

__all__ = ["Identify"]


class Identify:
    """Set ``exchange.caller``, or refuse."""

    def __init__(self, authenticate: Hook[[Arrival], Caller]) -> None:
        self._find = caller_finder(authenticate)

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises ``Unauthenticated``."""
        exchange.caller = await self._find(exchange.arrival)
        await call_next(exchange, send)
