"""A GitHub token for a Copilot token, and what each refusal means."""

import json

import pytest
from fake_github import COPILOT_TOKEN, GITHUB_TOKEN, NOW, Answer, FakeGitHub, account, json_answer, token_answer

from copilot_asgi.credentials.hosts import GitHubHosts
from copilot_asgi.credentials.identity import editor
from copilot_asgi.credentials.lifetime import CopilotToken, Lifetime
from copilot_asgi.credentials.token_exchange import ADVICE, exchange
from copilot_asgi.errors import (
    CredentialError,
    LoginRequired,
    ResponseTooLarge,
    TokenExchangeFailed,
    UpstreamTimeout,
    UpstreamUnavailable,
)

pytestmark = pytest.mark.anyio

PATH = "/copilot_internal/v2/token"
HOSTS = GitHubHosts("https://github.com", "https://api.github.com")


async def run(answer: Answer, token: str = GITHUB_TOKEN) -> tuple[FakeGitHub, CopilotToken]:
    github = FakeGitHub({PATH: [answer]})
    return github, await exchange(github, account(token), editor(), HOSTS, NOW)


async def failure(answer: Answer) -> CredentialError:
    with pytest.raises(CredentialError) as caught:
        await run(answer)
    assert "sentinel" not in str(caught.value)
    return caught.value


async def test_a_token_is_exchanged() -> None:
    """One GET with the login in the authorization header and our own name; the answer is read completely."""
    github, token = await run(token_answer())
    (call,) = github.calls
    assert (call.method, call.url, call.content) == ("GET", "https://api.github.com" + PATH, b"")
    assert call.headers[b"authorization"] == f"token {GITHUB_TOKEN}".encode()
    assert call.headers[b"user-agent"].startswith(b"copilot-asgi/")
    assert token.token.reveal() == COPILOT_TOKEN
    assert token.lifetime == Lifetime(1500, 1800)
    assert token.obtained_at == NOW
    assert token.endpoint == "https://api.individual.githubcopilot.com"
    assert token.sku == "monthly_subscriber"
    assert "sentinel" not in repr(token)


async def test_everything_but_the_token_may_be_missing() -> None:
    """Only the token is indispensable."""
    _, token = await run(json_answer({"token": "tid=a", "endpoints": None, "expires_at": "soon"}))
    assert (token.endpoint, token.sku, token.lifetime) == (None, None, Lifetime(1404, 1560))


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>login</html>", b"[]", b"{}", b'{"token":""}', b'{"token":5}', b'{"token":"a\\r\\nb: c"}', b'{"token'],
)
async def test_garbage_is_a_bad_gateway(body: bytes) -> None:
    """An answer without a usable token is 502, whatever else it is."""
    error = await failure(Answer(200, body))
    assert (type(error), error.status) == (TokenExchangeFailed, 502)


async def test_a_login_that_github_refuses_needs_a_new_one() -> None:
    """401 says whose sign-in it is and names the command."""
    error = await failure(json_answer({"message": "Bad credentials"}, status=401))
    assert isinstance(error, LoginRequired)
    assert error.status == 401
    assert "octocat" in error.message
    assert "copilot-asgi login" in error.message


@pytest.mark.parametrize("reason", sorted(ADVICE))
async def test_no_seat_is_explained(reason: str) -> None:
    """Each of GitHub's reasons keeps GitHub's sentence and gets advice of its own."""
    details = {"message": "No access\x1b[31m ghu_sentinelXXXXXX", "notification_id": reason}
    error = await failure(json_answer({"error_details": details, "message": "other"}, status=403))
    assert isinstance(error, TokenExchangeFailed)
    assert (error.status, error.reason, error.retry_after) == (403, reason, None)
    assert "No access" in error.message
    assert ADVICE[reason] in error.message
    assert error.message.isprintable()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"message": "Resource not accessible"}, "Resource not accessible"),
        ({}, "no reason was given"),
        ({"error_details": {"message": "New", "notification_id": "brand_new"}}, "New"),
        ({"message": "x" * 5000}, "x" * 300),
    ],
)
async def test_unknown_refusals_are_explained_too(fields: dict[str, object], said: str) -> None:
    """A reason we do not know still gets GitHub's sentence, cut, and a place to look."""
    error = await failure(json_answer(fields, status=403))
    assert said in error.message
    assert "https://github.com/settings/copilot" in error.message
    assert len(error.message) < 500


@pytest.mark.parametrize(
    ("answer", "retry_after"),
    [
        (Answer(429, b"", ((b"retry-after", b"17"),)), 17),
        (Answer(429), 60),
        (Answer(429, b"", ((b"retry-after", b"Fri, 31 Dec 2027 23:59:59 GMT"),)), 60),
        (Answer(429, b"", ((b"retry-after", b"0"),)), 1),
        (Answer(429, b"", ((b"retry-after", b"9999999"),)), 3600),
        (json_answer({"message": "API rate limit exceeded for user"}, status=403), 60),
        (Answer(403, b"", ((b"x-ratelimit-remaining", b"0"), (b"x-ratelimit-reset", b"%d" % (NOW + 40)))), 40),
        (Answer(403, b"", ((b"x-ratelimit-remaining", b"0"),)), 60),
    ],
)
async def test_rate_limits_say_when_to_come_back(answer: Answer, retry_after: float) -> None:
    """429, and 403 that means 429, keep GitHub's waiting time within reason."""
    error = await failure(answer)
    assert (error.status, error.retry_after) == (429, retry_after)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Answer(404), 403),
        (Answer(500), 503),
        (Answer(503, b"<html>"), 503),
        (Answer(302), 502),
        (Answer(400), 502),
        (Answer(error=UpstreamTimeout("late")), 504),
        (Answer(error=UpstreamUnavailable("connection reset", sent=True)), 503),
        (Answer(error=ResponseTooLarge("300 MB")), 502),
    ],
)
async def test_other_failures_have_a_status_of_their_own(answer: Answer, status: int) -> None:
    """What went wrong on the way tells the client whether another try makes sense."""
    error = await failure(answer)
    assert (type(error), error.status) == (TokenExchangeFailed, status)


async def test_a_token_that_cannot_be_exchanged_says_what_can_be_done() -> None:
    """404 names both ways out."""
    error = await failure(Answer(404))
    assert "copilot-asgi login" in error.message
    assert "token_mode" in error.message


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "umlaut\u00e4"])
async def test_a_broken_login_is_never_sent(token: str) -> None:
    """What cannot be a header value does not reach the network."""
    github = FakeGitHub({PATH: [token_answer()]})
    with pytest.raises(LoginRequired, match="copilot-asgi login"):
        await exchange(github, account(token), editor(), HOSTS, NOW)
    assert github.calls == []


def test_the_advice_covers_every_documented_reason() -> None:
    """The table is made of sentences."""
    assert all(sentence.endswith(".") for sentence in ADVICE.values())
    assert len(ADVICE) == 17
    assert json.dumps(sorted(ADVICE)).isascii()
