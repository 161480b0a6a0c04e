"""Do not ask upstream again what it refused a moment ago: answer here instead. What may go up takes a place.

Sits inside retry, so that every try is looked at and none holds a place between two, and outside the lease, as no token
is needed to say no. Rule: nobody holds a place while waiting for a circuit, so that one which is shut keeps no other
model waiting; and who queued for a place looks again, so that nobody is sent on past a circuit that opened meanwhile.
A success is the head; permits and place are free again after the last byte.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import anyio

from copilot_asgi._signal import Signal
from copilot_asgi.circuits import Circuits, Key, Permit, Turn
from copilot_asgi.errors import UpstreamError
from copilot_asgi.exchange import Exchange, Handler, Head, Part, Send
from copilot_asgi.wire.refusal import read_refusal

__all__ = ["BreakCircuit"]


class BreakCircuit:
    """Pass what no circuit holds back, in one of the places of ``place``, and note what upstream refuses.

    While a throttled circuit recovers, requests wait up to ``max_wait`` seconds for their turn; with ``wait`` also
    while it is open, if that ends within that time. ``wall`` is for dates in ``retry-after``.
    """

    def __init__(
        self,
        circuits: Circuits,
        place: Callable[[Exchange], AbstractAsyncContextManager[None]],
        *,
        wait: bool,
        max_wait: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._circuits = circuits
        self._place = place
        self._wait = wait
        self._max_wait = max_wait
        self._clock = clock
        self._wall = wall

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises ``CircuitOpen``, or ``Overloaded`` when no place comes free in time.

        A call that is cancelled, or fails for another reason, is neither a success nor a refusal.
        """
        assert exchange.account is not None
        assert exchange.route is not None
        asked = exchange.account.key, exchange.route.model.id
        deadline = self._clock() + self._max_wait
        while True:  # again, with everything given back, if a circuit opened while we queued for a place
            permits: list[Permit] = []
            try:
                for key in self._circuits.concerning(*asked):
                    # One by one: those in hand are released if the next is refused.
                    permits.append(await self._permit(key, deadline))  # noqa: PERF401
                async with self._place(exchange):
                    if self._circuits.still(permits, *asked, self._clock(), deadline=deadline):
                        return await call_next(exchange, self._watching(send, permits) if permits else send)
            except UpstreamError as error:
                self._note(error, asked)  # before the permits are free again
                raise
            finally:
                for permit in permits:
                    self._circuits.release(permit)

    def _note(self, error: UpstreamError, asked: tuple[str, str]) -> None:
        refusal = read_refusal(error, self._wall())
        if refusal is not None:
            self._circuits.refused(*asked, refusal, self._clock())

    async def _permit(self, key: Key, deadline: float) -> Permit:
        """Leave to pass the circuit of ``key``, when it is our turn. Raises ``CircuitOpen``."""
        woken = Signal()
        turn = Turn(key, deadline=deadline, wake=woken.set)
        try:
            while True:
                answer = self._circuits.ask(turn, self._clock(), wait=self._wait)
                if isinstance(answer, Permit):
                    return answer
                with anyio.move_on_after(answer):
                    await woken.wait()
                woken = Signal()
                turn.wake = woken.set
        finally:
            self._circuits.leave(turn)

    def _watching(self, send: Send, permits: Sequence[Permit]) -> Send:
        async def watching(part: Part) -> None:
            if isinstance(part, Head) and part.status == 200:
                for permit in permits:
                    self._circuits.succeeded(permit)
            await send(part)

        return watching
