"""Money is exact: the catalog's decimals, multiplied, rounded once."""

from fractions import Fraction

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_asgi.pricing import (
    MOST_ANSWERS,
    STREAM_BYTES_PER_TOKEN,
    USUAL_OUTPUT,
    OutputAsked,
    PricedBy,
    Usage,
    estimate,
    estimate_broken,
    estimate_prompt,
    output_asked,
    price,
)
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.models import Model, parse_catalog
from copilot_asgi.wire.prices import Prices
from copilot_asgi.wire.shallow import read_object
from copilot_asgi.wire.usage import MOST_NANO, MOST_TOKENS, Tokens

SONNET = {"input_price": 300, "cache_price": 30, "cache_write_price": 375, "output_price": 1500}


def model_with(billing: object, *, supports: object = None, **limits: object) -> Model:
    """A model as it comes out of a catalog with that ``billing``, given as JSON text or as values."""
    text = billing if isinstance(billing, bytes) else msgspec.json.encode(billing)
    capabilities = msgspec.json.encode({"type": "chat", "limits": limits, "supports": supports})
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
    assert model.billing.prices is None
    assert price(Tokens(fresh=5), model, by_user=True).nano_credits == 0


@pytest.mark.parametrize("number", [b"1e999999999", b"1e-999999999", b"1e19"])
def test_monstrous_prices(number: bytes) -> None:
    """A number that would take all memory when it is written out is no price."""
    model = model_with(b'{"token_prices":{"batch_size":1,"default":{"input_price":%s}}}' % number)
    assert model.billing.prices is None


def test_prices_are_read_once() -> None:
    """Whoever asks for a model's prices gets those that were read for the first."""
    model = priced(default=SONNET)
    assert model.billing.prices is model.billing.prices
    assert msgspec.structs.replace(model, name="copy").billing.prices is model.billing.prices


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
    prices = priced(default=SONNET).billing.prices
    assert isinstance(prices, Prices)
    less = prices.nano(Tokens(fresh=used[0], output=used[1]))
    assert prices.nano(Tokens(fresh=used[0] + more, output=used[1])) >= less
    assert prices.nano(Tokens(fresh=used[0], output=used[1] + more)) >= less


@pytest.mark.parametrize(
    ("body", "asked", "limits", "prompt", "output"),
    [
        (0, OutputAsked(), {}, 0, 4096),
        (0, OutputAsked(answers=3), {}, 0, 3 * 4096),
        (1, OutputAsked(limit=1), {}, 1, 1),
        (38, OutputAsked(limit=100), {}, 10, 100),
        (39, OutputAsked(limit=100), {}, 11, 100),
        (380, OutputAsked(), {"max_output_tokens": 1000}, 100, 1000),
        (380, OutputAsked(limit=500), {"max_output_tokens": 1000}, 100, 500),
        (380, OutputAsked(limit=5000), {"max_output_tokens": 1000}, 100, 1000),
        (380, OutputAsked(limit=5000, answers=4), {"max_output_tokens": 1000}, 100, 4000),
        (380, OutputAsked(limit=5), {"max_output_tokens": -1}, 100, 0),
        (3_000_000, OutputAsked(limit=5), {"max_context_window_tokens": 128_000}, 128_000, 5),
        (380, OutputAsked(limit=5), {"max_context_window_tokens": 0}, 100, 5),
    ],
)
def test_estimates(body: int, asked: OutputAsked, limits: dict[str, int], prompt: int, output: int) -> None:
    """A request of so many bytes is taken for 3.8 bytes a token, and each answer for as long as it may be."""
    model = model_with({"multiplier": 2, "token_prices": {"batch_size": 1, "default": {"input_price": 1}}}, **limits)
    assert estimate(body, asked, model) == Usage(
        fresh=prompt,
        output=output,
        nano_credits=(prompt + output) * 10**9,
        nano_premium=2 * 10**9,
        priced_by=PricedBy.ESTIMATE,
    )


def test_embeddings_have_no_output() -> None:
    """The estimate of an embeddings request is its input."""
    (model,) = parse_catalog(b'{"data":[{"id":"e","capabilities":{"type":"embeddings"}}]}')
    assert estimate(380, OutputAsked(), model) == Usage(fresh=100, priced_by=PricedBy.ESTIMATE)


def test_an_estimate_stays_a_number_of_tokens() -> None:
    """Many answers of immense length are as many tokens as anything can have."""
    immense = OutputAsked(limit=MOST_TOKENS, answers=MOST_ANSWERS)
    assert estimate(0, immense, priced(default=SONNET)).output == MOST_TOKENS


