"""``copilot-asgi login``: from no account to one that has been seen to work."""

import os
import sys
import time

import click
from msgspec import Struct

from copilot_asgi.cli import terminal
from copilot_asgi.cli.consent import ensure_consent
from copilot_asgi.cli.device_login import sign_in
from copilot_asgi.cli.importing import ASK, choose_token
from copilot_asgi.cli.options import UPSTREAM, with_settings
from copilot_asgi.cli.session import with_upstream
from copilot_asgi.config import Settings
from copilot_asgi.config_sources import Loaded
from copilot_asgi.credentials.accounts import Account
from copilot_asgi.credentials.github_user import GitHubUser, fetch_user
from copilot_asgi.errors import CopilotASGIError, CredentialError
from copilot_asgi.secret import Secret
from copilot_asgi.upstream.client import Upstream

__all__ = ["login", "sign_in_here"]


class Grant(Struct, frozen=True):
    """A GitHub token and where it came from."""

    token: Secret
    source: str


@click.command()
@click.option("--browser/--no-browser", default=None, help="Open GitHub's page here. By default you are asked.")
@click.option("--import", "import_from", is_flag=False, flag_value=ASK, metavar="[NUMBER]",
              help="Take over the token of another tool on this machine.")  # fmt: skip
@click.option("--yes", is_flag=True, help="With --import: take the first one found.")
@click.option("--token-stdin", is_flag=True, help="Read a GitHub token from standard input.")
@click.option("--accept-editor-identity", "accepted", is_flag=True,
              help="I know the risk of the editor identity and use it for myself only (for scripts).")  # fmt: skip
@with_settings(*UPSTREAM)
def login(
    loaded: Loaded, *, browser: bool | None, import_from: str | None, yes: bool, token_stdin: bool, accepted: bool
) -> None:
    """Sign in to GitHub and check that Copilot works.

    You get a code to enter on GitHub's page, on this or any other device. The token is kept in the data directory,
    readable by you only.
    """
    settings = loaded.settings
    if token_stdin and import_from is not None:
        raise click.UsageError("Use --import or --token-stdin, not both.")
    if token_stdin:
        given = Grant(_read_token(), "stdin")
    elif import_from is not None:
        found = choose_token(settings, choice=import_from, yes=yes)
        given = Grant(found.token, found.source)
    else:
        return sign_in_here(settings, browser=browser, accepted=accepted)
    ensure_consent(settings, accepted=accepted)
    return _keep(settings, given)


def sign_in_here(settings: Settings, *, browser: bool | None, accepted: bool) -> None:
    """Consent, device flow, account kept, one Copilot token fetched. Raises ``CopilotASGIError`` or ``click.Abort``."""
    ensure_consent(settings, accepted=accepted)
    wanted = _wants_browser() if browser is None else browser

    async def work(upstream: Upstream) -> Secret:
        return await sign_in(upstream, browser=wanted)

    _keep(settings, Grant(with_upstream(settings, work), "login"))


def _wants_browser() -> bool:
    """Asked before the code is there: while an event loop runs, a prompt would not see Ctrl-C."""
    remote = any(os.environ.get(name) for name in ("SSH_CONNECTION", "SSH_TTY"))
    if remote or not terminal.is_interactive():
        return False
    return click.confirm("Open GitHub's page in a browser here?", default=False, err=True)


def _read_token() -> Secret:
    if sys.stdin.isatty():
        terminal.note("Paste the GitHub token, then press Enter:")
    token = sys.stdin.readline().strip()
    if not token:
        raise CopilotASGIError("No token came on standard input.")
    return Secret(token)


def _keep(settings: Settings, grant: Grant) -> None:
    async def work(upstream: Upstream) -> tuple[GitHubUser, CredentialError | None]:
        opened = await upstream.opened()
        user = await fetch_user(opened.http.fetch, grant.token, upstream.hosts, upstream.identity)
        account = Account(
            login=user.login,
            github_token=grant.token,
            host=upstream.hosts.name,
            source=grant.source,
            identity=upstream.identity.name,
            added_at=time.time(),
        )
        await upstream.accounts.add(account)
        try:
            await opened.credentials.credential(account)
        except CredentialError as error:
            return user, error
        return user, None

    _tell(*with_upstream(settings, work))


def _tell(user: GitHubUser, failure: CredentialError | None) -> None:
    terminal.say(f"Signed in as {user.login} ({user.plan or 'unknown'} plan).")
    if failure is not None:
        terminal.note("The sign-in is kept, but Copilot does not work with it yet.")
        raise failure
    terminal.say("Copilot works. Next: copilot-asgi serve")
