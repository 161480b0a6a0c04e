"""Reading typed values out of a Responses request.

Rule: ``null`` is the same as absent, unknown keys are passed over here, and a wrong type is the client's error, named
by its field.
"""

from typing import TypeVar

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.wire.shallow import NOT_JSON, NULL, Fields, is_null

__all__ = ["decoded", "optional", "sound"]

T = TypeVar("T")


def decoded(value: msgspec.Raw, kind: type[T], *, param: str) -> T:
    """``value`` as ``kind``; raises ``BadRequest`` naming ``param`` when it is something else."""
    try:
        return msgspec.json.decode(value, type=kind)
    except NOT_JSON:
        raise BadRequest(f"The field '{param}' cannot be read.", code="invalid_type", param=param) from None


def optional(fields: Fields, name: str, kind: type[T]) -> T | None:
    """The field ``name`` as ``kind``, or ``None`` when it is absent or null."""
    value = fields.get(name, NULL)
    return None if is_null(value) else decoded(value, kind, param=name)


def sound(value: msgspec.Raw, *, param: str) -> bytes:
    """The JSON text of a value that is passed on unread; raises ``BadRequest`` when it is not sound all through."""
    decoded(value, object, param=param)
    return bytes(value)
