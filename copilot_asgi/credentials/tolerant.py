"""Reading JSON that is not what its documentation promises. Pure.

Rule: a field of a wrong type counts as missing; nothing here raises.
"""

import math

import msgspec

__all__ = ["flag", "json_object", "mapping", "number", "text"]


def json_object(body: bytes) -> dict[str, object]:
    """The JSON object in ``body``; empty when it holds anything else."""
    try:
        return mapping(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def mapping(value: object) -> dict[str, object]:
    """``value`` when it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: object) -> str | None:
    """``value`` when it is a string that is not empty."""
    return value if isinstance(value, str) and value else None


def flag(value: object) -> bool:
    """Whether ``value`` is ``true``."""
    return value is True


def number(value: object) -> float | None:
    """``value`` as a finite number; numbers arrive as strings at times."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None
