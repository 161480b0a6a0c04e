"""What ``doctor`` checks over the network, on the way that requests take: proxies, hosts, clock, token, models.

Rule: nothing of a proxy's address is shown but host and port, for it may hold a password.
"""

import socket
import ssl
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit
from urllib.request import getproxies

from copilot_asgi._failures import cause
from copilot_asgi.cli.findings import Finding, Verdict, failed, ok, warning
from copilot_asgi.cli.status import token_text
from copilot_asgi.credentials.accounts import Account
from copilot_asgi.credentials.fetch import FetchedResponse
from copilot_asgi.credentials.hosts import copilot_url
from copilot_asgi.credentials.kept_tokens import KeptTokens
from copilot_asgi.errors import CopilotASGIError
from copilot_asgi.exchange import header
from copilot_asgi.upstream.client import Opened, Upstream

__all__ = ["clock", "network", "proxies"]

Tell = Callable[[Finding], None]

SKEW = 60.0  # seconds that our clock may differ from GitHub's
# Which step of reaching a host it was that failed.
STEPS: tuple[tuple[type[Exception], str], ...] = (
    (socket.gaierror, "DNS: the name is not known."),
    (ConnectionRefusedError, "TCP: the connection was refused."),
    (ssl.SSLError, "TLS: the handshake failed."),
    (TimeoutError, "TCP: the connection took too long."),
)


def proxies() -> Finding:
    """Which proxies the environment (or the system) names."""
    named = [f"{scheme.upper()}_PROXY is {_place(url)}" for scheme, url in getproxies().items() if scheme != "no"]
    return ok("proxy", ", ".join(named) or "none")


async def network(upstream: Upstream, tell: Tell) -> None:
    """Check everything, and ``tell`` each finding as soon as it is there."""
    try:
        opened = await upstream.opened()
    except CopilotASGIError as error:
        tell(failed("network", error))
        return
    check = _Checks(upstream, opened, tell)
    await check.github()
    try:
        account = await upstream.resolve_account(None)
    except CopilotASGIError:  # what is wrong with the login has been told
        await check.copilot(copilot_url(None, upstream.settings))
    else:
        await check.account(account)


class _Checks:
    """The checks of one run."""

    def __init__(self, upstream: Upstream, opened: Opened, tell: Tell) -> None:
        self._upstream = upstream
        self._opened = opened
        self._tell = tell

    async def github(self) -> None:
        """GitHub can be reached, and the clocks agree."""
        hosts = self._upstream.hosts
        await self._reach("github", f"{hosts.web}/robots.txt")
        response = await self._reach("github api", f"{hosts.api}/")
        if response is not None:
            self._tell(clock(header(response.headers, b"date"), time.time()))

    async def copilot(self, url: str) -> None:
        """Copilot's API can be reached."""
        await self._reach("copilot api", f"{url}/_ping")

    async def account(self, account: Account) -> None:
        """The login gives a token, and Copilot's API takes it."""
        settings, store = self._upstream.settings, self._upstream.store
        try:
            credential = await self._opened.credentials.credential(account)
        except CopilotASGIError as error:
            self._tell(failed("token", error))
            await self.copilot(copilot_url(None, settings))
            return
        self._tell(ok("token", token_text(settings.token_mode, await KeptTokens(store).load(account))))
        await self.copilot(credential.api_url)
        await self._models(account)

    async def _models(self, account: Account) -> None:
        try:
            catalog = await self._opened.catalogs.get(account)
        except CopilotASGIError as error:
            self._tell(failed("models", error))
            return
        count = len(catalog.models)
        self._tell(ok("models", f"{count}") if count else warning("models", "Copilot offers none to this account."))

    async def _reach(self, check: str, url: str) -> FetchedResponse | None:
        host = urlsplit(url).netloc
        began = time.monotonic()
        try:
            response = await self._opened.http.fetch("GET", url, headers=self._upstream.identity.auth_headers)
        except CopilotASGIError as error:
            step = next((text for kind, text in STEPS if cause(error, kind) is not None), "")
            self._tell(Finding(check, Verdict.FAIL, error.message, step))
            return None
        text = f"{host} answered in {(time.monotonic() - began) * 1000:.0f} ms"
        refused = response.status == 407 or response.status >= 500
        self._tell(warning(check, f"{text}, with status {response.status}.") if refused else ok(check, text))
        return response


def clock(date: bytes | None, now: float) -> Finding:
    """How ours differs from the one of a ``Date`` header; ``now`` is unix seconds."""
    try:
        skew = now - parsedate_to_datetime((date or b"").decode("latin-1")).timestamp()
    except ValueError:
        return warning("clock", "GitHub did not say what time it is.")
    if abs(skew) > SKEW:
        way = "ahead of" if skew > 0 else "behind"
        return warning("clock", f"{abs(skew):.0f} seconds {way} GitHub's.", "Set this machine's clock (NTP).")
    return ok("clock", "as GitHub's")


def _place(url: str) -> str:
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
        port = parts.port
    except ValueError:
        return "no address"
    return f"{parts.hostname}:{port}" if port else f"{parts.hostname}"
