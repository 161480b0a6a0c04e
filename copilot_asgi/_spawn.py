"""One task that outlives the call that started it, on asyncio and on trio.

Rule: this is the only place that starts a task outside a task group. A spawned task never crashes its loop: what it
raises is kept and given to whoever waits for it. It ends when its function returns, when ``cancel`` is called, or with
the loop.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context

import anyio
from anyio.lowlevel import RunVar, current_token

__all__ = ["Task", "spawn"]

# asyncio refers to its tasks weakly; this keeps those of one loop alive until they are done.
_running: RunVar[set["asyncio.Task[None]"]] = RunVar("copilot_asgi_spawned_tasks")


class Task:
    """A running function. Made by ``spawn``; belongs to the loop that it was made on."""

    __slots__ = ("_done", "_error", "_function", "_scope")

    def __init__(self, function: Callable[[], Awaitable[None]]) -> None:
        self._function = function
        self._scope = anyio.CancelScope()
        self._done = anyio.Event()
        self._error: Exception | None = None

    @property
    def done(self) -> bool:
        """Whether the function has ended, in whatever way."""
        return self._done.is_set()

    @property
    def error(self) -> Exception | None:
        """What the function raised, or ``None`` when it is still running, returned, or was cancelled."""
        return self._error

    def cancel(self) -> None:
        """Ask the function to end: cancellation is raised where it waits. Harmless when it has ended; idempotent."""
        self._scope.cancel()

    async def wait(self) -> None:
        """Wait until the function has ended; raises nothing of its own, ``error`` tells how it went.

        Cancelling the waiter does not cancel the task.
        """
        await self._done.wait()

    async def _run(self) -> None:
        try:
            with self._scope:
                await self._function()
        except Exception as error:  # noqa: BLE001 - nobody is above this task; trio would end the whole program
            self._error = error
        finally:
            self._done.set()


def spawn(function: Callable[[], Awaitable[None]], *, context: Context | None = None) -> Task:
    """Start ``function`` as a task of the running loop and return at once.

    It runs in ``context``, or in an empty one, so that it keeps nothing of the request that happened to start it.
    """
    task = Task(function)
    context = Context() if context is None else context
    if isinstance(current_token().native_token, asyncio.AbstractEventLoop):
        _spawn_on_asyncio(task, context)
    else:
        _spawn_on_trio(task, context)
    return task


def _spawn_on_asyncio(task: Task, context: Context) -> None:
    running = _running.get(None)
    if running is None:
        running = set()
        _running.set(running)
    native = asyncio.get_running_loop().create_task(task._run(), context=context)  # noqa: SLF001 - same file
    running.add(native)
    native.add_done_callback(running.discard)


def _spawn_on_trio(task: Task, context: Context) -> None:
    import trio

    trio.lowlevel.spawn_system_task(task._run, context=context)  # noqa: SLF001 - same file
