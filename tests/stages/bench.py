"""What tests of single stages need: an exchange, a client that keeps what it is sent, and handlers to call next."""

from collections.abc import Callable

import anyio

from copilot_asgi.credentials.accounts import Account
from copilot_asgi.exchange import Arrival, Caller, Exchange, Head, Part, Request, Send
from copilot_asgi.routing import Route
from copilot_asgi.secret import Secret
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.models import Model

HEAD = Head(200, ((b"content-type", b"application/json"),))
STREAM_HEAD = Head(200, ((b"content-type", b"text/event-stream"),))
CHAT_BODY = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}]}'


def make_exchange(
    body: bytes = CHAT_BODY,
    *,
    dialect: Dialect = Dialect.CHAT,
    caller: Caller | None = None,
    login: str = "octocat",
    model: Model | None = None,
    arrival: Arrival | None = None,
    id: str = "exchange-1",
) -> Exchange:
    """An exchange as the inner stages find it: identified, with an account and a native route."""
    request = Request.decode(dialect, (), body)
    exchange = Exchange(id=id, received_at=0.0, arrival=arrival or Arrival(client="127.0.0.1"), request=request)
    exchange.caller = caller or Caller(name="local")
    exchange.account = Account(login=login, github_token=Secret("t"))
    exchange.route = Route(model=model or Model(id=request.model), dialect=dialect)
    return exchange


class Client:
    """Keeps what it is sent; may leave, by cancellation of ``scope``, at the nth part."""

    def __init__(self, *, leave_at: int | None = None) -> None:
        self.parts: list[Part] = []
        self.scope = anyio.CancelScope()
        self._leave_at = leave_at

    async def __call__(self, part: Part) -> None:
        if len(self.parts) == self._leave_at:
            self.scope.cancel()
        await anyio.lowlevel.checkpoint()
        self.parts.append(part)

    @property
    def head(self) -> Head:
        """The head it got."""
        (head,) = [part for part in self.parts if isinstance(part, Head)]
        return head

    @property
    def body(self) -> bytes:
        """The body it got."""
        return b"".join(part for part in self.parts if isinstance(part, bytes))


class Answer:
    """An innermost handler: sends ``parts``, then raises ``error`` if there is one; counts its calls.

    ``before`` runs first, ``gate`` holds it before its last part until it is set.
    """

    def __init__(
        self,
        *parts: Part,
        error: Exception | None = None,
        before: Callable[[Exchange], None] | None = None,
        gate: anyio.Event | None = None,
    ) -> None:
        self.parts = parts or (HEAD, b"{}")
        self.calls = 0
        self._error = error
        self._before = before
        self._gate = gate

    async def __call__(self, exchange: Exchange, send: Send) -> None:
        self.calls += 1
        if self._before is not None:
            self._before(exchange)
        await anyio.lowlevel.checkpoint()
        for part in self.parts[:-1]:
            await send(part)
        if self._gate is not None:
            await self._gate.wait()
        await send(self.parts[-1])
        if self._error is not None:
            raise self._error


class Failure:
    """An innermost handler that raises the given errors one after the other, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.calls = 0

    async def __call__(self, exchange: Exchange, send: Send) -> None:
        self.calls += 1
        await anyio.lowlevel.checkpoint()
        if self._errors:
            raise self._errors.pop(0)
        await send(HEAD)
        await send(b"{}")


class Clock:
    """A clock that is set by hand, in seconds."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
