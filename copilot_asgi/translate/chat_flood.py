"""A model that fell into a loop inside a tool call, and writes line ends until its limit.

Rule: line ends and tabs between the tokens of JSON are counted; spaces are not, for they indent; text inside a JSON
string may hold what it likes.
"""

import re

from copilot_asgi.errors import StreamInterrupted

__all__ = ["FloodGuard"]

_MOST = 20
_STRING_MARK = re.compile(r'["\\]')


class FloodGuard:
    """Watches the arguments of one call, in pieces cut anywhere."""

    __slots__ = ("_escaped", "_in_string", "_run")

    def __init__(self) -> None:
        self._in_string = False
        self._escaped = False
        self._run = 0

    def feed(self, text: str) -> None:
        """Look at the next piece. Raises ``StreamInterrupted`` when the model will not find its way out."""
        at = 0
        while at < len(text):
            at = self._string(text, at) if self._in_string else self._between(text, at)

    def _string(self, text: str, at: int) -> int:
        if self._escaped:
            self._escaped = False
            return at + 1
        mark = _STRING_MARK.search(text, at)
        if mark is None:
            return len(text)
        self._escaped = mark[0] == "\\"
        self._in_string = self._escaped
        return mark.end()

    def _between(self, text: str, at: int) -> int:
        quote = text.find('"', at)
        for character in text[at : len(text) if quote < 0 else quote]:
            self._count(character)
        if quote < 0:
            return len(text)
        self._in_string = True
        self._run = 0
        return quote + 1

    def _count(self, character: str) -> None:
        if character == " ":
            return
        self._run = self._run + 1 if character in "\t\r\n" else 0
        if self._run > _MOST:
            raise StreamInterrupted("The model wrote nothing but line ends into a tool call.")
