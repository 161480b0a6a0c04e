"""The keys that were made for callers, in one record of the store.

Rule: a key that was revoked in another process stops working within ``max_age`` seconds; a store that cannot be read
neither adds a caller nor takes the known ones away.
"""

import logging
import time
from collections.abc import Callable

import msgspec

from copilot_asgi.callers.key_record import KeyRecord, KnownKey, known_key
from copilot_asgi.errors import ConfigError, StoreError
from copilot_asgi.stores import Store

__all__ = ["KeyRing"]

logger = logging.getLogger(__name__)

KEY = "api-keys"


class _Ring(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: tuple[KeyRecord, ...] = ()


class KeyRing:
    """The keys in ``store``; ``clock`` is seconds, monotonic."""

    def __init__(self, store: Store, *, max_age: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._max_age = max_age
        self._clock = clock
        self._known: tuple[KnownKey, ...] | None = None
        self._read_at = 0.0
        self._seen = False
        self._failing = False

    async def known(self) -> tuple[KnownKey, ...]:
        """The keys, as they were at most ``max_age`` seconds ago, or when the store could last be read.

        Raises ``StoreError``, without its cause, which is logged, when the store could never be read.
        """
        if self._known is None or self._clock() - self._read_at >= self._max_age:
            self._known = await self._refreshed()
            self._read_at = self._clock()
        return self._known

    async def records(self) -> tuple[KeyRecord, ...]:
        """The records, read now, in the order of their making. Raises ``StoreError``."""
        data = await self._store.get(KEY)
        if data is None:
            if self._seen:
                # Revoking the last key leaves an empty record: whoever took it away did not revoke anything.
                raise StoreError("The record of keys is gone from the store.")
            return ()
        records = _decoded(data)
        self._seen = True
        return records

    async def add(self, record: KeyRecord) -> None:
        """Keep a key. Raises ``ConfigError`` when its name is taken, in any case of letters, and ``StoreError``."""
        async with self._store.lock(KEY):
            records = await self.records()
            if any(_same_name(each, record.name) for each in records):
                raise ConfigError(f"name: there is a key called {record.name} already. Revoke it, or choose another.")
            await self._write((*records, record))

    async def revoke(self, name: str) -> bool:
        """Forget the key of that name, in any case of letters; ``False`` when there is none. Raises ``StoreError``."""
        async with self._store.lock(KEY):
            records = await self.records()
            left = tuple(each for each in records if not _same_name(each, name))
            if len(left) < len(records):
                await self._write(left)
        return len(left) < len(records)

    async def _write(self, records: tuple[KeyRecord, ...]) -> None:
        await self._store.set(KEY, msgspec.json.encode(_Ring(records)))

    async def _refreshed(self) -> tuple[KnownKey, ...]:
        try:
            known = tuple(map(known_key, await self.records()))
        except StoreError as error:
            self._warn(error)
            if self._known is None:
                # The cause may name paths of this machine, which are not for strangers.
                raise StoreError("The keys cannot be read, so nobody is let in. The server's log says why.") from error
            return self._known
        self._failing = False
        return known

    def _warn(self, error: StoreError) -> None:
        if not self._failing:
            self._failing = True
            logger.warning("Keys made or revoked from now on are not noticed: %s", error.message)


def _decoded(data: bytes) -> tuple[KeyRecord, ...]:
    try:
        records = msgspec.json.decode(data, type=_Ring).keys
        for record in records:
            known_key(record)
    except (msgspec.DecodeError, UnicodeDecodeError, ConfigError) as error:
        raise StoreError(
            f"The record of keys ({KEY}) cannot be understood ({error}). If a newer version wrote it, use that one."
        ) from None
    return records


def _same_name(record: KeyRecord, name: str) -> bool:
    return record.name.lower() == name.lower()
