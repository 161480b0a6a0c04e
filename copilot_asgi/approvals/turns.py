"""One at a time, in the order of arrival, across all event loops and threads of the process."""

import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from copilot_asgi._signal import Signal

__all__ = ["Turns"]

T = TypeVar("T")


class Turns:
    """A fair lock for something that the whole process has one of."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line: deque[Signal] = deque()  # the first in it has the turn

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Wait for a turn and do ``work`` in it. Who is cancelled leaves the line."""
        mine = Signal()
        with self._lock:
            self._line.append(mine)
            first = self._line[0] is mine
        try:
            if not first:
                await mine.wait()
            return await work()
        finally:
            self._leave(mine)

    def _leave(self, mine: Signal) -> None:
        with self._lock:
            if mine not in self._line:
                return
            self._line.remove(mine)
            # Telling the first again does no harm; one whose loop has ended cannot take its turn, or end it.
            while self._line and not self._line[0].set():
                self._line.popleft()
