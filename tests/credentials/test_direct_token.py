"""The GitHub token itself as the credential."""

import anyio
import pytest
from anyio.abc import TaskGroup
from fake_github import Answer, Clock, FakeGitHub, account, json_answer

from copilot_asgi.config import Settings
from copilot_asgi.credentials.credential import Credential, CredentialProvider
from copilot_asgi.credentials.direct_token import DirectTokens
from copilot_asgi.credentials.identity import editor
from copilot_asgi.errors import LoginRequired, TokenExchangeFailed

pytestmark = pytest.mark.anyio

USER = json_answer({"login": "octocat", "endpoints": {"api": "https://api.business.githubcopilot.com"}})
PATH = "/copilot_internal/user"
DIRECT = account("gho_sentinel0001")


def provider(
    owner: TaskGroup, github: FakeGitHub, *, settings: Settings | None = None, clock: Clock | None = None
) -> CredentialProvider:
    return DirectTokens(
        fetch=github,
        identity=editor(),
        settings=settings or Settings(),
        start_soon=owner.start_soon,
        monotonic=clock or Clock(),
    )


async def test_the_host_is_looked_up_once() -> None:
    """A hundred concurrent requests, one lookup, and the token goes out as it is."""
    github = FakeGitHub({PATH: [USER]})
    answers: list[Credential] = []
    async with anyio.create_task_group() as owner:
        tokens = provider(owner, github)

        async def ask() -> None:
            answers.append(await tokens.credential(DIRECT))

        async with anyio.create_task_group() as callers:
            for _ in range(100):
                callers.start_soon(ask)
        assert await tokens.credential(DIRECT) is answers[0]
    assert len(set(answers)) == 1
    assert answers[0].authorization == b"Bearer gho_sentinel0001"
    assert answers[0].api_url == "https://api.business.githubcopilot.com"
    assert "sentinel" not in repr(answers[0])
    assert github.count(PATH) == 1


async def test_a_configured_host_needs_no_lookup() -> None:
    """With an API address in the settings nothing is asked."""
    github = FakeGitHub()
    async with anyio.create_task_group() as owner:
        tokens = provider(owner, github, settings=Settings(copilot_url="http://127.0.0.1:9"))
        assert (await tokens.credential(DIRECT)).api_url == "http://127.0.0.1:9"
    assert github.calls == []


@pytest.mark.parametrize("token", ["ghp_classic00000", "two words"])
async def test_tokens_that_can_never_work_are_refused(token: str) -> None:
    """Classic personal access tokens and nonsense are refused before anything is sent, with a way out."""
    github = FakeGitHub()
    async with anyio.create_task_group() as owner:
        with pytest.raises(LoginRequired, match="copilot-asgi login") as caught:
            await provider(owner, github).credential(account(token))
    assert token not in str(caught.value)
    assert github.calls == []


async def test_a_complaint_asks_github_again() -> None:
    """A refused token is checked; GitHub's refusal is remembered and does not storm."""
    github, clock = FakeGitHub({PATH: [USER, Answer(401)]}), Clock()
    async with anyio.create_task_group() as owner:
        tokens = provider(owner, github, clock=clock)
        first = await tokens.credential(DIRECT)
        await tokens.invalidate(DIRECT, first)
        for _ in range(3):
            with pytest.raises(LoginRequired):
                await tokens.credential(DIRECT)
        await tokens.invalidate(DIRECT, first)
        assert github.count(PATH) == 2
        clock.advance(300)
        with pytest.raises(LoginRequired):
            await tokens.credential(DIRECT)
        assert github.count(PATH) == 3


async def test_a_late_complaint_does_not_hit_the_new_credential() -> None:
    """Only the current credential can be invalidated."""
    github = FakeGitHub({PATH: [USER]})
    async with anyio.create_task_group() as owner:
        tokens = provider(owner, github)
        first = await tokens.credential(DIRECT)
        await tokens.invalidate(DIRECT, first)
        second = await tokens.credential(DIRECT)
        await tokens.invalidate(DIRECT, first)
        assert await tokens.credential(DIRECT) is second


async def test_an_outage_is_over_when_it_is_over() -> None:
    """Five seconds after a failed lookup the next request tries again; a new login does not wait."""
    github, clock = FakeGitHub({PATH: [Answer(500), USER], "/user": [Answer(500)]}), Clock()
    async with anyio.create_task_group() as owner:
        tokens = provider(owner, github, clock=clock)
        for _ in range(2):
            with pytest.raises(TokenExchangeFailed):
                await tokens.credential(DIRECT)
        assert github.count(PATH) == 1
        await tokens.credential(account("gho_another0001"))
        clock.advance(5)
        await tokens.credential(DIRECT)


async def test_the_asker_may_leave() -> None:
    """Cancelling the request that began the lookup leaves it running for the next."""
    github = FakeGitHub({PATH: [USER]})
    github.gate = anyio.Event()
    async with anyio.create_task_group() as owner:
        tokens = provider(owner, github)
        async with anyio.create_task_group() as leader:
            leader.start_soon(tokens.credential, DIRECT)
            await anyio.wait_all_tasks_blocked()
            leader.cancel_scope.cancel()
        github.gate.set()
        await tokens.credential(DIRECT)
    assert github.count(PATH) == 1
