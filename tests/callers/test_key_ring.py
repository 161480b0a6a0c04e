"""The ring of keys: adding and revoking show everywhere, and a store that fails changes nothing."""

import logging
from pathlib import Path

import anyio
import msgspec
import pytest
from stages.bench import Clock

from copilot_asgi.callers.key_record import KeyRecord, make_key
from copilot_asgi.callers.key_ring import KEY, KeyRing
from copilot_asgi.errors import ConfigError, StoreError
from copilot_asgi.stores.file import FileStore
from copilot_asgi.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio


class BrokenStore(MemoryStore):
    """Refuses to be read while ``broken``; counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False
        self.reads = 0

    async def get(self, key: str) -> bytes | None:
        self.reads += 1
        await anyio.lowlevel.checkpoint()
        if self.broken:
            raise StoreError("Cannot read /home/ada/.data: run chmod 700.")
        return await super().get(key)


def record(name: str) -> KeyRecord:
    return make_key(name, now=0.0)[1]


async def names(ring: KeyRing) -> list[str]:
    return [known.caller.name for known in await ring.known()]


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_what_is_added_is_there_until_it_is_revoked(kind: str, tmp_path: Path) -> None:
    """Records come back as they were, in the order of their making."""
    ring = KeyRing(MemoryStore() if kind == "memory" else FileStore(tmp_path / "data"), max_age=0)
    alice, bob = record("alice"), record("bob")
    await ring.add(alice)
    await ring.add(bob)
    assert await ring.records() == (alice, bob)
    assert await ring.revoke("ALICE")
    assert await names(ring) == ["bob"]
    assert not await ring.revoke("alice")
    assert await ring.revoke("bob")
    assert await ring.known() == ()


async def test_a_name_is_given_once() -> None:
    """In any case of letters, and the key that has it stays."""
    ring = KeyRing(MemoryStore())
    alice = record("alice")
    await ring.add(alice)
    with pytest.raises(ConfigError, match="a key called Alice already"):
        await ring.add(record("Alice"))
    assert await ring.records() == (alice,)


async def test_keys_made_at_the_same_time_are_all_kept() -> None:
    """Adding reads and writes in one piece."""
    store = MemoryStore()
    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(KeyRing(store).add, record(f"bot-{number}"))
    assert sorted([each.name for each in await KeyRing(store).records()]) == [f"bot-{number}" for number in range(5)]


async def test_revoking_in_another_process_shows() -> None:
    """Within ``max_age`` seconds the store is not asked; after that it is, once."""
    store, clock = BrokenStore(), Clock()
    ring, another = KeyRing(store, max_age=5.0, clock=clock), KeyRing(store)
    await another.add(record("alice"))
    assert await names(ring) == ["alice"]
    await another.revoke("alice")
    store.reads = 0
    clock.now += 4.9
    assert await names(ring) == ["alice"]
    assert store.reads == 0
    clock.now += 0.1
    assert await names(ring) == []
    assert await names(ring) == []
    assert store.reads == 1


async def test_a_store_that_fails_leaves_the_keys_as_they_were(caplog: pytest.LogCaptureFixture) -> None:
    """Those who had a key go on; it is said once for each failure, and the store is asked once in ``max_age``."""
    store, clock = BrokenStore(), Clock()
    ring = KeyRing(store, max_age=5.0, clock=clock)
    await ring.add(record("alice"))
    assert await names(ring) == ["alice"]
    store.broken, store.reads = True, 0
    for _ in range(3):
        clock.now += 5.0
        assert await names(ring) == ["alice"]
        assert await names(ring) == ["alice"]
    assert store.reads == 3
    assert [entry.levelno for entry in caplog.records] == [logging.WARNING]
    assert "chmod 700" in caplog.text
    store.broken = False
    clock.now += 5.0
    assert await names(ring) == ["alice"]
    store.broken = True
    clock.now += 5.0
    assert await names(ring) == ["alice"]
    assert len(caplog.records) == 2


async def test_a_store_that_was_never_read_lets_nobody_in(caplog: pytest.LogCaptureFixture) -> None:
    """It is an error that tells strangers nothing of this machine; when the store is back, so are the keys."""
    store = BrokenStore()
    ring = KeyRing(store)
    await ring.add(record("alice"))
    store.broken = True
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            await ring.known()
        assert caught.value.message == ("The keys cannot be read, so nobody is let in. The server's log says why.")
    assert caplog.text.count("/home/ada") == 1
    store.broken = False
    assert await names(ring) == ["alice"]


async def test_a_record_that_disappears_revokes_nothing() -> None:
    """Otherwise a damaged file, which a store moves aside, would open the door to this machine."""
    store = MemoryStore()
    ring = KeyRing(store, max_age=0)
    await ring.add(record("alice"))
    assert await names(ring) == ["alice"]
    await store.delete(KEY)
    assert await names(ring) == ["alice"]
    with pytest.raises(StoreError, match="gone"):
        await ring.records()


async def test_the_last_key_can_be_revoked() -> None:
    """An empty record is a record: revoking the last key is noticed like any other."""
    ring = KeyRing(MemoryStore(), max_age=0)
    await ring.add(record("alice"))
    assert await names(ring) == ["alice"]
    await ring.revoke("alice")
    assert await names(ring) == []


GOOD = msgspec.to_builtins(record("alice"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"keys":[{}]}',
        msgspec.json.encode({"keys": [GOOD], "version": 2}),
        msgspec.json.encode({"keys": [{**GOOD, "only_from": "10.0.0.0/8"}]}),
        msgspec.json.encode({"keys": [{**GOOD, "name": "local"}]}),
        msgspec.json.encode({"keys": [{**GOOD, "rate_limits": ["fast"]}]}),
        msgspec.json.encode({"keys": [{**GOOD, "digest": "short"}]}),
    ],
)
async def test_a_record_that_cannot_be_understood_is_no_record(data: bytes) -> None:
    """It is neither taken for an empty one nor written over."""
    store = MemoryStore()
    await store.set(KEY, data)
    ring = KeyRing(store)
    with pytest.raises(StoreError, match="cannot be understood"):
        await ring.records()
    with pytest.raises(StoreError, match="cannot be understood"):
        await ring.add(record("bob"))
    with pytest.raises(StoreError, match="nobody is let in"):
        await ring.known()
    assert await store.get(KEY) == data


async def test_no_key_is_in_the_store(tmp_path: Path) -> None:
    """What is on the disk after a key was made does not hold it (S5)."""
    key, kept = make_key("alice", now=0.0)
    await KeyRing(FileStore(tmp_path / "data")).add(kept)
    files = [path for path in (tmp_path / "data").iterdir() if path.is_file()]
    assert files
    assert not any(key.reveal().encode() in path.read_bytes() for path in files)
