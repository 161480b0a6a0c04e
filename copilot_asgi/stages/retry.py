"""Try again, but only while nothing has reached the client, as the policy says, and while the budget lasts.

Sits around the lease, so that every try takes its own token.
"""

from collections import Counter
from collections.abc import Awaitable

import anyio

from copilot_asgi.errors import UpstreamError, UpstreamUnauthorized
from copilot_asgi.exchange import Exchange, Handler, Part, Send
from copilot_asgi.retrying import RetryBudget, RetryPolicy

__all__ = ["Retry"]


class Retry:
    """Call the rest of the pipeline again as ``policy`` says: seconds to wait, or ``None`` to give up.

    Each repeat is taken out of ``budget``, which all requests share; the one with a fresh token is free, as what was
    refused cost upstream nothing.
    """

    def __init__(self, policy: RetryPolicy, budget: RetryBudget) -> None:
        self._policy = policy
        self._budget = budget

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises the last try's error; cancellation ends a wait at once."""
        self._budget.deposit()
        started = False

        def watched(part: Part) -> Awaitable[None]:
            nonlocal started
            started = True
            return send(part)

        failures: Counter[bool] | None = None
        while True:
            try:
                return await call_next(exchange, watched)
            except UpstreamError as error:
                failures = Counter() if failures is None else failures
                wait = None if started else self._wait(error, failures)
                if wait is None:
                    raise
            await anyio.sleep(wait)

    def _wait(self, error: UpstreamError, failures: Counter[bool]) -> float | None:
        """Seconds until the next try, if there is one. ``failures`` counts refused tokens (True) and all others."""
        refused = isinstance(error, UpstreamUnauthorized)
        failures[refused] += 1
        wait = self._policy(error, failures[refused])
        return wait if wait is None or refused or self._budget.withdraw() else None
