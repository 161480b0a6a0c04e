"""What must not be served as it is set up, and what several processes do not do together."""

from collections.abc import Sequence

from copilot_asgi.callers.key_record import KeyRecord
from copilot_asgi.callers.key_ring import KeyRing
from copilot_asgi.cli.session import with_upstream
from copilot_asgi.config import ApprovalKind, IdentityKind, Settings, is_loopback
from copilot_asgi.config_sources import Loaded
from copilot_asgi.errors import ConfigError
from copilot_asgi.upstream.client import Upstream

__all__ = ["check_exposure", "check_workers", "counted_apart"]


def check_exposure(loaded: Loaded) -> None:
    """Raises ``ConfigError`` for what must not be offered beyond this machine, ``StoreError`` for unreadable keys."""
    settings = loaded.settings
    if not settings.public:
        return
    place = settings.host if not is_loopback(settings.host) else ", ".join(settings.allowed_hosts)
    if not with_upstream(settings, _needs_key):
        raise ConfigError(
            f"api_keys: serving beyond this machine ({place}) needs keys. Run copilot-asgi keys add NAME, set "
            "COPILOT_ASGI_API_KEYS, or use --host 127.0.0.1."
        )
    if settings.identity is IdentityKind.EDITOR and "identity" not in loaded.sources:
        raise ConfigError(
            f"identity: serving beyond this machine ({place}) needs a choice, because the editor identity is for one "
            "person on this machine. Set identity = own_app with an app of your own, or, at your own risk, "
            "identity = editor."
        )


def check_workers(settings: Settings, server: str) -> None:
    """Raises ``ConfigError`` for what several processes cannot do."""
    if settings.workers == 1:
        return
    if server != "uvicorn":
        raise ConfigError(f"workers: {server} is run in one process here. Use --server uvicorn, or workers = 1.")
    if settings.approval is not ApprovalKind.OFF:
        raise ConfigError(
            f"workers: with approval = {settings.approval.value} a request waits in one process, and whoever answers "
            "may reach another. Use workers = 1, or approval = off."
        )


def counted_apart(settings: Settings, keys: Sequence[KeyRecord]) -> list[str]:
    """What is in use and is counted in each worker alone."""
    in_use = {
        "rate_limit": bool(settings.rate_limit),
        "max_concurrent": settings.max_concurrent > 0,
        "cache": settings.cache,
        "rate limits of keys": any(key.rate_limits for key in keys),
        "max_concurrent of keys": any(key.max_concurrent is not None for key in keys),
    }
    return [name for name, used in in_use.items() if used]


async def _needs_key(upstream: Upstream) -> bool:
    """Whether there is any key, so that every caller needs one. Raises ``StoreError``."""
    return bool(upstream.settings.api_keys) or bool(await KeyRing(upstream.store).records())
