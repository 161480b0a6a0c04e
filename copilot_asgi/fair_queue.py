"""Waiting lines: whoever came first goes first, and nobody waits for what cannot come in time.

Only the head of a line tries; a newcomer never overtakes. Whoever leaves is gone at once, and the next moves up. Lines
belong to one event loop; across loops and processes it is the limiter that keeps count, not the queue.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar

import anyio
from anyio.lowlevel import RunVar

from copilot_asgi.errors import RateLimited

__all__ = ["FairQueue"]

T = TypeVar("T")

POLL = 0.25
"""Seconds between two tries when nobody can say how long it takes: what is awaited may be freed in another loop."""

LEAST_WAIT = 1.0
"""Seconds that a refused client is told to stay away when nobody knows better."""


class FairQueue:
    """A line for each key, in which at most ``max_length`` wait, each for at most ``timeout`` seconds.

    ``clock`` is monotonic, in seconds. A key without waiters leaves nothing behind.
    """

    def __init__(self, max_length: int, timeout: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_length = max_length
        self._timeout = timeout
        self._clock = clock
        self._run_lines: RunVar[dict[str, _Line] | None] = RunVar("copilot_asgi_lines", None)

    def deadline(self) -> float:
        """When someone who arrives now has waited long enough, by the queue's clock."""
        return self._clock() + self._timeout

    def waiting(self, key: str) -> int:
        """How many of the running loop stand in the line of ``key``, with the one that is trying."""
        line = self._lines().get(key)
        return len(line.waiters) if line is not None else 0

    async def enter(self, key: str, attempt: Callable[[], Awaitable[T]], *, deadline: float | None = None) -> T:
        """Call ``attempt`` in turn, and again, until it does not raise ``RateLimited``; return what it returned.

        Its ``retry_after`` says when to try again, sooner if ``notify`` is called; without one it is tried every
        ``POLL`` seconds. Raises ``RateLimited`` when the line is full, when ``deadline`` (by default ``timeout``
        from now) has passed, and as soon as it is certain that it will pass. When cancelled the place is given up.
        """
        lines = self._lines()
        line = lines.setdefault(key, _Line())
        if line.waiters and line.waiting >= self._max_length:
            self._refuse(line, f"The queue is full: {line.waiting} requests wait for their turn already.")
        waiter = _Waiter(waits=bool(line.waiters))
        line.waiters[waiter] = None
        try:
            return await self._take_turn(line, waiter, attempt, self.deadline() if deadline is None else deadline)
        finally:
            line.leave(waiter)
            if not line.waiters:
                del lines[key]

    def notify(self, key: str) -> None:
        """Something was freed: the head of the line tries at once."""
        line = self._lines().get(key)
        if line is not None:
            line.head.woken.set()

    def _lines(self) -> "dict[str, _Line]":
        lines = self._run_lines.get()
        if lines is None:
            lines = {}
            self._run_lines.set(lines)
        return lines

    async def _take_turn(
        self, line: "_Line", waiter: "_Waiter", attempt: Callable[[], Awaitable[T]], deadline: float
    ) -> T:
        await self._reach_head(line, waiter, deadline)
        while True:
            # Made before the attempt: what is freed while it runs must not go unnoticed.
            waiter.woken = anyio.Event()
            try:
                return await attempt()
            except RateLimited as refusal:
                seconds = self._patience(line, refusal, deadline)
            waiter.waits = True
            with anyio.move_on_after(seconds):
                await waiter.woken.wait()

    async def _reach_head(self, line: "_Line", waiter: "_Waiter", deadline: float) -> None:
        if line.head is waiter:
            return
        with anyio.move_on_after(deadline - self._clock()):
            await waiter.woken.wait()
        if line.head is not waiter:
            self._refuse(line, "The request waited too long for its turn.")

    def _patience(self, line: "_Line", refusal: RateLimited, deadline: float) -> float:
        """Seconds until the head's next try. Raises the refusal when that is too late, or nobody may wait."""
        now = self._clock()
        left = deadline - now
        seconds = refusal.retry_after
        if seconds is None:
            seconds, refusal.retry_after = min(POLL, left), LEAST_WAIT
        # The line may have filled up behind a newcomer's first try.
        if left <= 0 or seconds > left or len(line.waiters) > self._max_length:
            raise refusal
        line.opens_at = now + seconds
        return seconds

    def _refuse(self, line: "_Line", reason: str) -> NoReturn:
        seconds = max(line.opens_at - self._clock(), LEAST_WAIT)
        raise RateLimited(f"{reason} Try again in {seconds:.1f} seconds.", retry_after=seconds)


class _Waiter:
    """One that stands in a line. ``waits`` is false for a newcomer in its first try.

    ``woken`` is set when it becomes the head, and when the head should try again.
    """

    def __init__(self, *, waits: bool) -> None:
        self.waits = waits
        self.woken = anyio.Event()


class _Line:
    """Those who stand in line for one key, in order of arrival; ``opens_at`` is when the head tries again."""

    def __init__(self) -> None:
        self.waiters: OrderedDict[_Waiter, None] = OrderedDict()
        self.opens_at = 0.0

    @property
    def head(self) -> _Waiter:
        """The one whose turn it is."""
        return next(iter(self.waiters))

    @property
    def waiting(self) -> int:
        """How many wait: all but a head that has not been refused yet."""
        return len(self.waiters) if self.head.waits else len(self.waiters) - 1

    def leave(self, waiter: _Waiter) -> None:
        """Give up a place; whoever is the head then is woken."""
        del self.waiters[waiter]
        if self.waiters:
            self.head.woken.set()
