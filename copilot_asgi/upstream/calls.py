"""Model calls, whose head is put together and checked once for all that have it in common.

Rule: what a head depends on is its key here; whatever differs from one exchange to the next is added to each call.
"""

from collections import OrderedDict
from typing import TYPE_CHECKING

from copilot_asgi.credentials.credential import Credential
from copilot_asgi.credentials.identity import Identity
from copilot_asgi.exchange import Exchange, Headers
from copilot_asgi.routing import Route
from copilot_asgi.upstream.headers import betas, common_headers, own_headers
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.models import Model

if TYPE_CHECKING:
    from copilot_asgi._calls import Draft, ResponseStream
    from copilot_asgi._http import HttpClient

__all__ = ["ModelCalls"]

CAPACITY = 256  # drafts; the one that was unused for longest is dropped first

_Key = tuple[bytes, str, str, Dialect, bool, bool, bool, Headers]


class ModelCalls:
    """Makes the calls of one event loop over ``http``."""

    def __init__(self, http: "HttpClient", identity: Identity) -> None:
        self._http = http
        self._identity = identity
        self._drafts: OrderedDict[_Key, tuple[Model, Draft]] = OrderedDict()

    def call(self, exchange: Exchange, route: Route, credential: Credential) -> "ResponseStream":
        """The call that asks ``route`` what ``exchange`` asks, for ``async with``. Raises ``ConfigError``."""
        draft = self._draft(exchange, route, credential)
        return self._http.call(draft, exchange.request.body, headers=own_headers(exchange))

    def _draft(self, exchange: Exchange, route: Route, credential: Credential) -> "Draft":
        turn, request = exchange.turn, exchange.request
        assert turn is not None
        model, dialect = route.model, route.dialect
        wanted = betas(request.headers) if dialect is Dialect.MESSAGES else ()
        key = (
            credential.authorization,
            credential.api_url,
            model.id,
            dialect,
            request.stream,
            turn.by_user,
            turn.has_image,
            wanted,
        )
        known = self._drafts.get(key)
        # A list of models that was fetched again may say something else of the same model.
        if known is not None and known[0] is model:
            self._drafts.move_to_end(key)
            return known[1]
        headers = common_headers(exchange, route, credential, self._identity)
        draft = self._http.draft("POST", credential.api_url + route.path, headers=headers)
        self._drafts[key] = model, draft
        if len(self._drafts) > CAPACITY:
            self._drafts.popitem(last=False)
        return draft
