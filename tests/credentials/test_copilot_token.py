"""Copilot tokens: one exchange for everyone, whatever fails and whoever leaves."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import TaskGroup
from fake_github import NOW, Answer, Clock, FakeGitHub, account, json_answer, token_answer

from copilot_asgi.config import Settings
from copilot_asgi.credentials.accounts import copilot_token_key
from copilot_asgi.credentials.copilot_token import CopilotTokens
from copilot_asgi.credentials.credential import Credential, CredentialProvider
from copilot_asgi.credentials.identity import editor
from copilot_asgi.errors import Draining, LoginRequired, StoreError, TokenExchangeFailed
from copilot_asgi.stores import Store
from copilot_asgi.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio

PATH = "/copilot_internal/v2/token"
KEY = copilot_token_key(account().key)


class World:
    """A GitHub, two clocks, a store, and what stands between them."""

    def __init__(self, *answers: Answer, store: Store | None = None, settings: Settings | None = None) -> None:
        self.github = FakeGitHub({PATH: list(answers) or [token_answer("tid=one")]})
        self.wall, self.monotonic = Clock(), Clock(5000.0)
        self.store = store or MemoryStore(clock=self.wall)
        self.settings = settings or Settings()

    def provider(self, owner: TaskGroup) -> CopilotTokens:
        provider: CredentialProvider = CopilotTokens(
            fetch=self.github,
            identity=editor(),
            settings=self.settings,
            store=self.store,
            start_soon=owner.start_soon,
            wall=self.wall,
            monotonic=self.monotonic,
        )
        assert isinstance(provider, CopilotTokens)
        return provider

    def advance(self, seconds: float) -> None:
        self.wall.advance(seconds)
        self.monotonic.advance(seconds)

    @property
    def exchanges(self) -> int:
        return self.github.count(PATH)


async def ask_many(number: int, ask: Callable[[], Awaitable[Credential]]) -> list[Credential]:
    answers: list[Credential] = []

    async def one() -> None:
        answers.append(await ask())

    async with anyio.create_task_group() as callers:
        for _ in range(number):
            callers.start_soon(one)
    return answers


async def test_the_first_request_exchanges_and_the_rest_are_free() -> None:
    """The credential names the header, the host and its generation, and never shows the token."""
    world = World(token_answer("tid=sentinel"))
    async with anyio.create_task_group() as owner:
        tokens = world.provider(owner)
        first = await tokens.credential(account())
        assert first.authorization == b"Bearer tid=sentinel"
        assert first.api_url == "https://api.individual.githubcopilot.com"
        assert "sentinel" not in f"{first!r} {first}"
        assert await tokens.credential(account()) is first
        assert world.exchanges == 1


async def test_a_fresh_token_is_handed_out_without_a_pause() -> None:
    """The fast path reaches no checkpoint, so it works even in a cancelled scope."""
    world = World()
    async with anyio.create_task_group() as owner:
        tokens = world.provider(owner)
        first = await tokens.credential(account())
        with anyio.CancelScope() as scope:
            scope.cancel()
            assert await tokens.credential(account()) is first


@pytest.mark.parametrize("begin", ["cold", "expired", "revoked"])
async def test_a_thousand_requests_make_one_exchange(begin: str) -> None:
    """A herd at start, after expiry, or after a revocation is served by a single exchange."""
    world = World(token_answer("tid=one"), token_answer("tid=two"))
    async with anyio.create_task_group() as owner:
        tokens = world.provider(owner)
        before = 0
        if begin != "cold":
            old, before = await tokens.credential(account()), 1
        if begin == "expired":
            world.advance(1801)

        async def ask() -> Credential:
            if begin == "revoked":
                await tokens.invalidate(account(), old)
            return await tokens.credential(account())

        answers = await ask_many(1000 if begin == "cold" else 500, ask)
        assert len(set(answers)) == 1
        assert world.exchanges == before + 1


async def test_an_ageing_token_is_renewed_behind_the_request() -> None:
    """Past its refresh time the old token still serves while one new one is fetched."""
    world = World(token_answer("tid=one"), token_answer("tid=two"))
    async with anyio.create_task_group() as owner:
        tokens = world.provider(owner)
        old = await tokens.credential(account())
        world.advance(1500)
        world.github.gate = anyio.Event()
        assert await ask_many(50, lambda: tokens.credential(account())) == [old] * 50
        world.github.gate.set()
        await anyio.wait_all_tasks_blocked()
        assert (await tokens.credential(account())).authorization == b"Bearer tid=two"
        assert world.exchanges == 2


@pytest.mark.parametrize("answer", [Answer(500), Answer(401), Answer(429), Answer(200, b"<html>")])
async def test_the_old_token_serves_until_its_death(answer: Answer) -> None:
    """A failing exchange is invisible while the token lives, and tried again with pauses; then it is told."""
    world = World(token_answer("tid=one"), answer)
    async with anyio.create_task_group() as owner:
        tokens = world.provider(owner)
        old = await tokens.credential(account())
        world.advance(1500)
        for _ in range(20):
            assert await tokens.credential(account()) is old
            await anyio.wait_all_tasks_blocked()
        assert world.exchanges == 2
        world.advance(295)
        assert await tokens.credential(account()) is old
        await anyio.wait_all_tasks_blocked()
        world.advance(6)
        with pytest.raises((LoginRequired, TokenExchangeFailed)):
            await tokens.credential(account())


@pytest.mark.parametrize(
    ("answer", "status", "quiet"),
    [
        (Answer(401), 401, 300),
        (Answer(403), 403, 300),
        (Answer(404), 403, 300),
        (Answer(429, b"", ((b"retry-after", b"30"),)), 429, 30),
        (Answer(500), 503, 5),
        (Answer(200, b"junk"), 502, 5),
    ],
)
async def test_failures_are_not_repeated_at_once(answer: Answer, status: int, quiet: float) -> None:
    """No storm: the failure is answered from memory for its time, then one more try is made."""
    world = World(answer, token_answer("tid=one"))
    async with anyio.create_task_group() as owner:
        tokens = world.provider(owner)
        for _ in range(3):
            with pytest.raises((LoginRequired, TokenExchangeFailed)) as caught:
                await tokens.credential(account())
            assert caught.value.status == status
        world.advance(quiet - 0.5)
        with pytest.raises((LoginRequired, TokenExchangeFailed)) as caught:
            await tokens.credential(account())
        assert caught.value.retry_after == (None if status in {401, 403} else 0.5)
        assert world.exchanges == 1
        world.advance(0.5)
        await tokens.credential(account())
        assert world.exchanges == 2


async def test_a_new_login_is_tried_at_once() -> None:
    """A refusal belongs to one GitHub token; another one of the same login starts afresh."""
    world = World(Answer(401), token_answer("tid=new"))
    async with anyio.create_task_group() as owner:
        tokens = world.provider(owner)
        with pytest.raises(LoginRequired):
            await tokens.credential(account("ghu_old00000"))
        assert (await tokens.credential(account("ghu_new00000"))).authorization == b"Bearer tid=new"


async def test_one_login_never_gets_the_kept_token_of_another() -> None:
    """The kept token is bound to the GitHub token it was exchanged for."""
    world = World(token_answer("tid=old"), token_answer("tid=new"))
    async with anyio.create_task_group() as owner:
        await world.provider(owner).credential(account("ghu_old00000"))
        fresh = await world.provider(owner).credential(account("ghu_new00000"))
        assert fresh.authorization == b"Bearer tid=new"


async def test_the_login_is_never_deleted() -> None:
    """Refusals touch the Copilot token only."""
    world = World(Answer(401))
    await world.store.set("account/github.com/octocat", b"login")
    async with anyio.create_task_group() as owner:
        with pytest.raises(LoginRequired):
            await world.provider(owner).credential(account())
    assert await world.store.get("account/github.com/octocat") == b"login"


async def test_a_restart_uses_the_kept_token() -> None:
    """A token that is alive by the wall clock needs no exchange, and keeps its age."""
    world = World(token_answer("tid=one"), token_answer("tid=two"))
    async with anyio.create_task_group() as owner:
        await world.provider(owner).credential(account())
        world.wall.advance(1000)
        world.monotonic.now = 3.0
        tokens = world.provider(owner)
        assert (await tokens.credential(account())).authorization == b"Bearer tid=one"
        assert world.exchanges == 1
        world.monotonic.advance(801)
        assert (await tokens.credential(account())).authorization == b"Bearer tid=two"


async def test_a_dead_kept_token_is_not_used() -> None:
    """A store that does not honour times to live hands out a dead token; it is replaced."""
    world = World(token_answer("tid=one"), token_answer("tid=two"), store=MemoryStore(clock=Clock()))
    async with anyio.create_task_group() as owner:
        await world.provider(owner).credential(account())
        world.advance(1801)
        assert (await world.provider(owner).credential(account())).authorization == b"Bearer tid=two"


async def test_a_restart_while_github_is_down_uses_an_ageing_token() -> None:
    """An old but living token is better than an error."""
    world = World(token_answer("tid=one"), Answer(503))
    async with anyio.create_task_group() as owner:
        await world.provider(owner).credential(account())
        world.advance(1600)
        tokens = world.provider(owner)
        old = await tokens.credential(account())
        assert old.authorization == b"Bearer tid=one"
        assert await tokens.credential(account()) is old
        assert world.exchanges == 2


async def test_a_restart_ignores_tokens_from_the_future() -> None:
    """When the clock was put back the age of a kept token is unknown, so it is not used."""
    world = World(token_answer("tid=one"), token_answer("tid=two"))
    async with anyio.create_task_group() as owner:
        await world.provider(owner).credential(account())
        world.wall.advance(-86_400)
        assert (await world.provider(owner).credential(account())).authorization == b"Bearer tid=two"


async def test_a_rejected_token_is_not_used_again() -> None:
    """Neither from memory nor from the store, here or after a restart."""
    world = World(token_answer("tid=one"), token_answer("tid=two"))
    async with anyio.create_task_group() as owner:
        tokens = world.provider(owner)
        await tokens.invalidate(account(), await tokens.credential(account()))
        assert await world.store.get(KEY) is None
        assert (await tokens.credential(account())).authorization == b"Bearer tid=two"
        assert world.exchanges == 2


async def test_tokens_refused_one_after_the_other_make_no_storm() -> None:
    """When Copilot refuses each new token, exchanges are spaced out instead of following every request."""
    world = World(*[token_answer(f"tid={number}") for number in range(20)])
    async with anyio.create_task_group() as owner:
        tokens = world.provider(owner)
        for _ in range(5):
            await tokens.invalidate(account(), await tokens.credential(account()))
        for _ in range(3):
            with pytest.raises(TokenExchangeFailed) as caught:
                await tokens.credential(account())
            assert (caught.value.status, caught.value.retry_after) == (503, 5)
        assert world.exchanges == 5
        world.advance(5)
        credential = await tokens.credential(account())
        world.advance(60)
        await tokens.invalidate(account(), credential)
        await tokens.credential(account())
        assert world.exchanges == 7


async def test_a_late_complaint_does_not_hit_the_new_token() -> None:
    """Invalidating an old credential leaves the current one and its kept copy alone."""
    world = World(token_answer("tid=one"), token_answer("tid=two"))
    async with anyio.create_task_group() as owner:
        tokens = world.provider(owner)
        old = await tokens.credential(account())
        await tokens.invalidate(account(), old)
        new = await tokens.credential(account())
        await tokens.invalidate(account(), old)
        assert await tokens.credential(account()) is new
        assert await world.store.get(KEY) is not None


async def test_a_complaint_leaves_the_token_of_another_process() -> None:
    """When the store already holds a newer token, that one is kept and used."""
    world = World(token_answer("tid=one"), token_answer("tid=two"))
    async with anyio.create_task_group() as owner:
        mine, other = world.provider(owner), world.provider(owner)
        old = await mine.credential(account())
        await other.invalidate(account(), await other.credential(account()))
        await other.credential(account())
        await mine.invalidate(account(), old)
        assert (await mine.credential(account())).authorization == b"Bearer tid=two"
        assert world.exchanges == 2


class StubbornStore(MemoryStore):
    """Cannot delete."""

    async def delete(self, key: str) -> None:
        raise StoreError("read-only")


async def test_a_rejected_token_that_cannot_be_deleted_is_still_not_used(caplog: pytest.LogCaptureFixture) -> None:
    """Memory remembers what the store could not forget."""
    world = World(token_answer("tid=one"), token_answer("tid=two"), store=StubbornStore())
    async with anyio.create_task_group() as owner:
        tokens = world.provider(owner)
        await tokens.invalidate(account(), await tokens.credential(account()))
        assert (await tokens.credential(account())).authorization == b"Bearer tid=two"
    assert "read-only" in caplog.text


async def test_two_processes_share_one_exchange() -> None:
    """Whoever waits for the lock finds the winner's token in the store."""
    world = World(token_answer("tid=one"), token_answer("tid=two"))
    async with anyio.create_task_group() as owner:
        first, second = world.provider(owner), world.provider(owner)
        providers = iter([first, second] * 10)
        answers = await ask_many(20, lambda: next(providers).credential(account()))
        assert {answer.authorization for answer in answers} == {b"Bearer tid=one"}
        assert world.exchanges == 1


