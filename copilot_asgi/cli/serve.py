"""``copilot-asgi serve``: the app on a port, safe by default, and ended without breaking streams off.

Rule: what must be decided or asked is done here, before anything listens; serving itself is ``serving``'s, or that of
several ``workers``.
"""

from functools import partial

import anyio
import click
from msgspec import Struct, structs

from copilot_asgi.callers.key_record import KeyRecord
from copilot_asgi.callers.key_ring import KeyRing
from copilot_asgi.cli import terminal
from copilot_asgi.cli.consent import EDITOR_WARNING
from copilot_asgi.cli.listening import base_url, bind, caller_url
from copilot_asgi.cli.options import ALL, with_settings
from copilot_asgi.cli.serve_checks import check_exposure, check_workers, counted_apart
from copilot_asgi.cli.servers import SERVERS, check_installed
from copilot_asgi.cli.serving import configure_logs, loop_options, serve_app
from copilot_asgi.cli.session import with_upstream
from copilot_asgi.cli.signals import StopSignals
from copilot_asgi.config import IdentityKind, Settings
from copilot_asgi.config_sources import Loaded
from copilot_asgi.errors import LoginRequired
from copilot_asgi.upstream.client import Upstream

__all__ = ["serve", "usage_lines"]


class Found(Struct, frozen=True):
    """What is kept on this machine: whether somebody is signed in, and the callers' keys."""

    signed_in: bool
    keys: tuple[KeyRecord, ...]


@click.command()
@click.option("--server", type=click.Choice(tuple(SERVERS)), default="uvicorn", show_default=True,
              help="The ASGI server that runs the app.")  # fmt: skip
@with_settings(*ALL)
def serve(loaded: Loaded, *, server: str) -> None:
    """Serve the OpenAI- and Anthropic-compatible endpoints.

    When it listens, one line goes to stdout: "listening on http://127.0.0.1:4141". Everything else, log lines included,
    goes to stderr. SIGTERM or Ctrl-C ends it in order: new requests get 503, those under way get --drain-timeout
    seconds. A second signal ends it at once.

    With --workers it is several processes. They share the login, keys, budgets, the ledger and the audit file; rate
    limits, max_concurrent, max_streams, circuits and the cache are each worker's own.

    Beyond this machine it needs keys (`keys add` or COPILOT_ASGI_API_KEYS) and an identity that was chosen, not
    defaulted.
    """
    settings = _serving(loaded)
    check_installed(server)
    check_workers(settings, server)
    check_exposure(loaded)
    configure_logs(settings)
    if settings.identity is IdentityKind.EDITOR:
        terminal.warn(EDITOR_WARNING)
    found = with_upstream(settings, _look)
    _warn_of_counting(settings, found.keys)
    if not found.signed_in:
        _sign_in(settings)
    _serve(settings, server, needs_key=bool(settings.api_keys or found.keys))


def _serve(settings: Settings, server: str, *, needs_key: bool) -> None:
    with StopSignals() as stop, bind(settings.host, settings.port) as sock:
        ready = partial(_announce, base_url(sock), usage_lines(caller_url(sock), needs_key=needs_key))
        if settings.workers == 1:
            run = partial(serve_app, settings, server=server, sock=sock, stop=stop, ready=ready)
            anyio.run(run, backend_options=loop_options())
        else:
            from copilot_asgi.cli.workers import Worker, Workers

            Workers(partial(Worker, settings, sock), settings.workers, stop=stop, ready=ready).run()


def _announce(url: str, usage: tuple[str, ...]) -> None:
    terminal.say(f"listening on {url}")
    for line in usage:
        terminal.note(line)


def _serving(loaded: Loaded) -> Settings:
    """The settings of a server, which keeps a ledger unless it was told not to."""
    return loaded.settings if "ledger" in loaded.sources else structs.replace(loaded.settings, ledger=True)


def _warn_of_counting(settings: Settings, keys: tuple[KeyRecord, ...]) -> None:
    apart = counted_apart(settings, keys) if settings.workers > 1 else []
    if apart:
        terminal.warn(
            f"workers = {settings.workers}: each worker counts for itself, so all together allow {settings.workers} "
            f"times as much: {', '.join(apart)}."
        )


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
    from copilot_asgi.cli.login import sign_in_here

    terminal.note("Nobody is signed in yet.")
    sign_in_here(settings, browser=None, accepted=False)


async def _look(upstream: Upstream) -> Found:
    try:
        await upstream.resolve_account(None)
        signed_in = True
    except LoginRequired:
        signed_in = False
    return Found(signed_in, tuple(await KeyRing(upstream.store).records()))
