"""Many ask, one goes: everyone who asks for the same thing at the same time gets the one answer.

Rule: the one who goes is a task of its own, so the request that happened to be first can be cancelled without taking
the others with it.
"""

from collections.abc import Awaitable, Callable, Coroutine, Hashable
from functools import partial
from typing import Generic, TypeVar

import anyio

from copilot_asgi.errors import Draining

__all__ = ["SingleFlight", "StartSoon"]

T = TypeVar("T")

StartSoon = Callable[[Callable[[], Coroutine[object, object, None]]], object]
"""Starts a function as a task that outlives the caller, such as ``TaskGroup.start_soon``."""


class SingleFlight(Generic[T]):
    """Runs ``work`` at most once at a time for each key. Belongs to the event loop of its ``start_soon``."""

    def __init__(self, start_soon: StartSoon) -> None:
        self._start_soon = start_soon
        self._flights: dict[Hashable, _Flight[T]] = {}

    async def run(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """What ``work`` returned or raised, joining the flight that is under way if there is one.

        Cancelling a caller leaves the work running. Raises ``Draining`` when the work itself was cancelled.
        """
        flight = self._join(key, work)
        await flight.done.wait()
        return flight.outcome()

    def start(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> None:
        """Begin a flight, unless one is under way, and do not wait; ``work`` must report its own failures."""
        self._join(key, work)

    def _join(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> "_Flight[T]":
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            try:
                self._start_soon(partial(self._fly, key, flight, work))
            except BaseException:
                del self._flights[key]
                raise
        return flight

    async def _fly(self, key: Hashable, flight: "_Flight[T]", work: Callable[[], Awaitable[T]]) -> None:
        try:
            flight.results.append(await work())
        except Exception as error:  # noqa: BLE001 - it is raised again in everyone who waits, never lost
            flight.error = error
        finally:
            del self._flights[key]
            flight.done.set()


class _Flight(Generic[T]):
    def __init__(self) -> None:
        self.done = anyio.Event()
        self.results: list[T] = []
        self.error: Exception = Draining("The server is shutting down.")

    def outcome(self) -> T:
        if self.results:
            return self.results[0]
        raise self.error.with_traceback(None)
