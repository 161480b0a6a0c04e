"""GitHub logins that have been kept, and the one that serves a caller.

Rule: a login is deleted by a person only, never because GitHub refused it once.
"""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

import msgspec

from copilot_asgi.config import Settings
from copilot_asgi.credentials.hosts import github_hosts
from copilot_asgi.credentials.records import decode_record, encode_record
from copilot_asgi.errors import LoginRequired
from copilot_asgi.exchange import Caller
from copilot_asgi.secret import Secret
from copilot_asgi.stores import Store

__all__ = ["Account", "AccountResolver", "Accounts", "DefaultAccount", "copilot_token_key"]

PREFIX = "account/"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A GitHub login and its token. ``source`` says where the token came from; ``added_at`` is unix seconds."""

    login: str
    github_token: Secret
    host: str = "github.com"
    source: str = "login"
    identity: str = "editor"
    added_at: float = 0.0

    @property
    def key(self) -> str:
        """The name of this login in the store; the same for every token it ever had."""
        return account_key(self.login, self.host)


class AccountResolver(Protocol):
    """Picks the account that serves a caller."""

    async def __call__(self, caller: Caller | None) -> Account:
        """The caller's account. Raises ``LoginRequired`` or ``NoAccountAvailable``."""


@lru_cache(maxsize=1024)  # every request asks a few times
def account_key(login: str, host: str) -> str:
    """What names a login: its host and, as GitHub ignores case there, its name in lower case."""
    return f"{host.lower()}/{login.lower()}"


def copilot_token_key(key: str) -> str:
    """Where the Copilot token of the account with that key is kept."""
    return f"copilot-token/{key}"


class Accounts:
    """The logins in a store. The one added last is the default."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, account: Account) -> None:
        """Keep a login; a former token of the same login is replaced. Raises ``StoreError``."""
        await self._store.set(PREFIX + account.key, encode_record(account))

    async def remove(self, login: str, *, host: str = "github.com") -> bool:
        """Forget a login and its Copilot token; ``False`` when there was none. Raises ``StoreError``."""
        key = account_key(login, host)
        known = await self._store.get(PREFIX + key) is not None
        await self._store.delete(copilot_token_key(key))
        await self._store.delete(PREFIX + key)
        return known

    async def default(self) -> Account | None:
        """The login added last, or ``None``. Raises ``StoreError``."""
        accounts = await self.list()
        return accounts[0] if accounts else None

    async def list(self) -> tuple[Account, ...]:
        """All logins, the one added last first. Raises ``StoreError``."""
        found = []
        for key in await self._store.keys(PREFIX):
            data = await self._store.get(key)
            account = None if data is None else decode_record(Account, data)
            if account is not None:
                found.append(account)
        return tuple(sorted(found, key=lambda account: account.added_at, reverse=True))


class DefaultAccount:
    """Everyone is served by one account: the token in the settings, or else the stored default.

    A stored login is read again once it is ``max_age`` seconds old, so that signing in or out in another process shows.
    """

    def __init__(
        self,
        accounts: Accounts,
        settings: Settings,
        *,
        max_age: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._accounts = accounts
        self._fixed = _from_settings(settings)
        self._max_age = max_age
        self._clock = clock
        self._known: tuple[Account, float] | None = None

    async def __call__(self, caller: Caller | None = None) -> Account:  # noqa: ARG002 - it is the same for all
        """The account. Raises ``LoginRequired`` when there is none, ``StoreError`` when it cannot be read."""
        if self._fixed is not None:
            return self._fixed
        now = self._clock()
        if self._known is not None and now - self._known[1] < self._max_age:
            return self._known[0]
        self._known = None
        account = await self._accounts.default()
        if account is None:
            raise LoginRequired("Nobody is signed in to GitHub. Run: copilot-asgi login")
        self._known = (account, now)
        return account


def _from_settings(settings: Settings) -> Account | None:
    if settings.github_token is None:
        return None
    return Account(
        login="(settings)",
        github_token=settings.github_token,
        host=github_hosts(settings).name,
        source="settings",
        identity=settings.identity.value,
    )
