"""The requests under way, so that shutting down can wait for them and then end them.

Belongs to whichever loop runs the requests; ``drain`` and ``end`` are called on that loop.
"""

from collections.abc import Awaitable, Callable

import anyio

from copilot_asgi.errors import Draining

__all__ = ["InFlight"]

# Requests that are ended get this long, in seconds, to tell their clients.
END_TIMEOUT = 1.0


class InFlight:
    """Runs requests; once draining it takes no new ones."""

    def __init__(self) -> None:
        self._draining = False
        self._scopes: set[anyio.CancelScope] = set()
        self._idle: anyio.Event | None = None

    async def run(self, request: Callable[[], Awaitable[None]]) -> None:
        """Run one request. Raises ``Draining`` when it is refused, or was ended before it was done."""
        if self._draining:
            raise Draining("This server is shutting down. Try again in a moment.")
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                return await request()
            finally:
                self._leave(scope)
        raise Draining("This server is shutting down.")

    async def drain(self, timeout: float) -> None:
        """Refuse new requests, and give those under way ``timeout`` seconds before they are ended."""
        self._draining = True
        with anyio.move_on_after(timeout):
            await self._wait_until_idle()
        await self.end()

    async def end(self) -> None:
        """End what is under way, and wait a moment for it to be gone."""
        for scope in tuple(self._scopes):
            scope.cancel()
        with anyio.move_on_after(END_TIMEOUT):
            await self._wait_until_idle()

    async def _wait_until_idle(self) -> None:
        if self._scopes:
            self._idle = anyio.Event()
            await self._idle.wait()

    def _leave(self, scope: anyio.CancelScope) -> None:
        self._scopes.discard(scope)
        if not self._scopes and self._idle is not None:
            self._idle.set()
