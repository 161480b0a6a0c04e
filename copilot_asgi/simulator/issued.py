"""Ids and sealed blobs the simulated models have handed out, so that what comes back can be checked.

Rule: an id or a blob is valid only for the account it was given to, and an id only together with a blob of its item.
"""

from base64 import b64encode
from enum import Enum
from random import Random
from string import ascii_letters, digits

import msgspec

__all__ = ["Issued", "Pairing"]

OPAQUE_BYTES = 306  # 408 characters of base64, as long as the real ones


class Pairing(Enum):
    """How an id and a blob that came back together relate."""

    MATCHING = "matching"
    DIFFERENT = "different"
    UNKNOWN_BLOB = "unknown_blob"


class Item(msgspec.Struct, frozen=True):
    """What an id or a blob stands for; ``event`` counts the times its item was named."""

    login: str
    key: int
    event: int


class Issued:
    """Everything handed out, from one seeded source of randomness."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._items = 0
        self._ids: dict[str, Item] = {}
        self._blobs: dict[str, Item] = {}
        self._signatures: set[str] = set()
        self._sealed_calls: set[str] = set()

    def new_item(self) -> int:
        """The key of a new output item, unknown to clients."""
        self._items += 1
        return self._items

    def item_id(self, login: str, key: int, *, event: int = 0) -> str:
        """Another opaque id for the item: each event gets its own."""
        made = self._opaque(OPAQUE_BYTES)
        self._ids[made] = Item(login, key, event)
        return made

    def blob(self, login: str, key: int, *, event: int = 0) -> str:
        """Encrypted content of the item."""
        made = "gAAAAA" + self._opaque(90)
        self._blobs[made] = Item(login, key, event)
        return made

    def signature(self) -> str:
        """A signature of a thinking block, or the data of a redacted one."""
        made = "EqQB" + self._opaque(60)
        self._signatures.add(made)
        return made

    def call_id(self, prefix: str) -> str:
        """A new tool call id."""
        return prefix + self.letters(24)

    def seal_call(self, call_id: str) -> None:
        """Remember that the reasoning behind this call must come back with it."""
        self._sealed_calls.add(call_id)

    def is_sealed_call(self, call_id: str) -> bool:
        """Whether ``call_id`` was given out together with sealed reasoning."""
        return call_id in self._sealed_calls

    def is_signature(self, text: str) -> bool:
        """Whether ``text`` was given out as a signature."""
        return text in self._signatures

    def is_opaque(self, text: str) -> bool:
        """Whether ``text`` looks like one of these ids, wherever it came from."""
        return len(text) > 100

    def owns_id(self, login: str, text: str) -> bool:
        """Whether ``text`` is an id that was given to ``login``."""
        item = self._ids.get(text)
        return item is not None and item.login == login

    def pairing(self, login: str, item_id: str, blob: str, *, same_event: bool) -> Pairing:
        """How ``item_id`` (empty when left out) and ``blob`` relate."""
        sealed = self._blobs.get(blob)
        if sealed is None or sealed.login != login:
            return Pairing.UNKNOWN_BLOB
        if not item_id:
            return Pairing.MATCHING
        named = self._ids.get(item_id)
        if named is None or named.key != sealed.key or (same_event and named.event != sealed.event):
            return Pairing.DIFFERENT
        return Pairing.MATCHING

    def letters(self, count: int) -> str:
        """Random letters and digits."""
        return "".join(self._random.choices(ascii_letters + digits, k=count))

    def uuid(self) -> str:
        """A random UUID (version 4)."""
        bits = f"{self._random.getrandbits(128):032x}"
        return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-8{bits[17:20]}-{bits[20:]}"

    def _opaque(self, size: int) -> str:
        return b64encode(self._random.randbytes(size)).decode()
