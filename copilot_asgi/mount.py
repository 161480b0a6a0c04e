"""Put the app beside any ASGI host, below one path, with lifespan served for both.

Rule: what is not ours reaches the host untouched; a host that knows no lifespan (some raise on it) is spared it.
"""

import logging
from contextlib import closing
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from asgiref.compatibility import guarantee_single_callable

from copilot_asgi.app import CopilotApp
from copilot_asgi.errors import ConfigError

__all__ = ["CopilotMiddleware"]

logger = logging.getLogger(__name__)


class CopilotMiddleware:
    """An ASGI application that gives ``path`` to ``app`` and everything else to ``host``.

    For hosts whose own mount is missing or in the way, such as Django's ``asgi.py``. Raises ``ConfigError`` for a path
    that is not like ``/copilot``.
    """

    def __init__(self, host: Any, *, app: CopilotApp, path: str = "/copilot") -> None:
        if not path.startswith("/") or path.endswith("/") or "//" in path:
            raise ConfigError(f"path: {path!r} does not fit. Use one like '/copilot'.")
        self._host: Any = guarantee_single_callable(host)  # type: ignore[no-untyped-call]  # asgiref has no types here
        self._app = app
        self._path = path

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif self._is_ours(scope):
            mounted = {**scope, "root_path": scope.get("root_path", "") + self._path}
            await self._app(mounted, receive, send)
        else:
            await self._host(scope, receive, send)

    def _is_ours(self, scope: Any) -> bool:
        # Some servers prepend their root_path to the path, some leave the path alone.
        path, root_path = scope.get("path", ""), scope.get("root_path", "")
        if root_path and path.startswith(root_path + "/"):
            path = path[len(root_path) :]
        return bool(path == self._path or path.startswith(self._path + "/"))

    async def _lifespan(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        with closing(_HostLifespan(self._host, scope)) as host:
            await self._serve_both(host, receive, send)

    async def _serve_both(self, host: "_HostLifespan", receive: Any, send: Any) -> None:
        async with self._app, anyio.create_task_group() as group:
            group.start_soon(host.run)
            reply = await host.tell("lifespan.startup")
            await send(reply)
            if reply["type"] == "lifespan.startup.complete":
                await receive()
                reply = await host.tell("lifespan.shutdown")
                await self._app.aclose()
                await send(reply)
            group.cancel_scope.cancel()


class _HostLifespan:
    """The host's side of lifespan; for a host that does not take part, everything is complete at once."""

    def __init__(self, host: Any, scope: Any) -> None:
        self._host = host
        self._scope = scope
        self._to_host, self._receive = _channel()
        self._send, self._from_host = _channel()

    async def run(self) -> None:
        """Run the host's lifespan to its end; what it raises means that it has none (ASGI specification, Lifespan)."""
        with self._send, self._receive:
            try:
                await self._host(self._scope, self._receive.receive, self._send.send)
            except Exception:
                logger.debug("The host takes no part in lifespan.", exc_info=True)

    async def tell(self, kind: str) -> dict[str, Any]:
        """Give the host a message and return its answer."""
        try:
            await self._to_host.send({"type": kind})
            return await self._from_host.receive()
        except (anyio.BrokenResourceError, anyio.EndOfStream):
            return {"type": f"{kind}.complete"}

    def close(self) -> None:
        """The server's side is done."""
        self._to_host.close()
        self._from_host.close()


def _channel() -> tuple[MemoryObjectSendStream[dict[str, Any]], MemoryObjectReceiveStream[dict[str, Any]]]:
    return anyio.create_memory_object_stream[dict[str, Any]](1)
