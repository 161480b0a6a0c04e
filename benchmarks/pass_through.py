"""The least that a proxy in Python does: an ASGI app that sends each request on and each piece of the answer back.

It speaks upstream through the same engine as ``copilot_asgi`` and has no pipeline, so that the difference between the
two is what the pipeline costs. Run it:  BENCH_UPSTREAM=127.0.0.1:PORT uvicorn pass_through:app
"""

import os
import ssl
from typing import Any

from copilot_asgi._h1 import H1Transport

HOST, _, PORT = os.environ.get("BENCH_UPSTREAM", "127.0.0.1:80").partition(":")
HEAD = "POST /chat/completions HTTP/1.1\r\nhost: {}:{}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n"

transport = H1Transport(ssl.create_default_context())


async def app(scope: Any, receive: Any, send: Any) -> None:
    """One exchange; whatever the path, a chat completion is asked for."""
    if scope["type"] != "http":
        return
    body = await _body(receive)
    head = HEAD.format(HOST, PORT, len(body)).encode()
    answer = await transport.exchange(("http", HOST, int(PORT)), head, body)
    try:
        headers = [(name.lower(), value) for name, value in answer.headers if name.lower() != b"transfer-encoding"]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        while piece := await answer.receive():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        await answer.aclose()


async def _body(receive: Any) -> bytes:
    pieces = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)
