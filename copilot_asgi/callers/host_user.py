"""Callers whom the host knows: its own login decides, through what its middleware put into the scope."""

import msgspec

from copilot_asgi.errors import Unauthenticated
from copilot_asgi.exchange import Arrival, Caller
from copilot_asgi.hooks import Hook, call_hook

__all__ = ["HostUser"]

LONGEST_NAME = 128


class HostUser:
    """Serves whom ``name`` recognises, by ``arrival.user``, ``arrival.session`` or whatever the host goes by.

    ``name`` is a function of the host's, plain or async. It gives the user's name, or a ``Caller`` with terms of its
    own, or ``None`` for a stranger. The name should be the account's, not what was typed at the login: limits and
    budgets are kept by it, and another spelling is another caller.
    """

    def __init__(self, name: Hook[[Arrival], str | Caller | None]) -> None:
        self._name = name

    async def __call__(self, arrival: Arrival) -> Caller:
        """The caller; raises ``Unauthenticated`` for a stranger, or for a name that could not be logged safely."""
        found = await call_hook(self._name, arrival)
        if found is None:
            raise Unauthenticated("Nobody is signed in here. Sign in to the site first, then call again.")
        caller = found if isinstance(found, Caller) else Caller(name=found)
        return msgspec.structs.replace(caller, name=_checked(caller.name))


def _checked(name: str) -> str:
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise Unauthenticated("The name of whoever is signed in here cannot be used: it is empty, long or unprintable.")
    return name
