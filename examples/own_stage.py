"""Copilot with a step of one's own in the pipeline: how long each answer took, from first to last byte.

Run it:  uvicorn own_stage:app --port 4141
"""

import logging
import time

from copilot_asgi import CopilotApp, Exchange, Handler, Send

logger = logging.getLogger("uvicorn.error")


async def time_it(exchange: Exchange, send: Send, call_next: Handler) -> None:
    """What stands behind ``call_next`` runs after the last byte; to refuse, raise one of ``copilot_asgi.errors``."""
    start = time.monotonic()
    try:
        await call_next(exchange, send)
    finally:
        logger.info("%s took %.1f s for %s", exchange.id, time.monotonic() - start, exchange.request.model)


app = CopilotApp(stages=lambda stack: stack.after("identify", time_it))
