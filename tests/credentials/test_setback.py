"""Holding back after failures."""

import pytest

from copilot_asgi.credentials.setback import Setback, hold_for
from copilot_asgi.errors import CredentialError, LoginRequired, TokenExchangeFailed


@pytest.mark.parametrize(
    ("error", "repeated", "seconds"),
    [
        (LoginRequired("x"), 0, 300),
        (TokenExchangeFailed("x", status=403), 0, 300),
        (TokenExchangeFailed("x", status=503), 0, 5),
        (TokenExchangeFailed("x", status=503), 1, 10),
        (TokenExchangeFailed("x", status=503), 4, 60),
        (TokenExchangeFailed("x", status=503), 10_000, 60),
        (TokenExchangeFailed("x", status=429, retry_after=90), 0, 90),
        (TokenExchangeFailed("x", status=429, retry_after=1), 0, 5),
    ],
)
def test_how_long(error: CredentialError, repeated: int, seconds: float) -> None:
    """Minutes for what a person must mend, doubling seconds for the rest, never less than asked for."""
    assert hold_for(error, repeated) == seconds


def test_a_failure_stands_until_its_time_is_over() -> None:
    """The time to wait shrinks, then the way is free; success resets the doubling."""
    setback = Setback()
    assert setback.standing(0) is None
    error = TokenExchangeFailed("x", status=503)
    setback.note(error, 100)
    assert error.retry_after == 5
    assert setback.standing(103) is error
    assert error.retry_after == 2
    assert setback.standing(105) is None
    setback.note(error, 105)
    assert setback.standing(114) is error
    setback.clear()
    assert setback.standing(114) is None
    setback.note(error, 120)
    assert setback.standing(125) is None


def test_waiting_is_not_advised_where_it_does_not_help() -> None:
    """A refused login carries no time to come back."""
    setback, error = Setback(), LoginRequired("x")
    setback.note(error, 0)
    assert setback.standing(299) is error
    assert error.retry_after is None
