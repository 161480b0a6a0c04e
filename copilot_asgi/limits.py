"""Limits over time: what may be done in any window of some length, as pure rules over a state and a time passed in.

Rule: nothing is admitted that would bring a window over its amount, and the wait that is named is exact. Costs are
counted in whole billionths, so that no sum drifts; times are monotonic seconds.
"""

import math
import re
from collections import deque
from collections.abc import Mapping, Sequence
from enum import Enum
from itertools import accumulate
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import ConfigError
from copilot_asgi.pricing import NANO

__all__ = ["Costs", "RateLimit", "Ticket", "Unit", "Wait", "Window", "parse_rate_limit", "take_all"]

EXACT = 1024
"""Entries of a window that are kept one by one; beyond that, those within a 1,024th of the window become one."""

_LIMIT = re.compile(
    r"(?P<amount>\d{1,15}(?:\.\d{1,9})?)\s*(?P<unit>requests|tokens|credits)?\s*/\s*(?P<count>\d{0,9})\s*(?P<per>[a-z]+)"
)
_SECONDS: Mapping[str, float] = MappingProxyType(
    {
        **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
        **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
        **dict.fromkeys(("h", "hour", "hours"), 3_600.0),
        **dict.fromkeys(("d", "day", "days"), 86_400.0),
    }
)

_NAMES: Mapping[float, str] = MappingProxyType({1.0: "s", 60.0: "min", 3_600.0: "hour", 86_400.0: "day"})


class Unit(Enum):
    """What is counted."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    CREDITS = "credits"


class RateLimit(msgspec.Struct, frozen=True, cache_hash=True):
    """At most ``amount`` of ``unit`` in any ``window`` seconds. One in a window is a minimum interval.

    Raises ``ConfigError`` for an amount below a billionth or above 10^15, and a window that is not positive or is
    longer than 10^14 seconds.
    """

    amount: float
    unit: Unit
    window: float

    def __post_init__(self) -> None:
        if not (1 / NANO <= self.amount <= 1e15 and 0 < self.window <= 1e14):
            raise ConfigError(f"rate_limit: {self} is out of range. Write an amount and a time above zero.")

    def __str__(self) -> str:
        unit = self.unit.value.removesuffix("s") if self.amount == 1 else self.unit.value
        return f"{self.amount:g} {unit}/{_NAMES.get(self.window, f'{self.window:g}s')}"


def parse_rate_limit(text: str) -> RateLimit:
    """``60/min``, ``1/10s``, ``200000 tokens/hour``, ``50 credits/day``. Raises ``ConfigError``."""
    match = _LIMIT.fullmatch(text.strip().lower())
    seconds = _SECONDS.get(match["per"]) if match else None
    if match is None or seconds is None or not float(match["amount"]) or not int(match["count"] or 1):
        raise ConfigError(
            f"rate_limit: {text[:60]!r} does not fit. Write an amount and a time, such as 60/min, 1/10s, "
            "200000 tokens/hour or 50 credits/day."
        )
    unit = Unit(match["unit"] or "requests")
    amount = float(match["amount"])
    if unit is not Unit.CREDITS and not amount.is_integer():
        raise ConfigError(f"rate_limit: {text[:60]!r} does not fit. Only credits have fractions.")
    return RateLimit(amount=amount, unit=unit, window=seconds * int(match["count"] or 1))


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What one request costs, in each unit that a limit may count."""

    requests: int = 1
    tokens: int = 0
    credits: float = 0.0

    def of(self, unit: Unit) -> float:
        """The cost in ``unit``."""
        if unit is Unit.REQUESTS:
            return self.requests
        return self.tokens if unit is Unit.TOKENS else self.credits


class Wait(msgspec.Struct, frozen=True):
    """There is no room for ``seconds`` more, because of ``limit``. After exactly so long there is, if nobody else came.

    It may be sooner, when something that was reserved is given back.
    """

    seconds: float
    limit: RateLimit


class _Entry(msgspec.Struct):
    """A cost that counts until ``expires``; ``born`` is when the first of it was taken."""

    born: float
    expires: float
    nano: int


class Ticket(msgspec.Struct, frozen=True):
    """A cost that a window holds; hand it to ``Window.settle`` once, or never."""

    entry: _Entry
    nano: int


class Window:
    """What was taken under one limit in the last ``limit.window`` seconds.

    A cost above the whole amount counts as the amount: it is admitted once, into an empty window. A time before one
    that was seen already counts as that one.
    """

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self._amount = round(limit.amount * NANO)
        self._entries: deque[_Entry] = deque()
        self._used = 0
        self._now = -math.inf

    def wait(self, now: float, cost: float) -> float:
        """Seconds until ``cost`` fits, 0.0 when it fits now."""
        if now > self._now:
            self._advance(now)
        excess = self._used + self._counted(cost) - self._amount
        if excess <= 0:
            return 0.0
        freed = accumulate(entry.nano for entry in self._entries)
        expires = next(entry.expires for entry, nano in zip(self._entries, freed, strict=True) if nano >= excess)
        seconds = expires - now
        # Rounding may make the sum fall short of the instant by the last bit.
        return seconds if now + seconds >= expires else math.nextafter(seconds, math.inf)

    def take(self, now: float, cost: float) -> Ticket:
        """Count ``cost`` from now on; asking ``wait`` first is the caller's part."""
        if now > self._now:
            self._advance(now)
        nano = self._counted(cost)
        return Ticket(self._add(nano), nano)

    def settle(self, ticket: Ticket, now: float, cost: float) -> None:
        """Replace what the ticket holds by the true cost; 0 gives it back.

        What it cost less is free at once. What it cost more counts from now, when it became known.
        """
        if now > self._now:
            self._advance(now)
        change = self._counted(cost) - ticket.nano
        if change > 0:
            self._add(change)
        elif ticket.entry.expires > self._now:
            ticket.entry.nano += change
            self._used += change

    def _counted(self, cost: float) -> int:
        return min(round(cost * NANO), self._amount)

    def _advance(self, now: float) -> None:
        self._now = now
        while self._entries and self._entries[0].expires <= now:
            self._used -= self._entries.popleft().nano

    def _add(self, nano: int) -> _Entry:
        self._used += nano
        expires = self._now + self.limit.window
        if len(self._entries) >= EXACT and self._now - self._entries[-1].born < self.limit.window / EXACT:
            entry = self._entries[-1]
            entry.expires = expires
            entry.nano += nano
        else:
            entry = _Entry(self._now, expires, nano)
            self._entries.append(entry)
        return entry


def take_all(windows: Sequence[Window], now: float, costs: Costs) -> tuple[Ticket, ...] | Wait:
    """Take ``costs`` from each of the windows, or from none and name the longest wait."""
    longest: Wait | None = None
    for window in windows:
        seconds = window.wait(now, costs.of(window.limit.unit))
        if seconds > (0.0 if longest is None else longest.seconds):
            longest = Wait(seconds, window.limit)
    return longest or tuple([window.take(now, costs.of(window.limit.unit)) for window in windows])
