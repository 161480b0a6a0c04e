"""GitHub and Copilot as one object that belongs to no event loop; what needs a loop is opened at first use in each."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import msgspec

from copilot_asgi._per_loop import PerLoop
from copilot_asgi.config import Settings, TokenMode
from copilot_asgi.credentials.accounts import AccountResolver, Accounts, DefaultAccount
from copilot_asgi.credentials.copilot_token import CopilotTokens
from copilot_asgi.credentials.credential import CredentialProvider
from copilot_asgi.credentials.direct_token import DirectTokens
from copilot_asgi.credentials.fetch import Fetch
from copilot_asgi.credentials.hosts import github_hosts, is_allowed, origin
from copilot_asgi.credentials.identity import Identity, chosen_identity
from copilot_asgi.credentials.single_flight import SingleFlight, StartSoon
from copilot_asgi.stores import Store
from copilot_asgi.upstream.calls import ModelCalls
from copilot_asgi.upstream.catalog import Catalogs
from copilot_asgi.upstream.users import Users

if TYPE_CHECKING:
    import httpx

    from copilot_asgi._http import HttpClient

__all__ = ["Opened", "Upstream"]


class Opened(msgspec.Struct, frozen=True):
    """What one event loop uses to reach GitHub and Copilot."""

    http: "HttpClient"
    calls: ModelCalls
    credentials: CredentialProvider
    catalogs: Catalogs
    users: Users


class Upstream:
    """The way to GitHub and Copilot. Making one opens nothing and reads nothing. ``wall`` is unix seconds."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store | None = None,
        resolve_account: AccountResolver | None = None,
        transport: "httpx.AsyncBaseTransport | None" = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.identity: Identity = chosen_identity(settings)
        self.hosts = github_hosts(settings)
        self.store: Store = store or default_store(settings)
        self.accounts = Accounts(self.store)
        self.resolve_account: AccountResolver = resolve_account or DefaultAccount(self.accounts, settings)
        self._transport = transport
        self._wall = wall
        self._per_loop = PerLoop(self._open)

    async def opened(self) -> Opened:
        """What the running loop uses, opened at the first call."""
        return await self._per_loop.get()

    async def aclose(self) -> None:
        """Close what the running loop uses; the next call of ``opened`` opens it again."""
        await self._per_loop.aclose()

    def allows(self, url: str) -> bool:
        """Whether anything may be sent to ``url``: GitHub and Copilot as configured, and nobody else."""
        known = {origin(self.hosts.web), origin(self.hosts.api)}
        return origin(url) in known or is_allowed(url, self.settings)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Opened]:
        # The HTTP client and all it imports are loaded here, by the first request, not by the import of the app.
        from copilot_asgi._calls import Timeouts
        from copilot_asgi._http import HttpClient

        settings = self.settings
        timeouts = Timeouts(
            connect=settings.connect_timeout,
            head=settings.head_timeout,
            idle=settings.idle_timeout,
            auth=settings.auth_timeout,
            queue=settings.queue_timeout,
        )
        http = HttpClient(
            transport=self._transport,
            timeouts=timeouts,
            max_streams=settings.max_streams,
            allowed=self.allows,
            engine=settings.engine,
        )
        async with http, anyio.create_task_group() as tasks:
            credentials = self._credentials(http.fetch, tasks.start_soon)
            catalogs = Catalogs(http.fetch, credentials, self.identity, SingleFlight(tasks.start_soon))
            users = Users(http.fetch, self.hosts, self.identity, SingleFlight(tasks.start_soon))
            try:
                calls = ModelCalls(http, self.identity)
                yield Opened(http=http, calls=calls, credentials=credentials, catalogs=catalogs, users=users)
            finally:
                tasks.cancel_scope.cancel()

    def _credentials(self, fetch: Fetch, start_soon: StartSoon) -> CredentialProvider:
        """The provider that the settings ask for. Raises ``ConfigError`` for a token that cannot be used that way."""
        if self.settings.token_mode is TokenMode.DIRECT:
            return DirectTokens(fetch=fetch, identity=self.identity, settings=self.settings, start_soon=start_soon)
        return CopilotTokens(
            fetch=fetch,
            identity=self.identity,
            settings=self.settings,
            store=self.store,
            start_soon=start_soon,
            wall=self._wall,
        )


def default_store(settings: Settings) -> Store:
    """The store on disk where the settings say, or in the user's data directory."""
    from copilot_asgi.stores.file import FileStore

    return FileStore(data_dir(settings))


def data_dir(settings: Settings) -> Path:
    """The directory that holds the login."""
    if settings.data_dir is not None:
        return settings.data_dir.expanduser()
    from platformdirs import user_data_path

    return user_data_path("copilot-asgi", appauthor=False)
