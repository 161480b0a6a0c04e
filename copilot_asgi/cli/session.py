"""From a command, which is plain code, into an event loop and out again."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from copilot_asgi.config import Settings
from copilot_asgi.upstream.client import Upstream

__all__ = ["with_upstream"]

R = TypeVar("R")


def with_upstream(settings: Settings, work: Callable[[Upstream], Awaitable[R]]) -> R:
    """What ``work`` returns. Ctrl-C cancels it, and what it has opened is closed before ``KeyboardInterrupt`` goes on.

    ``work`` asks the person nothing: while an event loop runs, a prompt would not see Ctrl-C.
    """
    return anyio.run(_run, settings, work)


async def _run(settings: Settings, work: Callable[[Upstream], Awaitable[R]]) -> R:
    upstream = Upstream(settings)
    try:
        return await work(upstream)
    finally:
        with anyio.CancelScope(shield=True):
            await upstream.aclose()
