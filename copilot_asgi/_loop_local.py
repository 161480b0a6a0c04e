"""A variable that has a value of its own in each event loop, like anyio's ``RunVar``, for what every request reads.

On asyncio reading the value that was set last takes a tenth of the time: the running loop is compared with the loop of
that value, and only when it is another one anyio is asked. Nothing is kept alive: neither the loop nor the value.
"""

import asyncio
from typing import Generic, TypeVar
from weakref import ReferenceType, ref

from anyio.lowlevel import RunVar

__all__ = ["LoopLocal"]

T = TypeVar("T")


class LoopLocal(Generic[T]):
    """``None`` in each loop until it is set there. ``name`` is for debugging."""

    def __init__(self, name: str) -> None:
        self._values: RunVar[T | None] = RunVar(name, None)
        self._latest: tuple[ReferenceType[asyncio.AbstractEventLoop], ReferenceType[T]] | None = None

    def get(self) -> T | None:
        """The running loop's value."""
        if self._latest is not None:
            loop, value = self._latest
            running = _running_loop()
            # Not asyncio's is none, and so is a loop that is gone.
            if running is not None and loop() is running:
                return value()
        return self._values.get()

    def set(self, value: T | None) -> None:
        """Give the running loop a value, or take it away."""
        self._values.set(value)
        loop = _running_loop()
        self._latest = None if loop is None or value is None else (ref(loop), ref(value))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
