"""The engine that ``_http`` uses when none is given: TLS that trusts what the system trusts, and the system's proxies.

Rule: one TLS context serves the whole process (loading certificates takes tens of milliseconds); a proxy's address,
which may hold a password, appears in no message.
"""

import functools
import os
import ssl
import threading
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.request import getproxies, proxy_bypass

import httpx

from copilot_asgi._calls import DirectEngine
from copilot_asgi._failures import ProxyFailed, cause
from copilot_asgi.config import Engine, is_loopback
from copilot_asgi.errors import ConfigError

__all__ = ["EnvironmentTransport", "chosen_engine", "default_transport", "direct_engine", "ssl_context"]

_building = threading.Lock()


def default_transport(engine: Engine, *, on_asyncio: bool) -> httpx.AsyncBaseTransport:
    """The transport for real networks, on an event loop of the kind given. Slow the first time: use a worker thread.

    Raises ``ConfigError`` when ``SSL_CERT_FILE`` names no certificates, or the ``engine`` cannot be used here.
    """
    context = ssl_context()
    direct = _h1(context) if chosen_engine(engine, on_asyncio=on_asyncio) is Engine.H1 else _guarded(context)
    return EnvironmentTransport(context, direct, proxies=getproxies(), bypass=lambda host: bool(proxy_bypass(host)))


def chosen_engine(engine: Engine, *, on_asyncio: bool = True) -> Engine:
    """Which of the two it is. Raises ``ConfigError`` for one that was asked for and cannot be used."""
    can_h1 = on_asyncio and find_spec("httptools") is not None
    if engine is Engine.H1 and not can_h1:
        raise ConfigError("engine: h1 needs asyncio and httptools. Install copilot-asgi[fast], or use engine = auto.")
    if engine is Engine.AUTO:
        return Engine.H1 if can_h1 else Engine.HTTPX
    return engine


def direct_engine(transport: httpx.AsyncBaseTransport, url: httpx.URL) -> DirectEngine | None:
    """What takes requests to ``url`` as bytes: the ``h1`` engine, unless a proxy stands between."""
    if not isinstance(transport, EnvironmentTransport):
        return transport if isinstance(transport, DirectEngine) else None
    engine = transport.direct
    return engine if isinstance(engine, DirectEngine) and not transport.is_proxied(url) else None


def _h1(context: ssl.SSLContext) -> httpx.AsyncBaseTransport:
    from copilot_asgi._h1 import H1Transport

    return H1Transport(context)


def _guarded(context: ssl.SSLContext, *, proxy: httpx.Proxy | None = None) -> httpx.AsyncBaseTransport:
    # Not loaded with this module: half of the time that opening takes, and 10 MB, for what h1 does not need.
    from copilot_asgi._guards import GuardedTransport

    return GuardedTransport(context, proxy=proxy)


def ssl_context() -> ssl.SSLContext:
    """The TLS context of this process: the system's certificates (or ``SSL_CERT_FILE``'s) and certifi's."""
    with _building:
        return _build_context(os.environ.get("SSL_CERT_FILE"))


@functools.cache
def _build_context(certificates: str | None) -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    if certificates is not None:
        try:
            context.load_verify_locations(Path(certificates))
        except (OSError, ssl.SSLError):
            raise ConfigError(
                "SSL_CERT_FILE does not name a readable file with certificates (PEM). Correct it, or unset it."
            ) from None
    return context


class EnvironmentTransport(httpx.AsyncBaseTransport):
    """Goes ``direct``, or through the proxy that ``HTTPS_PROXY``, ``HTTP_PROXY`` or ``ALL_PROXY`` names, by httpx.

    ``proxies`` is by scheme, as ``urllib.request.getproxies`` gives it. Loopback hosts, and those for which ``bypass``
    is true (``NO_PROXY``), are reached directly.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        direct: httpx.AsyncBaseTransport,
        *,
        proxies: Mapping[str, str],
        bypass: Callable[[str], bool],
    ) -> None:
        self._context = context
        self._bypass = bypass
        self.direct = direct
        self._proxied = {
            scheme: self._through(_variable(scheme), url)
            for scheme, url in proxies.items()
            if scheme in {"http", "https", "all"} and url
        }

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises ``ProxyFailed`` when the proxy is at fault, else what the engine raises."""
        scheme = self._scheme(request.url)
        if scheme is None:
            return await self.direct.handle_async_request(request)
        try:
            return await self._proxied[scheme].handle_async_request(request)
        except httpx.ProxyError as error:
            raise ProxyFailed(_variable(scheme), _answer(str(error))) from None
        except httpx.ConnectError as error:
            if cause(error, ssl.SSLError) is not None:
                raise
            raise ProxyFailed(_variable(scheme), "it could not be reached") from None

    def is_proxied(self, url: httpx.URL) -> bool:
        """Whether calls to ``url`` go through a proxy."""
        return self._scheme(url) is not None

    async def aclose(self) -> None:
        """Close every connection."""
        for transport in (self.direct, *self._proxied.values()):
            await transport.aclose()

    def _scheme(self, url: httpx.URL) -> str | None:
        scheme = url.scheme if url.scheme in self._proxied else "all"
        if scheme not in self._proxied or is_loopback(url.host):
            return None
        port = url.port or {"http": 80}.get(url.scheme, 443)
        return None if self._bypass(f"{url.host}:{port}") else scheme

    def _through(self, variable: str, url: str) -> httpx.AsyncBaseTransport:
        try:
            return _guarded(self._context, proxy=httpx.Proxy(url if "://" in url else f"http://{url}"))
        except ImportError:
            raise ConfigError(f"{variable} names a SOCKS proxy. Install httpx[socks] to use one.") from None
        except (ValueError, httpx.InvalidURL):
            raise ConfigError(f"{variable} does not name a proxy. Write http://host:port.") from None


def _variable(scheme: str) -> str:
    return f"{scheme.upper()}_PROXY"


def _answer(message: str) -> str:
    # httpcore puts the proxy's status in front of its own words; nothing else of the proxy's answer is repeated.
    status = message[:3]
    return f"it answered with status {status}" if status.isdigit() else "it could not be used"
