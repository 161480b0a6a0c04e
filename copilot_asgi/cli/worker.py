"""One of several processes that serve: what it does in its own process. ``workers`` has the parent's side.

Rule: it does what its parent says over a pipe, and lives no longer than the parent.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection

import anyio

from copilot_asgi.cli import endings
from copilot_asgi.cli.serving import configure_logs, loop_options, serve_app
from copilot_asgi.cli.signals import StopSignals
from copilot_asgi.config import Settings

__all__ = ["ACCEPTS", "DRAIN", "obey", "work"]

# The one word of each side: the worker accepts, and it is to drain. The end of the pipe means: end at once.
ACCEPTS = b"accepts"
DRAIN = b"drain"


def work(settings: Settings, sock: socket.socket, pipe: "Connection[bytes, bytes]") -> None:
    """Serve on ``sock``. Exits with the status of ``endings`` when that fails."""
    # Ctrl-C reaches every process of a terminal; what it means is the parent's business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = StopSignals()
    signal.signal(signal.SIGTERM, lambda *_: stop.request())
    threading.Thread(target=obey, args=(pipe, stop, partial(os._exit, endings.FAILED)), daemon=True).start()
    configure_logs(settings)
    ready = partial(pipe.send_bytes, ACCEPTS)
    serve = partial(serve_app, settings, server="uvicorn", sock=sock, stop=stop, ready=ready)
    try:
        anyio.run(serve, backend_options=loop_options())
    except Exception as error:  # noqa: BLE001 - the end of the process: nobody else could hide the secrets in it
        sys.exit(endings.tell(error))


def obey(pipe: "Connection[bytes, bytes]", stop: StopSignals, leave: Callable[[], object]) -> None:
    """Ask for the end when the parent says so, and leave at once when it is gone.

    For a thread, which a busy event loop does not hold up.
    """
    try:
        while True:
            pipe.recv_bytes()
            stop.request()
    except (EOFError, OSError):
        leave()
