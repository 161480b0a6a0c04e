"""Being told to stop: the first SIGINT or SIGTERM asks, the second one ends the process at once.

Rule: a handler only sets a flag. The flag is looked at a few times a second, which works on every system and loop.
"""

import signal
from types import FrameType, TracebackType
from typing import Self

import anyio

__all__ = ["GLANCE", "StopSignals"]

HANDLED = (signal.SIGINT, signal.SIGTERM)
GLANCE = 0.05  # seconds between two looks at the flag


class StopSignals:
    """Takes over the signals inside ``with``. ``requested`` says whether somebody wants the program to end."""

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> Self:
        self._former = {number: signal.signal(number, self._handle) for number in HANDLED}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def request(self) -> None:
        """Ask for the end, as the first signal does."""
        self.requested = True

    async def wait(self) -> None:
        """Wait until the end is asked for."""
        while not self.requested:  # noqa: ASYNC110 - an event cannot be set from a signal handler on every loop
            await anyio.sleep(GLANCE)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the shape of signal handlers
        if self.requested:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.requested = True
