"""Ollama's way of loading a model is a request without a question; there is nothing to load, so it is answered here."""

import time

from copilot_asgi.exchange import Exchange, Handler, Head, Send
from copilot_asgi.translate.ollama_request import is_load_request
from copilot_asgi.translate.ollama_stream import render_generate_loaded, render_loaded
from copilot_asgi.wire.dialect import Dialect

__all__ = ["answer_load_requests"]


async def answer_load_requests(exchange: Exchange, send: Send, call_next: Handler) -> None:
    """Answer a load request; hand on everything else."""
    request = exchange.request
    if exchange.dialect is not Dialect.OLLAMA or not is_load_request(request.fields):
        await call_next(exchange, send)
        return
    render = render_generate_loaded if request.form == "generate" else render_loaded
    await send(Head(200, ((b"content-type", b"application/json"),)))
    await send(render(request.model, created=int(time.time())))
