"""Clients of an ASGI app in the same process: no socket, no server, and responses that stream.

Rule: a transport behaves as a server would. The app runs in a task of its own, meets back-pressure in ``send`` (a
message is taken when the client reads it), sees ``http.disconnect`` when the client leaves, and has ended when the
response is closed. It differs where that helps a test: what the app raises is raised where the client reads.

``httpx`` and ``httpx2`` have the same interface and unrelated classes, so whoever asks names the library.
"""

import importlib
import importlib.util
import threading
import weakref
from contextlib import ExitStack
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, Unpack, cast, overload

from anyio.from_thread import BlockingPortal, start_blocking_portal

from copilot_asgi._in_process import Body, Call, Message, SyncBody, in_steps
from copilot_asgi.errors import ConfigError
from copilot_asgi.exchange import Head

if TYPE_CHECKING:
    import httpx
    import httpx2

__all__ = [
    "InProcessTransport",
    "Library",
    "SyncInProcessTransport",
    "in_process_transport",
    "installed_library",
    "sync_in_process_transport",
]

Library = Literal["httpx", "httpx2"]


class Options(TypedDict, total=False):
    """What all transports can be told: what the app sees as ``client`` and ``root_path``, and ``raise_exceptions``."""

    client: tuple[str, int]
    root_path: str
    raise_exceptions: bool


class _Transport:
    """What the transports have in common."""

    def __init__(self, app: Any, *, library: Library = "httpx", **options: Unpack[Options]) -> None:
        self.app = app
        self.library = _load(library)
        self.raise_exceptions = options.get("raise_exceptions", True)
        self._client = options.get("client", ("127.0.0.1", 0))
        self._root_path = options.get("root_path", "")

    def scope(self, request: "httpx.Request") -> Message:
        """The ASGI scope of that request (HTTP specification 2.3)."""
        url = request.url
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "root_path": self._root_path,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": self._client,
            "server": (url.host, url.port or {"https": 443}.get(url.scheme, 80)),
            "state": {},
            "extensions": {},
        }

    def response(self, head: Head, body: object) -> "httpx.Response":
        """The library's response whose stream is ``body``."""
        response: httpx.Response = self.library.Response(head.status, headers=list(head.headers), stream=body)
        return response


class InProcessTransport(_Transport):
    """Serves ``httpx.AsyncClient`` or ``httpx2.AsyncClient`` (``library``) from an ASGI app, on asyncio and trio.

    What the app raises reaches the client as it is; with ``raise_exceptions=False`` as a server shows it: status 500,
    or a body that breaks off. A request's read timeout is honoured. ``in_process_transport`` returns it with the
    library's type.
    """

    async def handle_async_request(self, request: "httpx.Request") -> "httpx.Response":
        """The response as soon as it starts; its body streams."""
        call = Call(self, request, aiter(cast("httpx.AsyncByteStream", request.stream)))
        head = await call.head()
        return self.response(head, type("InProcessBody", (Body, self.library.AsyncByteStream), {})(call))

    async def aclose(self) -> None:
        """Nothing is kept between requests."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class SyncInProcessTransport(_Transport):
    """Serves ``httpx.Client`` or ``httpx2.Client`` from an ASGI app, on an asyncio loop in a thread of its own.

    The thread starts with the first request and ends with ``close``, which the client calls. As ``InProcessTransport``
    otherwise.
    """

    def __init__(self, app: Any, *, library: Library = "httpx", **options: Unpack[Options]) -> None:
        super().__init__(app, library=library, **options)
        self._opening = threading.Lock()
        self._portal: BlockingPortal | None = None
        self._stack = ExitStack()
        self._finish = weakref.finalize(self, self._stack.close)  # at exit too, for a client that nobody closes

    def handle_request(self, request: "httpx.Request") -> "httpx.Response":
        """The response as soon as it starts; its body streams."""
        portal = self._open_portal()
        call, head = portal.call(self._start, request)
        return self.response(head, type("InProcessBody", (SyncBody, self.library.SyncByteStream), {})(call, portal))

    def close(self) -> None:
        """End the loop and its thread."""
        self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _open_portal(self) -> BlockingPortal:
        with self._opening:
            if self._portal is None:
                self._portal = self._stack.enter_context(start_blocking_portal())
            return self._portal

    async def _start(self, request: "httpx.Request") -> "tuple[Call, Head]":
        call = Call(self, request, in_steps(cast("httpx.SyncByteStream", request.stream)))
        return call, await call.head()


@overload
def in_process_transport(
    app: Any, *, library: Literal["httpx"] = "httpx", **options: Unpack[Options]
) -> "httpx.AsyncBaseTransport": ...
@overload
def in_process_transport(
    app: Any, *, library: Literal["httpx2"], **options: Unpack[Options]
) -> "httpx2.AsyncBaseTransport": ...
def in_process_transport(app: Any, *, library: Library = "httpx", **options: Unpack[Options]) -> object:
    """An ``InProcessTransport`` for that library's ``AsyncClient``. Raises ``ConfigError`` when it is not installed."""
    return InProcessTransport(app, library=library, **options)


@overload
def sync_in_process_transport(
    app: Any, *, library: Literal["httpx"] = "httpx", **options: Unpack[Options]
) -> "httpx.BaseTransport": ...
@overload
def sync_in_process_transport(
    app: Any, *, library: Literal["httpx2"], **options: Unpack[Options]
) -> "httpx2.BaseTransport": ...
def sync_in_process_transport(app: Any, *, library: Library = "httpx", **options: Unpack[Options]) -> object:
    """A ``SyncInProcessTransport`` for that library's ``Client``. Raises ``ConfigError`` when it is not installed."""
    return SyncInProcessTransport(app, library=library, **options)


def installed_library() -> Library:
    """``httpx2`` when it is installed, as the newest SDKs want it, else ``httpx``."""
    return "httpx2" if importlib.util.find_spec("httpx2") else "httpx"


def _load(library: Library) -> ModuleType:
    try:
        return importlib.import_module(library)
    except ImportError:
        raise ConfigError(f"The package {library!r} is not installed. Run: pip install {library}") from None
