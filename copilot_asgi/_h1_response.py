"""Reads one HTTP/1.1 response from bytes, cut in any way. No input or output happens here.

Rule: what is not certain is an error. The head is cut off by its bytes, so that the length of a body is counted here
and a byte behind the response is always seen; httptools reads the head's text and the chunks.
"""

from collections.abc import Callable
from enum import Enum, auto

import httptools
import httpx

__all__ = ["Response"]

MAX_HEAD = 64 * 1024  # bytes of one header block
MAX_HEADERS = 256
MAX_INFORMATIONAL = 64  # 1xx responses in front of the response, whose head has a deadline besides
MAX_FRAMING = 64 * 1024  # bytes of chunk extensions and trailers that come without any body
_BLANK_LINE = b"\r\n\r\n"


class _Phase(Enum):
    HEAD = auto()
    BODY = auto()
    COMPLETE = auto()
    WRONG = auto()


class _Framing(Enum):
    """What ends a body (RFC 9112 section 6.3)."""

    LENGTH = auto()
    CHUNKED = auto()
    CLOSE = auto()


# Looked at for each piece, and slow to find in an Enum.
_HEAD, _BODY, _COMPLETE, _WRONG = _Phase
_LENGTH, _CHUNKED, _CLOSE = _Framing


class _NobodyAskedError(Exception):
    """Another response begins where this one ended."""


