"""What answers cost is written down here: reserved before the call, settled after its last byte.

Rule: a request that a budget counts is on record while it is under way, so that a crash forgets nothing and parallel
requests cannot together spend a budget twice. One that no budget counts is put on record a moment later, and keeps
nobody waiting. Each request counts in the period in which it began.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import Enum
from typing import Protocol

import msgspec

from copilot_asgi.budgets import Budget, Currency, Period, shown
from copilot_asgi.pricing import Usage

__all__ = ["By", "Claim", "Ledger", "Reservation", "Standing", "Total"]

_NOW = {Period.DAY: "today", Period.WEEK: "this week", Period.MONTH: "this month"}


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """A request under way and what it may cost; ``at`` is when it began (unix seconds)."""

    id: str
    caller: str
    account: str
    model: str
    at: float
    nano_credits: int = 0
    nano_premium: int = 0

    def cost(self, currency: Currency) -> int:
        """What it may cost in billionths of ``currency``."""
        return self.nano_credits if currency is Currency.CREDITS else self.nano_premium


class Claim(msgspec.Struct, frozen=True):
    """A budget and whose spending it counts: everybody's, or that which has the given names."""

    budget: Budget
    caller: str | None = None
    account: str | None = None
    model: str | None = None

    def counts(self, entry: "Reservation | Total") -> bool:
        """Whether the spending of ``entry`` is counted."""
        return (
            self.caller in {None, entry.caller}
            and self.account in {None, entry.account}
            and self.model in {None, entry.model}
        )

    def __str__(self) -> str:
        names = (("caller", self.caller), ("account", self.account), ("model", self.model))
        return " ".join((str(self.budget), *(f"of {kind} {name}" for kind, name in names if name is not None)))


class Standing(msgspec.Struct, frozen=True):
    """How full a budget is, in billionths: what was used in this period, and what requests under way may add."""

    claim: Claim
    used: int
    reserved: int = 0

    @property
    def share(self) -> float:
        """The part of the budget that is used; 1 is all of it."""
        return self.used / self.claim.budget.nano if self.claim.budget.nano else 1.0

    def __str__(self) -> str:
        budget = self.claim.budget
        amount = f"{shown(self.used, places=4)} of {shown(budget.nano)}"
        return f"{amount} {budget.currency.value} used {_NOW[budget.period]}"


class By(Enum):
    """What totals are told apart by. Days are those of the UTC calendar."""

    DAY = "day"
    CALLER = "caller"
    ACCOUNT = "account"
    MODEL = "model"


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """Settled requests added up; a name is ``None`` where they are not told apart by it.

    ``day`` is an ISO date. ``estimated`` counts the requests whose price is only an estimate.
    """

    day: str | None = None
    caller: str | None = None
    account: str | None = None
    model: str | None = None
    requests: int = 0
    fresh: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    nano_credits: int = 0
    nano_premium: int = 0
    estimated: int = 0

    def cost(self, currency: Currency) -> int:
        """What it cost in billionths of ``currency``."""
        return self.nano_credits if currency is Currency.CREDITS else self.nano_premium


class Ledger(Protocol):
    """Keeps what is spent.

    A request that a budget counts is reserved, then settled or released; any other one begins and ends. The async
    methods may raise ``StoreError``. What they returned is kept, whatever happens next; they see all that has ended.
    """

    def begin(self, entry: Reservation) -> None:
        """Put a request that no budget counts on record, within a moment; it is not under way already.

        Never waits and never raises: what cannot be written is logged, kept and tried again.
        """

    def end(self, entry: Reservation, usage: Usage | None) -> None:
        """Replace it by what was used, for the names that ``entry`` has now; without ``usage`` nothing was charged.

        As with ``begin``, within a moment.
        """

    async def reserve(self, entry: Reservation, claims: Sequence[Claim]) -> list[Standing]:
        """Put a request on record before it is sent, and say how full each budget is.

        Raises ``BudgetExceeded`` when what is used, what other requests have reserved, and this one together are more
        than one of the budgets; no two processes can pass that check at once. A reservation older than an hour no
        longer counts. When cancelled the reservation may or may not be on record.
        """

    async def settle(self, entry: Reservation, usage: Usage) -> None:
        """Replace the reservation by what was used, for the names that ``entry`` has now.

        A reservation that is not on record, as when somebody removed the file, is counted all the same.
        """

    async def release(self, entry: Reservation) -> None:
        """Take the reservation back, for nothing was charged; it need not be on record."""

    async def totals(self, since: datetime, until: datetime | None, by: Collection[By]) -> list[Total]:
        """What was settled on the days from that of ``since`` to the last that begins before ``until``, sorted."""

    async def spent(self, claim: Claim, now: float) -> Standing:
        """How full a budget is at ``now`` (unix seconds)."""

    async def unsettled(self) -> list[Reservation]:
        """Requests under way, and those that a crash cut off; the oldest first."""

    async def close(self) -> None:
        """Let go of what is open. Nothing depends on it, and the ledger can be used again."""
