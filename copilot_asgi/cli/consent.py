"""What a person is told before the editor's identity is used, and their answer.

Rule: plain words, once; nothing but a yes counts as one, and it is kept so that nobody is asked twice.
"""

import time

import click

from copilot_asgi.cli import terminal
from copilot_asgi.cli.session import with_upstream
from copilot_asgi.config import IdentityKind, Settings
from copilot_asgi.credentials.consent import Consent, read_consent, record_consent
from copilot_asgi.errors import CopilotASGIError
from copilot_asgi.upstream.client import Upstream

__all__ = ["EDITOR_WARNING", "ensure_consent"]

EXPLANATION = (
    (
        "GitHub Copilot's API is not published for programs like this one. With the setting identity = editor, this "
        "program presents itself to Copilot as a code editor. Before you agree, know that this"
    ),
    "  - is not supported by GitHub and may stop working on any day,",
    "  - may be against GitHub's terms, and",
    "  - may lead to the suspension of your Copilot access or of your account.",
    (
        "It is meant for one person, on this machine, with that person's own subscription: no sharing, no pooling of "
        "accounts, no bulk use. The alternative is identity = own_app: a GitHub app of your own, under its own name."
    ),
)

EDITOR_WARNING = (
    "identity = editor: Copilot sees a code editor. GitHub does not support this and may suspend the account. "
    "It is for one person on this machine."
)


def ensure_consent(settings: Settings, *, accepted: bool) -> None:
    """Go on only with a person's yes to the editor's identity, given now, before, or by an option (``accepted``).

    Raises ``CopilotASGIError`` when nobody can be asked and ``click.Abort`` when the answer is no.
    """
    if settings.identity is not IdentityKind.EDITOR or with_upstream(settings, _has_consent):
        return
    if not accepted:
        _ask()

    async def record(upstream: Upstream) -> None:
        await record_consent(upstream.store, Consent(given_at=time.time(), given_in="login"))

    with_upstream(settings, record)


def _ask() -> None:
    if not terminal.is_interactive():
        raise CopilotASGIError(
            "The editor identity needs your consent, and there is no terminal to ask on. Run copilot-asgi login in a "
            "terminal, or read what it says about the risk and pass --accept-editor-identity."
        )
    for line in EXPLANATION:
        terminal.note(line)
    if not click.confirm("Use the editor identity for yourself on this machine?", default=False, err=True):
        terminal.note("Nothing was sent. For an app of your own: --identity own_app --client-id ... --user-agent ...")
        raise click.Abort


async def _has_consent(upstream: Upstream) -> bool:
    return await read_consent(upstream.store) is not None
