"""Undo ``content-encoding`` piece by piece, within bounds, for answers that come encoded though we asked for none.

Rule: at no time is more decoded than the limit, nor more than a fixed multiple of what came in, so that a small hostile
answer cannot fill the memory. One coding only: a body that is encoded twice is refused.
"""

import zlib
from typing import Protocol

from copilot_asgi.errors import MalformedResponse, ResponseTooLarge

__all__ = ["MAX_RATIO", "Decoder", "Inflater", "decoder"]

MAX_RATIO = 200  # what text compresses to at the very most; DEFLATE itself allows 1032
RATIO_FREE = 1024 * 1024  # bytes that may come out whatever the ratio

_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS


class Decoder(Protocol):
    """Turns the pieces of an encoded body into the pieces of the body."""

    def feed(self, data: bytes) -> bytes:
        """The decoded form of ``data``, perhaps empty. Raises ``MalformedResponse`` or ``ResponseTooLarge``."""

    def finish(self) -> None:
        """The body is over. Raises ``MalformedResponse`` when its encoded form is not."""


class Identity:
    """A body that is not encoded."""

    def feed(self, data: bytes) -> bytes:
        """``data`` itself."""
        return data

    def finish(self) -> None:
        """Nothing can be missing."""


class Inflater:
    """gzip (RFC 1952, with several members) or deflate (RFC 1950, or bare RFC 1951 as some servers send it)."""

    def __init__(self, coding: bytes, *, limit: int) -> None:
        self._gzip = coding != b"deflate"
        self._limit = limit
        self._received = 0
        self._produced = 0
        self._head = b""
        self._machine: zlib._Decompress | None = None

    def feed(self, data: bytes) -> bytes:
        """The decoded form of ``data``, perhaps empty. Raises ``MalformedResponse`` or ``ResponseTooLarge``."""
        self._received += len(data)
        pieces = []
        while data:
            machine, data = self._ready(data)
            if machine is None:
                break
            pieces.append(self._inflate(machine, data))
            data = machine.unused_data
        return b"".join(pieces)

    def finish(self) -> None:
        """The body is over. Raises ``MalformedResponse`` when its encoded form is not."""
        if self._received and (self._machine is None or not self._machine.eof):
            raise MalformedResponse("Upstream's compressed answer ends too early.")

    def _ready(self, data: bytes) -> "tuple[zlib._Decompress | None, bytes]":
        """The machine that takes ``data``, and ``data`` with what was held back for want of a whole header."""
        if self._machine is not None and not self._machine.eof:
            return self._machine, data
        if self._machine is not None and not self._gzip:
            raise MalformedResponse("Upstream's compressed answer goes on after its end.")
        data, self._head = self._head + data, b""
        if not self._gzip and len(data) < 2:
            self._head = data
            return None, b""
        self._machine = zlib.decompressobj(self._window(data))
        return self._machine, data

    def _window(self, data: bytes) -> int:
        if self._gzip:
            return _GZIP
        # RFC 1950 section 2.2: method 8, and the two bytes are a multiple of 31.
        return _ZLIB if data[0] & 0x0F == 8 and (data[0] * 256 + data[1]) % 31 == 0 else _RAW

    def _inflate(self, machine: "zlib._Decompress", data: bytes) -> bytes:
        allowed = min(self._limit, max(RATIO_FREE, self._received * MAX_RATIO)) - self._produced
        try:
            output = machine.decompress(data, allowed + 1)
        except zlib.error:
            raise MalformedResponse("Upstream's compressed answer is damaged.") from None
        if len(output) > allowed:
            raise ResponseTooLarge("Upstream's compressed answer unpacks to more than is allowed.")
        self._produced += len(output)
        return output


def decoder(content_encoding: bytes, *, limit: int) -> Decoder:
    """What decodes a body with that ``content-encoding``; at most ``limit`` bytes come out of a compressed one.

    Raises ``MalformedResponse`` for a coding we do not know, and for more than one.
    """
    coding = content_encoding.strip().lower()
    if coding in {b"", b"identity"}:
        return Identity()
    if coding in {b"gzip", b"x-gzip", b"deflate"}:
        return Inflater(coding, limit=limit)
    raise MalformedResponse("Upstream's answer is encoded in a way that was not asked for.")
