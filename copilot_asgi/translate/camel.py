"""JSON of Google's APIs, whichever way its keys are written.

Rule: protobuf takes a field by its camelCase name and by its snake_case name alike. Only keys of the API are rewritten,
one level at a time; what is data below them stays as it came.

Source: https://protobuf.dev/programming-guides/json/.
"""

from typing import TypeVar

import msgspec

from copilot_asgi.wire.shallow import Fields, is_null, read_object

__all__ = ["camel", "present", "read_camel"]

_T = TypeVar("_T")


def camel(name: str) -> str:
    """A key in camelCase; one that is already stays."""
    first, *others = name.strip("_").split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in others)


def present(fields: Fields) -> dict[str, msgspec.Raw]:
    """The fields that are there, by their names in camelCase; null counts as absent."""
    return {camel(name): value for name, value in fields.items() if not is_null(value)}


def read_camel(decoder: msgspec.json.Decoder[_T], text: bytes | msgspec.Raw) -> _T:
    """One object, decoded by its names in camelCase. Raises one of ``NOT_JSON``."""
    fields = read_object(text)
    if not any("_" in name for name in fields):
        return decoder.decode(text)
    return decoder.decode(msgspec.json.encode(present(fields)))
