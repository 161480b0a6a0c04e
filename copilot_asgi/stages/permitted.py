"""Refuse a model that was not agreed with the caller.

Rule: what counts is the model that was chosen, so no spelling, alias or family name goes round it.
"""

from collections.abc import Awaitable

from copilot_asgi.callers.permitted import permitted
from copilot_asgi.errors import Forbidden
from copilot_asgi.exchange import Exchange, Handler, Send

__all__ = ["permit_models"]


def permit_models(exchange: Exchange, send: Send, call_next: Handler) -> Awaitable[None]:
    """Hand on what the caller may use; raises ``Forbidden`` for the rest. Stands after the choice of the route."""
    caller, route = exchange.caller, exchange.route
    assert route is not None
    if caller is not None and not permitted(caller, route.model.id):
        raise Forbidden(
            f"{caller.name} may not use the model {route.model.id}, only: {', '.join(caller.models)}.",
            code="model_not_allowed",
            param="model",
        )
    return call_next(exchange, send)
