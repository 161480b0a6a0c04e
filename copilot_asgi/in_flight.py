"""The requests under way: who leaves, who takes nothing, whose body never comes, and shutting down ends them.

Requests belong to the loop that runs them: ``drain`` and ``end`` wait for and end those of their own loop, while no
loop takes new ones once draining. Rule: whatever ends a request cancels it where it waits, and says why. One task a
loop looks at all of them ten times a second, so that a request that is answered at once costs neither a task to watch
its client nor a timer.
"""

import time
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, Protocol

import anyio
import msgspec
from anyio.abc import TaskGroup

from copilot_asgi._loop_local import LoopLocal
from copilot_asgi._spawn import spawn
from copilot_asgi.edge import ClientDisconnected, disconnected
from copilot_asgi.errors import BodyTimeout, Draining

__all__ = ["InFlight", "Patience", "Underway"]

# Requests that are ended get this long, in seconds, to tell their clients.
END_TIMEOUT = 1.0

TICK = 0.1  # seconds; how long it may take to see that a client has left

_NO_BODY = (
    "The request body did not arrive within {:g} seconds. If the client did send it, a middleware of the host read it "
    "before us."
)


class Underway(Protocol):
    """What is seen of a request while it is under way.

    ``reading``: its body is awaited. ``answering``: that has come, and ``receive``, the server's, only tells that the
    client has left. ``sent`` counts messages; ``sending``: the server has not taken the last one yet.
    """

    receive: Any
    reading: bool
    answering: bool

    @property
    def sent(self) -> int: ...  # noqa: D102 - said above
    @property
    def sending(self) -> bool: ...  # noqa: D102

    def end(self) -> None:
        """The server shuts down, and the request is given up."""


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds: how long a request's body may take, and how long a client may take nothing of what it is sent."""

    body: float = inf
    send: float = inf

    @property
    def tick(self) -> float:
        """How often to look."""
        return min(TICK, self.body / 4, self.send / 4)


class InFlight:
    """Runs requests; once draining it takes no new ones."""

    def __init__(self, patience: Patience = Patience()) -> None:  # noqa: B008 - frozen
        self._patience = patience
        self._draining = False
        self._loop_local: LoopLocal[_Requests] = LoopLocal("copilot_asgi_requests")

    def __len__(self) -> int:
        """How many requests of the running loop are under way."""
        return len(self._here().requests)

    async def run(self, underway: Underway, work: Callable[[], Awaitable[None]], *, always: bool = False) -> None:
        """Run one request; with ``always`` also while draining.

        Raises what ``work`` raises; ``Draining`` when it is refused, or was ended before it was done,
        ``ClientDisconnected``, and ``BodyTimeout``.
        """
        if self._draining and not always:
            raise Draining("This server is shutting down. Try again in a moment.")
        here = self._here()
        with anyio.CancelScope() as scope:
            request = _Request(underway, scope)
            here.enter(request)
            try:
                return await work()
            finally:
                here.leave(request)
        raise request.take_reason()

    async def drain(self, timeout: float) -> None:
        """Refuse new requests, and give those under way ``timeout`` seconds before they are ended."""
        self._draining = True
        with anyio.move_on_after(timeout):
            await self._here().empty()
        await self.end()

    async def end(self) -> None:
        """End what is under way, and wait a moment for it to be gone."""
        here = self._here()
        for request in tuple(here.requests):
            request.underway.end()
            request.give_up(Draining("This server is shutting down."))
        with anyio.move_on_after(END_TIMEOUT):
            await here.empty()

    def _here(self) -> "_Requests":
        here = self._loop_local.get()
        if here is None:
            here = _Requests(self._patience)
            self._loop_local.set(here)
        return here


class _Request:
    """One request under way."""

    __slots__ = ("_began", "_noted", "_reason", "_since", "_watching", "scope", "underway")

    def __init__(self, underway: Underway, scope: anyio.CancelScope) -> None:
        self.underway = underway
        self.scope = scope
        self._reason: Exception | None = None
        self._watching: anyio.CancelScope | None = None
        self._noted = 0
        self._began = self._since = time.monotonic()

    def take_reason(self) -> Exception:
        """Why it was given up, to be raised; it is not kept here, as its traceback refers to this request."""
        reason, self._reason = self._reason, None
        assert reason is not None, "nobody else cancels this scope"
        return reason

    def give_up(self, reason: Exception) -> None:
        """Cancel it where it waits; the first reason counts."""
        self._reason = self._reason or reason
        self.scope.cancel()

    def leave(self) -> None:
        """It is over: its client need not be watched any more."""
        if self._watching is not None:
            self._watching.cancel()

    def look(self, now: float, patience: Patience, watchers: TaskGroup) -> None:
        """See what has become of it since the last time."""
        underway = self.underway
        if underway.reading and now - self._began >= patience.body:
            self.give_up(BodyTimeout(_NO_BODY.format(patience.body)))
        if underway.answering and self._watching is None:
            self._watching = anyio.CancelScope()
            watchers.start_soon(self._watch, self._watching)
        if not underway.sending or underway.sent != self._noted:
            self._noted, self._since = underway.sent, now
        elif now - self._since >= patience.send:
            self.give_up(ClientDisconnected())

    async def _watch(self, scope: anyio.CancelScope) -> None:
        with scope:
            await disconnected(self.underway.receive)
            self.give_up(ClientDisconnected())


class _Requests:
    """Those of one event loop, and the task that looks after them; it ends when it finds none."""

    def __init__(self, patience: Patience) -> None:
        self.requests: set[_Request] = set()
        self._patience = patience
        self._looked_after = False
        self._empty: anyio.Event | None = None

    def enter(self, request: _Request) -> None:
        """One more is under way."""
        self.requests.add(request)
        if not self._looked_after:
            self._looked_after = True
            spawn(self._look_after)

    def leave(self, request: _Request) -> None:
        """One of them is over."""
        self.requests.discard(request)
        request.leave()
        if not self.requests and self._empty is not None:
            self._empty.set()

    async def empty(self) -> None:
        """Return when there are none."""
        if self.requests:
            self._empty = anyio.Event()
            await self._empty.wait()

    async def _look_after(self) -> None:
        try:
            while self.requests:  # again, for those who came while the last watchers ended
                async with anyio.create_task_group() as watchers:
                    await self._look(watchers)
        finally:
            self._looked_after = False

    async def _look(self, watchers: TaskGroup) -> None:
        while self.requests:
            await anyio.sleep(self._patience.tick)
            now = time.monotonic()
            for request in self.requests:
                request.look(now, self._patience, watchers)