class Response:
    """A response as far as it has come. ``bodiless``: it has no body whatever its head says (the answer to HEAD).

    ``begun`` says whether a byte has come, ``has_head`` whether ``status`` and ``headers`` are known. ``pieces`` holds
    what was not read of the body (``unread`` bytes), one piece for each ``feed``. ``error`` is what is wrong with it;
    ``persistent`` says whether its connection may be used again.
    """

    def __init__(self, *, bodiless: bool) -> None:
        self.begun = False
        self.has_head = False
        self.status = 0
        self.version = ""
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.unread = 0
        self.persistent = False
        self.error: httpx.TransportError | None = None
        self._bodiless = bodiless
        self._phase = _HEAD
        self._framing = _LENGTH
        self._remaining = 0  # bytes of body to come, when the head says how many
        self._informational = 0
        self._size = 0  # of the header block, then of what frames the body
        self._tail = b""  # the last bytes that came before
        self._head_seen = False  # by the parser
        self._end_seen = False  # of the last chunk, by the parser
        self._parts: list[bytes] = []
        self.on_body: Callable[[bytes], None] = self._parts.append  # called by the parser, without a detour
        self._parser = httptools.HttpResponseParser(self)

    @property
    def is_complete(self) -> bool:
        """Whether all of it has come."""
        return self._phase is _COMPLETE

    @property
    def is_over(self) -> bool:
        """Whether nothing more of it will come: it is complete, or wrong."""
        return self._phase is _COMPLETE or self._phase is _WRONG

    def feed(self, data: bytes) -> bool:
        """Read on; whether the response is over now."""
        self.begun = True
        if self._phase is _BODY:
            self._read_body(data)
        elif self._phase is _HEAD:
            self._read_head(data)
        else:
            self.persistent = False
        return self._phase is _COMPLETE or self._phase is _WRONG

    def end(self) -> None:
        """The peer has said that it will send no more, which completes a body without a length."""
        if self._phase is _BODY and self._framing is _CLOSE:
            self._complete(clean=False)
        self.lose(None)

    def lose(self, cause: Exception | None) -> None:
        """The connection is gone."""
        if not self.is_over and cause is None and self.begun:
            self._fail("The connection was closed within a response.")
        elif not self.is_over:
            error = httpx.ReadError("The connection was lost.")
            error.__cause__ = cause
            self._give_up(error)

    def take(self) -> bytes:
        """All that was not read of the body; what came with one read of the socket is one object and stays it."""
        pieces = self.pieces
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.unread = 0
        return piece

    # What the parser calls

    def on_message_begin(self) -> None:
        """A first byte; raising keeps one behind the response from being read as part of it."""
        if self._end_seen:
            raise _NobodyAskedError

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; trailers are dropped (RFC 9110 section 6.5.1)."""
        if self._phase is _HEAD:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The blank line. The parser forgets what it knows of the connection when the message has no body."""
        self._head_seen = True
        self.persistent = self._parser.should_keep_alive()

    def on_message_complete(self) -> None:
        """The end; of a chunked body when the head is behind us."""
        self._end_seen = self._phase is _BODY

    # The head

    def _read_head(self, data: bytes) -> None:
        while data and self._phase is _HEAD:
            before = len(self._tail)
            at = (self._tail + data).find(_BLANK_LINE)  # it may have begun in what came before
            block = data if at < 0 else data[: at + 4 - before]
            self._size += len(block)
            if self._size > MAX_HEAD or not self._parse(block) or self._head_seen is (at < 0):
                self._fail("The head of the response is too large, or not one.")
            elif at < 0:
                self._tail = (self._tail + data)[-3:]
                return
            else:
                data = data[len(block) :]
                self._end_head(data)

    def _end_head(self, rest: bytes) -> None:
        self.status = self._parser.get_status_code()
        self.version = self._parser.get_http_version()
        self._tail, self._size, self._head_seen = b"", 0, False
        if self.version not in {"1.0", "1.1"} or self.status < 100 or self.status == 101:
            self._fail("The response is in another protocol.")
        elif len(self.headers) > MAX_HEADERS:
            self._fail("The response has too many headers.")
        elif self.status >= 200:
            self._begin_body(rest)
        elif self._informational == MAX_INFORMATIONAL:
            self._fail("The response is put off too many times.")
        else:
            self._informational += 1
            self.headers = []

    def _begin_body(self, rest: bytes) -> None:
        lengths, codings = self._values(b"content-length"), self._values(b"transfer-encoding")
        if len(lengths) + len(codings) > 1 or not all(length.isdigit() for length in lengths):
            self._fail("The response has more than one length, or none that is a number.")
            return
        if codings and (codings[0].lower() != b"chunked" or self.version == "1.0"):
            self._fail("The response has an unknown transfer coding.")
            return
        if not self._bodiless and self.status not in {204, 304}:
            self._framing = _CHUNKED if codings else _LENGTH if lengths else _CLOSE
            self._remaining = int(lengths[0]) if lengths else 0
        self._phase = _BODY
        self.has_head = True
        if rest or (self._framing is _LENGTH and not self._remaining):
            self._read_body(rest)

    def _values(self, wanted: bytes) -> list[bytes]:
        return [value for name, value in self.headers if len(name) == len(wanted) and name.lower() == wanted]

    # The body

    def _read_body(self, data: bytes) -> None:
        if self._framing is _CHUNKED:
            self._read_chunks(data)
        elif self._framing is _CLOSE:
            self._pass_on(data)
        elif len(data) < self._remaining:
            self._remaining -= len(data)
            self._pass_on(data)
        else:
            self._pass_on(data[: self._remaining])
            self._complete(clean=len(data) == self._remaining)

    def _read_chunks(self, data: bytes) -> None:
        valid = self._parse(data)
        parts = self._parts
        self._tail = (self._tail + data[-5:])[-5:]
        self._size = 0 if parts else self._size + len(data)
        if parts:
            self._pass_on(parts[0] if len(parts) == 1 else b"".join(parts))
            parts.clear()
        if self._end_seen:
            # There is one blank line at the end; the parser passes over any more of them without a word.
            self._complete(clean=valid and self._tail[1:] == _BLANK_LINE and self._tail[0] not in b"\r\n")
        elif not valid or self._size > MAX_FRAMING:
            self._fail("The chunks of the response are not right.")

    def _parse(self, data: bytes) -> bool:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return False
        return True

    def _pass_on(self, piece: bytes) -> None:
        if piece:
            self.pieces.append(piece)
            self.unread += len(piece)

    def _complete(self, *, clean: bool) -> None:
        self._finish(_COMPLETE)
        self.persistent = self.persistent and clean

    def _fail(self, message: str) -> None:
        self._give_up(httpx.RemoteProtocolError(message))

    def _give_up(self, error: httpx.TransportError) -> None:
        self._finish(_WRONG)
        self.persistent = False
        self.error = error

    def _finish(self, phase: _Phase) -> None:
        self._phase = phase
        # The parser refers to this response; together they would stay until Python looks for cycles.
        del self._parser
