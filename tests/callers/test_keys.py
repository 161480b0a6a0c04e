"""Who is let in by keys: every place a key may stand in, every way it may be wrong."""

import hmac

import pytest
from stages.bench import Clock

from copilot_asgi.callers.key_record import make_key
from copilot_asgi.callers.key_ring import KEY, KeyRing
from copilot_asgi.callers.keys import Keys, authenticator_for, presented_key
from copilot_asgi.config import Settings
from copilot_asgi.errors import StoreError, Unauthenticated
from copilot_asgi.exchange import Arrival, Caller, Headers
from copilot_asgi.secret import Secret
from copilot_asgi.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio

LOOPBACK, STRANGER = "127.0.0.1", "192.0.2.7"
WALL = 1_800_000_000.0
CONFIGURED = (Secret("one-key"), Secret("another-key"))


def bearer(key: str) -> Headers:
    return ((b"authorization", f"Bearer {key}".encode()),)


def x_api_key(key: str) -> Headers:
    return ((b"x-api-key", key.encode()),)


def goog(key: str) -> Headers:
    return ((b"x-goog-api-key", key.encode()),)


WAYS = [bearer, x_api_key, goog]


def arrival(headers: Headers = (), client: str | None = LOOPBACK) -> Arrival:
    return Arrival(client=client, headers=headers)


class Ringed:
    """A ring over a store in memory, with a key for alice, and one that ends at ``WALL + 60``."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.ring = KeyRing(self.store, max_age=0)
        self.wall = Clock(WALL)
        self.alice, self._alice = make_key("alice", now=WALL, models=("gpt-*",))
        self.brief, self._brief = make_key("brief", now=WALL, expires_at=WALL + 60)

    async def filled(self) -> "Ringed":
        await self.ring.add(self._alice)
        await self.ring.add(self._brief)
        return self

    def keys(self, *configured: Secret, public: bool = False) -> Keys:
        return Keys(configured, self.ring, public=public, wall=self.wall)


PLACES: list[tuple[Headers, str]] = [
    (((b"authorization", b"Bearer k"),), "k"),
    (((b"authorization", b"bearer k"),), "k"),
    (((b"authorization", b"BEARER   k  "),), "k"),
    (((b"x-api-key", b" k "),), "k"),
    (((b"x-goog-api-key", b"k"),), "k"),
    (((b"x-api-key", b"k"), (b"x-goog-api-key", b"k"), (b"authorization", b"Bearer k")), "k"),
    (((b"authorization", b"Bearer k"), (b"authorization", b"bearer  k")), "k"),
    (((b"authorization", b"Bearer k"), (b"x-api-key", b"")), "k"),
    (((b"authorization", b"Basic abc"), (b"x-api-key", b"k")), "k"),
    (((b"authorization", b"Bearer K\xe9y"),), "K\u00e9y"),
]


@pytest.mark.parametrize(("headers", "key"), PLACES)
async def test_where_a_key_stands(headers: Headers, key: str) -> None:
    """In one of three headers; the same one twice is one; blanks around it and the scheme's case do not matter."""
    assert presented_key(headers) == key


NO_KEY: list[Headers] = [
    (),
    ((b"authorization", b""),),
    ((b"authorization", b"Bearer"),),
    ((b"authorization", b"Bearer "),),
    ((b"authorization", b"Basic k"),),
    ((b"authorization", b"k"),),
    ((b"x-api-key", b" "),),
    ((b"proxy-authorization", b"Bearer k"),),
    ((b"cookie", b"x-api-key=k"),),
    ((b"api-key", b"k"),),
    ((b"x-forwarded-authorization", b"Bearer k"),),
]
TWO_KEYS: list[Headers] = [
    ((b"authorization", b"Bearer k"), (b"x-api-key", b"l")),
    ((b"x-api-key", b"k"), (b"x-api-key", b"l")),
    ((b"x-api-key", b"k"), (b"x-goog-api-key", b"l")),
    ((b"x-api-key", b"k"), (b"x-api-key", b"K")),
    ((b"authorization", b"Bearer k"), (b"authorization", b"Bearer l")),
    ((b"authorization", b"Basic k"), (b"authorization", b"Bearer k")),
    ((b"authorization", b""), (b"authorization", b"Bearer k")),
]


