"""Find out who is calling, and refuse strangers."""

from copilot_asgi.callers import find_caller
from copilot_asgi.exchange import Arrival, Caller, Exchange, Handler, Send
from copilot_asgi.hooks import Hook

__all__ = ["Identify"]


class Identify:
    """Set ``exchange.caller``, or refuse."""

    def __init__(self, authenticate: Hook[[Arrival], Caller]) -> None:
        self._authenticate = authenticate

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises ``Unauthenticated``."""
        exchange.caller = await find_caller(self._authenticate, exchange.arrival)
        await call_next(exchange, send)
