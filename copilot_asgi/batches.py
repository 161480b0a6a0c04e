"""Group commit: what is submitted while one batch is being written forms the next one.

Rule: what was submitted is applied, in that order and as long as the loop lives, whatever becomes of its submitter.
Nothing waits for company: the first operation is written at once, and under load the batches grow by themselves.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import anyio
from anyio import to_thread
from anyio.lowlevel import RunVar, checkpoint_if_cancelled

from copilot_asgi._spawn import spawn

__all__ = ["Batches"]

T = TypeVar("T")
R = TypeVar("R")


class Batches(Generic[T, R]):
    """Operations of many tasks, applied together by a plain function.

    ``apply`` takes the operations of one batch and returns as many results in the same order. It runs in a worker
    thread and never twice at once, whichever event loops the operations come from.
    """

    def __init__(self, apply: Callable[[list[T]], list[R]]) -> None:
        self._apply = apply
        self._alone = threading.Lock()
        self._writer: RunVar[_Writer[T, R] | None] = RunVar("copilot_asgi_batches", None)

    async def submit(self, operation: T) -> R:
        """The result of ``operation``, as soon as its batch is applied.

        Raises what ``apply`` raised for that batch. On cancellation the operation is finished first; then the
        cancellation goes on.
        """
        writer = self._writer.get()
        if writer is None:
            writer = _Writer(self._apply_alone, on_end=lambda: self._writer.set(None))
            self._writer.set(writer)
            spawn(writer.run)
        batch = writer.forming
        place = len(batch.operations)
        batch.operations.append(operation)
        with anyio.CancelScope(shield=True):
            await batch.done.wait()
        await checkpoint_if_cancelled()
        return batch.result(place)

    def _apply_alone(self, operations: list[T]) -> list[R]:
        with self._alone:
            return self._apply(operations)


class _Batch(Generic[T, R]):
    """Operations that are applied together, and what came of them."""

    def __init__(self) -> None:
        self.operations: list[T] = []
        self.results: list[R] = []
        self.error: Exception = RuntimeError("The event loop is closing.")
        self.done = anyio.Event()

    def result(self, place: int) -> R:
        if not self.results:
            raise self.error
        return self.results[place]


class _Writer(Generic[T, R]):
    """The task that writes the batches of one loop; it ends when there is nothing left to write.

    It is a task of its own so that no submitter's end, not even a rude one by asyncio's own means, stops the others.
    """

    def __init__(self, apply: Callable[[list[T]], list[R]], *, on_end: Callable[[], object]) -> None:
        self._apply = apply
        self._on_end = on_end
        self._place = anyio.CapacityLimiter(1)  # its own thread: blocking functions elsewhere take none of its room
        self.forming: _Batch[T, R] = _Batch()

    async def run(self) -> None:
        try:
            while self.forming.operations:
                batch, self.forming = self.forming, _Batch()
                await self._write(batch)
        finally:
            # The events refer to the loop; leaving them in the loop's variables would keep both alive.
            self._on_end()
            self.forming.done.set()

    async def _write(self, batch: _Batch[T, R]) -> None:
        try:
            batch.results = await to_thread.run_sync(self._apply, batch.operations, limiter=self._place)
        except Exception as error:  # noqa: BLE001 - it belongs to the submitters, who raise it
            batch.error = error
        finally:
            batch.done.set()
