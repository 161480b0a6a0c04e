"""The models each account may use: fetched when needed, one fetch at a time, kept for ten minutes.

When upstream cannot answer, the last list stays in use: an outage must not turn valid models into unknown ones.
"""

import logging
import time
from collections.abc import Callable
from functools import partial

import msgspec

from copilot_asgi.credentials.accounts import Account
from copilot_asgi.credentials.credential import CredentialProvider
from copilot_asgi.credentials.fetch import Fetch
from copilot_asgi.credentials.identity import Identity
from copilot_asgi.credentials.single_flight import SingleFlight
from copilot_asgi.errors import CopilotASGIError, UpstreamStatus, UpstreamUnauthorized
from copilot_asgi.routing import Catalog
from copilot_asgi.wire.error_body import is_auth_failure
from copilot_asgi.wire.models import parse_catalog

__all__ = ["Catalogs"]

FRESH_FOR = 600.0
STALE_FOR = 15.0

# From this version of the API on the list names prices; answers of other routes are those of the identity's version.
_VERSION = (b"x-github-api-version", b"2026-07-01")

logger = logging.getLogger(__name__)


class _Kept(msgspec.Struct):
    catalog: Catalog
    fresh_until: float


class Catalogs:
    """The catalog of each account. ``clock`` is monotonic, in seconds."""

    def __init__(
        self,
        fetch: Fetch,
        credentials: CredentialProvider,
        identity: Identity,
        flights: SingleFlight[Catalog],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._credentials = credentials
        self._identity = identity
        self._flights = flights
        self._clock = clock
        self._kept: dict[str, _Kept] = {}

    async def get(self, account: Account) -> Catalog:
        """The models of ``account``.

        Raises ``CredentialError`` or ``UpstreamError`` when there is no list yet and none can be had.
        """
        kept = self._kept.get(account.key)
        if kept is not None and self._clock() < kept.fresh_until:
            return kept.catalog
        try:
            catalog = await self._flights.run(account.key, partial(self._request, account))
        except CopilotASGIError as error:
            if kept is None:
                raise
            logger.warning("The model list could not be renewed; the last one stays in use: %s", error)
            kept.fresh_until = self._clock() + STALE_FOR
            return kept.catalog
        return catalog

    async def _request(self, account: Account) -> Catalog:
        try:
            body = await self._request_once(account)
        except UpstreamUnauthorized:
            body = await self._request_once(account)
        catalog = Catalog({model.id: model for model in parse_catalog(body)})
        self._kept[account.key] = _Kept(catalog, self._clock() + FRESH_FOR)
        return catalog

    async def _request_once(self, account: Account) -> bytes:
        credential = await self._credentials.credential(account)
        identity = (pair for pair in self._identity.model_headers if pair[0] != _VERSION[0])
        headers = (*identity, _VERSION, (b"authorization", credential.authorization))
        response = await self._fetch("GET", f"{credential.api_url}/models", headers=headers)
        if response.status == 200:
            return response.body
        if is_auth_failure(response.status, response.body):
            await self._credentials.invalidate(account, credential)
            raise UpstreamUnauthorized(response.status, response.headers, response.body)
        raise UpstreamStatus(response.status, response.headers, response.body)
