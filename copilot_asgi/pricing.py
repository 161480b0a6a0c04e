"""What an answer costs: tokens and the catalog's prices become credits, in whole billionths. Pure.

Rule: money is integers, rounded once, half up. What upstream says it charged beats what we compute; what we compute
says so. Source: one AI credit is 10^9 nano-AIU and one US cent (GitHub's ``copilot_usage`` extension).
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from copilot_asgi.translate.camel import camel
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.shallow import NOT_JSON, NULL, Fields, read_object
from copilot_asgi.wire.usage import MOST_NANO, MOST_TOKENS, Tokens

if TYPE_CHECKING:
    from fractions import Fraction

    from copilot_asgi.wire.models import Model

__all__ = [
    "NANO",
    "OutputAsked",
    "PricedBy",
    "Prices",
    "Tier",
    "Usage",
    "estimate",
    "estimate_broken",
    "estimate_prompt",
    "output_asked",
    "price",
    "prices_of",
]

NANO = 1_000_000_000
"""Billionths in one credit, and in one premium request."""

USUAL_OUTPUT = 4096
"""Tokens that an answer is taken to have when the request names no limit."""

STREAM_BYTES_PER_TOKEN = 40
"""How much of an event stream one token takes, at the least that occurs: most of it is wrapping."""

MOST_ANSWERS = 128
"""Answers to one request; no vendor gives more."""

# By the names that any dialect has for them, in camelCase: protobuf takes those and others.
_LIMITS = frozenset({"maxTokens", "maxCompletionTokens", "maxOutputTokens", "numPredict"})
_COUNTS = frozenset({"n", "candidateCount"})
_SECTIONS = frozenset({"generationConfig", "options"})
# Where a dialect looks for the limit (nowhere is the top level) and under which names: no other bounds an answer.
_HEEDED: Mapping[Dialect, tuple[str, frozenset[str]]] = MappingProxyType(
    {
        Dialect.CHAT: ("", frozenset({"max_tokens", "max_completion_tokens"})),
        Dialect.MESSAGES: ("", frozenset({"max_tokens"})),
        Dialect.RESPONSES: ("", frozenset({"max_output_tokens"})),
        Dialect.EMBEDDINGS: ("", frozenset()),
        Dialect.GEMINI: ("generationConfig", frozenset({"maxOutputTokens", "max_output_tokens"})),
        Dialect.OLLAMA: ("options", frozenset({"num_predict"})),
    }
)
_HIGHEST_PRICE = 10**18
_FINEST_PRICE = -30  # decimal places; a number such as 1e-999999999 would take the machine's memory
_LARGEST_BATCH = 10**12

_price_decoder = msgspec.json.Decoder(Decimal)
_whole_decoder = msgspec.json.Decoder(int)
_number_decoder = msgspec.json.Decoder(float)


class PricedBy(Enum):
    """Where a price comes from: upstream named it, the catalog's prices gave it, or it is only an estimate."""

    UPSTREAM = "upstream"
    CATALOG = "catalog"
    ESTIMATE = "estimate"


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one answer and what they cost. The prompt is ``fresh + cache_read + cache_write``.

    ``nano_credits`` is billionths of an AI credit, ``nano_premium`` billionths of a premium request.
    """

    fresh: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    nano_credits: int = 0
    nano_premium: int = 0
    priced_by: PricedBy = PricedBy.CATALOG

    @property
    def prompt(self) -> int:
        """Tokens of the whole prompt, cached or not."""
        return self.fresh + self.cache_read + self.cache_write

    @property
    def total(self) -> int:
        """Tokens of prompt and answer together."""
        return self.prompt + self.output


class OutputAsked(msgspec.Struct, frozen=True, kw_only=True):
    """How much a request lets come out: so many ``answers`` of at most ``limit`` tokens each."""

    limit: int = USUAL_OUTPUT
    answers: int = 1


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """Prices of a batch of tokens, in billionths of a credit, exact."""

    fresh: Decimal
    cache_read: Decimal
    cache_write: Decimal
    output: Decimal


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """What ``batch`` tokens cost. Prompts of more than ``threshold`` tokens cost ``long`` prices, if there are any."""

    batch: int
    default: Tier
    long: Tier | None = None
    threshold: int | None = None

    def tier(self, prompt: int) -> Tier:
        """The prices for a prompt of so many tokens."""
        if self.long is not None and self.threshold is not None and prompt > self.threshold:
            return self.long
        return self.default

    def nano(self, tokens: Tokens) -> int:
        """What ``tokens`` cost in billionths of a credit."""
        from fractions import Fraction

        tier = self.tier(tokens.fresh + tokens.cache_read + tokens.cache_write)
        kinds = (
            (tokens.fresh, tier.fresh),
            (tokens.cache_read, tier.cache_read),
            (tokens.cache_write, tier.cache_write),
            (tokens.output, tier.output),
        )
        return _rounded(sum((count * Fraction(cost) for count, cost in kinds), Fraction()) / self.batch)


def prices_of(model: "Model") -> Prices | None:
    """The model's prices; ``None`` when the catalog names none that can be used.

    Two forms occur: prices in credits with tiers, and an older one in billionths of a credit without. A price that is
    missing is that of fresh tokens: no discount is known.
    """
    fields = _object(model.billing.token_prices if model.billing else NULL)
    batch = _whole(fields.get("batch_size", NULL)) or 0
    if not 0 < batch <= _LARGEST_BATCH:
        return None
    if "default" not in fields:
        flat = _tier(fields, scale=0)
        return None if flat is None else Prices(batch=batch, default=flat)
    listed = _object(fields["default"])
    default = _tier(listed, scale=9)
    if default is None:
        return None
    return Prices(
        batch=batch,
        default=default,
        long=_tier(_object(fields.get("long_context", NULL)), scale=9),
        threshold=_whole(listed.get("max_prompt_tokens", NULL)) or _whole(listed.get("context_max", NULL)),
    )


def price(tokens: Tokens, model: "Model", *, by_user: bool) -> Usage:
    """What an answer cost that used ``tokens``; only a turn of the user's own costs premium requests."""
    if tokens.nano_credits is not None:
        return _usage(tokens, tokens.nano_credits, model, PricedBy.UPSTREAM, by_user=by_user)
    prices = prices_of(model)
    nano = 0 if prices is None else prices.nano(tokens)
    return _usage(tokens, nano, model, PricedBy.CATALOG, by_user=by_user)


