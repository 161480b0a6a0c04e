"""What an answer of upstream used, read once from its first and last bytes when it has passed.

Rule: nothing is decoded while an answer flows, and no answer, however odd, makes the reading fail: a count that cannot
be believed is as good as none. Only upstream's own words count; what a model or a client wrote in an answer never does.

Sources: OpenAI and Anthropic API references, "usage"; GitHub's ``copilot_usage`` extension.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import msgspec
from msgspec.structs import replace

from copilot_asgi.wire.shallow import NOT_JSON, NULL, Fields, read_array, read_object, starts_with

__all__ = ["HEAD", "MOST_NANO", "MOST_TOKENS", "TAIL", "Tokens", "UsageTail"]

HEAD = 16 * 1024
"""Bytes kept of a stream's beginning: Messages says there what went in."""

TAIL = 64 * 1024
"""Bytes kept of a stream's end: every dialect says there what came out."""

MOST_TOKENS = 10**9
"""No answer used more: thousands of times the largest context there is."""

MOST_NANO = 10**15
"""No answer cost more billionths of a credit: that is a million credits."""

_EVERYTHING = 1 << 62
_USAGE = re.compile(rb'usage"\s*:\s*\{')
_TO_OBJECT = re.compile(rb"\s*:\s*(?=\{)")
_OBJECT_LIMIT = 8 * 1024  # bytes of one usage object
_CANDIDATES = 64  # objects looked at where an event is cut off, from its end

_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "prompt_tokens": "prompt",
        "input_tokens": "input",
        "completion_tokens": "output",
        "output_tokens": "output",
        "cache_read_input_tokens": "cache_read",
        "cache_creation_input_tokens": "cache_write",
    }
)
_BILLED_KINDS: Mapping[str, str] = MappingProxyType(
    {"input": "fresh", "cache_read": "cache_read", "cache_write": "cache_write", "output": "output"}
)

_count_decoder = msgspec.json.Decoder(int)
_text_decoder = msgspec.json.Decoder(str)


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


class UsageTail:
    """Is shown an answer piece by piece, and keeps what its usage can be read from.

    Of a stream that is its beginning and its end, of a ``whole`` answer everything (its size is bounded elsewhere).
    ``size`` counts the bytes that passed.
    """

    __slots__ = ("_dropped", "_head", "_head_limit", "_kept", "_tail", "size")

    def __init__(self, *, whole: bool) -> None:
        self.size = 0
        self._head: list[bytes] = []
        self._head_limit = _EVERYTHING if whole else HEAD
        self._tail: deque[bytes] = deque()
        self._kept = 0
        self._dropped = False

    def feed(self, piece: bytes) -> None:
        """Note one piece; it is neither copied nor looked at."""
        size = self.size
        self.size = size + len(piece)
        if size < self._head_limit:
            self._head.append(piece)
            return
        self._tail.append(piece)
        self._kept += len(piece)
        while self._kept - len(self._tail[0]) >= TAIL:
            self._kept -= len(self._tail.popleft())
            self._dropped = True

    def read(self) -> Tokens | None:
        """What has been said so far; ``None`` when that is nothing."""
        text = b"".join((*self._head, b"\n" if self._dropped else b"", *self._tail))
        words = _Words()
        # A whole answer may be printed on many lines; it is one text.
        lines = [text] if self._head_limit == _EVERYTHING else text.split(b"\n")
        for line in lines:
            if _USAGE.search(line):
                words.add(line.removeprefix(b"data:"))
        return words.tokens()


class _Event(msgspec.Struct):
    """An event or answer: usage stands in it, or one level down."""

    usage: msgspec.Raw = NULL
    copilot_usage: msgspec.Raw = NULL
    message: msgspec.Raw = NULL
    response: msgspec.Raw = NULL
    delta: msgspec.Raw = NULL


_event_decoder = msgspec.json.Decoder(_Event)


class _Said(msgspec.Struct):
    """What one object says: counts by kind and, of ``copilot_usage``, a total; early when output was still to come."""

    counts: dict[str, int]
    nano: int | None = None
    early: bool = False


class _Words:
    """What the events of one answer say together."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._billed: _Said | None = None
        self._final = False

    def add(self, data: bytes) -> None:
        """Take what one event says: later counts replace earlier ones, as Anthropic's add up."""
        for usage, billed, early in _placed(data):
            self._counts.update(_counts(usage))
            self._final = self._final or (not early and bool(_counts(usage)))
            said = _billed(billed)
            if said is not None:
                said.early = early
                self._billed = said

    def tokens(self) -> Tokens | None:
        """All of it in one; ``copilot_usage`` is the more exact and wins, but not over a later final count."""
        tokens, billed = _split(self._counts), self._billed
        if billed is None:
            return replace(tokens, final=self._final) if self._counts else None
        exact = replace(tokens, **billed.counts, final=self._final or not billed.early)
        if billed.early:
            return replace(exact, output=tokens.output) if self._final else exact
        return replace(exact, nano_credits=billed.nano)


