"""Records in the store: JSON, in which secrets stand in clear.

Rule: this is the one place where a ``Secret`` turns into text on its way to the store, and back.
"""

from typing import TypeVar

import msgspec

from copilot_asgi.secret import Secret

__all__ = ["decode_record", "encode_record"]

T = TypeVar("T")


def encode_record(record: msgspec.Struct) -> bytes:
    """``record`` as JSON with its secrets revealed."""
    return msgspec.json.encode(record, enc_hook=_reveal)


def decode_record(kind: type[T], data: bytes) -> T | None:
    """The record, or ``None`` when ``data`` is not one (another version wrote it, or it is damaged)."""
    try:
        return msgspec.json.decode(data, type=kind, dec_hook=_hide)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _reveal(value: object) -> object:
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError(f"records hold no {type(value).__name__}")


def _hide(kind: type, value: object) -> object:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise TypeError(f"records hold no {kind.__name__}")  # msgspec makes its own error of this one
