"""What one event or answer says of its usage, in upstream's own words.

Rule: a count that cannot be believed is as good as none, and hides no other. The usual forms are decoded in one go into
typed objects; what does not fit them is looked at value by value, and an event that is cut off is searched.

Sources: OpenAI and Anthropic API references, "usage"; GitHub's ``copilot_usage`` extension.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated

import msgspec
from msgspec import Meta
from msgspec.structs import asdict, replace

from copilot_asgi.wire.shallow import NOT_JSON, NULL, Fields, read_array, read_object, starts_with

__all__ = ["MOST_NANO", "MOST_TOKENS", "Bill", "Counts", "Kinds", "Said", "read_said"]

MOST_TOKENS = 10**9
"""No answer used more: thousands of times the largest context there is."""

MOST_NANO = 10**15
"""No answer cost more billionths of a credit: that is a million credits."""

_Count = Annotated[int, Meta(ge=0, le=MOST_TOKENS)]
_TO_OBJECT = re.compile(rb"\s*:\s*(?=\{)")
_OBJECT_LIMIT = 8 * 1024  # bytes of one usage object
_CANDIDATES = 64  # objects looked at where an event is cut off, from its end
_BILLED_KINDS: Mapping[str, str] = MappingProxyType(
    {"input": "fresh", "cache_read": "cache_read", "cache_write": "cache_write", "output": "output"}
)


class Kinds(msgspec.Struct, frozen=True):
    """Tokens by kind: ``prompt`` includes what was cached, ``fresh`` does not; ``None`` is what is not said."""

    prompt: int | None = None
    fresh: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    output: int | None = None

    def followed_by(self, later: "Kinds") -> "Kinds":
        """Both together, where later counts replace earlier ones."""
        said = {name: count for name, count in asdict(later).items() if count is not None}
        return replace(self, **said)


class Cached(msgspec.Struct, frozen=True):
    """How much of a prompt was read from upstream's cache."""

    cached_tokens: _Count | None = None


class Counts(msgspec.Struct, frozen=True):
    """``usage`` of any dialect, under its own names; ``None`` is what it does not say."""

    prompt_tokens: _Count | None = None
    input_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    output_tokens: _Count | None = None
    cache_read_input_tokens: _Count | None = None
    cache_creation_input_tokens: _Count | None = None
    prompt_tokens_details: Cached | None = None
    input_tokens_details: Cached | None = None

    def by_kind(self) -> Kinds:
        """What is counted, whichever dialect's names it goes by."""
        prompt, fresh = self.prompt_tokens, self.input_tokens
        if self.input_tokens_details is not None and fresh is not None:
            prompt, fresh = fresh, None  # Responses uses Anthropic's word in OpenAI's sense
        details = self.input_tokens_details or self.prompt_tokens_details
        cached = None if details is None else details.cached_tokens
        return Kinds(
            prompt,
            fresh,
            self.cache_read_input_tokens if cached is None else cached,
            self.cache_creation_input_tokens,
            self.completion_tokens if self.output_tokens is None else self.output_tokens,
        )


class Detail(msgspec.Struct, frozen=True):
    """How many tokens of one type were charged."""

    token_type: str
    token_count: _Count


