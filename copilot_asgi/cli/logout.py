"""``copilot-asgi logout``: forget a login."""

import click

from copilot_asgi.cli import terminal
from copilot_asgi.cli.options import with_settings
from copilot_asgi.cli.session import with_upstream
from copilot_asgi.config_sources import Loaded
from copilot_asgi.credentials.accounts import Account
from copilot_asgi.credentials.consent import withdraw_consent
from copilot_asgi.errors import CopilotASGIError
from copilot_asgi.upstream.client import Upstream

__all__ = ["logout"]


@click.command()
@click.option("--login", "name", metavar="NAME", help="The GitHub login to forget; by default the one in use.")
@click.option("--all", "everything", is_flag=True, help="Forget every login, and the consent to the editor identity.")
@with_settings("data_dir")
def logout(loaded: Loaded, *, name: str | None, everything: bool) -> None:
    """Forget a GitHub login and its tokens on this machine.

    GitHub still lists the app under Settings, Applications, Authorized OAuth/GitHub Apps; revoke it there as well to
    make the token useless everywhere.
    """
    if name is not None and everything:
        raise click.UsageError("Use --login or --all, not both.")

    async def work(upstream: Upstream) -> tuple[Account, ...]:
        accounts = await upstream.accounts.list()
        chosen = accounts if everything else _chosen(accounts, name)
        for account in chosen:
            await upstream.accounts.remove(account.login, host=account.host)
        if everything:
            await withdraw_consent(upstream.store)
        return chosen

    forgotten = with_upstream(loaded.settings, work)
    for account in forgotten:
        terminal.say(f"Signed out {account.login} ({account.host}).")
    if not forgotten:
        terminal.say("Nobody was signed in.")
    if loaded.settings.github_token is not None:
        source = loaded.sources["github_token"]
        terminal.warn(f"github_token is still set (by {source}) and stays in use until it is removed there.")


def _chosen(accounts: tuple[Account, ...], name: str | None) -> tuple[Account, ...]:
    if name is None:
        return accounts[:1]
    chosen = tuple(account for account in accounts if account.login.lower() == name.lower())
    if not chosen:
        known = ", ".join(account.login for account in accounts) or "nobody"
        raise CopilotASGIError(f"{name} is not signed in here. Signed in: {known}.")
    return chosen