@pytest.mark.parametrize(("by_user", "premium"), [(True, 10**9), (False, 0)])
def test_the_prompt_alone(*, by_user: bool, premium: int) -> None:
    """Of a request that may have been read the input is counted, and the user's turn, but no output."""
    usage = estimate_prompt(380, priced(batch=1, default={"input_price": 1}), by_user=by_user)
    assert usage == Usage(fresh=100, nano_credits=100 * 10**9, nano_premium=premium, priced_by=PricedBy.ESTIMATE)


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
    usage = estimate_broken(
        told, model, asked=OutputAsked(), body_bytes=380, answer_bytes=size, stream=stream, by_user=False
    )
    assert (usage.fresh, usage.output, usage.priced_by) == (fresh, output, PricedBy.ESTIMATE)
    assert usage.nano_credits == (fresh + output) * 10**9


@pytest.mark.parametrize(
    ("supports", "reasons"),
    [
        ({"reasoning_effort": ["low", "high"]}, True),
        ({"thinking": True}, True),
        ({"adaptive_thinking": True}, True),
        ({"max_thinking_budget": 32_000}, True),
        ({"reasoning_effort": [], "thinking": False, "adaptive_thinking": False, "max_thinking_budget": 0}, False),
        (None, False),
    ],
)
@pytest.mark.parametrize(
    ("asked", "told", "size", "output"),
    [
        (OutputAsked(limit=30_000), None, 400, 4096),
        (OutputAsked(limit=30_000, answers=2), None, 400, 8192),
        (OutputAsked(limit=3_000, answers=2), None, 400, 6_000),
        (OutputAsked(), Tokens(fresh=7, output=1, final=False), 400, 4096),
        (OutputAsked(limit=5), None, 400, 10),
        (OutputAsked(limit=5), Tokens(output=20, final=False), 400, 20),
    ],
)
def test_hidden_tokens_of_a_broken_answer(
    supports: object, asked: OutputAsked, told: Tokens | None, size: int, output: int, *, reasons: bool
) -> None:
    """A model that reasons has used the usual output, where it was allowed so much; of others the bytes count."""
    model = model_with({}, supports=supports, max_output_tokens=20_000)
    usage = estimate_broken(told, model, asked=asked, body_bytes=380, answer_bytes=size, stream=True, by_user=False)
    seen = max(10, told.output if told else 0)
    assert usage.output == (output if reasons else seen)


BOUNDED = {
    "chat": (Dialect.CHAT, b'{"max_tokens":5}', 5),
    "chat, newer": (Dialect.CHAT, b'{"max_completion_tokens":6}', 6),
    "messages": (Dialect.MESSAGES, b'{"max_tokens":5}', 5),
    "responses": (Dialect.RESPONSES, b'{"max_output_tokens":7}', 7),
    "gemini": (Dialect.GEMINI, b'{"generationConfig":{"maxOutputTokens":8}}', 8),
    "gemini, protobuf": (Dialect.GEMINI, b'{"generation_config":{"max_output_tokens":8}}', 8),
    "ollama": (Dialect.OLLAMA, b'{"options":{"num_predict":9}}', 9),
    "both": (Dialect.CHAT, b'{"max_tokens":1,"max_completion_tokens":64000}', 64_000),
    "both, other order": (Dialect.CHAT, b'{"max_completion_tokens":64000,"max_tokens":1}', 64_000),
    "of another dialect too": (Dialect.MESSAGES, b'{"max_tokens":1,"max_output_tokens":64000}', 64_000),
    "anywhere": (Dialect.CHAT, b'{"max_tokens":1,"options":{"num_predict":9}}', 9),
    "twice": (
        Dialect.GEMINI,
        b'{"generationConfig":{"maxOutputTokens":1},"generation_config":{"max_output_tokens":9}}',
        9,
    ),
    "spelled oddly": (
        Dialect.GEMINI,
        b'{"generationConfig":{"maxOutputTokens":1},"_generation__config":{"max__output_tokens":64000}}',
        64_000,
    ),
    "whole": (Dialect.CHAT, b'{"max_tokens":5.0,"max_completion_tokens":6e1}', 60),
    "immense": (Dialect.CHAT, b'{"max_tokens":99999999999999999999}', MOST_TOKENS),
}


