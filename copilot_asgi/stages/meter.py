"""Read off upstream's answer what it used, and put a price on it. Sits next to the forwarder, at upstream's bytes."""

from collections.abc import Awaitable

from copilot_asgi.errors import CopilotASGIError, UpstreamError, UpstreamStatus, UpstreamUnavailable
from copilot_asgi.exchange import Caller, Exchange, Handler, Head, Part, Send, header
from copilot_asgi.pricing import Usage, estimate_broken, estimate_prompt, output_asked, price
from copilot_asgi.wire.usage import UsageTail

__all__ = ["Meter"]


class Meter:
    """Set ``exchange.usage`` when the answer has passed, also when it broke off, its reader left, or none began.

    What upstream did not come to tell is estimated: without an answer that is the prompt, which upstream may have read.
    Where it certainly processed nothing, ``usage`` stays what it was. There is one for an exchange: that of a later try
    replaces that of an earlier one. Unless ``always`` is set, only callers with limits or budgets of their own are
    metered.
    """

    def __init__(self, *, always: bool = True) -> None:
        self._always = always

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises what the forwarder raises; cancellation goes on when the usage is set."""
        if not self._always and not _has_own_limits(exchange.caller):
            await call_next(exchange, send)
            return
        reading = _Reading(send)
        try:
            await call_next(exchange, reading)
        except BaseException as error:
            if not reading.began and not _processed_nothing(error):
                exchange.usage = _prompt_alone(exchange)
            raise
        finally:
            if reading.began:
                exchange.usage = reading.usage(exchange)


def _has_own_limits(caller: Caller | None) -> bool:
    return caller is not None and bool(caller.budgets or caller.rate_limits)


def _processed_nothing(error: BaseException) -> bool:
    """Whether it is certain that upstream did no work for a request that ended so before its head."""
    match error:
        case UpstreamUnavailable():
            return not error.sent
        case UpstreamStatus():
            return True
        case _:
            return isinstance(error, CopilotASGIError) and not isinstance(error, UpstreamError)


def _prompt_alone(exchange: Exchange) -> Usage:
    assert exchange.route is not None
    return estimate_prompt(len(exchange.request.body), exchange.route.model, by_user=_by_user(exchange))


def _by_user(exchange: Exchange) -> bool:
    return exchange.turn is None or exchange.turn.by_user


class _Reading:
    """A ``Send`` that keeps what the usage can be read from; every part goes on as it came."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._stream = False
        self._tail: UsageTail | None = None

    def __call__(self, part: Part) -> Awaitable[None]:
        # Without a coroutine of its own a chunk costs a tenth less here.
        if isinstance(part, Head):
            self._stream = b"event-stream" in (header(part.headers, b"content-type") or b"").lower()
            self._tail = UsageTail(whole=not self._stream)
        elif self._tail is not None:
            self._tail.feed(part)
        return self._send(part)

    @property
    def began(self) -> bool:
        """Whether there was a head."""
        return self._tail is not None

    def usage(self, exchange: Exchange) -> Usage:
        """What the answer used so far; there must have been its head."""
        assert self._tail is not None
        assert exchange.route is not None
        request, model = exchange.request, exchange.route.model
        tokens = self._tail.read()
        if tokens is not None and tokens.final:
            return price(tokens, model, by_user=_by_user(exchange))
        return estimate_broken(
            tokens,
            model,
            asked=output_asked(request.fields, request.dialect),
            body_bytes=len(request.body),
            answer_bytes=self._tail.size,
            stream=self._stream,
            by_user=_by_user(exchange),
        )
