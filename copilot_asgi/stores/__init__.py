"""Where bytes are kept between calls, processes and restarts.

Rule: a store keeps bytes under short names and knows nothing of what they mean.
"""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

__all__ = ["Store"]


class Store(Protocol):
    """Bytes by key, with a time to live, and a lock for single flight across processes.

    Every method may raise ``StoreError``. Keys are paths such as ``account/github.com/octocat``.
    """

    async def get(self, key: str) -> bytes | None:
        """The value, or ``None`` when there is none or it has expired."""

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        """Keep ``value`` for ``ttl`` seconds, or for good. It is safe on disk (or wherever) when this returns."""

    async def delete(self, key: str) -> None:
        """Forget the key; no error when it is not there."""

    async def keys(self, prefix: str = "") -> list[str]:
        """The keys that begin with ``prefix`` and have not expired, sorted."""

    def lock(self, key: str) -> AbstractAsyncContextManager[None]:
        """A block that one holder at a time runs, as far as the store reaches.

        It saves work and never guards correctness: a store may let a waiter in when the holder seems to be dead.
        """
