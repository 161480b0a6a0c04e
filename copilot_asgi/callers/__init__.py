"""Who is calling: from what is known of a request to a caller, or a refusal.

Rule: whatever is missing, doubled, expired or unreadable refuses; only what was positively recognised is let in.
"""

from typing import Protocol

from copilot_asgi.exchange import Arrival, Caller
from copilot_asgi.hooks import Hook, call_hook

__all__ = ["Authenticator", "find_caller"]


class Authenticator(Protocol):
    """Finds the caller of a request. A plain function that does so serves as well; it runs in a worker thread."""

    async def __call__(self, arrival: Arrival) -> Caller:
        """The caller; raises ``Unauthenticated`` for a stranger."""


async def find_caller(authenticate: Hook[[Arrival], Caller], arrival: Arrival) -> Caller:
    """What ``authenticate`` finds. Raises what it raises, and ``TypeError`` when it returns anything but a caller."""
    caller = await call_hook(authenticate, arrival)
    if not isinstance(caller, Caller):
        # Somebody else's function: one that forgets to return must let nobody in.
        raise TypeError(f"authenticate returned {type(caller).__name__}, not a Caller")
    return caller
