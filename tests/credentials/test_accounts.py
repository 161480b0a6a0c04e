"""Kept logins, the default one, and consent."""

import msgspec
import pytest
from fake_github import Clock, account

from copilot_asgi.config import Settings
from copilot_asgi.credentials.accounts import Account, Accounts, DefaultAccount, copilot_token_key
from copilot_asgi.credentials.consent import Consent, read_consent, record_consent, withdraw_consent
from copilot_asgi.errors import LoginRequired
from copilot_asgi.exchange import Caller
from copilot_asgi.secret import Secret
from copilot_asgi.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio

OCTOCAT = Account(login="Octocat", github_token=Secret("ghu_one00000"), added_at=1)
HUBOT = Account(login="hubot", github_token=Secret("ghu_two00000"), added_at=2)


async def test_logins_are_kept_newest_first() -> None:
    """The login added last is the default, and adding one again replaces its token."""
    accounts = Accounts(MemoryStore())
    assert await accounts.default() is None
    await accounts.add(HUBOT)
    await accounts.add(OCTOCAT)
    assert await accounts.list() == (HUBOT, OCTOCAT)
    again = msgspec.structs.replace(OCTOCAT, github_token=Secret("ghu_three000"), added_at=3)
    await accounts.add(again)
    assert await accounts.list() == (again, HUBOT)
    assert await accounts.default() == again


async def test_removing_a_login_forgets_its_copilot_token() -> None:
    """Nothing of a login is left behind, and its name is not case sensitive."""
    store = MemoryStore()
    accounts = Accounts(store)
    await accounts.add(OCTOCAT)
    await store.set(copilot_token_key(OCTOCAT.key), b"token")
    assert await accounts.remove("octoCAT")
    assert await store.keys() == []
    assert not await accounts.remove("octocat")


async def test_a_damaged_record_is_skipped() -> None:
    """One bad record does not hide the others."""
    store = MemoryStore()
    await Accounts(store).add(HUBOT)
    await store.set("account/github.com/broken", b"{}")
    assert await Accounts(store).list() == (HUBOT,)


class VanishingStore(MemoryStore):
    """Lists a key that is gone when it is read."""

    async def keys(self, prefix: str = "") -> list[str]:
        return [*await super().keys(prefix), f"{prefix}gone"]


async def test_a_login_removed_meanwhile_is_skipped() -> None:
    """Another process may sign out between the listing and the reading."""
    accounts = Accounts(VanishingStore())
    await accounts.add(HUBOT)
    assert await accounts.list() == (HUBOT,)


def test_no_text_of_an_account_holds_its_token() -> None:
    """The token is hidden in every representation."""
    assert "sentinel" not in f"{account()!r} {account()}"


async def test_the_setting_wins() -> None:
    """A token in the settings is used without looking at the store."""
    accounts = Accounts(MemoryStore())
    await accounts.add(HUBOT)
    resolve = DefaultAccount(accounts, Settings(github_token=Secret("gho_set00000"), enterprise_domain="octo.ghe.com"))
    found = await resolve(Caller(name="me"))
    assert (found.github_token, found.host, found.source) == (Secret("gho_set00000"), "octo.ghe.com", "settings")


async def test_nobody_signed_in_says_what_to_do() -> None:
    """The error names the command, and signing in afterwards shows at once."""
    accounts = Accounts(MemoryStore())
    resolve = DefaultAccount(accounts, Settings())
    with pytest.raises(LoginRequired, match="copilot-asgi login"):
        await resolve()
    await accounts.add(HUBOT)
    assert await resolve() == HUBOT


async def test_signing_out_shows_after_a_moment() -> None:
    """A stored login is looked up again when it is five seconds old."""
    accounts, clock = Accounts(MemoryStore()), Clock()
    await accounts.add(HUBOT)
    resolve = DefaultAccount(accounts, Settings(), clock=clock)
    assert await resolve() == HUBOT
    await accounts.remove("hubot")
    clock.advance(4.9)
    assert await resolve() == HUBOT
    clock.advance(0.1)
    with pytest.raises(LoginRequired):
        await resolve()


async def test_consent_is_kept_until_it_is_withdrawn() -> None:
    """No record means no consent."""
    store = MemoryStore()
    assert await read_consent(store) is None
    await record_consent(store, Consent(given_at=5.0, given_in="login"))
    assert await read_consent(store) == Consent(given_at=5.0, given_in="login")
    await withdraw_consent(store)
    assert await read_consent(store) is None
