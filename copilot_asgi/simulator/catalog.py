"""The models the simulated service offers: who may see them, what they can do, what they cost.

Rule: ``catalog.json`` holds entries as the real list has them; keys with a leading underscore are the simulator's own
notes and never leave it.
"""

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from importlib import resources

import msgspec

from copilot_asgi.simulator.access import Object, number, object_of, objects, string, strings
from copilot_asgi.simulator.script import Usage
from copilot_asgi.simulator.settings import Plan

__all__ = ["Catalog", "Family", "Model", "Prices", "built_in_models"]

# What `billing.restricted_to` calls the plans.
PLAN_NAMES: dict[Plan, frozenset[str]] = {
    Plan.FREE: frozenset(),
    Plan.INDIVIDUAL: frozenset({"pro", "pro_plus"}),
    Plan.BUSINESS: frozenset({"business"}),
    Plan.ENTERPRISE: frozenset({"enterprise"}),
}
FLAT_PRICES_SINCE = "2026-06-01"
NESTED_PRICES_SINCE = "2026-07-01"
NANO = 1_000_000_000
_OPENAI_NAME = re.compile(r"^(?:gpt-(\d)(?!\d)(?:\.(\d+))?|o\d)")


class Family(Enum):
    """Whose habits a model has on the wire."""

    GPT = "gpt"
    CLAUDE = "claude"
    GEMINI = "gemini"
    OTHER = "other"


class Prices(msgspec.Struct, frozen=True):
    """AI credits (one US cent each) for a batch of tokens."""

    batch: int
    fresh: float
    cache_read: float
    cache_write: float
    output: float

    def lines(self, usage: Usage) -> list[tuple[str, int, float]]:
        """Token type, count and price of each kind of token used."""
        return [
            ("input", usage.fresh, self.fresh),
            ("cache_read", usage.cache_read, self.cache_read),
            ("cache_write", usage.cache_write, self.cache_write),
            ("output", usage.output, self.output),
        ]

    def nano_aiu(self, usage: Usage) -> int:
        """What ``usage`` costs in billionths of a credit."""
        return round(sum(count * price / self.batch for _, count, price in self.lines(usage)) * NANO)


