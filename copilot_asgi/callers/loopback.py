"""Callers on this machine, known by the address they come from.

Rule: only a loopback address counts. No address (a Unix socket, a host that hides it) is not this machine.
"""

from copilot_asgi.config import is_loopback
from copilot_asgi.errors import Unauthenticated
from copilot_asgi.exchange import Arrival, Caller

__all__ = ["this_machine_only"]


async def this_machine_only(arrival: Arrival) -> Caller:
    """``local``, who is the operator. Raises ``Unauthenticated`` for an address beyond this machine.

    Behind a reverse proxy every caller seems to be on this machine.
    """
    if arrival.client is None or not is_loopback(arrival.client):
        raise Unauthenticated(
            "Only callers on this machine are served while there is no key. Make one (copilot-asgi keys add NAME), or "
            "set api_keys (COPILOT_ASGI_API_KEYS), and send it with each request."
        )
    return Caller(name="local", admin=True)
