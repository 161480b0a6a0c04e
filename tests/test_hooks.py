"""Functions of users', plain and async, are called the same way, and never block the loop."""

import threading
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import pytest
from asgiref.sync import sync_to_async

from copilot_asgi.hooks import Hook, as_async, call_hook, thread_sensitive

pytestmark = pytest.mark.anyio


class Doubling:
    """An async hook that is an object."""

    async def __call__(self, number: int) -> int:
        return number * 2


async def double(number: int) -> int:
    await anyio.lowlevel.checkpoint()
    return number * 2


def apply(function: Callable[[int], Awaitable[int]], number: int) -> Awaitable[int]:
    return function(number)


@pytest.mark.parametrize(
    "hook",
    [double, Doubling(), lambda number: number * 2, partial(apply, double)],
    ids=["function", "object", "plain", "plain that returns an awaitable"],
)
async def test_every_kind_of_hook_answers(hook: "Hook[[int], int]") -> None:
    """Whatever kind of function it is, its result comes back."""
    assert await call_hook(hook, 21) == 42
    assert await as_async(hook)(21) == 42


async def test_plain_hooks_run_in_another_thread() -> None:
    """A plain hook may block; an async one runs on the loop."""
    here = threading.get_ident()

    async def on_the_loop() -> int:
        return threading.get_ident()

    assert await call_hook(threading.get_ident) != here
    assert await call_hook(on_the_loop) == here


async def test_cancelling_does_not_wait_for_a_plain_hook() -> None:
    """A plain hook that hangs cannot hold the request that is given up."""
    release = threading.Event()
    with anyio.move_on_after(0.02) as scope:
        await call_hook(release.wait, 10)
    release.set()
    assert scope.cancelled_caught


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_django_hooks_share_one_thread_within_a_request() -> None:
    """A thread-sensitive hook is async outside, and runs where Django's own synchronous code runs."""
    hook = thread_sensitive(threading.get_ident)
    assert await call_hook(hook) != threading.get_ident()
    threads = {await sync_to_async(threading.get_ident)(), await sync_to_async(threading.get_ident)()}
    assert len(threads) == 1
