"""Choose the account, and the upstream model and dialect from its catalog."""

from copilot_asgi.exchange import Exchange, Handler, Send
from copilot_asgi.routing import choose_route
from copilot_asgi.upstream.client import Upstream

__all__ = ["ChooseRoute"]


class ChooseRoute:
    """Set ``exchange.account`` and ``exchange.route``, or refuse a model that the account does not have."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._aliases = upstream.settings.aliases

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises ``NoAccountAvailable``, ``UnknownModel`` or ``BadRequest``, and what fetching the catalog raises."""
        opened = exchange.opened = await self._upstream.opened()
        account = exchange.account = await self._upstream.resolve_account(exchange.caller)
        catalog = await opened.catalogs.get(account)
        exchange.route = choose_route(exchange.request.model, exchange.dialect, catalog, self._aliases)
        await call_next(exchange, send)
