"""Hold an account with a live token around one attempt."""

from copilot_asgi.errors import UpstreamUnauthorized
from copilot_asgi.exchange import Exchange, Handler, Send

__all__ = ["lease"]


async def lease(exchange: Exchange, send: Send, call_next: Handler) -> None:
    """Set ``exchange.credential`` for the account of the route; a token that upstream refuses is thrown away.

    Raises ``CredentialError`` when there is no token for the account.
    """
    opened, account = exchange.opened, exchange.account
    assert opened is not None
    assert account is not None
    credential = exchange.credential = await opened.credentials.credential(account)
    try:
        await call_next(exchange, send)
    except UpstreamUnauthorized:
        await opened.credentials.invalidate(account, credential)
        raise
