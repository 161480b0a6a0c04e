"""Which upstream model and dialect serve a request: pure rules over the catalog."""

import difflib

import msgspec

from copilot_asgi.errors import BadRequest, UnknownModel
from copilot_asgi.wire.dialect import UPSTREAM_PATHS, Dialect
from copilot_asgi.wire.models import Model

__all__ = ["Catalog", "Route", "choose_route"]


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


def choose_route(model_id: str, dialect: Dialect, catalog: Catalog) -> Route:
    """The native route for a request.

    Raises ``UnknownModel`` (with near names) or ``BadRequest`` when the model does not speak the client's dialect.
    """
    model = catalog.models.get(model_id)
    if model is None:
        raise UnknownModel(_unknown(model_id, catalog))
    if dialect not in model.dialects:
        message = _not_spoken(model_id, dialect, model.dialects)
        raise BadRequest(message, code="unsupported_api_for_model", param="model")
    return Route(model=model, dialect=dialect)


def _unknown(model_id: str, catalog: Catalog) -> str:
    near = difflib.get_close_matches(model_id, catalog.models, n=3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"Your Copilot account has no model '{model_id}'.{hint} GET models lists all of them."


def _not_spoken(model_id: str, dialect: Dialect, spoken: tuple[Dialect, ...]) -> str:
    if not spoken:
        return f"The model '{model_id}' serves editors' code completion only. GET models lists the others."
    paths = " or ".join("POST /v1/" + UPSTREAM_PATHS[each].removeprefix("/v1").lstrip("/") for each in spoken)
    return f"The model '{model_id}' does not speak the {dialect.value} API at GitHub Copilot. Use {paths} with it."
