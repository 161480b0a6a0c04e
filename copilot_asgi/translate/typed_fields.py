"""The top-level fields of a request that are looked into, typed all at once."""

from typing import TypeVar

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.wire.shallow import NOT_JSON, Fields

__all__ = ["read_fields"]

T = TypeVar("T", bound=msgspec.Struct)


def read_fields(decoder: msgspec.json.Decoder[T], fields: Fields, *, code: str) -> T:
    """The struct that ``decoder`` makes of those of ``fields`` it has; the others stay as they are.

    Raises ``BadRequest`` with ``code``, naming the first field that is not of its type.
    """
    known = decoder.type.__struct_fields__
    given = {name: fields[name] for name in fields if name in known}
    try:
        return decoder.decode(msgspec.json.encode(given))
    except NOT_JSON:
        name = next((name for name, value in given.items() if not _is_readable(decoder, name, value)), None)
        raise BadRequest(f"The field '{name}' is not what the API describes.", code=code, param=name) from None


def _is_readable(decoder: msgspec.json.Decoder[T], name: str, value: msgspec.Raw) -> bool:
    try:
        decoder.decode(msgspec.json.encode({name: value}))
    except NOT_JSON:
        return False
    return True
