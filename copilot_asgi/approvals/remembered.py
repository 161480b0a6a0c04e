"""Approvals that hold for a while, by caller and model. The time is an argument, in seconds of any one clock.

Rule: an approval lasts from when it was given for as long as was agreed; a clock that goes back ends it early, never
late. Memory is bounded: of too many the oldest is forgotten.
"""

import threading

__all__ = ["Remembered"]


class Remembered:
    """What was approved for ``lifetime`` seconds; may be used from any thread."""

    def __init__(self, lifetime: float, *, most: int = 1_000) -> None:
        self._lifetime = lifetime
        self._most = most
        self._lock = threading.Lock()
        self._given_at: dict[tuple[str, str], float] = {}

    def add(self, caller: str, model: str, now: float) -> None:
        """The caller may use the model from now on."""
        with self._lock:
            self._given_at.pop((caller, model), None)
            self._given_at[caller, model] = now
            if len(self._given_at) > self._most:
                del self._given_at[next(iter(self._given_at))]

    def holds(self, caller: str, model: str, now: float) -> bool:
        """Whether an approval is still good; one that is not is forgotten."""
        with self._lock:
            given_at = self._given_at.get((caller, model))
            if given_at is None:
                return False
            if 0 <= now - given_at < self._lifetime:
                return True
            del self._given_at[caller, model]
            return False
