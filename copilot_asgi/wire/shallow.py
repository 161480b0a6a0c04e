"""JSON one level at a time: the values below stay undecoded slices of the text.

Rule: who changes one key pays for that key; the rest is copied as bytes and stays what it was.
"""

from collections.abc import Mapping

import msgspec

__all__ = ["NOT_JSON", "NULL", "Fields", "is_null", "read_array", "read_object", "starts_with"]

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for bytes that are not JSON, are nested too deeply, or hold other types than promised."""

Fields = Mapping[str, msgspec.Raw]
"""The top level of a JSON object."""

NULL = msgspec.Raw(b"null")
"""What stands for a key that is not there."""

_object_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array_decoder = msgspec.json.Decoder(list[msgspec.Raw])


def read_object(text: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The values of a JSON object, undecoded. Raises one of ``NOT_JSON``."""
    return _object_decoder.decode(text)


def read_array(text: bytes | msgspec.Raw) -> list[msgspec.Raw]:
    """The elements of a JSON array, undecoded. Raises one of ``NOT_JSON``."""
    return _array_decoder.decode(text)


def is_null(value: msgspec.Raw) -> bool:
    """Whether a value is JSON's ``null``."""
    return value == NULL


def starts_with(value: msgspec.Raw, character: bytes) -> bool:
    """Whether the text of a value begins with one character, which tells its type."""
    return bytes(memoryview(value)[:1]) == character
