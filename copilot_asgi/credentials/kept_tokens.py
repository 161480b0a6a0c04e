"""Copilot tokens in the store, so that restarts and other processes need no exchange of their own.

Rule: the store only ever saves work. When it fails, that is said once, and everything goes on from memory.
"""

import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from copilot_asgi.credentials.accounts import Account, copilot_token_key
from copilot_asgi.credentials.lifetime import CopilotToken
from copilot_asgi.credentials.records import decode_record, encode_record
from copilot_asgi.credentials.token_exchange import login_digest
from copilot_asgi.errors import StoreError
from copilot_asgi.stores import Store

__all__ = ["KeptTokens"]

logger = logging.getLogger(__name__)


class KeptTokens:
    """The Copilot token of each account, as far as the store can keep it. Raises no ``StoreError``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._warned = False

    async def load(self, account: Account) -> CopilotToken | None:
        """The token kept for this very login, or ``None``."""
        try:
            data = await self._store.get(copilot_token_key(account.key))
        except StoreError as error:
            self._warn(error)
            return None
        token = None if data is None else decode_record(CopilotToken, data)
        return token if token is not None and token.login_digest == login_digest(account.github_token) else None

    async def save(self, account: Account, token: CopilotToken) -> None:
        """Keep the token until it is dead."""
        try:
            key = copilot_token_key(account.key)
            await self._store.set(key, encode_record(token), ttl=token.lifetime.dead_after)
        except StoreError as error:
            self._warn(error)

    async def forget(self, account: Account, token: CopilotToken) -> None:
        """Delete the token, unless a newer one has taken its place."""
        kept = await self.load(account)
        if kept is None or kept.token != token.token:
            return
        try:
            await self._store.delete(copilot_token_key(account.key))
        except StoreError as error:
            self._warn(error)

    @asynccontextmanager
    async def lock(self, account: Account) -> AsyncGenerator[None]:
        """A block in which no other process exchanges this login, as far as the store can see to that."""
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._store.lock(copilot_token_key(account.key)))
            except StoreError as error:
                self._warn(error)
            yield

    def _warn(self, error: StoreError) -> None:
        if not self._warned:
            self._warned = True
            logger.warning("Copilot tokens are held in memory only: %s", error.message)
