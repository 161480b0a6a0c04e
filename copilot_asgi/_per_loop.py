"""What needs an event loop is opened at first use, once for each loop, and closed when that loop ends.

No host forwards lifespan to a mounted app, so nothing may depend on it. The first user starts an owner task; it opens
the resource, keeps it, and closes it when it is cancelled. The resource's own closing must be shielded and bounded in
time. Some servers exit without running any cleanup: nothing durable may wait for it.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

import anyio

from copilot_asgi._loop_local import LoopLocal
from copilot_asgi._spawn import Task, spawn

__all__ = ["PerLoop"]

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One resource for each running event loop, made by ``factory`` at first use."""

    def __init__(self, factory: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._factory = factory
        self._owner: LoopLocal[_Owner[T]] = LoopLocal("copilot_asgi_owner")

    async def get(self) -> T:
        """The resource of the running loop, opened if need be.

        Raises what opening raised; the next call tries again. Cancelling one caller leaves the opening to the others.
        """
        owner = self._owner.get()
        if owner is not None and owner.resource is not None:
            return owner.resource
        if owner is None or owner.task.done:
            owner = _Owner(self._factory, on_end=lambda: self._owner.set(None))
            self._owner.set(owner)
        if owner.resource is None:
            await owner.opened.wait()
        if owner.resource is None:
            raise owner.task.error or RuntimeError("The event loop is closing.")
        return owner.resource

    async def aclose(self) -> None:
        """Close the resource of the running loop and wait for that; nothing happens when none is open."""
        owner = self._owner.get()
        if owner is not None:
            owner.task.cancel()
            await owner.task.wait()


class _Owner(Generic[T]):
    """The task that holds the resource of one loop."""

    def __init__(self, factory: Callable[[], AbstractAsyncContextManager[T]], *, on_end: Callable[[], object]) -> None:
        self._factory = factory
        self._on_end = on_end
        self.opened = anyio.Event()
        self.resource: T | None = None
        self.task: Task = spawn(self._hold)

    async def _hold(self) -> None:
        try:
            async with self._factory() as resource:
                self.resource = resource
                self.opened.set()
                try:
                    await anyio.sleep_forever()
                finally:
                    self.resource = None
        finally:
            # The value refers to the loop; leaving it in the loop's variables would keep both alive.
            self._on_end()
            self.opened.set()
