"""What the account is charged: premium requests by turn, credits by tokens, and the quota that is left.

Rule: only an answer that began with 200 is charged, once; ``X-Initiator: user`` costs the model's multiplier, ``agent``
nothing. An initiator the service does not know is billed as ``user``.
"""

from urllib.parse import urlencode

import msgspec

from copilot_asgi.simulator.access import Object
from copilot_asgi.simulator.catalog import Model
from copilot_asgi.simulator.script import Usage
from copilot_asgi.simulator.settings import Billing, Quota, SimulatorSettings

__all__ = ["Charge", "Ledger", "copilot_usage", "free_quotas"]

UNLIMITED_IDS = ("chat", "completions")
RESET_DATE = "2026-12-01"


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """One answered model request. ``initiator`` and ``request_id`` are as received, ``premium`` counts requests."""

    request_id: str
    login: str
    path: str
    model: str
    initiator: str
    interaction: str
    premium: float
    nano_aiu: int
    usage: Usage


class Ledger:
    """Charges in order, with their totals."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.charges: list[Charge] = []
        self._settings = settings

    @property
    def premium_requests(self) -> float:
        """Premium requests charged so far."""
        return round(sum(charge.premium for charge in self.charges), 6)

    @property
    def nano_aiu(self) -> int:
        """Billionths of an AI credit charged so far."""
        return sum(charge.nano_aiu for charge in self.charges)

    @property
    def turns(self) -> list[Charge]:
        """Charges that began a user's turn."""
        return [charge for charge in self.charges if charge.initiator != "agent"]

    def charge(self, charge: Charge) -> None:
        """Book one answer."""
        self.charges.append(charge)

    def premium_left(self, login: str) -> float:
        """Premium requests that ``login`` has left; negative when overdrawn."""
        if self._settings.quota is Quota.EXHAUSTED:
            return -1.0
        spent = sum(charge.premium for charge in self.charges if charge.login == login)
        return round(self._settings.premium_entitlement - self._settings.premium_used - spent, 6)

    def must_refuse(self, login: str, model: Model) -> bool:
        """Whether ``login`` has nothing left for a model that costs something, and may not overdraw."""
        settings = self._settings
        if settings.quota is Quota.EXHAUSTED:
            return True
        if settings.quota is Quota.UNLIMITED or settings.overage_permitted or settings.billing is Billing.TOKENS:
            return False
        return model.multiplier > 0 and self.premium_left(login) <= 0

    def snapshots(self, login: str, timestamp: str) -> Object:
        """The ``quota_snapshots`` of ``/copilot_internal/user``."""
        if self._settings.quota is Quota.NULLS:
            return {"chat": None, "completions": None, "premium_interactions": self._premium(login, timestamp)}
        free = {name: _unlimited(name, timestamp) for name in UNLIMITED_IDS}
        return {**free, "premium_interactions": self._premium(login, timestamp)}

    def stream_snapshots(self, login: str) -> Object:
        """The ``copilot_quota_snapshots`` of an answer, whose entitlement is a string."""
        settings = self._settings
        return {
            "premium_interactions": {
                "entitlement": "-1" if settings.quota is Quota.UNLIMITED else str(settings.premium_entitlement),
                "percent_remaining": self._percent(login),
                "overage_permitted": settings.overage_permitted,
                "overage_count": 0,
                "reset_date": f"{RESET_DATE}T00:00:00Z",
            }
        }

    def headers(self, login: str) -> tuple[tuple[str, str], ...]:
        """The ``x-quota-snapshot-*`` headers of a successful model answer."""
        unlimited = self._settings.quota is Quota.UNLIMITED
        entitlement = -1 if unlimited else self._settings.premium_entitlement
        allowance = {name: _snapshot(-1, 100.0, permitted=False) for name in UNLIMITED_IDS}
        premium = _snapshot(entitlement, self._percent(login), permitted=self._settings.overage_permitted)
        snapshots = {**allowance, "premium_interactions": premium}
        return tuple((f"x-quota-snapshot-{name}", value) for name, value in snapshots.items())

    def _percent(self, login: str) -> float:
        if self._settings.quota is Quota.UNLIMITED:
            return 100.0
        return round(100 * self.premium_left(login) / max(1, self._settings.premium_entitlement), 2)

    def _premium(self, login: str, timestamp: str) -> Object:
        settings = self._settings
        if settings.quota is Quota.UNLIMITED:
            return _unlimited("premium_interactions", timestamp)
        if settings.billing is Billing.TOKENS:
            credits_used = round(self.nano_aiu / 1_000_000_000, 3)
            return _unlimited("premium_interactions", timestamp) | {
                "unlimited": False,
                "token_based_billing": True,
                "credits_used": credits_used,
            }
        left = self.premium_left(login)
        return {
            "quota_id": "premium_interactions",
            "entitlement": settings.premium_entitlement,
            "remaining": int(left),
            "quota_remaining": left,
            "percent_remaining": self._percent(login),
            "unlimited": False,
            "overage_count": max(0, -int(left)),
            "overage_permitted": settings.overage_permitted and settings.quota is not Quota.EXHAUSTED,
            "timestamp_utc": timestamp,
            "has_quota": left > 0,
            "quota_reset_at": 0,
            "token_based_billing": False,
        }


def free_quotas() -> Object:
    """The fields of a free account, whose numbers arrive as strings."""
    quotas = {"chat": "45", "completions": "1990"}
    return {
        "limited_user_quotas": quotas,
        "limited_user_reset_date": RESET_DATE,
        "monthly_quotas": {"chat": 50, "completions": 2000},
    }


def copilot_usage(model: Model, usage: Usage) -> Object:
    """The ``copilot_usage`` object of an answer; the total is count x price / batch over its lines, in nano-AIU."""
    prices = model.prices
    lines = [
        {"token_type": kind, "token_count": count, "batch_size": prices.batch, "cost_per_batch": price}
        for kind, count, price in prices.lines(usage)
    ]
    return {"token_details": lines, "total_nano_aiu": prices.nano_aiu(usage)}


def _unlimited(name: str, timestamp: str) -> Object:
    return {
        "quota_id": name,
        "entitlement": 0,
        "remaining": 0,
        "quota_remaining": 0,
        "percent_remaining": 100.0,
        "unlimited": True,
        "overage_count": 0,
        "overage_permitted": False,
        "timestamp_utc": timestamp,
    }


def _snapshot(entitlement: int, percent: float, *, permitted: bool) -> str:
    fields = {
        "ent": entitlement,
        "ov": "0.0",
        "ovPerm": str(permitted).lower(),
        "rem": percent,
        "rst": f"{RESET_DATE}T00:00:00Z",
    }
    return urlencode(fields)
