"""``copilot-asgi usage``: what is left of the plan's allowances."""

import click

from copilot_asgi.cli import terminal
from copilot_asgi.cli.options import UPSTREAM, with_settings
from copilot_asgi.cli.session import with_upstream
from copilot_asgi.config_sources import Loaded
from copilot_asgi.credentials.github_user import GitHubUser, Quota, fetch_user
from copilot_asgi.upstream.client import Upstream

__all__ = ["ask_user", "quota_cells", "usage"]

COLUMNS = ("allowance", "used", "of", "left", "beyond")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*UPSTREAM)
def usage(loaded: Loaded, *, as_json: bool) -> None:
    """Show what is left of the plan's allowances, as GitHub tells it."""
    show = terminal.say_json if as_json else _show
    show(with_upstream(loaded.settings, ask_user))


def _show(user: GitHubUser) -> None:
    reset = user.quota_reset or "at no known date"
    terminal.say(f"{user.login}: {user.plan or 'unknown'} plan, allowances reset {reset}")
    if user.token_based_billing:
        terminal.say("This plan is billed by tokens (AI credits), not by premium requests.")
    if user.quotas:
        terminal.say_table(COLUMNS, map(quota_cells, user.quotas))
    else:
        terminal.say("GitHub named no allowances.")


async def ask_user(upstream: Upstream) -> GitHubUser:
    """What GitHub says about the account in use. Raises ``LoginRequired`` and whatever stops the question."""
    account = await upstream.resolve_account(None)
    opened = await upstream.opened()
    return await fetch_user(opened.http.fetch, account.github_token, upstream.hosts, upstream.identity)


def quota_cells(quota: Quota) -> tuple[str, ...]:
    """One allowance as cells of a table; a question mark is what GitHub did not say."""
    name = quota.id.replace("_", " ")
    if quota.unlimited:
        return (name, "", "unlimited", "", "")
    used = None if quota.entitlement is None or quota.remaining is None else quota.entitlement - quota.remaining
    left = "?" if quota.percent_remaining is None else f"{quota.percent_remaining:.1f} %"
    beyond = "allowed" if quota.overage_permitted else "not allowed"
    return (name, _amount(used), _amount(quota.entitlement), left, beyond)


def _amount(value: float | None) -> str:
    return "?" if value is None else f"{value:g}"