async def test_sleep_shows_on_the_wall_clock() -> None:
    """After eight hours with the lid closed the first request fetches a new token, once."""
    world = World(token_answer("tid=one"), token_answer("tid=two"))
    async with anyio.create_task_group() as owner:
        tokens = world.provider(owner)
        await tokens.credential(account())
        world.wall.advance(8 * 3600)
        answers = await ask_many(10, lambda: tokens.credential(account()))
        assert {answer.authorization for answer in answers} == {b"Bearer tid=two"}
        assert world.exchanges == 2


async def test_a_clock_put_back_a_year_has_no_effect() -> None:
    """The token neither lives longer nor is fetched again."""
    world = World(token_answer("tid=one"), token_answer("tid=two"))
    async with anyio.create_task_group() as owner:
        tokens = world.provider(owner)
        first = await tokens.credential(account())
        world.wall.advance(-365 * 86_400)
        assert await tokens.credential(account()) is first
        world.monotonic.advance(1801)
        assert (await tokens.credential(account())).authorization == b"Bearer tid=two"


@pytest.mark.parametrize("skew", [-86_400, 86_400, -3600])
async def test_skewed_expiry_makes_no_storm(skew: float) -> None:
    """A GitHub clock a day away still gives one exchange per lifetime."""
    world = World(token_answer("tid=one", expires_at=NOW + 1800 + skew))
    async with anyio.create_task_group() as owner:
        tokens = world.provider(owner)
        for _ in range(140):
            await tokens.credential(account())
            world.advance(10)
        assert world.exchanges == 1


