"""The ASGI side that has nothing to do with what is simulated: reading a request, lifespan, websockets.

Rule: a request whose body never arrives whole is nobody's business.
"""

from typing import Any

from copilot_asgi.simulator.answers import Incoming

__all__ = ["read_request", "reject_websocket", "serve_lifespan"]

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


async def read_request(scope: Any, receive: Any) -> Incoming | None:
    """The whole request, or ``None`` when the client left while sending it."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    scheme = scope.get("scheme", "http")
    return Incoming(
        method=scope["method"],
        scheme=scheme,
        host=headers.get("host", "").lower().removesuffix(_DEFAULT_PORTS.get(scheme, "")),
        path=scope["path"],
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=headers,
        body=bytes(body),
    )


async def serve_lifespan(receive: Any, send: Any) -> None:
    """There is nothing to start or stop."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def reject_websocket(scope: Any, receive: Any, send: Any) -> None:
    """Refuse the handshake with 404 where the server lets us say so, else by closing."""
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1000})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "websocket.http.response.start", "status": 404, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"not found\n"})
