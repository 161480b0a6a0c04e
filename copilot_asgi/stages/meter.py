"""Read off upstream's answer what it used, and put a price on it. Sits next to the forwarder, at upstream's bytes."""

from copilot_asgi.exchange import Caller, Exchange, Handler, Head, Part, Send, header
from copilot_asgi.pricing import Usage, estimate_broken, price
from copilot_asgi.wire.usage import UsageTail

__all__ = ["Meter"]


class Meter:
    """Set ``exchange.usage`` when the answer has passed, also when it broke off or its reader left.

    What upstream did not come to tell is estimated. It stays ``None`` when no answer began: then nothing was used.
    Unless ``always`` is set, only callers with limits or budgets of their own are metered.
    """

    def __init__(self, *, always: bool = True) -> None:
        self._always = always

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises what the forwarder raises."""
        if not self._always and not _has_own_limits(exchange.caller):
            await call_next(exchange, send)
            return
        reading = _Reading(send)
        try:
            await call_next(exchange, reading)
        finally:
            exchange.usage = reading.usage(exchange)


def _has_own_limits(caller: Caller | None) -> bool:
    return caller is not None and bool(caller.budgets or caller.rate_limits)


class _Reading:
    """A ``Send`` that keeps what the usage can be read from; every part goes on as it came."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._stream = False
        self._tail: UsageTail | None = None

    async def __call__(self, part: Part) -> None:
        if isinstance(part, Head):
            self._stream = b"event-stream" in (header(part.headers, b"content-type") or b"").lower()
            self._tail = UsageTail(whole=not self._stream)
        elif self._tail is not None:
            self._tail.feed(part)
        await self._send(part)

    def usage(self, exchange: Exchange) -> Usage | None:
        """What the answer used so far; ``None`` before its head."""
        if self._tail is None:
            return None
        assert exchange.route is not None
        model = exchange.route.model
        by_user = exchange.turn is None or exchange.turn.by_user
        tokens = self._tail.read()
        if tokens is not None and tokens.final:
            return price(tokens, model, by_user=by_user)
        return estimate_broken(
            tokens,
            model,
            body_bytes=len(exchange.request.body),
            answer_bytes=self._tail.size,
            stream=self._stream,
            by_user=by_user,
        )