def _placed(data: bytes) -> Iterator[tuple[msgspec.Raw, msgspec.Raw, bool]]:
    """``usage`` and ``copilot_usage`` at the places where upstream puts them, and whether output was still to come."""
    try:
        event = _event_decoder.decode(data)
    except NOT_JSON:
        # Cut off at its beginning or end. Inside strings each quote has a backslash, so no text looks like a key.
        usage = _last_object(data, b'"usage"', lambda found: bool(_counts(found)))
        billed = _last_object(data, b'"copilot_usage"', lambda found: _billed(found) is not None)
        yield usage, billed, b'"message_start"' in data
        return
    for nested in (event.message, event.response, event.delta):
        if starts_with(nested, b"{"):
            # The event around it was decoded, so this is JSON, and an object takes any value.
            inner = _event_decoder.decode(nested)
            yield inner.usage, inner.copilot_usage, nested is event.message
    is_start = starts_with(event.message, b"{")
    yield event.usage, event.copilot_usage, is_start


def _last_object(text: bytes, key: bytes, fits: Callable[[msgspec.Raw], bool]) -> msgspec.Raw:
    end = len(text)
    for _ in range(_CANDIDATES):
        start = text.rfind(key, 0, end)
        if start < 0:
            break
        found = _object_at(text, start + len(key))
        if fits(found):
            return found
        end = start
    return NULL


def _object_at(text: bytes, position: int) -> msgspec.Raw:
    """The object behind a key, whatever follows it."""
    import json

    colon = _TO_OBJECT.match(text, position)
    if colon is None:
        return NULL
    start = colon.end()
    try:
        # One character a byte, so that positions stay what they are.
        _, length = json.JSONDecoder().raw_decode(text[start : start + _OBJECT_LIMIT].decode("latin-1"))
    except (ValueError, RecursionError):
        return NULL
    return msgspec.Raw(text[start : start + length])


def _counts(usage: msgspec.Raw) -> dict[str, int]:
    """What ``usage`` of any dialect counts: ``prompt`` includes what was cached, ``input`` does not."""
    fields = _object(usage)
    told = {kind: fields[name] for name, kind in _KINDS.items() if name in fields}
    details = _object(fields.get("input_tokens_details", NULL))
    if details and "input" in told:  # Responses uses Anthropic's word in OpenAI's sense
        told["prompt"] = told.pop("input")
    details = details or _object(fields.get("prompt_tokens_details", NULL))
    if "cached_tokens" in details:
        told["cache_read"] = details["cached_tokens"]
    believed = ((kind, _count(raw, MOST_TOKENS)) for kind, raw in told.items())
    return {kind: count for kind, count in believed if count is not None}


def _billed(usage: msgspec.Raw) -> _Said | None:
    """What ``copilot_usage`` says; a kind of token that its details leave out was not used."""
    fields = _object(usage)
    nano = _count(fields.get("total_nano_aiu", NULL), MOST_NANO)
    counts: dict[str, int] = {}
    for detail in map(_object, _array(fields.get("token_details", NULL))):
        kind = _BILLED_KINDS.get(_text(detail.get("token_type", NULL)))
        count = _count(detail.get("token_count", NULL), MOST_TOKENS)
        if kind is not None and count is not None:
            counts[kind] = counts.get(kind, 0) + count
    if counts:
        counts = dict.fromkeys(_BILLED_KINDS.values(), 0) | counts
    return _Said(counts, nano) if counts or nano is not None else None


def _split(counts: Mapping[str, int]) -> Tokens:
    read, write = counts.get("cache_read", 0), counts.get("cache_write", 0)
    fresh = counts.get("input", 0)
    if "prompt" in counts:
        read = min(read, counts["prompt"])
        write = min(write, counts["prompt"] - read)
        fresh = counts["prompt"] - read - write
    return Tokens(fresh=fresh, cache_read=read, cache_write=write, output=counts.get("output", 0))


def _object(value: msgspec.Raw) -> Fields:
    try:
        return read_object(value)
    except NOT_JSON:
        return {}


def _array(value: msgspec.Raw) -> list[msgspec.Raw]:
    try:
        return read_array(value)
    except NOT_JSON:
        return []


def _text(value: msgspec.Raw) -> str:
    try:
        return _text_decoder.decode(value)
    except NOT_JSON:
        return ""


def _count(value: msgspec.Raw, most: int) -> int | None:
    try:
        count = _count_decoder.decode(value)
    except NOT_JSON:
        return None
    return max(0, count) if count <= most else None
