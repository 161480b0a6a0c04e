"""Ids and names that every upstream accepts: letters, digits, underscore and dash, and not too long.

Rule: what fits stays. What does not is rewritten by its own value alone, so that the same history gives the same text
(and hits the same prompt cache), and a hash of the original keeps different originals different.
"""

import re
from collections.abc import Iterable
from hashlib import sha256

__all__ = ["ToolNames", "tool_id"]

_ID_LIMIT = 64
_ID_KEPT, _ID_DIGITS = 50, 10
_NAME_LIMIT = 64
_NAME_KEPT, _NAME_DIGITS = 55, 8

_LEGAL = re.compile(r"[A-Za-z0-9_-]+")
_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]")


def tool_id(original: str, *, limit: int = _ID_LIMIT) -> str:
    """The id of a tool call as every upstream takes it; the same for the call and for its result."""
    return _fitted(original, limit, kept=_ID_KEPT, digits=_ID_DIGITS)


class ToolNames:
    """The names of one request's tools, there and back.

    A name that had to change is remembered when it goes upstream, so that the answer can name what the client declared.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._originals: dict[str, str] = {}
        for name in names:
            self.to_upstream(name)

    def to_upstream(self, name: str) -> str:
        """The name that upstream sees."""
        fitted = _fitted(name, _NAME_LIMIT, kept=_NAME_KEPT, digits=_NAME_DIGITS)
        if fitted != name:
            self._originals[fitted] = name
        return fitted

    def to_client(self, name: str) -> str:
        """The name that the client knows; one that we never changed is the client's already."""
        return self._originals.get(name, name)


def _fitted(original: str, limit: int, *, kept: int, digits: int) -> str:
    if len(original) <= limit and _LEGAL.fullmatch(original):
        return original
    return f"{_ILLEGAL.sub('_', original)[:kept]}_{sha256(original.encode()).hexdigest()[:digits]}"
