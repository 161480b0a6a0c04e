"""Events of a Responses stream on the wire, each with its number.

Rule: the events that only say more of a text, as nearly all do, are what encoding each of them would give.
"""

import msgspec

from copilot_asgi.translate.text_frame import TextFrame
from copilot_asgi.wire.sse import encode

__all__ = ["More", "Told", "framed"]

Told = tuple[str, dict[str, object]]
"""The type of an event and its fields, without its number."""

_FIRST_NUMBER = b'"sequence_number":0'


def framed(told: Told, number: int) -> bytes:
    """The event on the wire."""
    kind, fields = told
    return encode(msgspec.json.encode({"type": kind, "sequence_number": number, **fields}), event=kind)


class More:
    """The events that say more of a text; ``told`` is one of them, with an empty one."""

    __slots__ = ("_head", "_tail")

    def __init__(self, told: Told) -> None:
        head, number, tail = framed(told, 0).partition(_FIRST_NUMBER)
        self._head, self._tail = head + number[:-1], TextFrame(tail)

    def numbered(self, number: int, text: str) -> bytes:
        """The event with that number and text."""
        return b"%b%d%b" % (self._head, number, self._tail.around(text))
