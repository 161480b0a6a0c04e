"""Money is exact: the catalog's decimals, multiplied, rounded once."""

from fractions import Fraction

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_asgi.pricing import (
    STREAM_BYTES_PER_TOKEN,
    PricedBy,
    Prices,
    Usage,
    estimate,
    estimate_broken,
    max_output_of,
    price,
    prices_of,
)
from copilot_asgi.wire.models import Model, parse_catalog
from copilot_asgi.wire.shallow import read_object
from copilot_asgi.wire.usage import MOST_NANO, MOST_TOKENS, Tokens

SONNET = {"input_price": 300, "cache_price": 30, "cache_write_price": 375, "output_price": 1500}


def model_with(billing: object, **limits: object) -> Model:
    """A model as it comes out of a catalog with that ``billing``, given as JSON text or as values."""
    text = billing if isinstance(billing, bytes) else msgspec.json.encode(billing)
    capabilities = msgspec.json.encode({"type": "chat", "limits": limits})
    (model,) = parse_catalog(b'{"data":[{"id":"m","billing":%s,"capabilities":%s}]}' % (text, capabilities))
    return model


def priced(batch: object = 1_000_000, **tiers: object) -> Model:
    return model_with({"multiplier": 1, "token_prices": {"batch_size": batch, **tiers}})


def test_the_price_that_upstream_computes() -> None:
    """Counts and prices of a captured answer give exactly the total that was captured with it."""
    tokens = Tokens(fresh=3857, cache_write=12539, output=362)
    usage = price(tokens, priced(default=SONNET), by_user=True)
    assert usage == Usage(
        fresh=3857,
        cache_write=12539,
        output=362,
        nano_credits=6_402_225_000,
        nano_premium=1_000_000_000,
        priced_by=PricedBy.CATALOG,
    )
    assert (usage.prompt, usage.total) == (16_396, 16_758)


def test_the_older_form_is_in_billionths() -> None:
    """Prices without tiers are billionths of a credit and give the same sums."""
    flat = {name: cost * 1_000_000_000 for name, cost in SONNET.items()}
    tokens = Tokens(fresh=3857, cache_read=11, cache_write=12539, output=362)
    new, old = priced(default=SONNET), priced(**flat)
    assert price(tokens, new, by_user=False) == price(tokens, old, by_user=False)


def test_upstream_knows_best() -> None:
    """What upstream says it charged is the price, even nothing, whatever the catalog says."""
    for nano in (0, 5, 10**15):
        usage = price(Tokens(fresh=10**6, nano_credits=nano), priced(default=SONNET), by_user=True)
        assert (usage.nano_credits, usage.priced_by) == (nano, PricedBy.UPSTREAM)


@pytest.mark.parametrize(
    ("multiplier", "by_user", "nano"),
    [
        (b"1", True, 1_000_000_000),
        (b"0.33", True, 330_000_000),
        (b"0.25", True, 250_000_000),
        (b"3", True, 3_000_000_000),
        (b"0.1234567894", True, 123_456_789),
        (b"0.1234567895", True, 123_456_790),
        (b"3", False, 0),
        (b"0", True, 0),
        (b"-1", True, 0),
        (b"1e300", True, 0),
        (b"null", True, 0),
    ],
)
def test_premium_requests(multiplier: bytes, *, by_user: bool, nano: int) -> None:
    """A user's turn costs the model's multiplier exactly as it is written, any other turn nothing."""
    model = model_with(b'{"multiplier":%s}' % multiplier)
    assert price(Tokens(), model, by_user=by_user).nano_premium == nano


LONG = {"input_price": 600, "output_price": 2250}


@pytest.mark.parametrize("limit", ["max_prompt_tokens", "context_max"])
@pytest.mark.parametrize(("prompt", "nano"), [(1000, 300_000_000), (1001, 600_600_000)])
def test_long_context(limit: str, prompt: int, nano: int) -> None:
    """A prompt beyond the default tier's limit costs the long tier's prices; cached tokens are part of the prompt."""
    model = priced(default={"input_price": 300, "output_price": 1500, limit: 1000}, long_context=LONG)
    half = prompt // 2
    assert price(Tokens(fresh=prompt), model, by_user=False).nano_credits == nano
    assert price(Tokens(fresh=half, cache_read=prompt - half), model, by_user=False).nano_credits == nano


