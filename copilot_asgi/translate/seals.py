"""Envelopes: how a sealed piece of reasoning travels through a client of another dialect and back.

Rule: only its origin can read a seal, so it says which kind of upstream that is; whoever renders a request opens the
envelope, and sends a seal to its origin or not at all. A value without our mark is the client's dialect's own.
"""

from base64 import b64decode, urlsafe_b64encode

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.conversation import Seal, SealOrigin

__all__ = ["is_wrapped", "unwrap", "wrap"]

# The full stop is in neither alphabet of base64, so no upstream's own value begins like this.
_MARK = "capi1."


class _Letter(msgspec.Struct, frozen=True, array_like=True):
    data: str
    id: str
    phase: str
    text: str


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Letter)


def wrap(seal: Seal, *, text: str = "") -> str:
    """The envelope of a seal. ``text`` is the visible thinking that a signature is bound to."""
    letter = _Letter(seal.data, seal.id, seal.phase, text)
    return f"{_MARK}{seal.origin.value}{urlsafe_b64encode(_encoder.encode(letter)).decode()}"


def is_wrapped(value: str) -> bool:
    """Whether a value is one of our envelopes."""
    return value.startswith(_MARK)


def unwrap(value: str) -> tuple[Seal, str] | None:
    """The seal and the text in an envelope, or ``None`` for a value that is not one of ours.

    Raises ``BadRequest`` for an envelope that was damaged on its way: upstream could not read what is in it either.
    """
    if not is_wrapped(value):
        return None
    origin, payload = value[len(_MARK) : len(_MARK) + 1], value[len(_MARK) + 1 :]
    try:
        letter = _decoder.decode(b64decode(payload.encode(), altchars=b"-_", validate=True))
        seal = Seal(SealOrigin(origin), letter.data, id=letter.id, phase=letter.phase)
    except ValueError:  # base64, UTF-8, JSON and the origin each raise a kind of it
        raise BadRequest(
            "The sealed reasoning in the conversation was changed on its way; send it back as it was, or leave it out.",
            code="invalid_encrypted_content",
        ) from None
    return seal, letter.text
