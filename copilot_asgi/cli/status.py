"""``copilot-asgi status``: who is signed in, what works, and where everything is.

Rule: it never fails because something cannot be reached; it says what could not be asked, and why.
"""

import time

import click
from msgspec import Struct

from copilot_asgi._transport import chosen_engine
from copilot_asgi.cli import terminal
from copilot_asgi.cli.config import settings_file
from copilot_asgi.cli.options import UPSTREAM, with_settings
from copilot_asgi.cli.session import with_upstream
from copilot_asgi.cli.usage import COLUMNS, ask_user, quota_cells
from copilot_asgi.config import IdentityKind, TokenMode
from copilot_asgi.config_sources import Loaded
from copilot_asgi.credentials.accounts import Account
from copilot_asgi.credentials.consent import read_consent
from copilot_asgi.credentials.credential import api_url
from copilot_asgi.credentials.github_user import GitHubUser
from copilot_asgi.credentials.kept_tokens import KeptTokens
from copilot_asgi.credentials.lifetime import CopilotToken, credible_age
from copilot_asgi.errors import CopilotASGIError, LoginRequired
from copilot_asgi.upstream.client import Upstream, data_dir

__all__ = ["POSTURES", "account_text", "status", "token_text"]

POSTURES = {
    IdentityKind.EDITOR: "editor: Copilot sees a code editor; unsupported by GitHub, at your own risk, one person only",
    IdentityKind.OWN_APP: "own_app: your own GitHub app under its own name",
}


class Report(Struct, frozen=True):
    """What could be found out. An error stands where an answer is missing."""

    account: Account | CopilotASGIError
    user: GitHubUser | CopilotASGIError | None = None
    token: CopilotToken | None = None
    consent: bool = False


@click.command()
@with_settings(*UPSTREAM, "engine")
def status(loaded: Loaded) -> None:
    """Show who is signed in, the plan, the tokens, and where the files are.

    The exit status is 1 when nobody is signed in. Works without a network, and says what could not be asked.
    """
    _show(loaded, with_upstream(loaded.settings, _report))


def _show(loaded: Loaded, report: Report) -> None:
    for name, text in _lines(loaded, report):
        terminal.say(f"{name:<15}{text}")
    if isinstance(report.user, GitHubUser) and report.user.quotas:
        terminal.say()
        terminal.say_table(COLUMNS, map(quota_cells, report.user.quotas))
    if isinstance(report.account, CopilotASGIError):
        raise report.account


async def _report(upstream: Upstream) -> Report:
    try:
        account = await upstream.resolve_account(None)
        consent = await read_consent(upstream.store) is not None
    except CopilotASGIError as error:
        return Report(error)
    token = await KeptTokens(upstream.store).load(account)
    try:
        return Report(account, await ask_user(upstream), token, consent)
    except CopilotASGIError as error:
        return Report(account, error, token, consent)


def _lines(loaded: Loaded, report: Report) -> list[tuple[str, str]]:
    settings = loaded.settings
    file = settings_file()
    consent = " (you agreed)" if report.consent and settings.identity is IdentityKind.EDITOR else ""
    lines = [("account", account_text(report.account))]
    if isinstance(report.account, Account):
        lines.append(("plan", _plan(report.user)))
        lines.append(("copilot token", token_text(settings.token_mode, report.token)))
    return [
        *lines,
        ("API", _api(loaded, report)),
        ("identity", POSTURES[settings.identity] + consent),
        ("token mode", settings.token_mode.value),
        ("engine", chosen_engine(settings.engine).value),
        ("data", str(data_dir(settings))),
        ("settings file", f"{file}{'' if file.exists() else ' (not there)'}"),
    ]


def account_text(account: Account | CopilotASGIError) -> str:
    """Who is signed in where, by what, and since when."""
    match account:
        case LoginRequired():
            return "nobody is signed in"
        case CopilotASGIError():
            return "cannot be read"
        case _:
            return f"{account.login} on {account.host}, from {account.source}{_since(account.added_at)}"


def _since(added_at: float) -> str:
    return time.strftime(", since %Y-%m-%d %H:%M", time.localtime(added_at)) if added_at else ""


def _plan(user: GitHubUser | CopilotASGIError | None) -> str:
    if isinstance(user, GitHubUser):
        reset = f", allowances reset {user.quota_reset}" if user.quota_reset else ""
        return f"{user.plan or 'unknown'}{reset}"
    return f"could not be asked: {user.message}" if user is not None else ""


def token_text(mode: TokenMode, token: CopilotToken | None) -> str:
    """How old the kept Copilot token is, if there is to be one."""
    if mode is TokenMode.DIRECT:
        return "none needed (the GitHub token is used directly)"
    age = None if token is None else credible_age(token, time.time())
    if token is None or age is None:
        return "none kept; the next request fetches one"
    left = token.lifetime.dead_after - age
    return f"{age / 60:.0f} min old, {f'expires in {left / 60:.0f} min' if left > 0 else 'expired'}"


def _api(loaded: Loaded, report: Report) -> str:
    named = report.token.endpoint if report.token is not None else None
    if named is None and isinstance(report.user, GitHubUser):
        named = report.user.endpoint
    return api_url(named, loaded.settings)
