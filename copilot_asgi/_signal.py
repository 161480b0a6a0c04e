"""An event between threads: one task waits for it on its own event loop, and any thread may set it.

Rule: setting never waits, so it is safe on an event loop and under a lock.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import anyio
from anyio.lowlevel import current_token

if TYPE_CHECKING:
    import trio

__all__ = ["Signal"]


class Signal:
    """Made by the task that waits, on its loop."""

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._call_soon = _call_soon()

    async def wait(self) -> None:
        """Wait until it is set."""
        await self._event.wait()

    def set(self) -> bool:
        """Wake the task that waits; ``False`` when its loop has ended, and the task with it."""
        try:
            self._call_soon(self._event.set)
        except RuntimeError:
            return False
        return True


def _call_soon() -> Callable[[Callable[[], None]], object]:
    """What has a function called on the running loop, from any thread."""
    loop = current_token().native_token
    if isinstance(loop, asyncio.AbstractEventLoop):
        return loop.call_soon_threadsafe
    return cast("trio.lowlevel.TrioToken", loop).run_sync_soon
