"""Tell the audit log about every exchange, the refused ones too. The outermost stage.

Rule: the entry is written before the exchange is finished, so that a crash right after it loses nothing; a log that
cannot be written fails no request, it is counted and warned of.
"""

import logging
import time
from collections.abc import Callable

import anyio
import msgspec

from copilot_asgi.audit import PROMPT_LIMIT, AuditSink, Entry, Outcome, shortened, timestamp
from copilot_asgi.complaints import Complaints
from copilot_asgi.errors import CopilotASGIError, CredentialError, Draining, Refused, UpstreamError
from copilot_asgi.exchange import Exchange, Handler, Head, Part, Request, Send
from copilot_asgi.wire.dialect import Dialect, render_error

__all__ = ["Audit"]

logger = logging.getLogger(__name__)

WRITE_TIMEOUT = 5.0  # seconds that a sink gets for one entry, also when the client has left

# What servers' logs show for a client that left (nginx's convention).
CLIENT_CLOSED_REQUEST = 499


class _End(msgspec.Struct, frozen=True):
    """How an exchange ended, for its entry."""

    outcome: Outcome
    status: int | None
    error: str | None = None


_LEFT = _End(Outcome.LEFT, CLIENT_CLOSED_REQUEST)


class Audit:
    """Write one entry an exchange to ``sink``; with ``prompts`` it holds the request's body as well.

    ``wall`` is unix seconds, ``clock`` measures how long things take.
    """

    def __init__(
        self,
        sink: AuditSink,
        *,
        prompts: bool,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sink = sink
        self._prompts = prompts
        self._wall = wall
        self._clock = clock
        self._complaints = Complaints(logger, "Entries of the audit log are lost", clock=clock)

    @property
    def sink_failures(self) -> int:
        """How many entries could not be written."""
        return self._complaints.count

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises what the rest of the pipeline raises. On cancellation the entry is written first."""
        visit = _Visit(exchange, send, now=self._wall(), clock=self._clock)
        try:
            await call_next(exchange, visit.send)
        except Exception as error:
            await self._write(visit, _LEFT if visit.gone else _failed(error, exchange.dialect, visit))
            raise
        except anyio.get_cancelled_exc_class():
            await self._write(visit, _ended(visit) if exchange.ended else _LEFT)
            raise
        await self._write(visit, _answered(exchange, visit))

    async def _write(self, visit: "_Visit", end: _End) -> None:
        prompt = visit.asked.body if self._prompts else None
        deadline = anyio.current_time() + WRITE_TIMEOUT
        with anyio.CancelScope(shield=True, deadline=deadline) as scope:
            try:
                await self._sink.write(visit.entry(end, prompt))
            except Exception as error:  # noqa: BLE001 - whatever a sink of the user's raises, the request goes on
                self._complaints.add(error)
        if scope.cancelled_caught:
            self._complaints.add(f"The sink took more than {WRITE_TIMEOUT:g} seconds.")


class _Visit:
    """One exchange while it is under way: what was asked, and what has been sent."""

    def __init__(self, exchange: Exchange, send: Send, *, now: float, clock: Callable[[], float]) -> None:
        self.asked: Request = exchange.request  # as the client sent it; stages further in replace it
        self.status: int | None = None
        self.gone = False
        self.time = timestamp(now)
        self._exchange = exchange
        self._send = send
        self._clock = clock
        self._began = clock()
        self._first_byte: float | None = None
        self._bytes = 0

    async def send(self, part: Part) -> None:
        """Send a part on; an error that comes back means that nobody takes it any more."""
        if self._first_byte is None and not isinstance(part, Head):
            self._first_byte = self._clock()
        try:
            await self._send(part)
        except Exception:
            self.gone = True
            raise
        if isinstance(part, Head):
            self.status = part.status
        else:
            self._bytes += len(part)

    def entry(self, end: _End, prompt: bytes | None) -> Entry:
        """What the log gets to know."""
        exchange, asked = self._exchange, self.asked
        route, usage = exchange.route, exchange.usage
        return Entry(
            time=self.time,
            id=shortened(exchange.id),
            caller=None if exchange.caller is None else shortened(exchange.caller.name),
            account=None if exchange.account is None else shortened(exchange.account.key),
            client=None if exchange.arrival.client is None else shortened(exchange.arrival.client),
            dialect=exchange.dialect.value,
            model=shortened(asked.model),
            routed_model=None if route is None else shortened(route.model.id),
            route=None if route is None else route.dialect.value,
            stream=asked.stream,
            request_bytes=len(asked.body),
            response_bytes=self._bytes,
            status=end.status,
            outcome=end.outcome,
            error=None if end.error is None else shortened(end.error),
            first_byte_ms=None if self._first_byte is None else self._since_start(self._first_byte),
            duration_ms=self._since_start(self._clock()),
            prompt_tokens=None if usage is None else usage.prompt,
            cached_tokens=None if usage is None else usage.cache_read,
            output_tokens=None if usage is None else usage.output,
            nano_credits=None if usage is None else usage.nano_credits,
            prompt=None
            if prompt is None
            else shortened(prompt[:PROMPT_LIMIT].decode("utf-8", "replace"), PROMPT_LIMIT),
        )

    def _since_start(self, moment: float) -> float:
        return round((moment - self._began) * 1000, 3)


def _ended(visit: "_Visit") -> _End:
    """Given up by our own shutting down, which the edge tells the client."""
    if visit.status is None:
        return _End(Outcome.REFUSED, Draining.status, Draining.code)
    return _End(Outcome.INTERRUPTED, visit.status, Draining.code)


def _answered(exchange: Exchange, visit: _Visit) -> _End:
    """A stream that ended with an error event of upstream's is none that went well."""
    stream = exchange.stream
    if exchange.request.stream and stream is not None and not stream.complete:
        return _End(Outcome.INTERRUPTED, visit.status, "upstream_error_event")
    return _End(Outcome.OK, visit.status)


def _failed(error: Exception, dialect: Dialect, visit: _Visit) -> _End:
    known = error if isinstance(error, CopilotASGIError) else CopilotASGIError("")
    status = visit.status
    if status is None:
        # The edge will say it in the dialect's own status.
        status = render_error(known, dialect, request_id="", now=0.0).status
    code = known.code if known is error else None
    return _End(_outcome(error, begun=visit.status is not None), status, code or type(error).__name__)


def _outcome(error: Exception, *, begun: bool) -> Outcome:
    match error:
        case Refused() | CredentialError():
            return Outcome.REFUSED
        case UpstreamError():
            return Outcome.INTERRUPTED if begun else Outcome.FAILED
        case _:
            return Outcome.ERROR