class Model(msgspec.Struct, frozen=True):
    """One entry of the list, with the fields the simulator asks for at hand."""

    entry: Object

    @property
    def id(self) -> str:
        """The name in requests."""
        return string(self.entry.get("id"))

    @property
    def backend(self) -> str:
        """The dated name that answers carry."""
        return string(self.entry.get("_backend")) or string(self.entry.get("version")) or self.id

    @property
    def type(self) -> str:
        """``chat``, ``completion``, ``embeddings``, or something newer."""
        return string(object_of(self.entry.get("capabilities")).get("type"))

    @property
    def family(self) -> Family:
        """Whose habits it has."""
        vendor = string(self.entry.get("vendor"))
        return _VENDORS.get(vendor, Family.OTHER)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Paths that serve it; without a list, by its type."""
        listed = strings(self.entry.get("supported_endpoints"))
        if listed:
            return tuple(listed)
        return _PATHS_BY_TYPE.get(self.type, ())

    @property
    def supports(self) -> Object:
        """The ``capabilities.supports`` object."""
        return object_of(object_of(self.entry.get("capabilities")).get("supports"))

    @property
    def limits(self) -> Object:
        """The ``capabilities.limits`` object."""
        return object_of(object_of(self.entry.get("capabilities")).get("limits"))

    @property
    def efforts(self) -> tuple[str, ...]:
        """Reasoning efforts it takes, from any of the three ways the list writes them."""
        given = self.supports.get("reasoning_effort")
        if isinstance(given, dict):
            return tuple(strings(given.get("values")))
        return tuple(strings(given)) or tuple(string(item.get("value")) for item in objects(given))

    @property
    def adaptive_only(self) -> bool:
        """Whether thinking with a budget is refused."""
        return self.entry.get("_adaptive_only") is True

    @property
    def retired(self) -> bool:
        """Whether the service still knows the name but no longer serves it."""
        return self.entry.get("_retired") is True

    @property
    def multiplier(self) -> float:
        """Premium requests for one user turn."""
        return number(object_of(self.entry.get("billing")).get("multiplier"))

    @property
    def policy(self) -> str:
        """State of the policy; a model without one needs none."""
        return string(object_of(self.entry.get("policy")).get("state")) or "enabled"

    @property
    def generation(self) -> tuple[int, int]:
        """Version of an OpenAI model, (5, 0) for the o-series, (0, 0) for all others."""
        match = _OPENAI_NAME.match(self.id) if self.family is Family.GPT else None
        if match is None:
            return (0, 0)
        return (int(match[1]), int(match[2] or 0)) if match[1] else (5, 0)

    @property
    def prices(self) -> Prices:
        """What its tokens cost; a model without a price costs nothing."""
        listed = object_of(object_of(self.entry.get("billing")).get("token_prices"))
        default = object_of(listed.get("default"))
        return Prices(
            batch=int(number(listed.get("batch_size"), 1_000_000)),
            fresh=number(default.get("input_price")),
            cache_read=number(default.get("cache_price")),
            cache_write=number(default.get("cache_write_price")),
            output=number(default.get("output_price")),
        )

    def is_visible(self, plan: Plan, integration: str) -> bool:
        """Whether an account of ``plan`` sees it through the client called ``integration``."""
        if self.retired:
            return False
        restricted = object_of(self.entry.get("billing")).get("restricted_to")
        if restricted is not None and PLAN_NAMES[plan].isdisjoint(strings(restricted)):
            return False
        integrations = self.entry.get("_integrations")
        return integrations is None or integration in strings(integrations)


_PATHS_BY_TYPE = {"chat": ("/chat/completions",), "embeddings": ("/embeddings",)}
_VENDORS = {
    "OpenAI": Family.GPT,
    "Azure OpenAI": Family.GPT,
    "Anthropic": Family.CLAUDE,
    "Google": Family.GEMINI,
}


class Catalog:
    """The list of models and the policies this account has changed."""

    def __init__(self, entries: Iterable[Object], *, plan: Plan) -> None:
        self._models = [Model(entry) for entry in entries]
        self._plan = plan
        self._policies: dict[str, str] = {}

    def known(self, model: str) -> Model | None:
        """The first entry called ``model``, whether or not it can be used."""
        return next((entry for entry in self._models if entry.id == model), None)

    def usable(self, model: str, *, integration: str) -> Model | None:
        """The entry called ``model`` if this account may call it through ``integration``, else ``None``."""
        found = self.known(model)
        if found is None or not found.is_visible(self._plan, integration):
            return None
        return found if self._policies.get(model, found.policy) == "enabled" else None

    def clear(self) -> None:
        """Undo all changes of policy."""
        self._policies.clear()

    def set_policy(self, model: str, state: str) -> None:
        """Remember that the account's owner turned ``model`` on or off."""
        self._policies[model] = state

    def listing(self, *, integration: str, api_version: str) -> Object:
        """The answer to ``GET /models`` for a client of that name and API version."""
        visible = [entry for entry in self._models if entry.is_visible(self._plan, integration)]
        return {"object": "list", "data": [self._public(entry, api_version) for entry in visible]}

    def _public(self, model: Model, api_version: str) -> Object:
        entry = {key: value for key, value in model.entry.items() if not key.startswith("_")}
        if "billing" in entry:
            entry["billing"] = _billing(model, api_version)
        if model.id in self._policies:
            entry["policy"] = object_of(entry.get("policy")) | {"state": self._policies[model.id]}
        return entry


def _billing(model: Model, api_version: str) -> Object:
    billing = dict(object_of(model.entry.get("billing")))
    if api_version >= NESTED_PRICES_SINCE or "token_prices" not in billing:
        return billing
    listed = object_of(billing.pop("token_prices"))
    if api_version >= FLAT_PRICES_SINCE:  # the older form has no tiers and counts in nano-AIU
        flat = {name: round(number(price) * NANO) for name, price in object_of(listed.get("default")).items()}
        billing["token_prices"] = {"batch_size": listed.get("batch_size"), **flat}
    return billing


def built_in_models() -> Sequence[Object]:
    """The entries of ``catalog.json``."""
    text = resources.files("copilot_asgi.simulator").joinpath("catalog.json").read_bytes()
    return msgspec.json.decode(text, type=list[Object])
