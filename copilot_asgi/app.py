"""The ASGI edge: a scope becomes a request, parts become messages, errors become answers in the client's dialect.

It is the only place that turns errors into answers, and where unexpected ones are caught. No ``Exception`` leaves it,
every response is finished, cancellation always goes on.
"""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from traceback import format_exception
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from anyio.lowlevel import RunVar

from copilot_asgi import stack
from copilot_asgi.access import check_content, check_framing, check_host, check_origin, cors_headers, options_headers
from copilot_asgi.callers import caller_finder
from copilot_asgi.config import Settings
from copilot_asgi.controls import Controls, Hooks
from copilot_asgi.counting import CountTokens, messages_count, responses_count
from copilot_asgi.edge import ClientDisconnected, incoming, read_body
from copilot_asgi.errors import (
    ConfigError,
    CopilotASGIError,
    MethodNotAllowed,
    NotFound,
)
from copilot_asgi.exchange import Arrival, Exchange, Stage, header
from copilot_asgi.in_flight import InFlight, Patience
from copilot_asgi.paths import Target, resolve
from copilot_asgi.pipeline import compose
from copilot_asgi.queries import Queries
from copilot_asgi.query import Query
from copilot_asgi.reading import read_request
from copilot_asgi.secret import redact
from copilot_asgi.stack import Stack
from copilot_asgi.stages.forward import forward
from copilot_asgi.translate.gemini_models import gemini_count
from copilot_asgi.upstream.client import Upstream
from copilot_asgi.visit import Visit
from copilot_asgi.wire.dialect import Dialect

if TYPE_CHECKING:
    import httpx2

    from copilot_asgi.in_process import Library

__all__ = ["CopilotApp"]

logger = logging.getLogger(__name__)

# Seconds; the vendors' SDKs wait as long for an answer, and set their own deadline for each call.
CLIENT_TIMEOUT = 600.0


_COUNTS: Mapping[str, Callable[[int], bytes]] = MappingProxyType(
    {"count_tokens": messages_count, "input_tokens": responses_count, "gemini_count": gemini_count}
)


