"""The header that says how long to wait.

Rule: what cannot be read is no answer, never an exception and never a made-up wait.
"""

import re
from datetime import UTC, datetime

__all__ = ["retry_after_seconds"]

_SECONDS = re.compile(r"\d{1,10}(?:\.\d{1,10})?", re.ASCII)


def retry_after_seconds(value: str, *, now: float) -> float | None:
    """What a ``retry-after`` header asks for, in seconds from ``now``; ``None`` for garbage. A past date is 0.

    Source: RFC 9110 section 10.2.3; upstream also writes RFC 3339 dates.
    """
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    date = _date(value)
    return None if date is None else max(date.timestamp() - now, 0.0)


def _date(value: str) -> datetime | None:
    from email.utils import parsedate_to_datetime  # slow to import, seldom needed

    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            date = parse(value)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    return None
