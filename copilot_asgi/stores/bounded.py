"""A store in memory that never grows beyond a size: what was not used for the longest time goes first.

Rule: the bytes of all keys and values together are at most the bound, after every call and in every thread.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from copilot_asgi.stores.memory import MemoryStore

__all__ = ["BoundedStore"]

_Value = tuple[bytes, float | None]


class BoundedStore:
    """Bytes in a dictionary of at most ``max_bytes``; works from every event loop and thread of the process.

    A value that is larger than that by itself is not kept, and what was under its key is gone.
    """

    def __init__(self, max_bytes: int, *, clock: Callable[[], float] = time.time) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._values: OrderedDict[str, _Value] = OrderedDict()  # the one used last is the last
        self._size = 0
        self._alone = threading.Lock()
        self._locks = MemoryStore()  # its locks have nothing to do with what it keeps

    @property
    def size(self) -> int:
        """Bytes of all keys and values."""
        return self._size

    async def get(self, key: str) -> bytes | None:
        """The value, or ``None`` when there is none, it has expired, or had to make room."""
        with self._alone:
            value = self._alive(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        """Keep ``value`` for ``ttl`` seconds, or until it has to make room."""
        with self._alone:
            self._drop(key)
            cost = _cost(key, value)
            if cost > self._max_bytes:
                return
            while self._size + cost > self._max_bytes:
                self._drop(next(iter(self._values)))
            self._values[key] = (value, None if ttl is None else self._clock() + ttl)
            self._size += cost

    async def delete(self, key: str) -> None:
        """Forget the key; no error when it is not there."""
        with self._alone:
            self._drop(key)

    async def keys(self, prefix: str = "") -> list[str]:
        """The keys that begin with ``prefix`` and have not expired, sorted. It does not count as use."""
        with self._alone:
            return sorted(key for key in list(self._values) if key.startswith(prefix) and self._alive(key) is not None)

    def lock(self, key: str) -> AbstractAsyncContextManager[None]:
        """A block that one task of this process at a time runs."""
        return self._locks.lock(key)

    def _alive(self, key: str) -> bytes | None:
        value, expires_at = self._values.get(key, (None, None))
        if expires_at is not None and self._clock() >= expires_at:
            self._drop(key)
            return None
        return value

    def _drop(self, key: str) -> None:
        found = self._values.pop(key, None)
        if found is not None:
            self._size -= _cost(key, found[0])


def _cost(key: str, value: bytes) -> int:
    return len(key.encode("utf-8", "surrogatepass")) + len(value)
