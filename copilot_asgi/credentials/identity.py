"""What we say we are upstream, as data.

Two postures, never blurred. ``own_app`` presents an app of your own under its own name: nothing in GitHub's published
terms promises that the API takes it, and the model list may be shorter. ``editor`` presents itself as an editor:
unsupported by GitHub, possibly against its terms, and accounts have been suspended for less; it is used only after the
person has said yes (see ``consent``), for that one person.

Rule: an identity holds no secret, and no machine or device id, real or made up. Calls to GitHub itself (sign-in, token,
user) always carry our honest ``User-Agent``.
"""

import msgspec

from copilot_asgi import __version__
from copilot_asgi.config import IdentityKind, Settings
from copilot_asgi.exchange import Headers

__all__ = ["Identity", "chosen_identity", "editor", "own_app"]

HONEST_USER_AGENT = f"copilot-asgi/{__version__}".encode()


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """A name, an OAuth client, and the constant headers of calls to GitHub (auth) and to Copilot (model)."""

    name: str
    client_id: str
    scope: str
    auth_headers: Headers
    model_headers: Headers


def editor() -> Identity:
    """The editor's identity: its OAuth client, and the header set without which exchanged tokens are refused."""
    return Identity(
        name=IdentityKind.EDITOR.value,
        client_id="Iv1.b507a08c87ecfe98",
        scope="read:user",
        auth_headers=_auth_headers(HONEST_USER_AGENT),
        model_headers=(
            (b"user-agent", b"GitHubCopilotChat/0.38.2"),
            (b"editor-version", b"vscode/1.110.1"),
            (b"editor-plugin-version", b"copilot-chat/0.38.2"),
            (b"copilot-integration-id", b"vscode-chat"),
            (b"x-github-api-version", b"2025-05-01"),
        ),
    )


def own_app(*, client_id: str, user_agent: str, integration_id: str | None = None) -> Identity:
    """The identity of your own GitHub app, without a single editor header."""
    name = user_agent.encode("ascii")
    integration = () if integration_id is None else ((b"copilot-integration-id", integration_id.encode("ascii")),)
    return Identity(
        name=IdentityKind.OWN_APP.value,
        client_id=client_id,
        scope="read:user",
        auth_headers=_auth_headers(name),
        model_headers=((b"user-agent", name), *integration, (b"x-github-api-version", b"2025-05-01")),
    )


def chosen_identity(settings: Settings) -> Identity:
    """The identity that the settings ask for; they have been checked to be complete."""
    if settings.identity is IdentityKind.EDITOR:
        return editor()
    return own_app(
        client_id=settings.client_id or "", user_agent=settings.user_agent or "", integration_id=settings.integration_id
    )


def _auth_headers(user_agent: bytes) -> Headers:
    return (
        (b"accept", b"application/json"),
        (b"user-agent", user_agent),
        (b"x-github-api-version", b"2025-04-01"),
    )
