"""What an answer of upstream used, read once from its first and last bytes when it has passed.

Rule: nothing is decoded while an answer flows, and no answer, however odd, makes the reading fail. Only upstream's own
words count; what a model or a client wrote in an answer never does.
"""

import re
from collections.abc import Iterator
from itertools import chain

import msgspec
from msgspec.structs import replace

from copilot_asgi.wire.usage_words import MOST_NANO, MOST_TOKENS, Bill, Kinds, Said, read_said

__all__ = ["HEAD", "MOST_NANO", "MOST_TOKENS", "TAIL", "Tokens", "UsageTail"]

HEAD = 16 * 1024
"""Bytes kept of a stream's beginning: Messages says there what went in."""

TAIL = 64 * 1024
"""Bytes kept of a stream's end: every dialect says there what came out."""

SEGMENT = 4 * 1024
"""Bytes of a stream that are let go together, so that no more than a few of these are kept beyond the others."""

_NOTHING = Kinds()
_USAGE = re.compile(rb'usage"[ \t\r]*:[ \t\r]*\{')


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer used. The prompt is ``fresh + cache_read + cache_write``.

    ``nano_credits`` is what upstream says it charged, in billionths of an AI credit. Without ``final`` the answer broke
    off before upstream counted what came out.
    """

    fresh: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    nano_credits: int | None = None
    final: bool = True


class _Segment(msgspec.Struct, frozen=True):
    """Successive pieces of a stream, whose size is ``end`` after them."""

    end: int
    pieces: list[bytes]


class UsageTail:
    """Is shown an answer piece by piece, and keeps what its usage can be read from.

    Of a stream that is its beginning and its end, of a ``whole`` answer everything (its size is bounded elsewhere).
    ``size`` counts the bytes that passed.
    """

    __slots__ = ("_dropped", "_head", "_limit", "_pieces", "_segments", "_whole", "size")

    def __init__(self, *, whole: bool) -> None:
        self.size = 0
        self._whole = whole
        self._head: list[bytes] = []
        # Pieces are let go in segments, so that most of them cost nothing but their place in a list.
        self._segments: list[_Segment] = []  # a few: an empty deque would be the largest thing here
        self._pieces: list[bytes] = []
        self._limit = HEAD
        self._dropped = False

    def feed(self, piece: bytes) -> None:
        """Note one piece; it is neither copied nor looked at."""
        self._pieces.append(piece)
        self.size += len(piece)
        if self.size >= self._limit and not self._whole:
            self._begin_segment()

    def read(self) -> Tokens | None:
        """What has been said so far; ``None`` when that is nothing."""
        text = b"".join(self._kept() if self._head else self._pieces)
        words = _Words()
        # A whole answer may be printed on many lines; it is one text.
        for data in [text] if self._whole else _events(text):
            for said in read_said(data):
                words.add(said)
        return words.tokens()

    def _begin_segment(self) -> None:
        """Put away the pieces since the last time, and let the oldest go that are not needed any more."""
        if self._head:
            self._segments.append(_Segment(self.size, self._pieces))
        else:
            self._head = self._pieces
        self._pieces = []
        self._limit = self.size + SEGMENT
        while self._segments and self.size - self._segments[0].end >= TAIL:
            del self._segments[0]
            self._dropped = True

    def _kept(self) -> list[bytes]:
        """All that can be read; where the middle is missing no event goes on."""
        gap = [b"\n"] if self._dropped else []
        return [*self._head, *gap, *chain.from_iterable(each.pieces for each in self._segments), *self._pieces]


def _events(text: bytes) -> Iterator[bytes]:
    """The data of those events of a stream in which the word stands."""
    end = 0
    while (found := _USAGE.search(text, end)) is not None:
        start = text.rfind(b"\n", 0, found.start()) + 1
        end = text.find(b"\n", found.end())
        end = len(text) if end < 0 else end
        yield text[start:end].removeprefix(b"data:")


class _Words:
    """What the events of one answer say together."""

    def __init__(self) -> None:
        self._kinds = _NOTHING
        self._bill: Bill | None = None
        self._is_bill_early = False
        self._final = False

    def add(self, said: Said) -> None:
        """Take what one place of an event says: later counts replace earlier ones, as Anthropic's add up."""
        kinds = _NOTHING if said.usage is None else said.usage.by_kind()
        if kinds != _NOTHING:
            self._kinds = kinds if self._kinds is _NOTHING else self._kinds.followed_by(kinds)
            self._final = self._final or not said.early
        if said.bill is not None and not said.bill.is_empty:
            self._bill, self._is_bill_early = said.bill, said.early

    def tokens(self) -> Tokens | None:
        """All of it in one; ``copilot_usage`` is the more exact and wins, but not over a later final count."""
        bill = self._bill
        if bill is None:
            return None if self._kinds is _NOTHING else _split(self._kinds, final=self._final)
        told = _split(self._kinds, final=self._final or not self._is_bill_early)
        exact = replace(told, **bill.by_kind())
        if self._is_bill_early:
            return replace(exact, output=told.output) if self._final else exact
        return replace(exact, nano_credits=bill.total_nano_aiu)


def _split(kinds: Kinds, *, final: bool) -> Tokens:
    fresh, read, write = kinds.fresh or 0, kinds.cache_read or 0, kinds.cache_write or 0
    if kinds.prompt is not None:
        read = min(read, kinds.prompt)
        write = min(write, kinds.prompt - read)
        fresh = kinds.prompt - read - write
    return Tokens(fresh=fresh, cache_read=read, cache_write=write, output=kinds.output or 0, final=final)