@pytest.mark.parametrize(
    "tiers",
    [
        {"default": {"input_price": 300, "output_price": 1500}, "long_context": LONG},
        {"default": {"input_price": 300, "output_price": 1500, "context_max": 1000}},
        {"default": {"input_price": 300, "output_price": 1500, "context_max": 1000}, "long_context": None},
    ],
    ids=["no limit", "no long tier", "null"],
)
def test_without_a_long_tier_the_default_holds(tiers: dict[str, object]) -> None:
    """Prompts of any length cost the default price where the catalog does not say when another begins."""
    assert price(Tokens(fresh=1_000_000), priced(**tiers), by_user=False).nano_credits == 300 * 10**9


def test_missing_prices_are_those_of_fresh_tokens() -> None:
    """Nothing is cheaper than fresh input unless the catalog says so; both names of the cache's price are read."""
    bare = priced(default={"input_price": 100})
    for tokens in (Tokens(fresh=10**6), Tokens(cache_read=10**6), Tokens(cache_write=10**6), Tokens(output=10**6)):
        assert price(tokens, bare, by_user=False).nano_credits == 100 * 10**9
    other = priced(default={"input_price": 100, "cache_read_price": 7})
    assert price(Tokens(cache_read=10**6), other, by_user=False).nano_credits == 7 * 10**9


NO_PRICES = {
    "none": {},
    "null": None,
    "a list": [1],
    "no batch": {"default": SONNET},
    "batch of nothing": {"batch_size": 0, "default": SONNET},
    "negative batch": {"batch_size": -1, "default": SONNET},
    "immense batch": {"batch_size": 10**13, "default": SONNET},
    "fractional batch": {"batch_size": 1.5, "default": SONNET},
    "no input price": {"batch_size": 1, "default": {"output_price": 3}},
    "no flat input price": {"batch_size": 1, "output_price": 3},
    "default is a list": {"batch_size": 1, "default": [SONNET]},
    "negative price": {"batch_size": 1, "default": {"input_price": -1}},
    "a price in words": {"batch_size": 1, "default": {"input_price": "cheap"}},
    "not a number": {"batch_size": 1, "default": {"input_price": "NaN"}},
    "infinite": {"batch_size": 1, "default": {"input_price": "Infinity"}},
}


@pytest.mark.parametrize("listed", NO_PRICES.values(), ids=NO_PRICES.keys())
def test_prices_that_cannot_be_used(listed: object) -> None:
    """A catalog without usable prices costs nothing, and hides no model."""
    model = model_with({"multiplier": 1, "token_prices": listed})
    assert prices_of(model) is None
    assert price(Tokens(fresh=5), model, by_user=True).nano_credits == 0


@pytest.mark.parametrize("number", [b"1e999999999", b"1e-999999999", b"1e19"])
def test_monstrous_prices(number: bytes) -> None:
    """A number that would take all memory when it is written out is no price."""
    model = model_with(b'{"token_prices":{"batch_size":1,"default":{"input_price":%s}}}' % number)
    assert prices_of(model) is None


def test_a_model_without_billing() -> None:
    """Nothing is known, so nothing is charged."""
    assert price(Tokens(fresh=5), Model(id="m"), by_user=True) == Usage(fresh=5)


def test_no_answer_costs_more_than_the_most() -> None:
    """The sum stays a number that a ledger can add up."""
    model = priced(batch=1, default={"input_price": 10**9})
    assert price(Tokens(fresh=MOST_TOKENS), model, by_user=False).nano_credits == MOST_NANO


amounts = st.decimals(min_value=0, max_value=10_000, places=6).map(str)
counts = st.integers(0, 10**7)


@settings(max_examples=150, deadline=None)
@given(
    batch=st.integers(1, 10**7),
    costs=st.tuples(amounts, amounts, amounts, amounts),
    used=st.tuples(counts, counts, counts, counts),
)
def test_prices_are_exact(batch: int, costs: tuple[str, ...], used: tuple[int, ...]) -> None:
    """The price is the exact sum of fractions, rounded once, half up."""
    names = ("input_price", "cache_price", "cache_write_price", "output_price")
    tier = ",".join(f'"{name}":{cost}' for name, cost in zip(names, costs, strict=True))
    model = model_with(b'{"token_prices":{"batch_size":%d,"default":{%s}}}' % (batch, tier.encode()))
    tokens = Tokens(**dict(zip(("fresh", "cache_read", "cache_write", "output"), used, strict=True)))
    exact = sum((Fraction(cost) * count for cost, count in zip(costs, used, strict=True)), Fraction()) * 10**9 / batch
    nano = price(tokens, model, by_user=False).nano_credits
    assert nano == min(int(exact + Fraction(1, 2)), MOST_NANO)


