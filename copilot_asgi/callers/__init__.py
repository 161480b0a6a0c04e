"""Who is calling: from what is known of a request to a caller, or a refusal.

Rule: whatever is missing, doubled, expired or unreadable refuses; only what was positively recognised is let in.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from copilot_asgi.exchange import Arrival, Caller
from copilot_asgi.hooks import Hook, as_async

__all__ = ["Authenticator", "caller_finder"]


class Authenticator(Protocol):
    """Finds the caller of a request. A plain function that does so serves as well; it runs in a worker thread."""

    async def __call__(self, arrival: Arrival) -> Caller:
        """The caller; raises ``Unauthenticated`` for a stranger."""


def caller_finder(authenticate: Hook[[Arrival], Caller]) -> Callable[[Arrival], Awaitable[Caller]]:
    """A function that gives what ``authenticate`` finds.

    It raises what that one raises, and ``TypeError`` when it returns anything but a caller.
    """
    ask = as_async(authenticate)

    async def find(arrival: Arrival) -> Caller:
        caller = await ask(arrival)
        if not isinstance(caller, Caller):
            # Somebody else's function: one that forgets to return must let nobody in.
            raise TypeError(f"authenticate returned {type(caller).__name__}, not a Caller")
        return caller

    return find
