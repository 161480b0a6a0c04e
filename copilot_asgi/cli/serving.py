"""The app behind a server, in this process.

Rule: it listens before it is warm. What the first request needs (the HTTP client, certificates) takes longer to load
than all the rest, so it is opened once the port has been announced, and a request that is quicker waits for it.
"""

import gc
import socket
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import anyio

from copilot_asgi.cli import logs
from copilot_asgi.cli.servers import SERVERS, Service
from copilot_asgi.cli.signals import StopSignals
from copilot_asgi.config import Settings

__all__ = ["configure_logs", "loop_options", "serve_app"]

# Objects made and not yet freed before Python looks for cycles among them. Requests leave none behind, and those under
# way are many objects: with Python's own 700 a tenth of all time goes into looking.
COLLECT_AFTER = 10_000


async def serve_app(
    settings: Settings, *, server: str, sock: socket.socket, stop: StopSignals, ready: Callable[[], None]
) -> None:
    """Serve until the end is asked for and everything is closed; ``ready`` is called once it listens.

    Raises ``ConfigError``, also when what the settings ask for cannot be opened after that.
    """
    from copilot_asgi.app import CopilotApp

    app = CopilotApp(settings)
    gc.set_threshold(COLLECT_AFTER)
    async with anyio.create_task_group() as tasks:

        def listening() -> None:
            ready()
            tasks.start_soon(app.upstream.opened)

        drain = partial(app.drain, settings.drain_timeout)
        await SERVERS[server](Service(app=app, sock=sock, stop=stop, drain=drain, ready=listening))
        tasks.cancel_scope.cancel()
    await app.aclose()


def loop_options() -> dict[str, object]:
    """Options of ``anyio.run``: asyncio on uvloop where that is installed."""
    return {"use_uvloop": find_spec("uvloop") is not None}


def configure_logs(settings: Settings) -> None:
    """Send this process's log lines to stderr as the settings say, without the secrets that they hold."""
    token = () if settings.github_token is None else (settings.github_token,)
    logs.configure(settings.log_level, settings.log_format, secrets=(*settings.api_keys, *token))
