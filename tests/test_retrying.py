"""What is tried again, when, and how often: a table, waits with jitter, and a bound on all repeats together."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_asgi.errors import (
    MalformedResponse,
    ResponseTooLarge,
    StreamInterrupted,
    UpstreamError,
    UpstreamStatus,
    UpstreamThrottled,
    UpstreamTimeout,
    UpstreamUnauthorized,
    UpstreamUnavailable,
)
from copilot_asgi.retrying import RetryBudget, RetryPolicy, policy

NOW = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC


def decide(
    retries: int = 1, *, max_wait: float = 60.0, chance: float = 1.0, wait_throttled: bool = False
) -> RetryPolicy:
    return policy(retries, max_wait=max_wait, random=lambda: chance, now=lambda: NOW, wait_throttled=wait_throttled)


def throttled(retry_after: bytes | None = None, *, status: int = 429, body: bytes = b"") -> UpstreamThrottled:
    headers = () if retry_after is None else ((b"retry-after", retry_after),)
    return UpstreamThrottled(status, headers, body)


@pytest.mark.parametrize(
    "error",
    [
        UpstreamUnavailable("refused", sent=False),
        UpstreamStatus(502, (), b"<html>"),
        UpstreamStatus(503, (), b"{}"),
        UpstreamStatus(504, (), b"timeout"),
        UpstreamStatus(400, (), b""),
        UpstreamStatus(400, (), b"Bad Request\n"),
    ],
)
def test_what_left_nothing_behind_is_tried_again(error: UpstreamError) -> None:
    """S-6, C1: one more try for a connection that never came about, for a gateway's error, for a 400 without a body."""
    assert decide()(error, 1) is not None
    assert decide()(error, 2) is None
    assert decide(0)(error, 1) is None


@pytest.mark.parametrize(
    "error",
    [
        *(UpstreamStatus(status, (), b'{"error":{}}') for status in (400, 402, 403, 404, 413, 418, 421, 422, 466, 499)),
        *(UpstreamStatus(status, (), b"") for status in (401, 500, 501, 529, 599, 999)),
        UpstreamStatus(429, (), b""),
        throttled(),
        throttled(b"1"),
        throttled(b"1", status=400, body=b""),
        UpstreamUnavailable("closed", sent=True),
        UpstreamTimeout("late"),
        MalformedResponse("odd"),
        ResponseTooLarge("big"),
        StreamInterrupted("cut"),
    ],
)
def test_everything_else_is_final(error: UpstreamError) -> None:
    """S-1, S-4 to S-7, C2 to C5: a model call is not idempotent; what may have been done is not done twice."""
    assert decide(5)(error, 1) is None


@pytest.mark.parametrize("retries", [0, 1, 5])
@pytest.mark.parametrize("error", [UpstreamUnauthorized(401, (), b""), UpstreamUnauthorized(403, (), b"Forbidden")])
def test_a_refused_token_gets_one_further_try(error: UpstreamUnauthorized, retries: int) -> None:
    """S-2, S-3: a fresh token is tried at once, and once, however many retries are set."""
    assert [decide(retries)(error, attempt) for attempt in (1, 2)] == [0.0, None]


def test_a_bodyless_400_is_tried_again_once_only() -> None:
    """However many retries are set: the second time it is no accident."""
    error = UpstreamStatus(400, (), b"Bad Request\n")
    assert [decide(5)(error, attempt) is None for attempt in (1, 2)] == [False, True]


@pytest.mark.parametrize(
    ("retry_after", "body", "wait"),
    [
        (b"20", b"", 20.0),
        (b"60", b"", 60.0),
        (b"Fri, 15 Jan 2027 08:00:30 GMT", b"", 30.0),
        (b"0", b"", 0.5),
        (b"61", b"", None),
        (b"86400", b"", None),
        (b"soon", b"", None),
        (None, b"", None),
        (None, b'{"error":{"retry_after":9}}', 9.0),
    ],
)
def test_throttling_is_waited_for_only_if_told_to_and_only_as_long_as_allowed(
    retry_after: bytes | None, body: bytes, wait: float | None
) -> None:
    """S-5: in wait mode a known wait up to ``max_wait`` is kept to; without wait mode, none is."""
    error = throttled(retry_after, body=body)
    assert decide(wait_throttled=True)(error, 1) == wait
    assert decide()(error, 1) is None


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ((), 0.5),
        (((b"retry-after", b"20"),), 20.0),
        (((b"retry-after", b"0.1"),), 0.5),
        (((b"retry-after", b"garbage"),), 0.5),
        (((b"retry-after", b"61"),), None),
        (((b"x-should-retry", b"false"),), None),
        (((b"x-should-retry", b"true"),), 0.5),
    ],
)
def test_upstream_is_left_alone_for_as_long_as_it_asks(
    headers: tuple[tuple[bytes, bytes], ...], wait: float | None
) -> None:
    """The wait is never shorter than ``retry-after``; too long a one, or a plain no, ends the matter."""
    assert decide()(UpstreamStatus(503, headers, b""), 1) == wait


@pytest.mark.parametrize("chance", [0.0, 0.25, 0.999])
def test_full_jitter(chance: float) -> None:
    """Waits are spread from nothing to 0.5 s, which doubles with each try up to 8 s."""
    waits = [decide(2000, chance=chance)(UpstreamStatus(503, (), b""), attempt) for attempt in (1, 2, 3, 4, 5, 6, 2000)]
    assert waits == [chance * longest for longest in (0.5, 1, 2, 4, 8, 8, 8)]


def test_the_budget_starts_full() -> None:
    """The first failures of a single user can be tried again."""
    budget = RetryBudget(minimum=3)
    assert [budget.withdraw() for _ in range(4)] == [True, True, True, False]


def test_the_budget_is_earned_back() -> None:
    """Ten requests earn one repeat, and no more than the minimum are saved up."""
    budget = RetryBudget(minimum=1)
    assert budget.withdraw()
    for _ in range(9):
        budget.deposit()
    assert not budget.withdraw()
    budget.deposit()
    assert budget.withdraw()
    for _ in range(1_000):
        budget.deposit()
    assert [budget.withdraw() for _ in range(2)] == [True, False]


@given(
    st.lists(st.booleans(), max_size=400),
    st.sampled_from([0.05, 0.1, 0.25, 0.5]),
    st.integers(0, 5),
    st.integers(0, 400),
)
@settings(max_examples=60, deadline=None)
def test_repeats_are_a_share_of_the_requests(events: list[bool], ratio: float, minimum: int, start: int) -> None:
    """From whatever moment on, over any N requests there are at most ``ratio * N + minimum`` repeats."""
    budget = RetryBudget(ratio, minimum=minimum)
    requests = repeats = 0
    for at, is_request in enumerate(events):
        if is_request:
            budget.deposit()
            requests += at >= start
        elif budget.withdraw():
            repeats += at >= start
        assert repeats <= ratio * requests + minimum