class Bill(msgspec.Struct, frozen=True):
    """``copilot_usage``: what upstream says it charged, in billionths of an AI credit, and for what."""

    total_nano_aiu: Annotated[int, Meta(ge=0, le=MOST_NANO)] | None = None
    token_details: list[Detail] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing that is understood."""
        return self.total_nano_aiu is None and not self.by_kind()

    def by_kind(self) -> dict[str, int]:
        """What is charged for; where anything is, a kind of token that is left out was not used."""
        counts: dict[str, int] = {}
        for detail in self.token_details or ():
            kind = _BILLED_KINDS.get(detail.token_type)
            if kind is not None:
                counts[kind] = counts.get(kind, 0) + detail.token_count
        return dict.fromkeys(_BILLED_KINDS.values(), 0) | counts if counts else counts


class Said(msgspec.Struct, frozen=True):
    """What stands in one place of an event; ``early`` when output was still to come."""

    usage: Counts | None
    bill: Bill | None
    early: bool


class _Place(msgspec.Struct, frozen=True):
    usage: Counts | None = None
    copilot_usage: Bill | None = None


class _Event(_Place, frozen=True):
    """An event or answer: usage stands in it, or one level down."""

    message: _Place | None = None
    response: _Place | None = None
    delta: _Place | None = None


class _RawEvent(msgspec.Struct, frozen=True):
    usage: msgspec.Raw = NULL
    copilot_usage: msgspec.Raw = NULL
    message: msgspec.Raw = NULL
    response: msgspec.Raw = NULL
    delta: msgspec.Raw = NULL


_event_decoder = msgspec.json.Decoder(_Event)
_raw_event_decoder = msgspec.json.Decoder(_RawEvent)
_count_decoder = msgspec.json.Decoder(int)
_text_decoder = msgspec.json.Decoder(str)


def read_said(data: bytes) -> list[Said]:
    """What an event or answer says, in the order in which it counts; its JSON may be cut off at either end."""
    try:
        event = _event_decoder.decode(data)
    except NOT_JSON:
        return _carefully(data)
    nested = (event.message, event.response, event.delta)
    said = [Said(place.usage, place.copilot_usage, place is event.message) for place in nested if place is not None]
    said.append(Said(event.usage, event.copilot_usage, event.message is not None))
    return said


def _carefully(data: bytes) -> list[Said]:
    try:
        event = _raw_event_decoder.decode(data)
    except NOT_JSON:
        return [_searched(data)]
    said = []
    for nested in (event.message, event.response, event.delta):
        if starts_with(nested, b"{"):
            # The event around it was decoded, so this is JSON, and an object takes any value.
            inner = _raw_event_decoder.decode(nested)
            said.append(Said(_counts(inner.usage), _bill(inner.copilot_usage), nested is event.message))
    is_start = starts_with(event.message, b"{")
    said.append(Said(_counts(event.usage), _bill(event.copilot_usage), is_start))
    return said


def _searched(data: bytes) -> Said:
    """What is found in JSON that is cut off. Inside strings each quote has a backslash, so no text looks like a key."""
    usage = _last_object(data, b'"usage"', lambda found: _counts(found).by_kind() != Kinds())
    bill = _last_object(data, b'"copilot_usage"', lambda found: not _bill(found).is_empty)
    return Said(_counts(usage), _bill(bill), b'"message_start"' in data)


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


def _counts(usage: msgspec.Raw) -> Counts:
    fields = _object(usage)
    return Counts(
        prompt_tokens=_count(fields.get("prompt_tokens", NULL)),
        input_tokens=_count(fields.get("input_tokens", NULL)),
        completion_tokens=_count(fields.get("completion_tokens", NULL)),
        output_tokens=_count(fields.get("output_tokens", NULL)),
        cache_read_input_tokens=_count(fields.get("cache_read_input_tokens", NULL)),
        cache_creation_input_tokens=_count(fields.get("cache_creation_input_tokens", NULL)),
        prompt_tokens_details=_cached(fields.get("prompt_tokens_details", NULL)),
        input_tokens_details=_cached(fields.get("input_tokens_details", NULL)),
    )


def _cached(details: msgspec.Raw) -> Cached | None:
    if not starts_with(details, b"{"):
        return None
    return Cached(_count(_object(details).get("cached_tokens", NULL)))


def _bill(usage: msgspec.Raw) -> Bill:
    fields = _object(usage)
    details = []
    for detail in map(_object, _array(fields.get("token_details", NULL))):
        count = _count(detail.get("token_count", NULL))
        if count is not None:
            details.append(Detail(_text(detail.get("token_type", NULL)), count))
    return Bill(_count(fields.get("total_nano_aiu", NULL), MOST_NANO), details)


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


def _count(value: msgspec.Raw, most: int = MOST_TOKENS) -> int | None:
    try:
        count = _count_decoder.decode(value)
    except NOT_JSON:
        return None
    return max(0, count) if count <= most else None
