"""What a refusal of upstream means: which kind it is, whom it concerns, and how long it asks to be left alone.

Rule: only what asking again cannot mend, or would make worse, is a refusal. Kinds and scopes stand in tables.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import UpstreamError, UpstreamStatus, UpstreamThrottled, UpstreamUnauthorized
from copilot_asgi.wire.error_body import clean, explain, parse_error_body
from copilot_asgi.wire.retry_after import retry_after_seconds

__all__ = ["Reason", "Refusal", "asked_wait", "read_refusal", "reason_of"]


class Reason(Enum):
    """Why upstream said no.

    ``FORBIDDEN`` is the bare 403 that says nothing: once it may be about the token, again and again it is about us.
    """

    QUOTA = "quota"
    POLICY = "policy"
    FORBIDDEN = "forbidden"
    THROTTLED = "throttled"

    @property
    def status(self) -> int:
        """The HTTP status that belongs to it."""
        return _STATUS[self]


_STATUS: Mapping[Reason, int] = MappingProxyType(
    {Reason.QUOTA: 402, Reason.POLICY: 403, Reason.FORBIDDEN: 403, Reason.THROTTLED: 429}
)
_REASONS: Mapping[int, Reason] = MappingProxyType({402: Reason.QUOTA, 403: Reason.POLICY, 429: Reason.THROTTLED})

# Codes of a 429 that is about one model; all others are about the account.
_MODEL_CODES = frozenset({"user_model_rate_limited", "model_overloaded"})

_TEXT_LIMIT = 500  # characters of upstream's words that are kept and repeated


class Refusal(msgspec.Struct, frozen=True):
    """One refusal. ``asked`` is the wait that upstream asked for, in seconds; ``of_model`` False is the whole account.

    ``message`` is clean and short: upstream's words, and what a person can do.
    """

    reason: Reason
    message: str
    code: str | None = None
    asked: float | None = None
    of_model: bool = True


def reason_of(error: UpstreamError) -> Reason | None:
    """Why upstream refused; ``None`` for what is no refusal: faults, bad requests, a token that is out of date."""
    match error:
        case UpstreamThrottled():
            return Reason.THROTTLED
        case UpstreamUnauthorized():
            is_bare = error.status == 403 and error.body.strip() == b"Forbidden"
            return Reason.FORBIDDEN if is_bare else None
        case UpstreamStatus():
            return _REASONS.get(error.status)
        case _:
            return None


def read_refusal(error: UpstreamError, now: float) -> Refusal | None:
    """What ``error`` refuses, or ``None``. ``now`` is the wall clock in seconds, for a ``retry-after`` date."""
    reason = reason_of(error)
    if reason is None or not isinstance(error, UpstreamStatus):
        return None
    body = parse_error_body(error.body)
    message = " ".join(filter(None, (body.message or clean(error.message), explain(error.status, body))))
    code = (body.code or "").partition(":")[0]  # behind a colon stands the plan
    return Refusal(
        reason=reason,
        message=message[:_TEXT_LIMIT],
        code=body.code,
        asked=asked_wait(error, now),
        of_model=reason is not Reason.THROTTLED or code in _MODEL_CODES,
    )


def asked_wait(error: UpstreamStatus, now: float) -> float | None:
    """The seconds that upstream wants to be left alone, by its header or else its body; garbage is ``None``.

    ``now`` is the wall clock in seconds.
    """
    value = next((value for name, value in error.headers if name == b"retry-after"), None)
    wait = None if value is None else retry_after_seconds(value.decode("latin-1"), now=now)
    return parse_error_body(error.body).retry_after if wait is None else wait
