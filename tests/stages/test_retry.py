"""Another try is made only while nothing has left, as the policy says, and while the shared budget lasts."""

import anyio
import pytest
from stages.bench import HEAD, Answer, Client, Failure, make_exchange

from copilot_asgi.errors import (
    BadRequest,
    LoginRequired,
    StreamInterrupted,
    TokenExchangeFailed,
    UpstreamError,
    UpstreamStatus,
    UpstreamUnauthorized,
    UpstreamUnavailable,
)
from copilot_asgi.exchange import Exchange, Handler, Send
from copilot_asgi.retrying import RetryBudget, RetryPolicy, policy
from copilot_asgi.stages.retry import Retry

pytestmark = pytest.mark.anyio

REFUSED = UpstreamUnauthorized(401, (), b"token expired")
BUSY = UpstreamStatus(503, (), b"")
GONE = UpstreamUnavailable("refused", sent=False)


def at_once(retries: int = 1) -> RetryPolicy:
    return policy(retries, max_wait=1.0, random=lambda: 0.0, now=lambda: 0.0)


@pytest.mark.parametrize(
    ("retries", "errors", "calls"),
    [
        (1, [], 1),
        (1, [GONE], 2),
        (0, [REFUSED], 2),
        (1, [REFUSED, BUSY], 3),
        (1, [BUSY, REFUSED], 3),
        (3, [BUSY, GONE, REFUSED, BUSY], 5),
    ],
)
async def test_success_after_failures(retries: int, errors: list[UpstreamError], calls: int) -> None:
    """Each failure that may be repeated costs one try; a refused token is not counted against the retries."""
    end, client = Failure(*errors), Client()
    await Retry(at_once(retries), RetryBudget())(make_exchange(), client, end)
    assert (end.calls, client.parts) == (calls, [HEAD, b"{}"])


@pytest.mark.parametrize(
    ("retries", "errors", "calls"),
    [
        (0, [GONE, GONE], 1),
        (1, [GONE, GONE, GONE], 2),
        (5, [UpstreamUnavailable("closed", sent=True)] * 2, 1),
        (5, [REFUSED] * 9, 2),
        (1, [REFUSED, BUSY, REFUSED], 3),
        (1, [BUSY, BUSY], 2),
        (5, [UpstreamStatus(400, (), b"")] * 3, 2),
        (5, [BadRequest("ours")], 1),
        (5, [LoginRequired("sign in again")], 1),
        (5, [TokenExchangeFailed("no seat", status=403)], 1),
    ],
)
async def test_the_last_error_is_raised(retries: int, errors: list[Exception], calls: int) -> None:
    """S-1, S-3, S-6, T4, T5: when the tries are used up, or there is none, the error of the last one goes up."""
    end, client = Failure(*errors), Client()
    with pytest.raises(type(errors[calls - 1])) as caught:
        await Retry(at_once(retries), RetryBudget())(make_exchange(), client, end)
    assert caught.value is errors[calls - 1]
    assert (end.calls, client.parts) == (calls, [])


@pytest.mark.parametrize("parts", [(HEAD,), (HEAD, b"one")])
async def test_nothing_is_sent_twice(parts: tuple[object, ...]) -> None:
    """Once the head has left, no error is tried again, whatever the policy wants; nor does it cost anything."""
    asked: list[int] = []

    def always(error: UpstreamError, attempt: int) -> float:
        asked.append(attempt)
        return 0.0

    end, client = Answer(*parts, error=StreamInterrupted("cut")), Client()
    with pytest.raises(StreamInterrupted):
        await Retry(always, RetryBudget())(make_exchange(), client, end)
    assert (end.calls, tuple(client.parts), asked) == (1, parts, [])


async def test_a_part_that_was_refused_has_left_as_well() -> None:
    """When sending itself fails, nobody knows what arrived."""

    async def broken(part: object) -> None:
        raise StreamInterrupted("gone")

    end = Answer()
    with pytest.raises(StreamInterrupted):
        await Retry(lambda error, attempt: 0.0, RetryBudget())(make_exchange(), broken, end)
    assert end.calls == 1


async def test_cancellation_ends_a_wait_at_once() -> None:
    """Who leaves while the next try is waited for leaves now, and the try is not made."""
    end, waiting = Failure(*[BUSY] * 2), anyio.Event()

    def an_hour(error: UpstreamError, attempt: int) -> float:
        waiting.set()
        return 3_600.0

    async with anyio.create_task_group() as group:
        group.start_soon(Retry(an_hour, RetryBudget()), make_exchange(), Client(), end)
        await waiting.wait()
        group.cancel_scope.cancel()
    assert end.calls == 1


async def test_the_wait_is_kept() -> None:
    """The next try is not made before its time."""
    began = anyio.current_time()
    await Retry(lambda error, attempt: 0.03, RetryBudget())(make_exchange(), Client(), Failure(GONE))
    assert anyio.current_time() - began >= 0.03


class Always:
    """An upstream that always fails; counts its calls."""

    def __init__(self, error: Exception) -> None:
        self.calls = 0
        self._error = error

    async def __call__(self, exchange: Exchange, send: Send) -> None:
        self.calls += 1
        await anyio.lowlevel.checkpoint()
        raise self._error


async def storm(stage: Retry, end: Handler, requests: int = 1_000) -> None:
    """So many requests at once, all of which fail."""

    async def one() -> None:
        with pytest.raises(UpstreamError):
            await stage(make_exchange(), Client(), end)

    async with anyio.create_task_group() as group:
        for _ in range(requests):
            group.start_soon(one)


@pytest.mark.parametrize("error", [BUSY, GONE])
async def test_an_outage_is_not_multiplied(error: UpstreamError) -> None:
    """S43: of 1,000 requests that fail, each allowed five retries, a tenth and a few more are tried again."""
    end = Always(error)
    await storm(Retry(at_once(5), RetryBudget()), end)
    assert 1_000 < end.calls <= 1_000 + 100 + 10


async def test_requests_that_go_well_earn_repeats() -> None:
    """Each request pays a tenth of a repeat into the budget, so that it lasts for the next bad moment."""
    budget = RetryBudget(minimum=1)
    stage = Retry(at_once(), budget)
    await stage(make_exchange(), Client(), Failure(BUSY))
    for _ in range(9):
        await stage(make_exchange(), Client(), Answer())
    end = Failure(BUSY)
    await stage(make_exchange(), Client(), end)
    assert end.calls == 2


@pytest.mark.parametrize("error", [REFUSED, UpstreamUnauthorized(403, (), b"Forbidden")])
async def test_a_token_that_is_always_refused_is_renewed_once(error: UpstreamError) -> None:
    """S-3: each request makes exactly one try with a fresh token, and the budget is left alone."""
    end, budget = Always(error), RetryBudget(minimum=1)
    await storm(Retry(at_once(5), budget), end, 100)
    assert end.calls == 200
    assert budget.withdraw()
