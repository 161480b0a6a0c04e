"""How long a token lives, whatever the clocks say."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_asgi.credentials.lifetime import CopilotToken, Lifetime, age, credible_age, lifetime
from copilot_asgi.secret import Secret

NOW = 1_795_000_000.0


@pytest.mark.parametrize(
    ("expires_at", "refresh_in", "expected"),
    [
        pytest.param(NOW + 1800, 1500, Lifetime(1500, 1800), id="as GitHub sends it"),
        pytest.param(NOW + 1600, 1500, Lifetime(1440, 1600), id="refreshed at nine tenths at the latest"),
        pytest.param(NOW - 5, 1500, Lifetime(1404, 1560), id="already expired by our clock"),
        pytest.param(NOW + 1800 - 86400, 1500, Lifetime(1404, 1560), id="GitHub's clock a day behind"),
        pytest.param(NOW + 1800 + 86400, 1500, Lifetime(1404, 1560), id="GitHub's clock a day ahead"),
        pytest.param(None, 1500, Lifetime(1404, 1560), id="no expiry"),
        pytest.param(NOW + 1800, None, Lifetime(1500, 1800), id="no refresh time"),
        pytest.param(None, None, Lifetime(1404, 1560), id="neither"),
        pytest.param(NOW + 1800, 0, Lifetime(30, 1800), id="refresh time zero"),
        pytest.param(NOW + 1800, -7, Lifetime(30, 1800), id="refresh time negative"),
        pytest.param(NOW + 1800, 1e12, Lifetime(77760, 86400), id="refresh time absurd"),
        pytest.param(NOW + 1800, math.nan, Lifetime(1500, 1800), id="refresh time not a number"),
        pytest.param(NOW + 1800, math.inf, Lifetime(1500, 1800), id="refresh time without end"),
        pytest.param(math.nan, 1500, Lifetime(1404, 1560), id="expiry not a number"),
    ],
)
def test_the_lifetime_is_credible(expires_at: float | None, refresh_in: float | None, expected: Lifetime) -> None:
    """Skew of a day, zero, negative and absurd values give a lifetime that neither storms nor outlives the token."""
    assert lifetime(expires_at, refresh_in, NOW) == expected


@given(
    st.none() | st.floats(allow_nan=True),
    st.none() | st.floats(allow_nan=True),
    st.floats(min_value=0, max_value=4e9),
)
def test_every_lifetime_is_bounded(expires_at: float | None, refresh_in: float | None, now: float) -> None:
    """Whatever is sent: dead within 30 s to a day, refreshed before that."""
    result = lifetime(expires_at, refresh_in, now)
    assert 30 <= result.dead_after <= 86_400
    assert 27 <= result.refresh_after < result.dead_after


@pytest.mark.parametrize(
    ("wall", "monotonic", "expected"),
    [(10, 10, 10), (28_800, 5, 28_800), (-31_536_000, 40, 40), (-5, -5, 0)],
    ids=["both run", "the machine slept", "the wall clock went back a year", "nonsense"],
)
def test_the_larger_clock_counts(wall: float, monotonic: float, expected: float) -> None:
    """Sleep shows on the wall clock only, a clock put back does no harm."""
    assert age(wall=wall, monotonic=monotonic) == expected


@pytest.mark.parametrize(("obtained", "expected"), [(-100.0, 100.0), (30.0, 0.0), (61.0, None)])
def test_a_token_from_the_future_is_not_believed(obtained: float, expected: float | None) -> None:
    """A kept token whose age cannot be known is not used."""
    token = CopilotToken(token=Secret("t"), obtained_at=NOW + obtained, lifetime=Lifetime(1500, 1800), login_digest="d")
    assert credible_age(token, NOW) == expected