async def test_an_api_host_that_may_not_see_the_token_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    """A hostile answer cannot send the token elsewhere, and is told."""
    world = World(token_answer(endpoints={"api": "https://evil.example"}))
    async with anyio.create_task_group() as owner:
        credential = await world.provider(owner).credential(account())
    assert credential.api_url == "https://api.githubcopilot.com"
    assert "evil.example" in caplog.text
    assert "sentinel" not in caplog.text


async def test_a_configured_api_host_needs_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The setting wins silently."""
    world = World(token_answer(), settings=Settings(copilot_url="http://127.0.0.1:9"))
    async with anyio.create_task_group() as owner:
        assert (await world.provider(owner).credential(account())).api_url == "http://127.0.0.1:9"
    assert caplog.text == ""


async def test_the_leader_may_leave() -> None:
    """Cancelling the request that began the exchange leaves the others served by that same exchange."""
    world = World()
    async with anyio.create_task_group() as owner:
        tokens = world.provider(owner)
        world.github.gate = anyio.Event()
        async with anyio.create_task_group() as leader:
            leader.start_soon(tokens.credential, account())
            await anyio.wait_all_tasks_blocked()
            leader.cancel_scope.cancel()
        answers: list[Credential] = []

        async def follow() -> None:
            answers.append(await tokens.credential(account()))

        async with anyio.create_task_group() as followers:
            followers.start_soon(follow)
            await anyio.wait_all_tasks_blocked()
            world.github.gate.set()
        assert len(answers) == 1
        assert world.exchanges == 1


class SteppingStore(MemoryStore):
    """Pauses at each operation, so that a cancellation can strike there."""

    def __init__(self, steps: list[int], cancel: Callable[[], None]) -> None:
        super().__init__()
        self._steps = steps
        self._cancel = cancel

    async def step(self) -> None:
        self._steps[0] -= 1
        if self._steps[0] == 0:
            self._cancel()
        await anyio.lowlevel.checkpoint()

    async def get(self, key: str) -> bytes | None:
        await self.step()
        return await super().get(key)

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        await self.step()
        await super().set(key, value, ttl=ttl)
        await self.step()

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncGenerator[None]:
        await self.step()
        async with super().lock(key):
            await self.step()
            yield


@pytest.mark.parametrize("strike", range(1, 8))
async def test_the_end_of_the_server_may_come_at_every_step(strike: int) -> None:
    """Cancelled at any await of the renewal: waiters are told, the lock is free, the next provider works."""
    world = World()
    async with anyio.create_task_group() as owner:
        store = SteppingStore([strike], owner.cancel_scope.cancel)
        world.store = store
        tokens = world.provider(owner)

        async def ask() -> None:
            with anyio.CancelScope(shield=True), pytest.raises(Draining):
                await tokens.credential(account())

        if strike <= 6:
            owner.start_soon(ask)
            await anyio.sleep_forever()
        await tokens.credential(account())
    with anyio.fail_after(5):
        async with anyio.create_task_group() as owner:
            assert (await world.provider(owner).credential(account())).authorization == b"Bearer tid=one"


class BrokenStore(MemoryStore):
    """Fails at everything."""

    async def get(self, key: str) -> bytes | None:
        raise StoreError("Cannot read. Run: chmod 600 file")

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        raise StoreError("disk full")

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncGenerator[None]:
        raise StoreError("no locks here")
        yield


async def test_a_broken_store_costs_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Tokens are held in memory, and that is said once."""
    world = World(token_answer("tid=one"), token_answer("tid=two"), store=BrokenStore())
    async with anyio.create_task_group() as owner:
        tokens = world.provider(owner)
        first = await tokens.credential(account())
        await tokens.invalidate(account(), first)
        assert (await tokens.credential(account())).authorization == b"Bearer tid=two"
    warnings = [record for record in caplog.records if "memory only" in record.message]
    assert len(warnings) == 1
    assert "chmod 600" in warnings[0].message


