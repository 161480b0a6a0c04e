"""The raw text of a freeform tool, read out of the JSON that a function call wraps it in, as it comes.

Rule: what was given out is never taken back; what cannot be read yet (half an escape, half a pair of surrogates) waits.
"""

import re

from copilot_asgi.translate.schema import freeform_input

__all__ = ["FreeformText"]

_HEAD = re.compile(r'\s*\{\s*"input"\s*:\s*"')
# Whole characters: a plain one, a pair of surrogates, an escape; a surrogate alone only where its partner cannot come.
_BODY = re.compile(
    r'(?:[^"\\]|\\[^u]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}'
    r"|\\u(?![dD][89abAB])[0-9a-fA-F]{4}|\\u[dD][89abAB][0-9a-fA-F]{2}(?=[^\\]|\\[^u]|\\u(?![dD][c-fC-F])..))*"
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_CHARACTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class FreeformText:
    """Takes the pieces of ``{"input": "..."}``; gives the text inside."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._told: list[str] = []
        self._rest = ""
        self._is_inside = False

    def feed(self, fragment: str) -> str:
        """The text that ``fragment`` completes."""
        self._pieces.append(fragment)
        self._rest += fragment
        if not self._is_inside:
            head = _HEAD.match(self._rest)
            if head is None:
                return ""
            self._is_inside = True
            self._rest = self._rest[head.end() :]
        body = _BODY.match(self._rest)
        whole = body[0] if body else ""
        self._rest = self._rest[len(whole) :]
        self._told.append(_unescaped(whole))
        return self._told[-1]

    def finish(self) -> str:
        """What is missing when the call is complete, by reading all of it; nothing when that contradicts the pieces."""
        raw, told = "".join(self._pieces), "".join(self._told)
        whole = freeform_input(raw)
        if self._is_inside and whole == raw:
            return ""  # it broke off inside the text
        return whole[len(told) :] if whole.startswith(told) else ""


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    plain = _ESCAPE.sub(_character, text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _character(escape: re.Match[str]) -> str:
    code, letter = escape.groups()
    return chr(int(code, 16)) if code else _CHARACTERS.get(letter, letter)
