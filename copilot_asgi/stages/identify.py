"""Find out who is calling, and refuse strangers.

Without keys only callers on this machine are served; with keys everybody needs one, also on this machine.
"""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Protocol

from copilot_asgi.config import Settings, is_loopback
from copilot_asgi.errors import ConfigError, Unauthenticated
from copilot_asgi.exchange import Caller, Exchange, Handler, Headers, Send, header
from copilot_asgi.secret import Secret

__all__ = ["ApiKeys", "Authenticator", "Identify", "LoopbackOnly", "authenticator_for"]


class Authenticator(Protocol):
    """Finds the caller from the client's address and the request's headers (lower-case names)."""

    async def __call__(self, client: str | None, headers: Headers) -> Caller:
        """The caller; raises ``Unauthenticated`` for a stranger."""


class LoopbackOnly:
    """Serves whoever is on this machine."""

    async def __call__(self, client: str | None, headers: Headers) -> Caller:  # noqa: ARG002 - the protocol's shape
        """The caller; raises ``Unauthenticated`` for an address beyond this machine."""
        if client is None or not is_loopback(client):
            raise Unauthenticated(
                "Only callers on this machine are served while no key is configured. "
                "Set api_keys (COPILOT_ASGI_API_KEYS) and send one as a Bearer token."
            )
        return Caller(name="local")


class ApiKeys:
    """Serves whoever presents one of the keys, as ``Authorization: Bearer``, ``x-api-key`` or ``x-goog-api-key``.

    Only digests are kept, and a key is compared with all of them in constant time.
    """

    def __init__(self, keys: Iterable[Secret]) -> None:
        self._digests = tuple(_digest(key.reveal()) for key in keys)

    async def __call__(self, client: str | None, headers: Headers) -> Caller:  # noqa: ARG002 - the protocol's shape
        """The caller; raises ``Unauthenticated`` without a key, with two different ones, or with an unknown one."""
        given = _presented(headers)
        if not given:
            raise Unauthenticated(
                "No key was given. Send one in the authorization header (as a bearer token) or in x-api-key."
            )
        if len(given) > 1:
            raise Unauthenticated("Two different keys were given. Send one, in Authorization or in x-api-key.")
        digest = _digest(given.pop())
        # Every digest is compared, so that the time taken says nothing about which one was near.
        matches = [index for index, known in enumerate(self._digests) if hmac.compare_digest(known, digest)]
        if not matches:
            raise Unauthenticated("That key is not one of ours. Check api_keys (COPILOT_ASGI_API_KEYS).")
        return Caller(name=f"key-{matches[0] + 1}")


class Identify:
    """Set ``exchange.caller``, or refuse."""

    def __init__(self, authenticate: Authenticator) -> None:
        self._authenticate = authenticate

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises ``Unauthenticated``."""
        exchange.caller = await self._authenticate(exchange.client, exchange.request.headers)
        await call_next(exchange, send)


def authenticator_for(settings: Settings) -> Authenticator:
    """Keys where some are configured, else this machine only.

    Raises ``ConfigError`` when other hosts' callers are expected without a key.
    """
    if settings.api_keys:
        return ApiKeys(settings.api_keys)
    if settings.allowed_hosts:
        raise ConfigError(
            "allowed_hosts: callers from beyond this machine need a key. Set api_keys (COPILOT_ASGI_API_KEYS) as well."
        )
    return LoopbackOnly()


def _presented(headers: Headers) -> set[str]:
    keys = {value.decode("latin-1") for name, value in headers if name in {b"x-api-key", b"x-goog-api-key"}}
    scheme, _, token = (header(headers, b"authorization") or b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer":
        keys.add(token.strip())
    return keys - {""}


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