def estimate(body_bytes: int, asked: OutputAsked, model: "Model", *, by_user: bool = True) -> Usage:
    """What a request of so many bytes may cost at the most that is likely: nothing cached, all output used."""
    tokens = Tokens(fresh=_prompt(body_bytes, model), output=_output(asked, model))
    return _estimated(tokens, model, by_user=by_user)


def estimate_prompt(body_bytes: int, model: "Model", *, by_user: bool) -> Usage:
    """What a request of so many bytes cost that upstream may have read, and of whose answer nothing came."""
    return _estimated(Tokens(fresh=_prompt(body_bytes, model)), model, by_user=by_user)


def estimate_broken(
    tokens: Tokens | None,
    model: "Model",
    *,
    asked: OutputAsked,
    body_bytes: int,
    answer_bytes: int,
    stream: bool,
    by_user: bool,
) -> Usage:
    """What an answer cost that ended, after so many bytes, before upstream told; ``tokens`` is what it told until then.

    The bytes of a stream count little, for most of them are wrapping. What a model thinks need not be among them: one
    that reasons is taken to have used at least the usual output, or all that was ``asked`` where that is less. Agents
    ask for the largest answer there is and are stopped often, so the limit itself would be far off.
    """
    written = -(-answer_bytes // STREAM_BYTES_PER_TOKEN) if stream else _by_bytes(answer_bytes)
    if _reasons(model):
        written = max(written, min(_output(asked, model), USUAL_OUTPUT * asked.answers))
    known = Tokens(fresh=_prompt(body_bytes, model)) if tokens is None else tokens
    guessed = msgspec.structs.replace(known, output=max(known.output, written), nano_credits=None)
    return _estimated(guessed, model, by_user=by_user)


def output_asked(fields: Fields, dialect: Dialect) -> OutputAsked:
    """The most that a request's ``fields`` let come out, whichever of its words are heeded: none lowers another.

    A limit that is no whole number above zero (null, Ollama's -1), or that this dialect does not look for, sets no
    bound; without a bound the usual output is the least.
    """
    places = [("", fields)]
    places += [(camel(name), _object(value)) for name, value in fields.items() if camel(name) in _SECTIONS]
    limits = [limit or USUAL_OUTPUT for _, given in places for limit in _counts(given, _LIMITS)]
    section, names = _HEEDED[dialect]
    heeded = [given for place, given in places if place == section]
    if not heeded or any(names.isdisjoint(given) for given in heeded):
        limits.append(USUAL_OUTPUT)
    answers = (count or 1 for _, given in places for count in _counts(given, _COUNTS))
    return OutputAsked(limit=min(max(limits), MOST_TOKENS), answers=min(max(answers, default=1), MOST_ANSWERS))


def _estimated(tokens: Tokens, model: "Model", *, by_user: bool) -> Usage:
    return msgspec.structs.replace(price(tokens, model, by_user=by_user), priced_by=PricedBy.ESTIMATE)


def _usage(tokens: Tokens, nano: int, model: "Model", priced_by: PricedBy, *, by_user: bool) -> Usage:
    return Usage(
        fresh=tokens.fresh,
        cache_read=tokens.cache_read,
        cache_write=tokens.cache_write,
        output=tokens.output,
        nano_credits=nano,
        nano_premium=_premium(model) if by_user else 0,
        priced_by=priced_by,
    )


def _premium(model: "Model") -> int:
    from fractions import Fraction

    multiplier = (model.billing and model.billing.multiplier) or 0.0
    # The shortest text of a float is the decimal that the catalog wrote.
    return _rounded(Fraction(Decimal(repr(multiplier))) * NANO) if 0 < multiplier <= NANO else 0


def _rounded(nano: "Fraction") -> int:
    doubled = 2 * nano.numerator + nano.denominator
    return min(doubled // (2 * nano.denominator), MOST_NANO)


def _prompt(body_bytes: int, model: "Model") -> int:
    """Images weigh far less in tokens than in bytes; no prompt is larger than the model's window."""
    window = model.limits.max_context_window_tokens
    return _by_bytes(body_bytes) if window is None or window <= 0 else min(_by_bytes(body_bytes), window)


def _by_bytes(size: int) -> int:
    """3.8 bytes a token, rounded up."""
    return -(-size * 5 // 19)


def _output(asked: OutputAsked, model: "Model") -> int:
    """The model bounds each answer, not all of them together."""
    if model.capabilities is not None and model.capabilities.type == "embeddings":
        return 0
    most = model.limits.max_output_tokens
    each = asked.limit if most is None else min(asked.limit, max(most, 0))
    return min(each * asked.answers, MOST_TOKENS)


def _reasons(model: "Model") -> bool:
    able = model.supports
    return bool(able.efforts or able.thinking or able.adaptive_thinking or able.max_thinking_budget)


def _tier(fields: Fields, *, scale: int) -> Tier | None:
    fresh = _price(fields, scale, "input_price")
    if fresh is None:
        return None
    read = _price(fields, scale, "cache_price", "cache_read_price")
    write = _price(fields, scale, "cache_write_price")
    output = _price(fields, scale, "output_price")
    return Tier(
        fresh=fresh,
        cache_read=fresh if read is None else read,
        cache_write=fresh if write is None else write,
        output=fresh if output is None else output,
    )


def _price(fields: Fields, scale: int, *names: str) -> Decimal | None:
    """The first of the prices that is there and can be believed, times ten to the ``scale``."""
    for name in names:
        try:
            found = _price_decoder.decode(fields.get(name, NULL))
        except NOT_JSON:
            continue
        sign, digits, exponent = found.as_tuple()
        if isinstance(exponent, int) and exponent >= _FINEST_PRICE and 0 <= found <= _HIGHEST_PRICE:
            return Decimal((sign, digits, exponent + scale))
    return None


def _whole(value: msgspec.Raw) -> int | None:
    """A number of at least zero, or nothing."""
    try:
        number = _whole_decoder.decode(value)
    except NOT_JSON:
        return None
    return number if number >= 0 else None


def _counts(fields: Fields, names: frozenset[str]) -> list[int]:
    """The whole numbers under ``names``, also such as ``2.0``; zero stands for whatever else is there."""
    return [_counted(value) for name, value in fields.items() if camel(name) in names]


def _counted(value: msgspec.Raw) -> int:
    try:
        number = _number_decoder.decode(value)
    except NOT_JSON:
        return 0
    return int(number) if number > 0 and number.is_integer() else 0


def _object(value: msgspec.Raw) -> Mapping[str, msgspec.Raw]:
    try:
        return read_object(value)
    except NOT_JSON:
        return {}
