"""How long a Copilot token lives, whatever the clocks say. Pure.

Rule: GitHub's clock and ours may differ by days, ours may jump, and the machine may sleep. So a lifetime is counted
from the moment the token was obtained, and the time gone by is the larger of what the wall clock and the monotonic
clock say: the first one sees sleep, the second one survives a clock that is put back.
"""

import math

import msgspec

from copilot_asgi.secret import Secret

__all__ = ["CopilotToken", "Lifetime", "age", "credible_age", "lifetime"]

SHORTEST = 30.0
LONGEST = 86_400.0
USUAL_REFRESH = 1500.0  # what GitHub sends as refresh_in
GRACE = 60.0  # a token lives at least this much longer than refresh_in
LEEWAY = 3600.0  # an expires_at further than this behind refresh_in comes from another clock
REFRESH_SHARE = 0.9  # of the whole life, at the latest
FUTURE_LEEWAY = 60.0  # how far in the future a kept token may have been obtained


class Lifetime(msgspec.Struct, frozen=True):
    """Seconds since the token was obtained: when to get a new one, and when it is dead."""

    refresh_after: float
    dead_after: float


class CopilotToken(msgspec.Struct, frozen=True, kw_only=True):
    """A Copilot token as it is held and kept.

    ``obtained_at`` is unix seconds by our clock; ``endpoint`` is the API address GitHub named, unchecked;
    ``login_digest`` says which GitHub token it was exchanged for.
    """

    token: Secret
    obtained_at: float
    lifetime: Lifetime
    login_digest: str
    endpoint: str | None = None
    sku: str | None = None


def lifetime(expires_at: float | None, refresh_in: float | None, now: float) -> Lifetime:
    """The lifetime of a token just obtained at ``now`` (unix seconds, our clock).

    ``expires_at`` (unix seconds, GitHub's clock) is believed only when it agrees with ``refresh_in`` (seconds).
    """
    refresh = _clamp(refresh_in if refresh_in is not None and math.isfinite(refresh_in) else USUAL_REFRESH)
    left = math.nan if expires_at is None else expires_at - now
    dead = _clamp(left if refresh <= left <= refresh + LEEWAY else refresh + GRACE)
    return Lifetime(refresh_after=min(refresh, REFRESH_SHARE * dead), dead_after=dead)


def age(*, wall: float, monotonic: float) -> float:
    """Seconds gone by, given what each clock says has gone by."""
    return max(wall, monotonic, 0.0)


def credible_age(token: CopilotToken, now: float) -> float | None:
    """Age of a token that another run has kept, or ``None`` when it seems to come from the future."""
    gone = now - token.obtained_at
    return None if gone < -FUTURE_LEEWAY else max(gone, 0.0)


def _clamp(seconds: float) -> float:
    return min(max(seconds, SHORTEST), LONGEST)
