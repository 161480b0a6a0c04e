"""What GitHub says about a person."""

import json

import pytest
from fake_github import Answer, FakeGitHub, json_answer
from hypothesis import given
from hypothesis import strategies as st

from copilot_asgi.credentials.github_user import GitHubUser, Quota, fetch_user, parse_user
from copilot_asgi.credentials.hosts import GitHubHosts
from copilot_asgi.credentials.identity import editor
from copilot_asgi.errors import (
    CredentialError,
    LoginRequired,
    ResponseTooLarge,
    TokenExchangeFailed,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from copilot_asgi.secret import Secret

INTERNAL, PLAIN = "/copilot_internal/user", "/user"
HOSTS = GitHubHosts("https://github.com", "https://api.github.com")
UNLIMITED = {"entitlement": 0, "remaining": 0, "percent_remaining": 100.0, "unlimited": True}


async def ask(github: FakeGitHub) -> GitHubUser:
    return await fetch_user(github, Secret("ghu_sentinel0001"), HOSTS, editor())


def parse(**fields: object) -> GitHubUser:
    user = parse_user(json.dumps({"login": "octocat", **fields}).encode())
    assert user is not None
    return user


@pytest.mark.anyio
async def test_copilots_own_page_is_asked_first() -> None:
    """Login, plan, host and quotas come from one call with the token in its header."""
    github = FakeGitHub(
        {
            INTERNAL: [
                json_answer(
                    {
                        "login": "octocat",
                        "copilot_plan": "individual",
                        "access_type_sku": "monthly_subscriber_quota",
                        "endpoints": {"api": "https://api.individual.githubcopilot.com"},
                        "token_based_billing": False,
                        "quota_reset_date": "2026-12-01",
                        "quota_snapshots": {"chat": UNLIMITED},
                    }
                )
            ]
        }
    )
    assert await ask(github) == GitHubUser(
        login="octocat",
        plan="individual",
        sku="monthly_subscriber_quota",
        endpoint="https://api.individual.githubcopilot.com",
        quota_reset="2026-12-01",
        quotas=(Quota(id="chat", unlimited=True, entitlement=0, remaining=0, percent_remaining=100),),
    )
    (call,) = github.calls
    assert call.headers[b"authorization"] == b"token ghu_sentinel0001"


@pytest.mark.anyio
@pytest.mark.parametrize("first", [Answer(404), Answer(403), Answer(500), Answer(200, b"<html>"), Answer(200, b"{}")])
async def test_the_plain_page_knows_the_login(first: Answer) -> None:
    """Where Copilot's page gives nothing the plain one gives the name."""
    github = FakeGitHub({INTERNAL: [first], PLAIN: [json_answer({"login": "hubot"})]})
    assert await ask(github) == GitHubUser(login="hubot")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("internal", "plain", "kind", "status"),
    [
        (Answer(401), Answer(200), LoginRequired, 401),
        (Answer(404), Answer(401), LoginRequired, 401),
        (Answer(404), Answer(500), TokenExchangeFailed, 503),
        (Answer(404), Answer(200, b"[]"), TokenExchangeFailed, 503),
        (Answer(error=UpstreamTimeout("late")), Answer(), TokenExchangeFailed, 504),
        (Answer(error=UpstreamUnavailable("gone", sent=False)), Answer(), TokenExchangeFailed, 503),
        (Answer(error=ResponseTooLarge("big")), Answer(), TokenExchangeFailed, 503),
    ],
)
async def test_no_answer_is_an_error(internal: Answer, plain: Answer, kind: type[CredentialError], status: int) -> None:
    """A refused token needs a new login; anything else may pass."""
    with pytest.raises(kind) as caught:
        await ask(FakeGitHub({INTERNAL: [internal], PLAIN: [plain]}))
    assert caught.value.status == status
    assert "sentinel" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"entitlement": "300", "remaining": "12"}, Quota(id="q", entitlement=300, remaining=12)),
        ({"remaining": 173, "quota_remaining": 173.4}, Quota(id="q", remaining=173.4)),
        (
            {"remaining": -1, "percent_remaining": -0.33, "overage_permitted": False},
            Quota(id="q", remaining=-1, percent_remaining=-0.33),
        ),
        ({"entitlement": -1}, Quota(id="q", unlimited=True, entitlement=-1)),
        ({"overage_count": 3, "overage_permitted": True}, Quota(id="q", overage_count=3, overage_permitted=True)),
        ({"entitlement": "many", "unlimited": "yes"}, Quota(id="q")),
    ],
)
def test_snapshots_are_read_tolerantly(fields: dict[str, object], expected: Quota) -> None:
    """Strings, negative numbers and unlimited marks are understood; nonsense is missing."""
    assert parse(quota_snapshots={"q": fields, "gone": None}).quotas == (expected,)


@pytest.mark.parametrize(
    ("left", "monthly", "expected"),
    [
        (
            {"chat": "40", "completions": 1000},
            {"chat": 50},
            (
                Quota(id="chat", entitlement=50, remaining=40, percent_remaining=80),
                Quota(id="completions", remaining=1000),
            ),
        ),
        ({"chat": 1}, {"chat": 0}, (Quota(id="chat", entitlement=0, remaining=1),)),
        ({"chat": None}, {"chat": 5}, (Quota(id="chat", entitlement=5),)),
        (None, None, ()),
    ],
)
def test_the_free_plan_has_two_maps(left: object, monthly: object, expected: tuple[Quota, ...]) -> None:
    """Allowance and rest are joined by name."""
    user = parse(limited_user_quotas=left, monthly_quotas=monthly, limited_user_reset_date="2026-12-05")
    assert user.quotas == expected
    assert user.quota_reset == "2026-12-05"


@given(
    st.dictionaries(
        st.sampled_from(["quota_snapshots", "endpoints", "monthly_quotas", "limited_user_quotas", "copilot_plan"]),
        st.recursive(
            st.none() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
            lambda inner: st.dictionaries(st.sampled_from(["api", "chat", "remaining", "entitlement"]), inner),
            max_leaves=6,
        ),
    )
)
def test_no_answer_breaks_the_reader(fields: dict[str, object]) -> None:
    """Whatever the fields hold, the login is found."""
    assert parse(**fields).login == "octocat"
