"""The catalog's prices of tokens, read once into whole numbers, so that every sum of them is exact.

Rule: a cost is rounded once, half up, to billionths of a credit. A price that cannot be used is none, and hides no
model.
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from math import lcm
from typing import TYPE_CHECKING

import msgspec

from copilot_asgi.wire.shallow import NOT_JSON, NULL, Fields, read_object
from copilot_asgi.wire.usage import MOST_NANO, Tokens

if TYPE_CHECKING:
    from fractions import Fraction

__all__ = ["NANO", "Prices", "Tier", "read_multiplier", "read_prices"]

NANO = 1_000_000_000
"""Billionths in one credit, and in one premium request."""

_HIGHEST_PRICE = 10**18
_FINEST_PRICE = -30  # decimal places; a number such as 1e-999999999 would take the machine's memory
_LARGEST_BATCH = 10**12

_price_decoder = msgspec.json.Decoder(Decimal)
_whole_decoder = msgspec.json.Decoder(int)


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """What ``per`` tokens cost, in billionths of a credit; ``per`` is such that no price has a fraction."""

    per: int
    fresh: int
    cache_read: int
    cache_write: int
    output: int

    def nano(self, tokens: Tokens) -> int:
        """What ``tokens`` cost in billionths of a credit."""
        nano = (
            tokens.fresh * self.fresh
            + tokens.cache_read * self.cache_read
            + tokens.cache_write * self.cache_write
            + tokens.output * self.output
        )
        return min((2 * nano + self.per) // (2 * self.per), MOST_NANO)


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's tokens cost. Prompts of more than ``threshold`` tokens cost ``long`` prices, if there are any."""

    default: Tier
    long: Tier | None = None
    threshold: int | None = None

    def nano(self, tokens: Tokens) -> int:
        """What ``tokens`` cost in billionths of a credit."""
        if self.long is None or self.threshold is None:
            return self.default.nano(tokens)
        prompt = tokens.fresh + tokens.cache_read + tokens.cache_write
        return (self.long if prompt > self.threshold else self.default).nano(tokens)


def read_prices(listed: msgspec.Raw) -> Prices | None:
    """The catalog's ``token_prices``; ``None`` when none of them can be used.

    Two forms occur: prices in credits with tiers, and an older one in billionths of a credit without. A price that is
    missing is that of fresh tokens: no discount is known.
    """
    fields = _object(listed)
    batch = _whole(fields.get("batch_size", NULL)) or 0
    if not 0 < batch <= _LARGEST_BATCH:
        return None
    if "default" not in fields:
        flat = _tier(fields, batch, unit=1)
        return None if flat is None else Prices(default=flat)
    usual = _object(fields["default"])
    default = _tier(usual, batch, unit=NANO)
    if default is None:
        return None
    return Prices(
        default=default,
        long=_tier(_object(fields.get("long_context", NULL)), batch, unit=NANO),
        threshold=_whole(usual.get("max_prompt_tokens", NULL)) or _whole(usual.get("context_max", NULL)),
    )


def read_multiplier(multiplier: float | None) -> int:
    """What a turn costs in billionths of a premium request; nothing where that cannot be believed."""
    if multiplier is None or not 0 < multiplier <= NANO:
        return 0
    # The shortest text of a float is the decimal that the catalog wrote.
    nano = (Decimal(repr(multiplier)) * NANO).quantize(Decimal(1), ROUND_HALF_UP)
    return min(int(nano), MOST_NANO)


def _tier(fields: Fields, batch: int, *, unit: int) -> Tier | None:
    """The prices of ``batch`` tokens, each so many ``unit`` of billionths, made whole."""
    fresh = _price(fields, "input_price")
    if fresh is None:
        return None
    read = _price(fields, "cache_price", "cache_read_price")
    write = _price(fields, "cache_write_price")
    output = _price(fields, "output_price")
    costs = [unit * (fresh if cost is None else cost) for cost in (fresh, read, write, output)]
    scale = lcm(*(cost.denominator for cost in costs))
    whole = [int(cost * scale) for cost in costs]
    return Tier(per=batch * scale, fresh=whole[0], cache_read=whole[1], cache_write=whole[2], output=whole[3])


def _price(fields: Fields, *names: str) -> "Fraction | None":
    """The first of the prices that is there and can be believed."""
    from fractions import Fraction

    for name in names:
        try:
            found = _price_decoder.decode(fields.get(name, NULL))
        except NOT_JSON:
            continue
        exponent = found.as_tuple().exponent
        if isinstance(exponent, int) and exponent >= _FINEST_PRICE and 0 <= found <= _HIGHEST_PRICE:
            return Fraction(found)
    return None


def _whole(value: msgspec.Raw) -> int | None:
    """A number of at least zero, or nothing."""
    try:
        number = _whole_decoder.decode(value)
    except NOT_JSON:
        return None
    return number if number >= 0 else None


def _object(value: msgspec.Raw) -> Mapping[str, msgspec.Raw]:
    try:
        return read_object(value)
    except NOT_JSON:
        return {}
