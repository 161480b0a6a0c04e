"""Warnings about a thing that fails again and again: every failure is counted, and one line a minute is logged.

Rule: what is not essential fails without taking a request with it, and never in silence.
"""

import logging
import time
from collections.abc import Callable

from copilot_asgi.secret import redact

__all__ = ["INTERVAL", "Complaints"]

INTERVAL = 60.0
"""Seconds between two lines about the same thing."""


class Complaints:
    """Counts failures of one thing, named by ``what``, and warns of them at most once in ``INTERVAL`` seconds."""

    def __init__(self, logger: logging.Logger, what: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.count = 0
        self._logger = logger
        self._what = what
        self._clock = clock
        self._quiet_until: float | None = None

    def add(self, error: Exception | str) -> None:
        """Count one failure; the line that may be logged holds no secret."""
        self.count += 1
        now = self._clock()
        if self._quiet_until is not None and now < self._quiet_until:
            return
        self._quiet_until = now + INTERVAL
        text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        self._logger.warning("%s (%d times so far). %s", self._what, self.count, redact(text))
