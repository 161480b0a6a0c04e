"""``copilot-asgi models``: what the account may use, and what it costs."""

from collections.abc import Iterable
from typing import Annotated

import click
import msgspec

from copilot_asgi.cli import terminal
from copilot_asgi.cli.options import UPSTREAM, with_settings
from copilot_asgi.cli.session import with_upstream
from copilot_asgi.config_sources import Loaded
from copilot_asgi.upstream.client import Upstream
from copilot_asgi.wire.models import Model

__all__ = ["models"]

COLUMNS = ("model", "context", "output", "price", "APIs", "vendor")
NUMBERS = ("context", "output")

DOLLARS_A_CREDIT = 0.01


class _Prices(msgspec.Struct, frozen=True):
    input_price: float | None = None
    output_price: float | None = None


class _TokenPrices(_Prices, frozen=True):
    batch_size: Annotated[float, msgspec.Meta(gt=0)] = 1e6
    default: _Prices | None = None


class _Billing(msgspec.Struct, frozen=True):
    token_prices: _TokenPrices | None = None


class _Listed(msgspec.Struct, frozen=True):
    """The part of a catalog entry that says what tokens cost."""

    billing: _Billing | None = None


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the catalog's entries as JSON.")
@with_settings(*UPSTREAM)
def models(loaded: Loaded, *, as_json: bool) -> None:
    """List the models of the account: context window, longest answer, price, and the APIs each one speaks."""
    show = _show_json if as_json else _show
    show(with_upstream(loaded.settings, _catalog))


async def _catalog(upstream: Upstream) -> Iterable[Model]:
    opened = await upstream.opened()
    return (await opened.catalogs.get(await upstream.resolve_account(None))).models.values()


def _show_json(found: Iterable[Model]) -> None:
    terminal.say_json([msgspec.json.decode(model.raw) for model in found])


def _show(found: Iterable[Model]) -> None:
    listed = list(found)
    terminal.say_table(COLUMNS, [_cells(model) for model in listed], numbers=NUMBERS)
    if not all(model.is_enabled for model in listed):
        terminal.note("off: switched off for this account; enable it in your Copilot settings on GitHub.")


def _cells(model: Model) -> tuple[str, ...]:
    limits = model.limits
    spoken = ", ".join(dialect.value for dialect in model.dialects) or "not served"
    apis = spoken if model.is_enabled else f"{spoken} (off)"
    return (
        model.id,
        _tokens(limits.max_context_window_tokens),
        _tokens(limits.max_output_tokens),
        _price(model),
        apis,
        model.vendor or "",
    )


def _tokens(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _price(model: Model) -> str:
    """What a turn costs in premium requests, or what tokens cost in dollars, as far as the catalog says."""
    multiplier = model.billing and model.billing.multiplier
    parts = [] if multiplier is None else ["included" if multiplier == 0 else f"x{multiplier:g}"]
    try:
        listed = msgspec.json.decode(model.raw, type=_Listed).billing
    except msgspec.ValidationError:
        return "; ".join(parts)
    prices = listed and listed.token_prices
    if prices:
        parts.append(_per_million(prices))
    return "; ".join(part for part in parts if part)


def _per_million(prices: _TokenPrices) -> str:
    # Nested prices are AI credits (a cent each) for a batch of tokens; the older flat ones are billionths of a credit.
    nested = prices.default or _Prices(
        input_price=_credits(prices.input_price), output_price=_credits(prices.output_price)
    )
    if nested.input_price is None or nested.output_price is None:
        return ""
    factor = DOLLARS_A_CREDIT * 1e6 / prices.batch_size
    return f"${nested.input_price * factor:g} in, ${nested.output_price * factor:g} out per million tokens"


def _credits(billionths: float | None) -> float | None:
    return None if billionths is None else billionths / 1e9