@pytest.mark.parametrize(
    ("headers", "message"),
    [(headers, "No key was given") for headers in NO_KEY] + [(headers, "Two different ") for headers in TWO_KEYS],
)
async def test_where_no_key_stands(headers: Headers, message: str) -> None:
    """Cookies and other headers are no place for keys, and two answers to one question are none (S7)."""
    with pytest.raises(Unauthenticated, match=message):
        presented_key(headers)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("client", [LOOPBACK, STRANGER, None])
async def test_a_good_key_opens_from_anywhere(way, client: str | None) -> None:
    """Keys of the settings are the operator's; a key of the ring is whom it was made for, with the terms agreed."""
    ringed = await Ringed().filled()
    keys = ringed.keys(*CONFIGURED, public=True)
    assert await keys(arrival(way("one-key"), client)) == Caller(name="key-1", admin=True)
    assert await keys(arrival(way("another-key"), client)) == Caller(name="key-2", admin=True)
    assert await keys(arrival(way(ringed.alice.reveal()), client)) == Caller(name="alice", models=("gpt-*",))
    assert (await keys(arrival(way(ringed.brief.reveal()), client))).name == "brief"


WRONG = ["wrong", "", "one-key2", "ONE-KEY", "One-Key", "one-ke", "one key", "one-key, another-key", "cak_" + "0" * 64]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("client", [LOOPBACK, STRANGER])
async def test_anything_else_is_refused(way, wrong: str, client: str) -> None:
    """Near is not good enough, also on this machine (S5); another case of letters is another key (L5)."""
    keys = (await Ringed().filled()).keys(*CONFIGURED)
    with pytest.raises(Unauthenticated) as caught:
        await keys(arrival(way(wrong), client))
    assert not wrong or wrong not in caught.value.message


@pytest.mark.parametrize("way", WAYS)
async def test_a_ring_key_in_other_letters_is_no_key(way) -> None:
    """Neither capitals nor blanks make another spelling of a key, so no caller has two names (L5)."""
    ringed = await Ringed().filled()
    keys, key = ringed.keys(), ringed.alice.reveal()
    for wrong in (key.upper(), key.title(), key + "0", key[:-1], key.removeprefix("cak_")):
        with pytest.raises(Unauthenticated, match="not one of ours"):
            await keys(arrival(way(wrong)))
    assert (await keys(arrival(way(f"  {key} ")))).name == "alice"


@pytest.mark.parametrize("way", WAYS)
async def test_an_expired_key_says_so(way) -> None:
    """Up to its end it opens, from then on it does not, and the message says why and when."""
    ringed = await Ringed().filled()
    keys, brief = ringed.keys(), arrival(way(ringed.brief.reveal()))
    ringed.wall.now = WALL + 59.9
    assert (await keys(brief)).name == "brief"
    ringed.wall.now = WALL + 60
    with pytest.raises(Unauthenticated, match="expired on 2027-01-15 08:01 UTC"):
        await keys(brief)
    assert (await keys(arrival(way(ringed.alice.reveal())))).name == "alice"


@pytest.mark.parametrize("way", WAYS)
async def test_a_revoked_key_is_an_unknown_one(way) -> None:
    """Others are not touched."""
    ringed = await Ringed().filled()
    keys = ringed.keys()
    assert (await keys(arrival(way(ringed.alice.reveal())))).name == "alice"
    await ringed.ring.revoke("alice")
    with pytest.raises(Unauthenticated, match="revoked"):
        await keys(arrival(way(ringed.alice.reveal())))
    assert (await keys(arrival(way(ringed.brief.reveal())))).name == "brief"


async def test_only_expired_keys_are_keys_too() -> None:
    """When the last key ends, the door does not open to everybody here."""
    ringed = await Ringed().filled()
    await ringed.ring.revoke("alice")
    ringed.wall.now = WALL + 61
    with pytest.raises(Unauthenticated, match="No key was given"):
        await ringed.keys()(arrival())


