"""Ollama's way of loading a model is a request without a question; there is nothing to load, so it is answered here."""

import time
from collections.abc import Awaitable

from copilot_asgi.exchange import Exchange, Handler, Head, Request, Send
from copilot_asgi.translate.ollama_request import is_load_request
from copilot_asgi.translate.ollama_stream import render_generate_loaded, render_loaded
from copilot_asgi.wire.dialect import Dialect

__all__ = ["answer_load_requests"]


def answer_load_requests(exchange: Exchange, send: Send, call_next: Handler) -> Awaitable[None]:
    """Answer a load request; hand on everything else."""
    if exchange.dialect is Dialect.OLLAMA and is_load_request(exchange.request.fields):
        return _answer(exchange.request, send)
    return call_next(exchange, send)


async def _answer(request: Request, send: Send) -> None:
    render = render_generate_loaded if request.form == "generate" else render_loaded
    await send(Head(200, ((b"content-type", b"application/json"),)))
    await send(render(request.model, created=int(time.time())))