class CopilotApp:
    """A GitHub Copilot subscription as OpenAI- and Anthropic-compatible endpoints: a raw ASGI application.

    Mount it in any ASGI host, run it on any ASGI server, or call it in-process through ``client()``. Making one opens
    nothing; what needs an event loop is opened by the first request in each loop, so no lifespan is needed.

    ``settings`` come from the environment and ``copilot-asgi.toml`` when left out. ``hooks`` are what a site brings of
    its own, such as ``authenticate`` and ``approve``; ``controls`` are such hooks and settings put together before.
    ``stages`` replaces the stages of ``stack.default``, or is a function that changes them. ``prefix`` is the mount
    path, for hosts that hide it. ``raise_exceptions`` lets unexpected exceptions out, for tests. Raises
    ``ConfigError``.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        stages: Sequence[Stage] | Callable[[Stack], Sequence[Stage]] | None = None,
        upstream: Upstream | None = None,
        controls: Controls | None = None,
        prefix: str | None = None,
        raise_exceptions: bool = False,
        **hooks: Unpack[Hooks],
    ) -> None:
        self.settings = _loaded_settings() if settings is None else settings
        if not isinstance(self.settings, Settings):
            raise ConfigError("settings: give Settings(...), or nothing for those of the environment and the file.")
        self.upstream = Upstream(self.settings) if upstream is None else upstream
        self.controls = _controls(self.upstream, stages, controls, hooks)
        self._find_caller = caller_finder(self.controls.authenticate)
        self._prefix = prefix
        self._raise_exceptions = raise_exceptions
        self._allowed_hosts = tuple(host.lower() for host in self.settings.allowed_hosts)
        chosen = _chosen(stages, self.upstream, self.controls)
        self._handle = compose(chosen, forward)
        # A plain list says nothing about counting.
        counting = (chosen if isinstance(chosen, Stack) else stack.default(self.upstream, self.controls)).counting
        self._counters = {
            name: compose(counting, CountTokens(self.upstream, render, may_ask=self.controls.may_count))
            for name, render in _COUNTS.items()
        }
        self._queries = Queries(self.upstream, self.controls)
        self._in_flight = InFlight(Patience(body=self.settings.body_timeout, send=self.settings.idle_timeout))
        self._users: RunVar[int] = RunVar("copilot_asgi_users", 0)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one ASGI scope; unknown kinds are left alone."""
        if scope["type"] != "http":
            return await self._not_http(scope["type"], receive, send)
        call = incoming(scope)
        target = resolve(call.path, root_path=call.root_path, prefix=self._prefix)
        visit = Visit(call, target, receive, send, patience=self.settings.idle_timeout)
        try:
            await self._serve(visit)
        except ClientDisconnected:
            await visit.leave()
        except CopilotASGIError as error:
            await visit.fail(error)
        except Exception as error:
            if self._raise_exceptions:
                raise
            # Not logger.exception: what a traceback quotes is redacted first.
            logger.error("%s: unexpected error\n%s", visit.id, redact("".join(format_exception(error))))  # noqa: TRY400
            await visit.fail(CopilotASGIError(f"An unexpected error happened. The log has it under {visit.id}."))

    @asynccontextmanager
    async def lifespan(self, host: object = None) -> AsyncIterator[dict[str, "CopilotApp"]]:  # noqa: ARG002
        """For a host's ``lifespan=`` argument: open at start-up, close at shutdown. Optional, and may be nested."""
        async with self:
            yield {"copilot": self}

    async def __aenter__(self) -> Self:
        self._users.set(self._users.get() + 1)
        await self.upstream.opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._users.set(self._users.get() - 1)
        if self._users.get() == 0:
            await self.aclose()

    async def aclose(self) -> None:
        """End what is under way (streams get an error event) and close what the running loop uses.

        A later request opens it again.
        """
        await self._in_flight.end()
        await self.upstream.aclose()
        await self.controls.ledger.close()  # which writes what it still has to

    async def drain(self, timeout: float) -> None:
        """Refuse new requests with 503, and give those under way ``timeout`` seconds before they are ended."""
        await self._in_flight.drain(timeout)

    def client(self, library: "Library | None" = None) -> "httpx2.AsyncClient":
        """An in-process HTTP client for SDKs, such as ``openai.AsyncOpenAI(http_client=app.client())``.

        Calls go through the whole pipeline without a socket; the base URL is ``http://localhost``. ``library`` is
        ``httpx2`` where that is installed, else ``httpx``, whose client has the same interface.
        """
        from copilot_asgi.in_process import InProcessTransport, installed_library

        transport = InProcessTransport(self, library=library or installed_library())
        client: httpx2.AsyncClient = transport.library.AsyncClient(
            transport=transport, base_url="http://localhost", timeout=CLIENT_TIMEOUT
        )
        return client

    async def _not_http(self, kind: str, receive: Any, send: Any) -> None:
        if kind == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4404, "reason": "There is no websocket here."})
        elif kind == "lifespan":
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        try:
            await self.__aenter__()
        except Exception as error:  # noqa: BLE001 - the server is told, in the protocol's own words
            await send({"type": "lifespan.startup.failed", "message": redact(str(error))})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.__aexit__(None, None, None)
        await send({"type": "lifespan.shutdown.complete"})

    def _serve(self, visit: Visit) -> Awaitable[None]:
        call, target = visit.call, visit.target
        check_framing(call.headers)
        check_host(header(call.headers, b"host") or b"", self._allowed_hosts)
        origin = check_origin(call.headers, scheme=call.scheme, allowed=self.settings.cors_origins)
        visit.responder.extra += cors_headers(origin)
        if target is None:
            raise NotFound(f"There is no route {call.path!r}. GET models is a good start.")
        methods = target.endpoint.methods
        if call.method == "OPTIONS":
            answer = partial(visit.responder.respond, 204, options_headers(methods, origin), b"")
            return self._in_flight.run(visit, answer, always=True)
        if call.method not in methods:
            raise MethodNotAllowed(f"Use {' or '.join(methods)} here, not {call.method[:20]}.", allow=methods)
        # While streams come to their end operators can still look and decide, but we are not ready for more.
        is_query = target.endpoint.name in self._queries and target.endpoint.name != "readyz"
        return self._in_flight.run(visit, partial(self._answer, visit, target), always=is_query)

    async def _answer(self, visit: Visit, target: Target) -> None:
        body = await self._read_body(visit) if "POST" in target.endpoint.methods else b""
        arrival = visit.call.arrival(body)
        if target.endpoint.name in self._queries:
            await self._answer_query(visit, target, arrival)
            return
        request = read_request(target, visit.call.headers, visit.call.query, body)
        exchange = Exchange(id=visit.id, received_at=time.monotonic(), arrival=arrival, request=request)
        visit.exchange, visit.responder.streams = exchange, request.stream

        visit.answering = True
        await self._counters.get(target.endpoint.name, self._handle)(exchange, visit.responder.send)
        if not visit.responder.begun:
            raise ConfigError("stages: one of them returned without an answer, and without calling call_next.")
        await visit.responder.finish()

    async def _read_body(self, visit: Visit) -> bytes:
        check_content(visit.call.headers, limit=self.settings.max_body)
        visit.reading = True
        body = await read_body(visit.receive, limit=self.settings.max_body)
        visit.reading = False
        visit.body_read = True
        return body

    async def _answer_query(self, visit: Visit, target: Target, arrival: Arrival) -> None:
        name = target.endpoint.name
        caller = None
        if name not in self._queries.open_to_all:
            caller = await self._find_caller(arrival)
        query = Query(
            name=name,
            argument=target.argument,
            parameters=arrival.query,
            body=arrival.body,
            caller=caller,
            anthropic=visit.dialect is Dialect.MESSAGES,
        )
        answer = await self._queries.answer(query)
        await visit.responder.respond(answer.status, ((b"content-type", b"application/json"),), answer.body)


def _controls(upstream: Upstream, stages: object, given: Controls | None, hooks: Hooks) -> Controls:
    """Those that the stages were made with, so that the routes show what the stages do. Raises ``ConfigError``."""
    given = given or (stages.controls if isinstance(stages, Stack) else None)
    if given is None:
        return Controls(upstream, **hooks)
    if hooks:
        raise ConfigError(f"controls: give {', '.join(hooks)} to Controls, where all hooks belong then.")
    return given


def _chosen(
    stages: Sequence[Stage] | Callable[[Stack], Sequence[Stage]] | None, upstream: Upstream, controls: Controls
) -> Sequence[Stage]:
    if stages is None:
        return stack.default(upstream, controls)
    chosen = stages(stack.default(upstream, controls)) if callable(stages) else stages
    if not isinstance(chosen, Sequence):
        raise ConfigError("stages: give a list of stages, or a function that takes the default ones and returns some.")
    return chosen


def _loaded_settings() -> Settings:
    from copilot_asgi.config_sources import load

    return load().settings
