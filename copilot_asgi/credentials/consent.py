"""That the person said yes to calling Copilot under an editor's identity.

Rule: without this record nothing is sent under that identity; it is written by a person's answer only, and can be taken
back.
"""

import msgspec

from copilot_asgi.credentials.records import decode_record, encode_record
from copilot_asgi.stores import Store

__all__ = ["Consent", "read_consent", "record_consent", "withdraw_consent"]

KEY = "consent/editor"


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    """When (unix seconds) and where (such as ``login``) the person agreed."""

    given_at: float
    given_in: str


async def read_consent(store: Store) -> Consent | None:
    """The consent, or ``None`` when there is none. Raises ``StoreError``."""
    data = await store.get(KEY)
    return None if data is None else decode_record(Consent, data)


async def record_consent(store: Store, consent: Consent) -> None:
    """Keep the consent. Raises ``StoreError``."""
    await store.set(KEY, encode_record(consent))


async def withdraw_consent(store: Store) -> None:
    """Forget the consent. Raises ``StoreError``."""
    await store.delete(KEY)
