"""The requests under way, so that shutting down can wait for them and then end them.

Requests belong to the loop that runs them: ``drain`` and ``end`` wait for and end those of their own loop, while no
loop takes new ones once draining.
"""

from collections.abc import Awaitable, Callable

import anyio
from anyio.lowlevel import RunVar

from copilot_asgi.errors import Draining

__all__ = ["InFlight"]

# Requests that are ended get this long, in seconds, to tell their clients.
END_TIMEOUT = 1.0


class InFlight:
    """Runs requests; once draining it takes no new ones."""

    def __init__(self) -> None:
        self._draining = False
        self._requests: RunVar[_Requests | None] = RunVar("copilot_asgi_requests", None)

    def __len__(self) -> int:
        """How many requests of the running loop are under way."""
        return len(self._here().scopes)

    async def run(
        self, request: Callable[[], Awaitable[None]], *, always: bool = False, on_end: Callable[[], None] = lambda: None
    ) -> None:
        """Run one request; with ``always`` also while draining. ``on_end`` is called before it is ended.

        Raises ``Draining`` when it is refused, or was ended before it was done.
        """
        if self._draining and not always:
            raise Draining("This server is shutting down. Try again in a moment.")
        requests = self._here()
        with anyio.CancelScope() as scope:
            requests.scopes[scope] = on_end
            try:
                return await request()
            finally:
                requests.leave(scope)
        raise Draining("This server is shutting down.")

    async def drain(self, timeout: float) -> None:
        """Refuse new requests, and give those under way ``timeout`` seconds before they are ended."""
        self._draining = True
        with anyio.move_on_after(timeout):
            await self._here().idle()
        await self.end()

    async def end(self) -> None:
        """End what is under way, and wait a moment for it to be gone."""
        requests = self._here()
        for scope, on_end in tuple(requests.scopes.items()):
            on_end()
            scope.cancel()
        with anyio.move_on_after(END_TIMEOUT):
            await requests.idle()

    def _here(self) -> "_Requests":
        requests = self._requests.get()
        if requests is None:
            requests = _Requests()
            self._requests.set(requests)
        return requests


class _Requests:
    """Those of one event loop."""

    def __init__(self) -> None:
        self.scopes: dict[anyio.CancelScope, Callable[[], None]] = {}
        self._empty: anyio.Event | None = None

    async def idle(self) -> None:
        """Return when there are none."""
        if self.scopes:
            self._empty = anyio.Event()
            await self._empty.wait()

    def leave(self, scope: anyio.CancelScope) -> None:
        """One of them is over."""
        del self.scopes[scope]
        if not self.scopes and self._empty is not None:
            self._empty.set()
