"""What a model call is made with, and who hands it out."""

import logging
from typing import Protocol

import msgspec

from copilot_asgi.config import Settings
from copilot_asgi.credentials.accounts import Account
from copilot_asgi.credentials.hosts import copilot_url, validate_endpoint
from copilot_asgi.secret import MASK

__all__ = ["Credential", "CredentialProvider", "api_url"]

logger = logging.getLogger(__name__)


class Credential(msgspec.Struct, frozen=True):
    """The ``authorization`` header value, the API it is good for, and which of an account's credentials it is.

    ``generation`` grows with each credential of a provider, so that an old one is not taken for the current one.
    """

    authorization: bytes
    api_url: str
    generation: int

    def __repr__(self) -> str:
        return f"Credential(authorization={MASK}, api_url={self.api_url!r}, generation={self.generation})"


class CredentialProvider(Protocol):
    """Hands out credentials that should still be good."""

    async def credential(self, account: Account) -> Credential:
        """A credential for ``account``.

        Raises ``LoginRequired`` or ``TokenExchangeFailed``. Cancelling one caller does not disturb the others.
        """

    async def invalidate(self, account: Account, credential: Credential) -> None:
        """Upstream refused ``credential``: do not hand it out again. Nothing happens when it is no longer current."""


def api_url(endpoint: str | None, settings: Settings) -> str:
    """The API for a credential; an ``endpoint`` that must not see it is ignored with a warning."""
    if endpoint is not None and settings.copilot_url is None and validate_endpoint(endpoint, settings) is None:
        logger.warning("GitHub named an API address that gets no credential from us; ignored: %.100r", endpoint)
    return copilot_url(endpoint, settings)
