"""How the simulated service is set up: whose plan, which hosts, which tokens it takes.

Rule: the defaults are an individual account in good order; each departure is one field.
"""

from enum import Enum

import msgspec

from copilot_asgi.simulator.access import Object

__all__ = [
    "Billing",
    "Credentials",
    "DirectScheme",
    "Endpoints",
    "ItemPairing",
    "Plan",
    "Quota",
    "SimulatorSettings",
]


class Plan(Enum):
    """The Copilot plan of every account."""

    FREE = "free"
    INDIVIDUAL = "individual"
    BUSINESS = "business"
    ENTERPRISE = "enterprise"


class Credentials(Enum):
    """Which tokens the Copilot API takes."""

    EITHER = "either"
    EXCHANGED = "exchanged"
    DIRECT = "direct"


class DirectScheme(Enum):
    """Which authorization scheme a GitHub token needs at the Copilot API (sources disagree, so it can be chosen)."""

    ANY = "any"
    BEARER = "bearer"
    TOKEN = "token"  # noqa: S105 - the name of a scheme


class Billing(Enum):
    """What an answer costs: premium requests, or credits by tokens."""

    PREMIUM = "premium"
    TOKENS = "tokens"


class Endpoints(Enum):
    """What the token exchange says about the API host."""

    NORMAL = "normal"
    MISSING = "missing"
    HOSTILE = "hostile"
    DISAGREEING = "disagreeing"


class Quota(Enum):
    """The state of the account's quota."""

    NORMAL = "normal"
    UNLIMITED = "unlimited"
    EXHAUSTED = "exhausted"
    NULLS = "nulls"


class ItemPairing(Enum):
    """How close a replayed reasoning id must be to its blob: of the same item, or from the very same event."""

    ITEM = "item"
    EVENT = "event"


KNOWN_CLIENTS = {
    "Iv1.b507a08c87ecfe98": "ghu_",
    "01ab8ac9400c4e429b23": "gho_",
    "Ov23li8tweQw6odWQebz": "gho_",
    "178c6fc778ccc68e1d6a": "gho_",
    "Iv23ctfURkiMfJ4xr5mv": "ghu_",
}
DIRECT_ONLY_CLIENTS = ("Ov23li8tweQw6odWQebz",)


class SimulatorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about the service that a test may choose. Times are seconds, sizes bytes.

    ``base_url`` is what ``endpoints.api`` says (by default the plan's host). With ``api_hosts``, model calls to another
    ``Host`` get 421. ``clock_skew`` is how far GitHub's clock is ahead of ours. ``ghe_domain`` makes it a GitHub
    Enterprise tenant: ``/login`` only on that host, REST on ``api.``, models on ``copilot-api.``. ``clients`` maps
    OAuth client ids to the prefix of the tokens they yield. ``catalog`` replaces the built-in models.
    """

    plan: Plan = Plan.INDIVIDUAL
    base_url: str | None = None
    user_base_url: str | None = None
    api_hosts: tuple[str, ...] = ()
    ghe_domain: str | None = None
    endpoints: Endpoints = Endpoints.NORMAL
    token_lifetime: int = 1800
    refresh_in: int = 1500
    clock_skew: float = 0
    interval: int = 5
    device_expires_in: int = 900
    auto_approve: bool = False
    login: str = "octocat"
    clients: dict[str, str] = msgspec.field(default_factory=lambda: dict(KNOWN_CLIENTS))
    direct_only_clients: tuple[str, ...] = DIRECT_ONLY_CLIENTS
    disabled_clients: tuple[str, ...] = ()
    credentials: Credentials = Credentials.EITHER
    direct_scheme: DirectScheme = DirectScheme.ANY
    billing: Billing = Billing.PREMIUM
    quota: Quota = Quota.NORMAL
    premium_entitlement: int = 300
    premium_used: float = 0
    overage_permitted: bool = True
    catalog: tuple[Object, ...] | None = None
    policy_by_admin: bool = False
    max_body: int = 20 * 1024 * 1024
    item_pairing: ItemPairing = ItemPairing.ITEM
    hyper_balance_hidden: bool = False
    hyper_lifetime: int = 3600

    @property
    def api_url(self) -> str:
        """Where this account's model calls belong."""
        if self.base_url is not None:
            return self.base_url
        if self.ghe_domain is not None:
            return f"https://copilot-api.{self.ghe_domain}"
        plan = Plan.INDIVIDUAL if self.plan is Plan.FREE else self.plan
        return f"https://api.{plan.value}.githubcopilot.com"
