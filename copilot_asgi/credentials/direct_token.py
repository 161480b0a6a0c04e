"""The GitHub token itself as the credential of model calls; nothing is exchanged.

Rule: such a token does not expire by the clock. All that is looked up, once, is which API host serves its plan.
"""

import itertools
import logging
import time
from collections.abc import Callable
from functools import partial

from copilot_asgi.config import Settings
from copilot_asgi.credentials.accounts import Account
from copilot_asgi.credentials.credential import Credential, api_url
from copilot_asgi.credentials.fetch import Fetch
from copilot_asgi.credentials.github_user import fetch_user
from copilot_asgi.credentials.hosts import github_hosts
from copilot_asgi.credentials.identity import Identity
from copilot_asgi.credentials.setback import Setback
from copilot_asgi.credentials.single_flight import SingleFlight, StartSoon
from copilot_asgi.credentials.token_exchange import is_bearer_text
from copilot_asgi.errors import CredentialError, LoginRequired

__all__ = ["CLASSIC_PREFIX", "DirectTokens"]

logger = logging.getLogger(__name__)

CLASSIC_PREFIX = "ghp_"


class _Slot:
    """What is known about one GitHub token."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.credential: Credential | None = None
        self.setback = Setback()


class DirectTokens:
    """Credentials without exchange: ``Bearer`` and the GitHub token. Belongs to the event loop of ``start_soon``."""

    def __init__(
        self,
        *,
        fetch: Fetch,
        identity: Identity,
        settings: Settings,
        start_soon: StartSoon,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._identity = identity
        self._settings = settings
        self._hosts = github_hosts(settings)
        self._flights: SingleFlight[Credential] = SingleFlight(start_soon)
        self._monotonic = monotonic
        self._slots: dict[str, _Slot] = {}
        self._generations = itertools.count(1)

    async def credential(self, account: Account) -> Credential:
        """The credential, without waiting once the API host is known.

        Raises ``LoginRequired`` for a token that can never work or is no longer accepted, ``TokenExchangeFailed`` when
        GitHub does not answer.
        """
        slot = self._slot(account)
        if slot.credential is not None:
            return slot.credential
        failure = slot.setback.standing(self._monotonic())
        if failure is not None:
            raise failure.with_traceback(None)
        return await self._flights.run(slot, partial(self._look_up, slot))

    async def invalidate(self, account: Account, credential: Credential) -> None:
        """Upstream refused the token: ask GitHub again before the next call, unless that has happened already."""
        slot = self._slot(account)
        if slot.credential is not None and slot.credential.generation == credential.generation:
            slot.credential = None

    def _slot(self, account: Account) -> _Slot:
        slot = self._slots.get(account.key)
        if slot is None or slot.account.github_token != account.github_token:
            slot = self._slots[account.key] = _Slot(account)
        return slot

    async def _look_up(self, slot: _Slot) -> Credential:
        try:
            slot.credential = await self._make(slot.account)
        except CredentialError as error:
            slot.setback.note(error, self._monotonic())
            logger.warning("The GitHub token of %s cannot be used: %s", slot.account.login, error.message)
            raise
        slot.setback.clear()
        return slot.credential

    async def _make(self, account: Account) -> Credential:
        token = account.github_token.reveal()
        if token.startswith(CLASSIC_PREFIX):
            raise LoginRequired(
                "Copilot does not take classic personal access tokens (ghp_). Run: copilot-asgi login, or use a "
                "fine-grained token with the permission Copilot Requests."
            )
        if not is_bearer_text(token):
            raise LoginRequired("The GitHub token holds characters that no token has. Run: copilot-asgi login")
        endpoint = None if self._settings.copilot_url is not None else await self._endpoint(account)
        return Credential(
            authorization=f"Bearer {token}".encode("ascii"),
            api_url=api_url(endpoint, self._settings),
            generation=next(self._generations),
        )

    async def _endpoint(self, account: Account) -> str | None:
        return (await fetch_user(self._fetch, account.github_token, self._hosts, self._identity)).endpoint