@pytest.mark.parametrize(("dialect", "body", "limit"), BOUNDED.values(), ids=BOUNDED.keys())
def test_the_limit_is_the_largest_that_is_named(dialect: Dialect, body: bytes, limit: int) -> None:
    """Whichever of its words upstream goes by, no answer is longer than what is read; no word hides another."""
    assert output_asked(read_object(body), dialect) == OutputAsked(limit=limit)


UNBOUNDED = {
    "nothing": (Dialect.CHAT, b"{}"),
    "embeddings": (Dialect.EMBEDDINGS, b'{"input":"x"}'),
    "without end": (Dialect.OLLAMA, b'{"options":{"num_predict":-1}}'),
    "zero": (Dialect.OLLAMA, b'{"options":{"num_predict":0}}'),
    "text": (Dialect.CHAT, b'{"max_tokens":"9"}'),
    "a fraction": (Dialect.CHAT, b'{"max_tokens":1.5}'),
    "beyond all numbers": (Dialect.CHAT, b'{"max_tokens":1e999}'),
    "one of two": (Dialect.CHAT, b'{"max_tokens":1,"max_completion_tokens":-1}'),
    "null, which replaces the other": (Dialect.CHAT, b'{"max_tokens":1,"max_completion_tokens":null}'),
    "chat by another name": (Dialect.CHAT, b'{"max_output_tokens":1}'),
    "chat in camelCase": (Dialect.CHAT, b'{"maxTokens":1}'),
    "responses by another name": (Dialect.RESPONSES, b'{"max_tokens":1}'),
    "gemini in another place": (Dialect.GEMINI, b'{"max_output_tokens":1,"options":{"max_output_tokens":1}}'),
    "gemini in one of two places": (
        Dialect.GEMINI,
        b'{"generationConfig":{"maxOutputTokens":1},"generation_config":{}}',
    ),
    "ollama in another place": (Dialect.OLLAMA, b'{"num_predict":1,"options":{}}'),
    "no object": (Dialect.OLLAMA, b'{"num_predict":1,"options":[{"num_predict":1}]}'),
}


@pytest.mark.parametrize(("dialect", "body"), UNBOUNDED.values(), ids=UNBOUNDED.keys())
def test_without_a_bound_the_usual_output_is_the_least(dialect: Dialect, body: bytes) -> None:
    """What is no number bounds nothing, nor does what this dialect's upstream would not look at."""
    assert output_asked(read_object(body), dialect) == OutputAsked(limit=USUAL_OUTPUT)


@pytest.mark.parametrize(
    ("dialect", "body", "answers"),
    [
        (Dialect.CHAT, b'{"n":3}', 3),
        (Dialect.CHAT, b'{"n":4.0}', 4),
        (Dialect.CHAT, b'{"n":1000000}', MOST_ANSWERS),
        (Dialect.CHAT, b'{"n":0}', 1),
        (Dialect.CHAT, b'{"n":null}', 1),
        (Dialect.CHAT, b'{"n":"2"}', 1),
        (Dialect.CHAT, b'{"n":2,"candidate_count":3}', 3),
        (Dialect.GEMINI, b'{"generationConfig":{"candidateCount":5},"n":2}', 5),
        (Dialect.GEMINI, b'{"generation_config":{"candidate_count":6}}', 6),
    ],
)
def test_the_number_of_answers(dialect: Dialect, body: bytes, answers: int) -> None:
    """The largest count that is named, within reason; without one there is one answer."""
    assert output_asked(read_object(body), dialect) == OutputAsked(answers=answers)


numbers = st.one_of(st.integers(-2, 10**6), st.none(), st.just("7"), st.just(1.5))


@settings(max_examples=100, deadline=None)
@given(
    named=st.dictionaries(st.sampled_from(["max_tokens", "max_completion_tokens", "max_output_tokens", "n"]), numbers),
    more=st.dictionaries(st.sampled_from(["maxTokens", "options", "generationConfig", "candidateCount"]), numbers),
    dialect=st.sampled_from([Dialect.CHAT, Dialect.MESSAGES, Dialect.RESPONSES]),
)
def test_no_further_word_lowers_the_estimate(
    named: dict[str, object], more: dict[str, object], dialect: Dialect
) -> None:
    """A client cannot talk an estimate down with names that its dialect does not have."""
    plain = output_asked(read_object(msgspec.json.encode(named)), dialect)
    talkative = output_asked(read_object(msgspec.json.encode(named | more)), dialect)
    assert talkative.limit >= plain.limit
    assert talkative.answers >= plain.answers
