"""``copilot-asgi usage``: what is left of the plan's allowances, and what was spent through us."""

import time
from functools import partial

import click
from msgspec import Struct, structs

from copilot_asgi.budgets import Period, period_start
from copilot_asgi.cli import terminal
from copilot_asgi.cli.options import UPSTREAM, with_settings
from copilot_asgi.cli.session import with_upstream
from copilot_asgi.config_sources import Loaded
from copilot_asgi.controls import ledger_path
from copilot_asgi.credentials.github_user import GitHubUser, Quota, fetch_user
from copilot_asgi.errors import CopilotASGIError
from copilot_asgi.ledger import By
from copilot_asgi.ledger.report import Line, Report, claims_of, report
from copilot_asgi.ledger.sqlite import SqliteLedger
from copilot_asgi.upstream.client import Upstream

__all__ = ["ask_user", "quota_cells", "usage"]

COLUMNS = ("allowance", "used", "of", "left", "beyond")
SPENDING = ("requests", "input", "cached", "output", "credits", "premium")
DAY = 86_400


class Usage(Struct, frozen=True):
    """What could be found out; an error stands where GitHub's answer is missing."""

    user: GitHubUser | CopilotASGIError
    spending: Report


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--by", type=click.Choice([by.value for by in By]), default=By.MODEL.value, show_default=True,
              help="What spending is told apart by.")  # fmt: skip
@click.option("--days", type=click.IntRange(1, 3660), help="Days back; by default the running month.")
@with_settings(*UPSTREAM, "budget", "budget_by")
def usage(loaded: Loaded, *, as_json: bool, by: str, days: int | None) -> None:
    """Show what is left of the plan's allowances, as GitHub tells it, and what was spent through this program.

    The exit status is 1 when GitHub cannot be asked; what was spent is shown all the same.
    """
    found = with_upstream(loaded.settings, partial(_ask, days=days))
    if as_json:
        user = {} if isinstance(found.user, CopilotASGIError) else structs.asdict(found.user)
        terminal.say_json({**user, "spending": found.spending})
    else:
        if isinstance(found.user, GitHubUser):
            _show_plan(found.user)
            terminal.say()
        _show_spending(found.spending, By(by))
    if isinstance(found.user, CopilotASGIError):
        raise found.user


def _show_plan(user: GitHubUser) -> None:
    reset = user.quota_reset or "at no known date"
    terminal.say(f"{user.login}: {user.plan or 'unknown'} plan, allowances reset {reset}")
    if user.token_based_billing:
        terminal.say("This plan is billed by tokens (AI credits), not by premium requests.")
    if user.quotas:
        terminal.say_table(COLUMNS, map(quota_cells, user.quotas))
    else:
        terminal.say("GitHub named no allowances.")


def _show_spending(spending: Report, by: By) -> None:
    if not spending.total.requests and not spending.unsettled:
        terminal.say(f"Nothing is on record as spent through this program since {spending.since}.")
        return
    lines = {
        By.MODEL: spending.models,
        By.CALLER: spending.callers,
        By.ACCOUNT: spending.accounts,
        By.DAY: spending.days,
    }
    rows = [_spending_cells(line) for line in (*lines[by], spending.total)]
    terminal.say(f"Spent through this program since {spending.since} (one credit is one US cent):")
    terminal.say_table((by.value, *SPENDING), rows, numbers=SPENDING)
    for budget in spending.budgets:
        terminal.say(f"budget {budget.budget}: {budget.used:.2f} of {budget.limit:g} used")
    if spending.total.estimated:
        terminal.say(f"{spending.total.estimated} of the prices are estimates: GitHub did not come to tell them.")
    if spending.unsettled:
        terminal.say(f"{spending.unsettled} requests are under way, or were cut off and never settled.")


def _spending_cells(line: Line) -> tuple[str, ...]:
    cached = "" if line.cache_hit_rate is None else f"{line.cache_hit_rate:.0%}"
    counts = (f"{line.requests}", f"{line.input_tokens}", cached, f"{line.output_tokens}")
    return (line.name, *counts, f"{line.credits:.3f}", f"{line.premium_requests:g}")


async def _ask(upstream: Upstream, *, days: int | None) -> Usage:
    settings = upstream.settings
    now = time.time()
    since = period_start(Period.MONTH, now) if days is None else period_start(Period.DAY, now - (days - 1) * DAY)
    ledger = SqliteLedger(ledger_path(settings))
    try:
        spending = await report(ledger, since, now=now, claims=claims_of(settings, None))
    finally:
        await ledger.close()
    try:
        return Usage(await ask_user(upstream), spending)
    except CopilotASGIError as error:
        return Usage(error, spending)


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
