"""The audit log: one entry for each exchange, served or refused, and where entries go.

Rule: an entry is one line of JSON whatever a client sends. Texts that others choose are cut, what looks like a token
in them is masked, and every control character is escaped, so that neither a log nor a terminal can be led astray.
"""

import re
from datetime import UTC, datetime
from enum import Enum
from typing import Protocol

import msgspec

from copilot_asgi.secret import redact

__all__ = ["PROMPT_LIMIT", "TEXT_LIMIT", "AuditSink", "Entry", "Outcome", "line", "shortened", "timestamp"]

TEXT_LIMIT = 256
"""Characters that are kept of a text which somebody else chose."""

PROMPT_LIMIT = 64 * 1024
"""Characters that are kept of a prompt."""

# JSON leaves them as they are; a terminal or a viewer of logs does not: delete and the second set of control
# characters, the line ends of Unicode, and what turns the direction of writing.
_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


class Outcome(Enum):
    """How an exchange ended.

    ``REFUSED`` by us or for want of a login, ``FAILED`` upstream before the head, ``INTERRUPTED`` after it, also by our
    own shutting down. ``LEFT``: the client went away. ``ERROR`` is what nobody expected.
    """

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    LEFT = "left"
    ERROR = "error"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange. Times in milliseconds; what never came about is ``None``.

    ``time`` is when it began (RFC 3339, UTC). ``model`` is what was asked for, ``routed_model`` and ``route`` the model
    and the dialect upstream. ``status`` is what the client saw, 499 when it left. ``error`` is a code, or the name of
    an exception. ``prompt`` is the request's body, only where that is wanted.
    """

    time: str
    id: str
    caller: str | None
    account: str | None
    client: str | None
    dialect: str
    model: str
    routed_model: str | None
    route: str | None
    stream: bool
    request_bytes: int
    response_bytes: int
    status: int | None
    outcome: Outcome
    error: str | None
    first_byte_ms: float | None
    duration_ms: float
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    nano_credits: int | None = None
    prompt: str | None = None


class AuditSink(Protocol):
    """Where entries go."""

    async def write(self, entry: Entry) -> None:
        """Take one entry; it is kept when this returns. May raise: that is counted and logged, and fails no request."""


def line(entry: Entry) -> str:
    """``entry`` as one line of JSON, without its line end."""
    return _UNSAFE.sub(_escape, msgspec.json.encode(entry).decode())


def shortened(text: str, limit: int = TEXT_LIMIT) -> str:
    """At most ``limit`` characters of ``text``, encodable, with what looks like a token masked.

    It is cut first, so that the work is bounded: of a token that the cut goes through a few characters may be left.
    """
    return redact(text[:limit].encode("utf-8", "replace").decode())[:limit]


def timestamp(now: float) -> str:
    """``now`` (unix seconds) as RFC 3339 has it, in UTC, to the millisecond."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
