"""The ASGI servers that can run an app here, behind one call.

Rule: signals are ours, not the server's. When the end is asked for, the app is drained first, while the server still
accepts, so that callers are told to come back; then the server gets a short grace for what is left.
"""

import logging
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Protocol

import anyio
from msgspec import Struct

from copilot_asgi.cli.listening import BACKLOG
from copilot_asgi.cli.signals import StopSignals
from copilot_asgi.errors import ConfigError

__all__ = ["SERVERS", "Service", "check_installed", "run_uvicorn"]

GRACE = 2  # seconds that a server gives to what is left after draining
# Seconds that an idle connection of a client is kept: longer than clients and reverse proxies keep theirs (60 at most,
# commonly), so that it is they who close it, and never while they send the next request.
KEEP_ALIVE = 75

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]


class Service(Struct, frozen=True):
    """An app, the socket it listens on, who may end it, how it is drained, and what to call when it is ready."""

    app: ASGIApp
    sock: socket.socket
    stop: StopSignals
    drain: Callable[[], Awaitable[None]]
    ready: Callable[[], None]


class Server(Protocol):
    """Runs a service on the running asyncio loop until its end is asked for."""

    async def __call__(self, service: Service) -> None:
        """Serve; returns when everything is closed."""


async def run_uvicorn(service: Service) -> None:
    """Serve with uvicorn."""
    import uvicorn

    class Server(uvicorn.Server):
        """Drains before it shuts down, and leaves signals alone."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            service.ready()

        async def on_tick(self, counter: int) -> bool:
            return await super().on_tick(counter) or service.stop.requested

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await service.drain()
            await super().shutdown(sockets)

    config = uvicorn.Config(
        service.app,
        # By name: what "auto" means depends on what else is installed, and on the version.
        http="httptools" if find_spec("httptools") else "h11",
        lifespan="off",  # apps open what they need themselves, without making the start wait for it
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
    )
    await Server(config).serve(sockets=[service.sock])


async def run_hypercorn(service: Service) -> None:
    """Serve with hypercorn."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.errorlog = logging.getLogger("hypercorn.error")
    config.accesslog = None
    config.include_server_header = False
    config.graceful_timeout = GRACE
    config.keep_alive_timeout = KEEP_ALIVE
    config.bind = [f"fd://{service.sock.detach()}"]

    async def stopped() -> None:
        # Hypercorn waits for this from the moment that it serves.
        service.ready()
        await service.stop.wait()
        await service.drain()

    await serve(service.app, config, shutdown_trigger=stopped, mode="asgi")


async def run_granian(service: Service) -> None:
    """Serve with granian, in this process."""
    from granian.constants import Interfaces
    from granian.server.embed import Server

    host, port = service.sock.getsockname()[:2]
    # Granian binds for itself; what we bound has shown that the port is free, and which one it is.
    service.sock.close()
    server = Server(
        service.app,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        websockets=False,
        log_dictconfig={"handlers": {}, "loggers": {"_granian": {"propagate": True}}},
    )
    server.workers_kill_timeout = GRACE
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve)
        await _accepting(host, port)
        service.ready()
        await service.stop.wait()
        await service.drain()
        server.stop()  # type: ignore[no-untyped-call]  # granian annotates arguments only


SERVERS: Mapping[str, Server] = {"uvicorn": run_uvicorn, "granian": run_granian, "hypercorn": run_hypercorn}


def check_installed(name: str) -> None:
    """Raises ``ConfigError`` when the server of that name is not installed."""
    if find_spec(name) is None:
        package = '"copilot-asgi[serve]"' if name == "uvicorn" else name
        raise ConfigError(f"The server {name} is not installed: pip install {package}")


async def _accepting(host: str, port: int) -> None:
    while True:
        try:
            stream = await anyio.connect_tcp(host, port)
        except OSError:
            await anyio.sleep(0.02)
        else:
            return await stream.aclose()
