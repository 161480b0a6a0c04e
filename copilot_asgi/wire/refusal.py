"""What a refusal of upstream means: which kind it is, whom it concerns, and how long it asks to be left alone.

Rule: only what asking again cannot mend, or would make worse, is a refusal. Kinds and scopes stand in tables.
Upstream's own words were about one caller's request, which they may quote: they are read, and never kept.
"""

import re
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import UpstreamError, UpstreamStatus, UpstreamThrottled, UpstreamUnauthorized
from copilot_asgi.wire.error_body import ErrorBody, parse_error_body
from copilot_asgi.wire.retry_after import retry_after_seconds

__all__ = ["Reason", "Refusal", "asked_wait", "read_refusal", "reason_of"]


class Reason(Enum):
    """Why upstream said no.

    ``FORBIDDEN`` is a 403 of which it is not certain that others will get it too: once it may be about the token, or
    about what one request holds; again and again it is about us.
    """

    QUOTA = "quota"
    POLICY = "policy"
    FORBIDDEN = "forbidden"
    THROTTLED = "throttled"

    @property
    def status(self) -> int:
        """The HTTP status that belongs to it."""
        return _STATUS[self]

    @property
    def said(self) -> str:
        """What upstream said, in words of ours that anybody may read; without the full stop."""
        return _SAID[self]

    @property
    def advice(self) -> str:
        """One sentence of what a person can do about it; empty where nobody can."""
        return _ADVICE.get(self, "")


_STATUS: Mapping[Reason, int] = MappingProxyType(
    {Reason.QUOTA: 402, Reason.POLICY: 403, Reason.FORBIDDEN: 403, Reason.THROTTLED: 429}
)
_SAID: Mapping[Reason, str] = MappingProxyType(
    {
        Reason.QUOTA: "GitHub Copilot said a moment ago that this account's quota is used up",
        Reason.POLICY: "GitHub Copilot said a moment ago that a policy does not allow this model",
        Reason.FORBIDDEN: "GitHub Copilot refused this model several times in a row",
        Reason.THROTTLED: "GitHub Copilot said a moment ago that it has had too many requests",
    }
)
_ADVICE: Mapping[Reason, str] = MappingProxyType(
    {
        Reason.QUOTA: "See https://github.com/settings/copilot for when the quota resets and how to raise it.",
        Reason.POLICY: "Enable it at https://github.com/settings/copilot/features, or ask the administrator of the "
        "organization that pays for Copilot.",
    }
)

# What a 403 says that is about the account whatever was asked. The word "policy" alone does not do: content has
# policies too, and a message may quote a prompt.
_POLICY_CODES = frozenset({"model_not_allowed", "model_not_supported", "billing_not_configured"})
_POLICY_WORDS = re.compile(
    r"(organization|enterprise|copilot) policy|not authorized to use this copilot feature", re.IGNORECASE
)

# Codes of a 429 that is about one model; all others are about the account.
_MODEL_CODES = frozenset({"user_model_rate_limited", "model_overloaded"})

_CODE = re.compile(r"[a-z0-9_:]{1,64}")  # what a machine's word looks like, and a person's seldom does


class Refusal(msgspec.Struct, frozen=True):
    """One refusal. ``asked`` is the wait that upstream asked for, in seconds; ``of_model`` False is the whole account.

    ``code`` is upstream's word for it, if it is one for machines.
    """

    reason: Reason
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
        case UpstreamStatus(status=402):
            return Reason.QUOTA
        case UpstreamStatus(status=403):
            return Reason.POLICY if _is_policy(parse_error_body(error.body)) else Reason.FORBIDDEN
        case UpstreamStatus(status=429):
            return Reason.THROTTLED
        case _:
            return None


def read_refusal(error: UpstreamError, now: float) -> Refusal | None:
    """What ``error`` refuses, or ``None``. ``now`` is the wall clock in seconds, for a ``retry-after`` date."""
    reason = reason_of(error)
    if reason is None or not isinstance(error, UpstreamStatus):
        return None
    body = parse_error_body(error.body)
    code = body.code or ""
    return Refusal(
        reason=reason,
        code=code if _CODE.fullmatch(code) else None,
        asked=asked_wait(error, now),
        of_model=reason is not Reason.THROTTLED or code.partition(":")[0] in _MODEL_CODES,  # the plan stands behind it
    )


def _is_policy(body: ErrorBody) -> bool:
    return body.code in _POLICY_CODES or _POLICY_WORDS.search(body.message) is not None


def asked_wait(error: UpstreamStatus, now: float) -> float | None:
    """The seconds that upstream wants to be left alone, by its header or else its body; garbage is ``None``.

    ``now`` is the wall clock in seconds.
    """
    value = next((value for name, value in error.headers if name == b"retry-after"), None)
    wait = None if value is None else retry_after_seconds(value.decode("latin-1"), now=now)
    return parse_error_body(error.body).retry_after if wait is None else wait
