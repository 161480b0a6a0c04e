"""A store that forgets everything when the process ends; for tests, and for hosts that sign in anew each time."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio

__all__ = ["MemoryStore"]

_POLL = 0.01  # seconds between two looks at a lock that is taken


class MemoryStore:
    """Bytes in a dictionary; works from every event loop and thread of the process."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._values: dict[str, tuple[bytes, float | None]] = {}
        self._holders: dict[str, object] = {}

    async def get(self, key: str) -> bytes | None:
        """The value, or ``None`` when there is none or it has expired."""
        return self._read(key)

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        """Keep ``value`` for ``ttl`` seconds, or for good."""
        self._values[key] = (value, None if ttl is None else self._clock() + ttl)

    async def delete(self, key: str) -> None:
        """Forget the key; no error when it is not there."""
        self._values.pop(key, None)

    async def keys(self, prefix: str = "") -> list[str]:
        """The keys that begin with ``prefix`` and have not expired, sorted."""
        return sorted(key for key in list(self._values) if key.startswith(prefix) and self._read(key) is not None)

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncGenerator[None]:
        """A block that one task of this process at a time runs.

        Polled, because waiters may live on different event loops and none of those has a lock for all of them.
        """
        me = object()
        while self._holders.setdefault(key, me) is not me:  # noqa: ASYNC110 - an event belongs to one loop
            await anyio.sleep(_POLL)
        try:
            yield
        finally:
            del self._holders[key]

    def _read(self, key: str) -> bytes | None:
        value, expires_at = self._values.get(key, (None, None))
        if expires_at is not None and self._clock() >= expires_at:
            self._values.pop(key, None)
            return None
        return value
