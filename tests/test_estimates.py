"""An estimate is made when somebody asks, once, and belongs to one request and one model."""

from collections.abc import Callable

import pytest

from copilot_asgi.estimates import estimated
from copilot_asgi.exchange import Exchange
from copilot_asgi.pricing import PricedBy, Usage
from copilot_asgi.routing import Route
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.models import Model, parse_catalog
from tests.stages.bench import make_exchange

BODY = b'{"model":"gpt-4o","max_tokens":4,"messages":[]}'


def priced(credits: int) -> Model:
    """A model whose tokens cost so many credits each."""
    (model,) = parse_catalog(
        b'{"data":[{"id":"m","billing":{"multiplier":2,"token_prices":{"batch_size":1,"default":'
        b'{"input_price":%d}}}}]}' % credits
    )
    return model


def exchange() -> Exchange:
    return make_exchange(BODY, model=priced(1))


def test_what_is_estimated() -> None:
    """The size of the body, the answer that is asked for, the prices of the route's model, and a turn of the user's."""
    prompt = -(-len(BODY) * 5 // 19)
    assert estimated(exchange()) == Usage(
        fresh=prompt,
        output=4,
        nano_credits=(prompt + 4) * 10**9,
        nano_premium=2 * 10**9,
        priced_by=PricedBy.ESTIMATE,
    )


def test_nobody_asks_twice() -> None:
    """What was estimated is kept with the exchange; nothing is before somebody asks."""
    asking = exchange()
    assert asking.estimate is None
    assert estimated(asking) is estimated(asking)


def with_another_request(asking: Exchange) -> None:
    asking.request = asking.request.replace({"max_tokens": b"8"})


def with_another_model(asking: Exchange) -> None:
    asking.route = Route(model=priced(3), dialect=Dialect.CHAT)


@pytest.mark.parametrize(("change", "output", "each"), [(with_another_request, 8, 1), (with_another_model, 4, 3)])
def test_a_change_makes_it_anew(change: Callable[[Exchange], None], output: int, each: int) -> None:
    """A request that is changed on its way, or goes to another model, is not what was estimated before."""
    asking = exchange()
    before = estimated(asking)
    change(asking)
    after = estimated(asking)
    assert before != after
    assert (after.output, after.nano_credits) == (output, (after.fresh + output) * each * 10**9)