@pytest.mark.parametrize("client", [LOOPBACK, "::1", "127.8.9.1"])
async def test_without_any_key_this_machine_is_served(client: str) -> None:
    """Whoever sits here is the operator; what is presented as a key does not matter, as SDKs insist on one."""
    keys = Ringed().keys()
    assert await keys(arrival(client=client)) == Caller(name="local", admin=True)
    assert await keys(arrival(bearer("anything"), client)) == Caller(name="local", admin=True)


@pytest.mark.parametrize("client", [STRANGER, "2001:db8::1", "localhost.example", "", None, "0.0.0.0", "127.0.0.1.x"])
async def test_without_any_key_strangers_are_refused(client: str | None) -> None:
    """An address that is not this machine's, or none at all."""
    with pytest.raises(Unauthenticated, match=r"Only callers on this machine.*COPILOT_ASGI_API_KEYS"):
        await Ringed().keys()(arrival(bearer("anything"), client))


@pytest.mark.parametrize("settings", [{"allowed_hosts": ("ai.example",)}, {"host": "0.0.0.0"}, {"host": "192.0.2.1"}])
@pytest.mark.parametrize("client", [LOOPBACK, STRANGER])
async def test_where_others_are_expected_nobody_is_served_without_keys(settings, client: str) -> None:
    """Behind a reverse proxy everybody seems to sit here, so nobody counts as the operator; it says what to set."""
    authenticate = authenticator_for(Settings(**settings), MemoryStore())
    for headers in ((), bearer("anything")):
        with pytest.raises(Unauthenticated, match=r"there is no key yet.*keys add NAME.*COPILOT_ASGI_API_KEYS"):
            await authenticate(arrival(headers, client))


async def test_the_first_key_is_noticed_while_running() -> None:
    """Before it this machine was served without, after it everybody needs one."""
    store = MemoryStore()
    ring = KeyRing(store, max_age=0)
    keys = Keys((), ring, public=False)
    assert (await keys(arrival())).name == "local"
    key, record = make_key("alice", now=WALL)
    await KeyRing(store).add(record)
    with pytest.raises(Unauthenticated, match="No key was given"):
        await keys(arrival())
    assert (await keys(arrival(bearer(key.reveal())))).name == "alice"


async def test_making_one_reads_nothing_and_uses_the_settings_keys() -> None:
    """The ring is read by the first request; settings' keys come in their order."""
    authenticate = authenticator_for(Settings(api_keys=CONFIGURED), MemoryStore())
    assert (await authenticate(arrival(bearer("another-key"), STRANGER))).name == "key-2"


async def test_a_ring_that_cannot_be_read_adds_nobody() -> None:
    """The operator's own keys still open; anything else is an error, and this machine is not served without a key."""
    ringed = Ringed()
    await ringed.store.set(KEY, b"damaged")
    with_settings, without = ringed.keys(*CONFIGURED), ringed.keys()
    assert (await with_settings(arrival(bearer("one-key")))).name == "key-1"
    for keys, headers in ((with_settings, bearer("wrong")), (without, ()), (without, bearer("wrong"))):
        with pytest.raises(StoreError, match="nobody is let in"):
            await keys(arrival(headers))


@pytest.mark.parametrize("presented", ["one-key", "another-key", "alice", "wrong", ""])
async def test_every_digest_is_compared(presented: str) -> None:
    """Whether the first, the last or none fits: as many comparisons, all of digests of one length (S6)."""
    ringed = await Ringed().filled()
    compared: list[tuple[bytes, bytes]] = []

    def counting(known: bytes, given: bytes) -> bool:
        compared.append((known, given))
        return hmac.compare_digest(known, given)

    keys = Keys(CONFIGURED, ringed.ring, public=False, wall=ringed.wall, compare=counting)
    key = ringed.alice.reveal() if presented == "alice" else presented or "x"
    try:
        await keys(arrival(bearer(key)))
    except Unauthenticated:
        assert presented in {"wrong", ""}
    assert len(compared) == 4
    assert {len(digest) for pair in compared for digest in pair} == {32}
    assert len({known for known, _ in compared}) == 4
