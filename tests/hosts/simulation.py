"""The simulator behind a real server in a thread of the test's process, so that a test can look into it.

Rule: a test reads the simulator's state from its own thread; it changes it only while no request is under way.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from hosts.processes import until

from copilot_asgi.simulator import Simulator

__all__ = ["settings_for", "simulation"]


@contextmanager
def simulation() -> Iterator[tuple[Simulator, str]]:
    """A simulator and its address."""
    simulator = Simulator()
    config = uvicorn.Config(simulator, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started, "the simulator serves")
        port = server.servers[0].sockets[0].getsockname()[1]
        yield simulator, f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def settings_for(url: str, token: str) -> dict[str, str]:
    """The environment that makes the simulator at ``url`` GitHub and Copilot, with somebody signed in."""
    names = ("GITHUB_URL", "GITHUB_API_URL", "COPILOT_URL")
    return {**{f"COPILOT_ASGI_{name}": url for name in names}, "COPILOT_ASGI_GITHUB_TOKEN": token}
