"""``copilot-asgi keys``: keys for callers, each with terms of its own.

Rule: a key is printed once, by the command that makes it; neither a key nor its digest is printed by any other.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import click
from rich.text import Text

from copilot_asgi.callers.key_record import KeyRecord, make_key, parse_expiry
from copilot_asgi.callers.key_ring import KeyRing
from copilot_asgi.cli import terminal
from copilot_asgi.cli.options import with_settings
from copilot_asgi.cli.session import with_upstream
from copilot_asgi.config_sources import Loaded
from copilot_asgi.errors import ConfigError, CopilotASGIError
from copilot_asgi.secret import Secret
from copilot_asgi.upstream.client import Upstream

__all__ = ["keys"]

COLUMNS = ("name", "admin", "models", "rate limits", "budgets", "at once", "expires", "created")


@click.group()
def keys() -> None:
    """Give callers keys of their own, with limits, and take them back.

    A server that is running notices within five seconds. Once there is a key, every caller needs one, also on this
    machine.
    """


@keys.command()
@click.argument("name")
@click.option("--models", multiple=True, metavar="PATTERN", help="Models it may use, such as gpt-5-mini or claude-*.")
@click.option("--rate-limit", multiple=True, metavar="TEXT", help="A limit, such as 60/min or 200000 tokens/hour.")
@click.option("--budget", multiple=True, metavar="TEXT", help="What it may spend, such as 20 credits/day.")
@click.option("--max-concurrent", type=int, metavar="N", help="Model calls that may be under way at once.")
@click.option("--expires", metavar="WHEN", help="12h, 30d or 8w from now, or the start of a day in UTC (2027-01-31).")
@click.option("--admin", is_flag=True, help="It may approve requests and see everybody's usage.")
@click.option("--json", "as_json", is_flag=True, help="Print the key and its terms as JSON.")
@with_settings("data_dir")
def add(
    loaded: Loaded,
    *,
    name: str,
    models: tuple[str, ...],
    rate_limit: tuple[str, ...],
    budget: tuple[str, ...],
    max_concurrent: int | None,
    expires: str | None,
    admin: bool,
    as_json: bool,
) -> None:
    """Make a key for NAME and print it, this once.

    --models, --rate-limit and --budget may be given several times, or with commas; limits hold beside those of the
    settings.
    """
    now = time.time()
    key, record = make_key(
        name,
        now=now,
        expires_at=None if expires is None else parse_expiry(expires, now=now),
        admin=admin,
        models=_listed(models),
        rate_limits=_listed(rate_limit),
        budgets=_listed(budget),
        max_concurrent=max_concurrent,
    )

    async def work(upstream: Upstream) -> None:
        await KeyRing(upstream.store).add(record)

    with_upstream(loaded.settings, work)
    if as_json:
        terminal.say_json({**_shown(record), "key": key.reveal()})
    else:
        _say_key(key, record)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings("data_dir")
def list_keys(loaded: Loaded, *, as_json: bool) -> None:
    """List the keys that were made, with their terms. Those of the setting api_keys are not among them."""
    records = with_upstream(loaded.settings, _records)
    if as_json:
        terminal.say_json([_shown(record) for record in records])
    elif records:
        terminal.say_table(COLUMNS, [_cells(record, time.time()) for record in records], numbers=("expires", "created"))
    else:
        terminal.say("There are no keys. Make one: copilot-asgi keys add NAME")


@keys.command()
@click.argument("name")
@with_settings("data_dir")
def revoke(loaded: Loaded, *, name: str) -> None:
    """Make the key of NAME useless."""

    async def work(upstream: Upstream) -> tuple[bool, tuple[KeyRecord, ...]]:
        return await KeyRing(upstream.store).revoke(name), await _records(upstream)

    revoked, left = with_upstream(loaded.settings, work)
    if not revoked:
        raise CopilotASGIError(f"There is no key called {name}. There are: {_names(left)}.")
    terminal.say(f"Revoked {name}.")
    if not left and not loaded.settings.api_keys:
        terminal.note("No key is left: callers on this machine need none now, and others are not served.")


async def _records(upstream: Upstream) -> tuple[KeyRecord, ...]:
    return await KeyRing(upstream.store).records()


def _say_key(key: Secret, record: KeyRecord) -> None:
    # Never broken into lines, however narrow the terminal: it is copied, or read by a script.
    terminal.console().print(Text(key.reveal()), soft_wrap=True)
    terminal.note(f"This is the key of {record.name}. It is not kept and cannot be shown again.")
    terminal.note("Callers send it in the Authorization header (scheme Bearer) or in x-api-key.")
    terminal.note("From now on every caller needs a key, also on this machine.")


def _listed(given: Sequence[str]) -> tuple[str, ...]:
    """What was given, one by one or with commas, as in the settings.

    Raises ``ConfigError`` for an option that holds nothing: it would leave the key without that limit.
    """
    listed = tuple(item.strip() for text in given for item in text.split(",") if item.strip())
    if given and not listed:
        raise ConfigError("An option for a limit is empty. Leave it out for no limit, or say which.")
    return listed


def _names(records: Sequence[KeyRecord]) -> str:
    return ", ".join(record.name for record in records) or "none"


def _shown(record: KeyRecord) -> dict[str, object]:
    """Field by field: what a record gets one day is not shown before somebody decides so."""
    return {
        "name": record.name,
        "admin": record.admin,
        "models": list(record.models),
        "rate_limits": list(record.rate_limits),
        "budgets": list(record.budgets),
        "max_concurrent": record.max_concurrent,
        "expires_at": None if record.expires_at is None else _moment(record.expires_at).isoformat(),
        "created_at": _moment(record.created_at).isoformat(),
    }


def _cells(record: KeyRecord, now: float) -> tuple[str, ...]:
    return (
        record.name,
        "yes" if record.admin else "",
        ", ".join(record.models) or "all",
        ", ".join(record.rate_limits),
        ", ".join(record.budgets),
        "" if record.max_concurrent is None else str(record.max_concurrent),
        _expiry(record.expires_at, now),
        f"{_moment(record.created_at):%Y-%m-%d}",
    )


def _expiry(expires_at: float | None, now: float) -> str:
    if expires_at is None:
        return "never"
    return f"{_moment(expires_at):%Y-%m-%d %H:%M} UTC{' (expired)' if expires_at <= now else ''}"


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
