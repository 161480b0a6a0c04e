"""When a failed model call is made again, and how often all of them together may be.

Rule: a model call is not idempotent (RFC 9110, 9.2.2), so it is repeated only where no answer exists and asking again
can help; and the repeats of everybody together stay a small share of the requests, so that they never add to an outage.
"""

from collections.abc import Callable
from threading import Lock

from copilot_asgi.errors import (
    UpstreamError,
    UpstreamStatus,
    UpstreamThrottled,
    UpstreamUnauthorized,
    UpstreamUnavailable,
)
from copilot_asgi.exchange import header
from copilot_asgi.wire.refusal import asked_wait

__all__ = ["RetryBudget", "RetryPolicy", "policy"]

RetryPolicy = Callable[[UpstreamError, int], float | None]
"""Seconds to wait before the next try, ``None`` to give up.

The number counts the failures of this exchange from 1; refused tokens are counted apart from everything else.
"""

BASE = 0.5  # seconds; the longest wait before the first repeat
CAP = 8.0  # seconds; the longest wait that nobody asked for

# A gateway on the way gave up; no model's answer is lost with it.
_GATEWAY = frozenset({502, 503, 504})

# What a gateway says, now and then, to a request that is all right; other 400s have a JSON body.
_BODYLESS = frozenset({b"", b"Bad Request"})


def policy(
    retries: int,
    *,
    max_wait: float,
    random: Callable[[], float],
    now: Callable[[], float],
    wait_throttled: bool = False,
) -> RetryPolicy:
    """Repeat ``retries`` times what may be repeated, after a random wait that doubles ("full jitter").

    A refused token gets its one further try at once, whatever ``retries`` is. A ``retry-after`` is always kept to; one
    over ``max_wait`` seconds ends the matter. Where upstream is throttling, only ``wait_throttled`` tries again, and
    only if upstream said when. ``random`` gives 0 to 1, ``now`` the wall clock in seconds.
    """

    def decide(error: UpstreamError, attempt: int) -> float | None:
        if isinstance(error, UpstreamUnauthorized):
            return 0.0 if attempt == 1 else None
        if attempt > retries or not _may_be_repeated(error, attempt):
            return None
        asked = asked_wait(error, now()) if isinstance(error, UpstreamStatus) else None
        if isinstance(error, UpstreamThrottled) and (asked is None or not wait_throttled):
            return None
        if asked is not None and asked > max_wait:
            return None
        return max(_backoff(attempt, random()), asked or 0.0)

    return decide


def _may_be_repeated(error: UpstreamError, attempt: int) -> bool:
    """Whether ``error``, the ``attempt``-th, left nothing behind that another try would do twice."""
    match error:
        case UpstreamUnavailable():
            return not error.sent
        case UpstreamStatus() if header(error.headers, b"x-should-retry") == b"false":
            return False
        case UpstreamThrottled():
            return True
        case UpstreamStatus(status=400):
            return attempt == 1 and error.body.strip() in _BODYLESS
        case UpstreamStatus():
            return error.status in _GATEWAY
        case _:
            return False


def _backoff(attempt: int, chance: float) -> float:
    """Seconds before the try after the ``attempt``-th failure; ``chance`` is 0 to 1."""
    return chance * min(CAP, BASE * 2.0 ** min(attempt - 1, 10))


class RetryBudget:
    """What all requests together may repeat: over any N of them in a row, at most ``ratio * N + minimum`` times.

    A bucket that is full at first: each request puts one coin in, each repeat takes ``1 / ratio`` coins out, and there
    is no room for more than ``minimum`` repeats. What is taken out was in there at the start or was put in since, which
    is the bound. Shared by all event loops; nothing here waits.
    """

    def __init__(self, ratio: float = 0.1, *, minimum: int = 10) -> None:
        self._price = 1.0 / ratio
        self._full = self._balance = minimum * self._price
        self._lock = Lock()

    def deposit(self) -> None:
        """A request begins."""
        with self._lock:
            self._balance = min(self._balance + 1.0, self._full)

    def withdraw(self) -> bool:
        """Take out one repeat; ``False`` when there is not enough in it."""
        with self._lock:
            if self._balance < self._price:
                return False
            self._balance -= self._price
            return True
