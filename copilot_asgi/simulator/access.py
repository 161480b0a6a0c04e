"""Looking into decoded JSON whose shape nobody promised.

Rule: a missing key and a value of the wrong type read the same, as the empty value; nothing here raises.
"""

import msgspec

__all__ = ["Object", "decode_object", "number", "object_of", "objects", "string", "strings"]

Object = dict[str, object]

_decoder = msgspec.json.Decoder(Object)


def decode_object(body: bytes) -> Object | None:
    """The JSON object in ``body``, or ``None`` when it is anything else."""
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def object_of(value: object) -> Object:
    """``value`` when it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def objects(value: object) -> list[Object]:
    """The objects of a list; everything else in it is left out."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def string(value: object) -> str:
    """``value`` when it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def strings(value: object) -> list[str]:
    """The strings of a list; everything else in it is left out."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def number(value: object, default: float = 0) -> float:
    """``value`` when it is a number (``True`` is none), else ``default``."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else default