@settings(max_examples=50, deadline=None)
@given(used=st.tuples(counts, counts), more=counts)
def test_more_tokens_never_cost_less(used: tuple[int, int], more: int) -> None:
    """Prices grow with each kind of token."""
    prices = prices_of(priced(default=SONNET))
    assert isinstance(prices, Prices)
    less = prices.nano(Tokens(fresh=used[0], output=used[1]))
    assert prices.nano(Tokens(fresh=used[0] + more, output=used[1])) >= less
    assert prices.nano(Tokens(fresh=used[0], output=used[1] + more)) >= less


@pytest.mark.parametrize(
    ("body", "max_output", "limits", "prompt", "output"),
    [
        (0, None, {}, 0, 4096),
        (1, 1, {}, 1, 1),
        (38, 100, {}, 10, 100),
        (39, 100, {}, 11, 100),
        (380, None, {"max_output_tokens": 1000}, 100, 1000),
        (380, 500, {"max_output_tokens": 1000}, 100, 500),
        (380, 5000, {"max_output_tokens": 1000}, 100, 1000),
        (380, 5, {"max_output_tokens": -1}, 100, 0),
        (3_000_000, 5, {"max_context_window_tokens": 128_000}, 128_000, 5),
        (380, 5, {"max_context_window_tokens": 0}, 100, 5),
    ],
)
def test_estimates(body: int, max_output: int | None, limits: dict[str, int], prompt: int, output: int) -> None:
    """A request of so many bytes is taken for 3.8 bytes a token, and an answer for as long as it may be."""
    model = model_with({"multiplier": 2, "token_prices": {"batch_size": 1, "default": {"input_price": 1}}}, **limits)
    assert estimate(body, max_output, model) == Usage(
        fresh=prompt,
        output=output,
        nano_credits=(prompt + output) * 10**9,
        nano_premium=2 * 10**9,
        priced_by=PricedBy.ESTIMATE,
    )
    assert estimate(body, max_output, model, by_user=False).nano_premium == 0


def test_embeddings_have_no_output() -> None:
    """The estimate of an embeddings request is its input."""
    (model,) = parse_catalog(b'{"data":[{"id":"e","capabilities":{"type":"embeddings"}}]}')
    assert estimate(380, None, model) == Usage(fresh=100, priced_by=PricedBy.ESTIMATE)


@pytest.mark.parametrize(
    ("told", "stream", "size", "fresh", "output"),
    [
        (None, True, 0, 100, 0),
        (None, True, 10 * STREAM_BYTES_PER_TOKEN + 1, 100, 11),
        (None, False, 38, 100, 10),
        (Tokens(fresh=7, cache_read=3, output=1, final=False), True, 400, 7, 10),
        (Tokens(fresh=7, cache_read=3, output=20, nano_credits=1), True, 400, 7, 20),
    ],
)
def test_broken_answers(told: Tokens | None, stream: bool, size: int, fresh: int, output: int) -> None:
    """What was told is kept, the rest is guessed from the bytes, and the price says that it is a guess."""
    model = priced(batch=1, default={"input_price": 1, "cache_price": 0})
    usage = estimate_broken(told, model, body_bytes=380, answer_bytes=size, stream=stream, by_user=False)
    assert (usage.fresh, usage.output, usage.priced_by) == (fresh, output, PricedBy.ESTIMATE)
    assert usage.nano_credits == (fresh + output) * 10**9


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        (b"{}", None),
        (b'{"max_tokens":5}', 5),
        (b'{"max_completion_tokens":6}', 6),
        (b'{"max_output_tokens":7}', 7),
        (b'{"max_tokens":null,"max_completion_tokens":6}', 6),
        (b'{"max_tokens":"9","max_output_tokens":-1}', None),
        (b'{"max_tokens":1.5}', None),
        (b'{"max_tokens":0}', 0),
        (b'{"max_tokens":99999999999999999999}', MOST_TOKENS),
    ],
)
def test_the_limit_that_a_request_names(body: bytes, limit: int | None) -> None:
    """The limit is found under its three names; what is no number is no limit."""
    assert max_output_of(read_object(body)) == limit
