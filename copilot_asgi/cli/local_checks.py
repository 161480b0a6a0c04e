"""What ``doctor`` checks on this machine, without the network: what is installed, set, kept and free."""

import os
import platform
import sys
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec

from copilot_asgi._transport import chosen_engine
from copilot_asgi.callers.key_ring import KeyRing
from copilot_asgi.cli.config import settings_file
from copilot_asgi.cli.findings import Finding, found, ok, warning
from copilot_asgi.cli.listening import base_url, bind
from copilot_asgi.cli.serve_checks import check_exposure, check_workers, counted_apart
from copilot_asgi.cli.servers import SERVERS
from copilot_asgi.cli.session import with_upstream
from copilot_asgi.cli.status import POSTURES, account_text
from copilot_asgi.config import Engine, IdentityKind
from copilot_asgi.config_sources import Loaded
from copilot_asgi.credentials.consent import read_consent
from copilot_asgi.errors import ConfigError, CopilotASGIError
from copilot_asgi.stores.safe_files import check_directory
from copilot_asgi.upstream.client import Upstream, data_dir

__all__ = ["installed", "local"]

FAST = 'Install it: pip install "copilot-asgi[fast]".'


def installed() -> list[Finding]:
    """What there is to run on, whatever the settings."""
    return [
        ok("python", f"{platform.python_version()} ({platform.python_implementation()}, {platform.system()})"),
        _event_loop(),
        _servers(),
    ]


def local(loaded: Loaded) -> list[Finding]:
    """What the settings ask of this machine."""
    checks = {
        "settings": _settings,
        "engine": _engine,
        "data": _data,
        "login": _login,
        "identity": _identity,
        "exposure": _exposure,
        "workers": _workers,
        "port": _port,
    }
    return [found(name, partial(check, loaded)) for name, check in checks.items()]


def _event_loop() -> Finding:
    if find_spec("uvloop") is not None:
        return ok("event loop", f"uvloop {version('uvloop')}")
    if sys.platform == "win32":
        return ok("event loop", "asyncio (there is no uvloop for Windows)")
    return warning("event loop", "asyncio; uvloop is faster.", FAST)


def _servers() -> Finding:
    there = [f"{name} {version(name)}" for name in SERVERS if find_spec(name) is not None]
    if not there:
        return warning(
            "server", "none; an app mounted in yours needs none.", 'For serve: pip install "copilot-asgi[serve]".'
        )
    if find_spec("httptools") is None:
        return warning("server", f"{', '.join(there)}; uvicorn is faster with httptools.", FAST)
    return ok("server", ", ".join(there))


def _settings(loaded: Loaded) -> Finding:
    file = settings_file()
    names = ", ".join(name for name, source in loaded.sources.items() if source == "environment")
    environment = f"; from the environment: {names}" if names else ""
    return ok("settings", f"{file if file.exists() else f'no file {file}'}{environment}")


def _engine(loaded: Loaded) -> Finding:
    wanted = loaded.settings.engine
    engine = chosen_engine(wanted)
    if wanted is not Engine.AUTO:
        return ok("engine", f"{engine.value}, as set")
    if engine is Engine.HTTPX:
        return warning("engine", "httpx, because httptools is not installed; h1 is faster.", FAST)
    return ok("engine", "h1, because httptools is installed (httpx through a proxy, and on trio)")


def _data(loaded: Loaded) -> Finding:
    path = data_dir(loaded.settings)
    if not check_directory(path, create=False):
        return ok("data", f"{path} (not there; the first login makes it)")
    if not os.access(path, os.W_OK | os.X_OK):
        raise CopilotASGIError(f"{path} cannot be written. Set data_dir to a directory of your own.")
    return ok("data", f"{path}, closed to other users")


def _login(loaded: Loaded) -> Finding:
    account = with_upstream(loaded.settings, lambda upstream: upstream.resolve_account(None))
    return ok("login", account_text(account))


def _identity(loaded: Loaded) -> Finding:
    kind = loaded.settings.identity
    if kind is IdentityKind.EDITOR and not with_upstream(loaded.settings, _has_consent):
        return warning("identity", f"{POSTURES[kind]}; nobody has agreed to that here.", "Run: copilot-asgi login.")
    return ok("identity", POSTURES[kind])


async def _has_consent(upstream: Upstream) -> bool:
    return await read_consent(upstream.store) is not None


def _exposure(loaded: Loaded) -> Finding:
    check_exposure(loaded)
    settings = loaded.settings
    keys = len(settings.api_keys) + len(with_upstream(settings, lambda upstream: KeyRing(upstream.store).records()))
    whom = "callers beyond this machine" if settings.public else "callers on this machine only"
    return ok("exposure", f"{whom}; {f'keys: {keys}' if keys else 'no key is needed'}")


def _workers(loaded: Loaded) -> Finding:
    settings = loaded.settings
    check_workers(settings, "uvicorn")
    keys = with_upstream(settings, lambda upstream: KeyRing(upstream.store).records())
    apart = counted_apart(settings, keys) if settings.workers > 1 else []
    if apart:
        return warning("workers", f"{settings.workers}; each counts for itself: {', '.join(apart)}.")
    return ok("workers", f"{settings.workers}")


def _port(loaded: Loaded) -> Finding:
    try:
        with bind(loaded.settings.host, loaded.settings.port) as sock:
            return ok("port", f"{base_url(sock)} is free")
    except ConfigError:
        raise
    except CopilotASGIError as error:
        return warning("port", error.message, "If it is serve that listens there, all is well.")
