"""Functions that users supply, plain or async, as one kind.

Rule: a plain function never runs on the event loop: it may block.
"""

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import ParamSpec, TypeVar, cast

import anyio.to_thread

__all__ = ["Hook", "as_async", "call_hook", "thread_sensitive"]

P = ParamSpec("P")
R = TypeVar("R")

Hook = Callable[P, Awaitable[R]] | Callable[P, R]
"""A function of a user's, plain or async."""


def as_async(hook: "Hook[P, R]") -> Callable[P, Awaitable[R]]:
    """``hook`` as an async function: what kind it is, is found out once and not at each call."""
    return cast("Callable[P, Awaitable[R]]", hook) if _is_async(hook) else partial(call_hook, hook)


async def call_hook(hook: "Hook[P, R]", *args: P.args, **kwargs: P.kwargs) -> R:
    """Call ``hook``: on the loop when it is async, in a worker thread when it is plain.

    When cancelled an async hook is cancelled where it waits; a plain one runs to its end, and its result is dropped.
    """
    if _is_async(hook):
        return await cast("Callable[P, Awaitable[R]]", hook)(*args, **kwargs)

    def call() -> tuple[R | Awaitable[R]]:
        return (hook(*args, **kwargs),)  # wrapped: no event loop takes a bare awaitable out of a thread

    (result,) = await anyio.to_thread.run_sync(call, abandon_on_cancel=True)
    return await result if inspect.isawaitable(result) else result


def thread_sensitive(function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """A hook of a Django site, such as one that asks its database: run in the one thread that Django wants (asyncio).

    Source: Django documentation, "Asynchronous support", thread sensitivity.
    """
    from asgiref.sync import ThreadSensitiveContext, sync_to_async

    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        async with ThreadSensitiveContext():
            return await sync_to_async(function, thread_sensitive=True)(*args, **kwargs)

    return call


def _is_async(hook: object) -> bool:
    return inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(getattr(hook, "__call__", None))  # noqa: B004
