"""A value that must not be seen, and the one function that hides such values in text.

Rule: a secret leaves its ``Secret`` only at the line that needs it, by ``reveal()``; every text that leaves the process
(an error, a log line, a table) goes through ``redact`` first.
"""

import hmac
import re
from collections.abc import Iterable

__all__ = ["MASK", "Secret", "redact"]

MASK = "***"

# What tokens of this trade look like: GitHub tokens, fine-grained tokens, Copilot tokens (key=value pairs that start
# with tid=), JSON web tokens, keys of the two vendors and our own, and whatever stands behind an authorization scheme.
_TOKENS = re.compile(
    r"""
    gh[a-z]_[A-Za-z0-9]{8,}
  | github_pat_[A-Za-z0-9_]{8,}
  | \btid=[^\s"',]+
  | \beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]+
  | \bsk-[A-Za-z0-9_-]{8,}
  | cak_[A-Za-z0-9_-]{8,}
  | \btid%3D[^\s"',]+
  | (?<=token\ )(?=[A-Za-z0-9_.;=:-]*[0-9])[A-Za-z0-9_.;=:-]{20,}
    """,
    re.VERBOSE | re.IGNORECASE,
)

# Whatever follows this scheme is a credential, however it looks.
_BEARERS = re.compile(r"""(\bbearer[\s"']+)[^\s"',]+""", re.IGNORECASE)


class Secret:
    """A string whose ``repr``, ``str``, ``format`` and pickle are ``***``; compared in constant time.

    JSON encoders refuse it (``TypeError``), so it cannot slip into a file or an answer by accident.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The hidden string."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __reduce__(self) -> tuple[type["Secret"], tuple[str]]:
        return Secret, (MASK,)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)


def redact(text: str, secrets: Iterable[Secret] = ()) -> str:
    """``text`` with everything that looks like a token, and each of ``secrets``, replaced by ``***``."""
    for secret in secrets:
        if secret:
            text = text.replace(secret.reveal(), MASK)
    return _BEARERS.sub(rf"\1{MASK}", _TOKENS.sub(MASK, text))
