"""What GitHub says about the people behind the accounts: asked when needed, once at a time, kept for a minute.

Anybody who may call may ask for it, so asking us often must not become asking GitHub often.
"""

import time
from collections.abc import Callable
from functools import partial

from copilot_asgi.credentials.accounts import Account
from copilot_asgi.credentials.fetch import Fetch
from copilot_asgi.credentials.github_user import GitHubUser, fetch_user
from copilot_asgi.credentials.hosts import GitHubHosts
from copilot_asgi.credentials.identity import Identity
from copilot_asgi.credentials.single_flight import SingleFlight

__all__ = ["Users"]

FRESH_FOR = 60.0


class Users:
    """The person behind each account. ``clock`` is monotonic, in seconds."""

    def __init__(
        self,
        fetch: Fetch,
        hosts: GitHubHosts,
        identity: Identity,
        flights: SingleFlight[GitHubUser],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._hosts = hosts
        self._identity = identity
        self._flights = flights
        self._clock = clock
        self._kept: dict[str, tuple[GitHubUser, float]] = {}

    async def get(self, account: Account) -> GitHubUser:
        """Login, plan and quotas. Raises ``LoginRequired``, ``TokenExchangeFailed`` or ``UpstreamError``."""
        user, fresh_until = self._kept.get(account.key, (None, 0.0))
        if user is None or self._clock() >= fresh_until:
            user = await self._flights.run(account.key, partial(self._ask, account))
        return user

    async def _ask(self, account: Account) -> GitHubUser:
        user = await fetch_user(self._fetch, account.github_token, self._hosts, self._identity)
        self._kept[account.key] = (user, self._clock() + FRESH_FOR)
        return user
