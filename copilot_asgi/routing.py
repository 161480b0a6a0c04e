"""Which upstream model and dialect serve a request: pure rules over the catalog.

Names are matched as clients write them: Anthropic's clients send dashes and dates where Copilot has dots, agents ask
for a family and mean its newest member, operators have aliases.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import BadRequest, UnknownModel
from copilot_asgi.wire.dialect import UPSTREAM_PATHS, Dialect
from copilot_asgi.wire.models import Model

__all__ = ["Catalog", "Route", "choose_route", "find_model", "spelled"]

# Which dialect to ask a model in, the best first: Messages and Responses carry signed reasoning and images inside tool
# results, chat carries neither; a chat client stays on chat, which Copilot serves for every model that lists it.
PREFERENCES: Mapping[Dialect, tuple[Dialect, ...]] = MappingProxyType(
    {
        Dialect.CHAT: (Dialect.CHAT, Dialect.RESPONSES, Dialect.MESSAGES),
        Dialect.MESSAGES: (Dialect.MESSAGES, Dialect.RESPONSES, Dialect.CHAT),
        Dialect.RESPONSES: (Dialect.RESPONSES, Dialect.MESSAGES, Dialect.CHAT),
        Dialect.GEMINI: (Dialect.CHAT, Dialect.RESPONSES, Dialect.MESSAGES),
        Dialect.OLLAMA: (Dialect.CHAT, Dialect.RESPONSES, Dialect.MESSAGES),
        Dialect.EMBEDDINGS: (Dialect.EMBEDDINGS,),
    }
)

_PROVIDER = re.compile(r"^(?:openai|anthropic|google|github[-_]copilot|copilot)/")
_LONG_CONTEXT = re.compile(r"\[1m\]$")
_SUFFIX = re.compile(r"(?:-latest|-\d{8}|:latest)$")
_VERSION_DASH = re.compile(r"(?<=\d)-(?=\d{1,2}(?:-|$))")
_NUMBERS = re.compile(r"\d+")
_FAMILIES = ("opus", "sonnet", "haiku", "fable")


class Catalog(msgspec.Struct, frozen=True):
    """The models an account may use, by id."""

    models: dict[str, Model]


class Route(msgspec.Struct, frozen=True):
    """Where a request goes: the model upstream and the dialect it is asked in."""

    model: Model
    dialect: Dialect

    @property
    def path(self) -> str:
        """The path below the Copilot API's base URL."""
        return UPSTREAM_PATHS[self.dialect]


def choose_route(name: str, dialect: Dialect, catalog: Catalog, aliases: Mapping[str, str]) -> Route:
    """The model that ``name`` means and the dialect to ask it in, the client's own if it speaks that.

    Raises ``UnknownModel`` (with near names), or ``BadRequest`` when no dialect of the model fits.
    """
    model = find_model(name, catalog, aliases)
    if model is None:
        raise UnknownModel(_unknown(name, catalog))
    for choice in PREFERENCES[dialect]:
        if choice in model.dialects:
            return Route(model=model, dialect=choice)
    raise BadRequest(_not_spoken(name, dialect, model.dialects), code="unsupported_api_for_model", param="model")


def find_model(name: str, catalog: Catalog, aliases: Mapping[str, str]) -> Model | None:
    """The model that a client means by ``name``: an alias, an id, another spelling, a dated version, or a family."""
    name = aliases.get(name, name)
    models = catalog.models
    if name in models:
        return models[name]
    usual = spelled(name)
    if _LONG_CONTEXT.search(name) and f"{usual}-1m" in models:
        return models[f"{usual}-1m"]
    if usual in models:
        return models[usual]
    by_version = next((model for model in models.values() if model.version == name), None)
    return by_version or _newest_of_family(usual, models.values())


def spelled(name: str) -> str:
    """``name`` as Copilot spells it: no provider in front, no date or suffix behind, dots in versions."""
    name = _LONG_CONTEXT.sub("", _PROVIDER.sub("", name.strip().lower()))
    return _VERSION_DASH.sub(".", _SUFFIX.sub("", name))


def _newest_of_family(name: str, models: Iterable[Model]) -> Model | None:
    """The newest model of a family that is asked for by its bare name, such as ``sonnet`` or ``claude-sonnet``."""
    family = name.removeprefix("claude-")
    if family not in _FAMILIES:
        return None
    plain = re.compile(rf"claude-{family}-\d+(?:\.\d+)?")
    members = [model for model in models if model.is_enabled and plain.fullmatch(model.id)]
    return max(members, key=lambda model: [int(number) for number in _NUMBERS.findall(model.id)], default=None)


def _unknown(name: str, catalog: Catalog) -> str:
    near = difflib.get_close_matches(spelled(name), catalog.models, n=3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"Your Copilot account has no model '{name}'.{hint} GET models lists all of them."


def _not_spoken(name: str, dialect: Dialect, spoken: tuple[Dialect, ...]) -> str:
    if not spoken:
        return f"The model '{name}' serves editors' code completion only. GET models lists the others."
    paths = " or ".join("POST /v1/" + UPSTREAM_PATHS[each].removeprefix("/v1").lstrip("/") for each in spoken)
    return f"The model '{name}' does not serve {dialect.value}. Use {paths} with it."
