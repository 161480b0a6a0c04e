"""Callers who present a key: those of the settings, who are the operator, and those of the key ring.

Rule: with any key everybody needs one, also on this machine; without any, only this machine is served, and nobody at
all where callers beyond it are expected, because behind a reverse proxy every caller seems to be on this machine.
"""

import hmac
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from copilot_asgi.callers import Authenticator
from copilot_asgi.callers.key_record import KnownKey, key_digest
from copilot_asgi.callers.key_ring import KeyRing
from copilot_asgi.callers.loopback import this_machine_only
from copilot_asgi.config import Settings
from copilot_asgi.errors import StoreError, Unauthenticated
from copilot_asgi.exchange import Arrival, Caller, Headers
from copilot_asgi.secret import Secret
from copilot_asgi.stores import Store

__all__ = ["Keys", "authenticator_for", "presented_key"]

KEY_HEADERS = frozenset({b"x-api-key", b"x-goog-api-key"})


class Keys:
    """Serves whoever presents one of the ``configured`` keys or one of ``ring``.

    Only digests are kept. ``public`` says that callers beyond this machine are expected; ``wall`` is unix seconds.
    """

    def __init__(
        self,
        configured: Iterable[Secret],
        ring: KeyRing,
        *,
        public: bool,
        wall: Callable[[], float] = time.time,
        compare: Callable[[bytes, bytes], bool] = hmac.compare_digest,
    ) -> None:
        self._configured = tuple(
            KnownKey(key_digest(key.reveal()), Caller(name=f"key-{number}", admin=True))
            for number, key in enumerate(configured, 1)
        )
        self._ring = ring
        self._public = public
        self._wall = wall
        self._compare = compare

    async def __call__(self, arrival: Arrival) -> Caller:
        """The caller. Raises ``Unauthenticated``, or ``StoreError`` for a key that the unreadable ring may hold."""
        ringed, failure = await self._ringed()
        known = (*self._configured, *ringed)
        if not known:
            if failure is not None:
                raise failure
            return await self._without_keys(arrival)
        key = self._matching(presented_key(arrival.headers), known)
        if key is None:
            raise failure or Unauthenticated("That key is not one of ours. It may have been revoked, or mistyped.")
        if key.expires_at is not None and key.expires_at <= self._wall():
            day = datetime.fromtimestamp(key.expires_at, UTC)
            raise Unauthenticated(f"That key expired on {day:%Y-%m-%d %H:%M} UTC. Ask for a new one.")
        return key.caller

    async def _ringed(self) -> tuple[tuple[KnownKey, ...], StoreError | None]:
        """The ring's keys, or why they cannot be read: the settings' keys need no store."""
        try:
            return await self._ring.known(), None
        except StoreError as error:
            return (), error

    async def _without_keys(self, arrival: Arrival) -> Caller:
        if self._public:
            raise Unauthenticated(
                "Callers beyond this machine are expected (host, allowed_hosts), but there is no key yet. Make one "
                "(copilot-asgi keys add NAME), or set api_keys (COPILOT_ASGI_API_KEYS)."
            )
        return await this_machine_only(arrival)

    def _matching(self, key: str, known: Sequence[KnownKey]) -> KnownKey | None:
        digest = key_digest(key)
        # Every digest is compared, so that the time taken says nothing about which one was near.
        matches = [each for each in known if self._compare(each.digest, digest)]
        return matches[0] if matches else None


def authenticator_for(settings: Settings, store: Store) -> Authenticator:
    """Who is let in when nobody says otherwise. Reads nothing."""
    return Keys(settings.api_keys, KeyRing(store), public=settings.public)


def presented_key(headers: Headers) -> str:
    """The key in ``Authorization: Bearer``, ``x-api-key`` or ``x-goog-api-key``, and nowhere else.

    Raises ``Unauthenticated`` when there is none, or more than one.
    """
    credentials: set[tuple[str, str]] = set()
    keys: set[str] = set()
    for name, value in headers:
        if name == b"authorization":
            credentials.add(_credential(value))
        elif name in KEY_HEADERS:
            keys.add(_text(value))
    if len(credentials) > 1:
        raise Unauthenticated("Two different authorization headers were given. Send one.")
    keys.update(token for scheme, token in credentials if scheme == "bearer")
    keys.discard("")
    if not keys:
        raise Unauthenticated("No key was given. Send one in the Authorization header (scheme Bearer) or in x-api-key.")
    if len(keys) > 1:
        raise Unauthenticated("Two different keys were given. Send one, in Authorization or in x-api-key.")
    return keys.pop()


def _credential(value: bytes) -> tuple[str, str]:
    scheme, _, token = _text(value).partition(" ")
    return scheme.lower(), token.strip()


def _text(value: bytes) -> str:
    return value.decode("latin-1").strip()