async def test_a_damaged_kept_token_is_replaced() -> None:
    """What cannot be read is fetched anew and written over."""
    world = World()
    await world.store.set(KEY, b"{}")
    async with anyio.create_task_group() as owner:
        assert (await world.provider(owner).credential(account())).authorization == b"Bearer tid=one"
    assert await world.store.get(KEY) != b"{}"


async def test_no_log_line_holds_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Failures are logged with the login's name and GitHub's sentence, never with a token."""
    caplog.set_level(logging.DEBUG)
    world = World(json_answer({"message": "no ghu_sentinelLOGIN0001 tid=sentinel;x"}, status=403))
    async with anyio.create_task_group() as owner:
        with pytest.raises(TokenExchangeFailed) as caught:
            await world.provider(owner).credential(account())
    assert "octocat" in caplog.text
    assert "sentinel" not in caplog.text + str(caught.value) + repr(caught.value)


async def test_accounts_do_not_share() -> None:
    """Two logins, two tokens; complaining about one leaves the other."""
    world = World(token_answer("tid=one"), token_answer("tid=two"))
    async with anyio.create_task_group() as owner:
        tokens = world.provider(owner)
        one = await tokens.credential(account())
        two = await tokens.credential(account("ghu_other000", "hubot"))
        assert one.authorization != two.authorization
        await tokens.invalidate(account(), one)
        assert await tokens.credential(account("ghu_other000", "hubot")) is two
