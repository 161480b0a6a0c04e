"""What to do after a failure: not the same again at once.

Rule: a failure that only a person can mend is remembered for minutes, any other for seconds that double, and never for
less than GitHub asked.
"""

from copilot_asgi.errors import CredentialError, LoginRequired

__all__ = ["Setback", "hold_for"]

FINAL = 300.0  # seconds; nobody gets a seat or a new login faster than they can type it
FIRST = 5.0
LONGEST = 60.0


def hold_for(error: CredentialError, repeated: int) -> float:
    """Seconds to hold back after ``error``, the ``repeated``-th failure in a row counted from 0."""
    if isinstance(error, LoginRequired) or error.status == 403:
        return FINAL
    return max(min(FIRST * 2.0 ** min(repeated, 10), LONGEST), error.retry_after or 0.0)


class Setback:
    """The last failure of one thing, for as long as it counts. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._error: CredentialError | None = None
        self._until = 0.0
        self._repeated = 0

    def note(self, error: CredentialError, now: float) -> None:
        """Remember a failure; from now on it tells when another try makes sense."""
        self._error = error
        self._until = now + hold_for(error, self._repeated)
        self._repeated += 1
        self.standing(now)

    def clear(self) -> None:
        """It worked."""
        self._error = None
        self._repeated = 0

    def standing(self, now: float) -> CredentialError | None:
        """The failure, if it is too early for another try; its ``retry_after`` is what is left."""
        if self._error is None or now >= self._until:
            return None
        if not isinstance(self._error, LoginRequired) and self._error.status != 403:
            self._error.retry_after = self._until - now
        return self._error
