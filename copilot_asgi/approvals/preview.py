"""What a person is shown of a request: how its last turn begins, as text that no terminal takes for a command. Pure.

Rule: text from a request holds nothing but printable characters and, where it may have lines, newlines; and no more
than 64 KiB of a turn is looked at, however long it is.
"""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.exchange import Request
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.shallow import NOT_JSON, read_array, starts_with

__all__ = ["PREVIEW_LIMIT", "one_line", "preview", "printable"]

PREVIEW_LIMIT = 2_048
"""Bytes of a preview, as UTF-8."""

LOOKED_AT = 64 * 1024
_CUT = "\u2026"

_TURNS: Mapping[Dialect, tuple[str, ...]] = MappingProxyType(
    {
        Dialect.CHAT: ("messages",),
        Dialect.MESSAGES: ("messages",),
        Dialect.RESPONSES: ("input",),
        Dialect.EMBEDDINGS: ("input",),
        Dialect.GEMINI: ("contents",),
        Dialect.OLLAMA: ("messages", "prompt", "input"),
    }
)

# Inside a JSON string a quote has a backslash before it, so what looks like a key here is one. The string may lack its
# end: the turn is cut.
_STRING = rb'"([^"\\]*(?:\\.[^"\\]*)*)'
_WHOLE_STRING = re.compile(_STRING, re.DOTALL)
_TEXTS = re.compile(rb'"(?:text|content|output|result)"\s*:\s*' + _STRING, re.DOTALL)

_string_decoder = msgspec.json.Decoder(str)


def preview(request: Request) -> str:
    """How the text of the last turn begins, at most ``PREVIEW_LIMIT`` bytes; without any text, how its JSON begins.

    Raises nothing: whatever cannot be read is shown as it stands.
    """
    turn = _last_turn(request)
    text = "\n".join(_texts(turn)) or turn.decode("utf-8", "replace")
    return printable(text, PREVIEW_LIMIT)


def printable(text: str, limit: int) -> str:
    """The lines of ``text`` that are not blank, of printable characters only, cut to ``limit`` bytes of UTF-8."""
    lines = (_cleaned(line) for line in text[: 4 * limit].splitlines())
    return _cut("\n".join(line for line in lines if line.strip()), limit, whole=len(text) <= 4 * limit)


def one_line(text: str, limit: int) -> str:
    """``text`` as one line of printable characters, cut to ``limit`` bytes of UTF-8."""
    blanked = _cleaned(" ".join(text[: 4 * limit].splitlines()))
    return _cut(" ".join(blanked.split()), limit, whole=len(text) <= 4 * limit)


def _last_turn(request: Request) -> bytes:
    """The JSON of the last turn, cut; of the whole body where there are no turns."""
    for name in _TURNS[request.dialect]:
        value = request.fields.get(name)
        if value is not None:
            return _head(_last(value))
    return request.body[:LOOKED_AT]


def _last(value: msgspec.Raw) -> msgspec.Raw:
    if not starts_with(value, b"["):
        return value
    try:
        return (read_array(value) or [value])[-1]
    except NOT_JSON:
        return value


def _head(value: msgspec.Raw) -> bytes:
    return bytes(memoryview(value)[:LOOKED_AT])


def _texts(turn: bytes) -> Iterator[str]:
    whole = _WHOLE_STRING.match(turn)
    for match in [whole] if whole else _TEXTS.finditer(turn):
        yield _unescaped(match[1])


def _unescaped(text: bytes) -> str:
    escaped = text.decode("utf-8", "replace")
    rest = escaped
    # Where the turn was cut there may be a half escape, behind the half of a pair; each is left out.
    for _ in range(3):
        try:
            return _string_decoder.decode(f'"{rest}"')
        except NOT_JSON:
            rest = rest[: rest.rfind("\\")]
    return escaped


def _cleaned(line: str) -> str:
    # Not printable: controls (ESC and C1 among them), marks of direction, other format characters, odd blanks.
    return "".join(
        character if character.isprintable() else " " if character.isspace() else "" for character in line
    ).rstrip()


def _cut(text: str, limit: int, *, whole: bool) -> str:
    data = text.encode()
    if whole and len(data) <= limit:
        return text
    return data[: limit - len(_CUT.encode())].decode(errors="ignore") + _CUT
