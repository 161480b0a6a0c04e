"""What an exchange may cost, before it is sent: reckoned once, for all stages that ask.

Rule: an estimate is for one request to one model. When another takes the place of either, it is made anew.
"""

import msgspec

from copilot_asgi.exchange import Exchange, Request
from copilot_asgi.pricing import Usage, estimate, output_asked
from copilot_asgi.wire.models import Model

__all__ = ["Estimate", "estimated"]


class Estimate(msgspec.Struct, frozen=True):
    """What ``request`` may use when ``model`` answers it."""

    request: Request
    model: Model
    usage: Usage


def estimated(exchange: Exchange) -> Usage:
    """What the exchange may use and cost at the most that is likely, as a turn of the user's own; it has its route."""
    assert exchange.route is not None
    request, model, kept = exchange.request, exchange.route.model, exchange.estimate
    if kept is None or kept.request is not request or kept.model is not model:
        asked = output_asked(request.fields, request.dialect)
        kept = exchange.estimate = Estimate(request, model, estimate(len(request.body), asked, model))
    return kept.usage
