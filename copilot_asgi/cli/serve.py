"""``copilot-asgi serve``: the app on a port, safe by default, and ended without breaking streams off."""

from functools import partial
from importlib.util import find_spec

import anyio
import click
from msgspec import structs

from copilot_asgi.callers.key_ring import KeyRing
from copilot_asgi.cli import logs, terminal
from copilot_asgi.cli.consent import EDITOR_WARNING
from copilot_asgi.cli.listening import base_url, bind, caller_url
from copilot_asgi.cli.login import sign_in_here
from copilot_asgi.cli.options import ALL, with_settings
from copilot_asgi.cli.servers import SERVERS, Service, check_installed
from copilot_asgi.cli.session import with_upstream
from copilot_asgi.cli.signals import StopSignals
from copilot_asgi.config import IdentityKind, Settings, is_loopback
from copilot_asgi.config_sources import Loaded
from copilot_asgi.errors import ConfigError, LoginRequired
from copilot_asgi.upstream.client import Upstream

__all__ = ["check_exposure", "loop_options", "serve", "usage_lines"]


@click.command()
@click.option("--server", type=click.Choice(tuple(SERVERS)), default="uvicorn", show_default=True,
              help="The ASGI server that runs the app.")  # fmt: skip
@with_settings(*ALL)
def serve(loaded: Loaded, *, server: str) -> None:
    """Serve the OpenAI- and Anthropic-compatible endpoints.

    When it listens, one line goes to stdout: "listening on http://127.0.0.1:4141". Everything else, log lines included,
    goes to stderr. SIGTERM or Ctrl-C ends it in order: new requests get 503, those under way get --drain-timeout
    seconds. A second signal ends it at once.

    Beyond this machine it needs keys (`keys add` or COPILOT_ASGI_API_KEYS) and an identity that was chosen, not
    defaulted.
    """
    settings = _serving(loaded)
    check_installed(server)
    check_exposure(loaded)
    secrets = (*settings.api_keys, *([settings.github_token] if settings.github_token is not None else []))
    logs.configure(settings.log_level, settings.log_format, secrets=secrets)
    if settings.identity is IdentityKind.EDITOR:
        terminal.warn(EDITOR_WARNING)
    if not with_upstream(settings, _signed_in):
        _sign_in(settings)
    with StopSignals() as stop:
        anyio.run(partial(_serve, settings, server, stop), backend_options=loop_options())


def _serving(loaded: Loaded) -> Settings:
    """The settings of a server, which keeps a ledger unless it was told not to."""
    return loaded.settings if "ledger" in loaded.sources else structs.replace(loaded.settings, ledger=True)


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


def loop_options() -> dict[str, object]:
    """Options of ``anyio.run``: asyncio on uvloop where that is installed."""
    return {"use_uvloop": find_spec("uvloop") is not None}


def usage_lines(url: str, *, needs_key: bool) -> tuple[str, ...]:
    """What to paste to use the endpoints at ``url``."""
    key = "one of your keys" if needs_key else "anything"
    return (
        f"OpenAI clients:     OPENAI_BASE_URL={url}/v1  OPENAI_API_KEY={key}",
        f"Anthropic clients:  ANTHROPIC_BASE_URL={url}  ANTHROPIC_AUTH_TOKEN={key}",
    )


def _sign_in(settings: Settings) -> None:
    if not terminal.is_interactive():
        terminal.warn("nobody is signed in; requests get 401 until you run: copilot-asgi login")
        return
    terminal.note("Nobody is signed in yet.")
    sign_in_here(settings, browser=None, accepted=False)


async def _needs_key(upstream: Upstream) -> bool:
    """Whether there is any key, so that every caller needs one. Raises ``StoreError``."""
    return bool(upstream.settings.api_keys) or bool(await KeyRing(upstream.store).records())


async def _signed_in(upstream: Upstream) -> bool:
    try:
        await upstream.resolve_account(None)
    except LoginRequired:
        return False
    return True


async def _serve(settings: Settings, server: str, stop: StopSignals) -> None:
    from copilot_asgi.app import CopilotApp

    app = CopilotApp(settings)
    needs_key = await _needs_key(app.upstream)
    sock = bind(settings.host, settings.port)
    url, pasted = base_url(sock), caller_url(sock)

    def ready() -> None:
        terminal.say(f"listening on {url}")
        for line in usage_lines(pasted, needs_key=needs_key):
            terminal.note(line)

    drain = partial(app.drain, settings.drain_timeout)
    await SERVERS[server](Service(app=app, sock=sock, stop=stop, drain=drain, ready=ready))
