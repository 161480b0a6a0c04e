"""Try once more, but only while nothing has reached the client and only where it is safe.

A model call is not idempotent (RFC 9110, 9.2.2), so a failed one is repeated only when upstream certainly processed
nothing: it refused the token, or no connection came about.
"""

from collections.abc import Callable

import anyio

from copilot_asgi.errors import UpstreamError, UpstreamUnauthorized, UpstreamUnavailable
from copilot_asgi.exchange import Exchange, Handler, Part, Send

__all__ = ["Retry", "RetryPolicy", "retry_once"]

RetryPolicy = Callable[[UpstreamError, int], float | None]


def retry_once(error: UpstreamError, attempt: int) -> float | None:
    """One more try at once after a refused token or a connection that never came about. ``attempt`` counts from 1."""
    safe = isinstance(error, UpstreamUnauthorized) or (isinstance(error, UpstreamUnavailable) and not error.sent)
    return 0.0 if safe and attempt == 1 else None


class Retry:
    """Call the rest of the pipeline again as ``policy`` says: seconds to wait, or ``None`` to give up."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises the last attempt's error."""
        started = False

        async def watched(part: Part) -> None:
            nonlocal started
            started = True
            await send(part)

        attempt = 1
        while True:
            try:
                return await call_next(exchange, watched)
            except UpstreamError as error:
                wait = None if started else self._policy(error, attempt)
                if wait is None:
                    raise
            attempt += 1
            await anyio.sleep(wait)
