"""The Copilot token of each account: held, renewed before it dies, shared by everyone who asks.

Rule: nothing renews by timer. Each request looks at the clocks; the first that finds the token old starts one renewal,
in a task of its own, and everyone else waits for that one or goes on with the old token until it is really dead.
"""

import itertools
import logging
import time
from collections.abc import Callable
from functools import partial

import msgspec

from copilot_asgi.config import Settings
from copilot_asgi.credentials.accounts import Account
from copilot_asgi.credentials.credential import Credential, api_url
from copilot_asgi.credentials.fetch import Fetch
from copilot_asgi.credentials.hosts import github_hosts
from copilot_asgi.credentials.identity import Identity
from copilot_asgi.credentials.kept_tokens import KeptTokens
from copilot_asgi.credentials.lifetime import CopilotToken, age, credible_age
from copilot_asgi.credentials.setback import Setback
from copilot_asgi.credentials.single_flight import SingleFlight, StartSoon
from copilot_asgi.credentials.token_exchange import exchange
from copilot_asgi.errors import CredentialError, TokenExchangeFailed
from copilot_asgi.secret import Secret
from copilot_asgi.stores import Store

__all__ = ["CopilotTokens"]

logger = logging.getLogger(__name__)

YOUNG = 60.0  # seconds; a token refused before this age was never any good
STILLBORN_LIMIT = 5  # such tokens in a row, after which exchanges are spaced out


class _Held(msgspec.Struct, frozen=True):
    """A token in memory; ``wall`` and ``monotonic`` say when, by each clock, it was obtained."""

    token: CopilotToken
    credential: Credential
    wall: float
    monotonic: float


class _Slot:
    """What is known about one GitHub token: the current Copilot token, the last one refused, the last failure."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.held: _Held | None = None
        self.rejected: Secret | None = None
        self.stillborn = 0
        self.setback = Setback()

    def has_seen(self, token: CopilotToken) -> bool:
        """Whether the token was refused, or is the one we hold, whose age we know better than the store does."""
        return token.token == self.rejected or (self.held is not None and token.token == self.held.token.token)


class CopilotTokens:
    """Credentials by exchange: ``Bearer`` and a Copilot token. Belongs to the event loop of ``start_soon``.

    ``wall`` is unix seconds. Failures that a person must mend are remembered for five minutes, or until another GitHub
    token comes with the account; the login itself is never deleted.
    """

    def __init__(
        self,
        *,
        fetch: Fetch,
        identity: Identity,
        settings: Settings,
        store: Store,
        start_soon: StartSoon,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._identity = identity
        self._settings = settings
        self._hosts = github_hosts(settings)
        self._kept = KeptTokens(store)
        self._flights: SingleFlight[Credential] = SingleFlight(start_soon)
        self._wall = wall
        self._monotonic = monotonic
        self._slots: dict[str, _Slot] = {}
        self._generations = itertools.count(1)

    async def credential(self, account: Account) -> Credential:
        """A live credential, without waiting as long as one is held.

        Raises ``LoginRequired`` or ``TokenExchangeFailed``, and ``Draining`` when the server ends meanwhile.
        """
        slot = self._slot(account)
        held = slot.held
        gone = 0.0 if held is None else self._age(held)
        if held is not None and gone < held.token.lifetime.refresh_after:
            return held.credential
        failure = slot.setback.standing(self._monotonic())
        if held is not None and gone < held.token.lifetime.dead_after:
            if failure is None:
                self._flights.start(slot, partial(self._renew, slot))
            return held.credential
        if failure is not None:
            raise failure.with_traceback(None)
        return await self._flights.run(slot, partial(self._renew, slot))

    async def invalidate(self, account: Account, credential: Credential) -> None:
        """Upstream refused the credential: drop it here and in the store, unless another has taken its place."""
        slot = self._slot(account)
        held = slot.held
        if held is None or held.credential.generation != credential.generation:
            return
        slot.held = None
        slot.rejected = held.token.token
        self._note_rejection(slot, held)
        await self._kept.forget(account, held.token)

    def _note_rejection(self, slot: _Slot, held: _Held) -> None:
        """Hold back when new tokens are refused one after the other: it is not the token that is wrong."""
        slot.stillborn = slot.stillborn + 1 if self._age(held) < YOUNG else 0
        if slot.stillborn >= STILLBORN_LIMIT:
            error = TokenExchangeFailed("Copilot refuses every new token of this account. Try again in a moment.")
            slot.setback.note(error, self._monotonic())

    def _slot(self, account: Account) -> _Slot:
        slot = self._slots.get(account.key)
        if slot is None or slot.account.github_token != account.github_token:
            slot = self._slots[account.key] = _Slot(account)
        return slot

    async def _renew(self, slot: _Slot) -> Credential:
        try:
            held = await self._obtain(slot)
        except CredentialError as error:
            slot.setback.note(error, self._monotonic())
            logger.warning("No new Copilot token for %s: %s", slot.account.login, error.message)
            if slot.held is not None and self._age(slot.held) < slot.held.token.lifetime.dead_after:
                return slot.held.credential
            raise
        slot.setback.clear()
        slot.held = held
        return held.credential

    async def _obtain(self, slot: _Slot) -> _Held:
        """A fresh token: one that is kept, or one that another process gets while we wait for the lock, or our own."""
        held = await self._take_kept(slot)
        if held is not None:
            return held
        async with self._kept.lock(slot.account):
            held = await self._take_kept(slot)
            if held is not None:
                return held
            wall, monotonic = self._wall(), self._monotonic()
            token = await exchange(self._fetch, slot.account, self._identity, self._hosts, wall)
            await self._kept.save(slot.account, token)
        return self._hold(token, wall=wall, monotonic=monotonic)

    async def _take_kept(self, slot: _Slot) -> _Held | None:
        """The kept token if it is fresh; an older one that is alive is held meanwhile, in case no new one comes."""
        token = await self._kept.load(slot.account)
        if token is None or slot.has_seen(token):
            return None
        gone = credible_age(token, self._wall())
        if gone is None or gone >= token.lifetime.dead_after:
            return None
        held = self._hold(token, wall=token.obtained_at, monotonic=self._monotonic() - gone)
        if gone < token.lifetime.refresh_after:
            return held
        slot.held = held
        return None

    def _hold(self, token: CopilotToken, *, wall: float, monotonic: float) -> _Held:
        credential = Credential(
            authorization=b"Bearer " + token.token.reveal().encode("ascii"),
            api_url=api_url(token.endpoint, self._settings),
            generation=next(self._generations),
        )
        return _Held(token=token, credential=credential, wall=wall, monotonic=monotonic)

    def _age(self, held: _Held) -> float:
        return age(wall=self._wall() - held.wall, monotonic=self._monotonic() - held.monotonic)
