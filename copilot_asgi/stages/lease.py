"""Hold an account with a live token around one attempt."""

from copilot_asgi.errors import UpstreamUnauthorized
from copilot_asgi.exchange import Exchange, Handler, Send
from copilot_asgi.upstream.client import Upstream

__all__ = ["Lease"]


class Lease:
    """Set ``exchange.credential`` for the account of the route; a token that upstream refuses is thrown away."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises ``CredentialError`` when there is no token for the account."""
        opened = await self._upstream.opened()
        account = exchange.account
        assert account is not None
        credential = exchange.credential = await opened.credentials.credential(account)
        try:
            await call_next(exchange, send)
        except UpstreamUnauthorized:
            await opened.credentials.invalidate(account, credential)
            raise
