"""One key of a caller's own: how it is made, what is kept of it, and what makes its terms wrong.

Rule: the key itself is shown once, to whoever made it; what is kept is its digest.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated

import msgspec

from copilot_asgi.budgets import parse_budget
from copilot_asgi.errors import ConfigError
from copilot_asgi.exchange import Caller
from copilot_asgi.limits import parse_rate_limit
from copilot_asgi.secret import Secret

__all__ = ["KeyRecord", "KnownKey", "key_digest", "known_key", "make_key", "parse_expiry"]

KEY_PREFIX = "cak_"  # so that people, secret scanners and ``redact`` know one when they see it

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_RESERVED = re.compile(r"local|key-\d+", re.IGNORECASE)  # what callers without a key of their own are called
_PATTERN = re.compile(r"[!-~]{1,128}")
_SPAN = re.compile(r"(\d{1,5})([mhdw])")
_SECONDS: Mapping[str, int] = MappingProxyType({"m": 60, "h": 3_600, "d": 86_400, "w": 604_800})


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of a key. Times are unix seconds; limits and budgets are the texts that they were given as.

    Unknown fields are refused: a newer version may have put a restriction there.
    """

    name: str
    digest: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    created_at: float
    expires_at: float | None = None
    admin: bool = False
    models: tuple[str, ...] = ()
    rate_limits: tuple[str, ...] = ()
    budgets: tuple[str, ...] = ()
    max_concurrent: int | None = None


class KnownKey(msgspec.Struct, frozen=True):
    """A key as callers are checked against it."""

    digest: bytes
    caller: Caller
    expires_at: float | None = None

    def __repr__(self) -> str:
        # The digest of a key that a person chose could be guessed back.
        return f"KnownKey({self.caller.name})"


def key_digest(key: str) -> bytes:
    """What a key is recognised by. Keys are long and random, or the operator's own choice; no salt is needed."""
    return hashlib.sha256(key.encode()).digest()


def make_key(
    name: str,
    *,
    now: float,
    expires_at: float | None = None,
    admin: bool = False,
    models: Sequence[str] = (),
    rate_limits: Sequence[str] = (),
    budgets: Sequence[str] = (),
    max_concurrent: int | None = None,
) -> tuple[Secret, KeyRecord]:
    """A new key of 256 random bits, and its record. Raises ``ConfigError`` when a name or a term does not fit."""
    key = KEY_PREFIX + secrets.token_hex(32)
    record = KeyRecord(
        name=name,
        digest=key_digest(key).hex(),
        created_at=now,
        expires_at=expires_at,
        admin=admin,
        models=tuple(models),
        rate_limits=tuple(rate_limits),
        budgets=tuple(budgets),
        max_concurrent=max_concurrent,
    )
    known_key(record)
    return Secret(key), record


def known_key(record: KeyRecord) -> KnownKey:
    """The record with its terms parsed. Raises ``ConfigError`` when one does not fit."""
    _check_name(record.name)
    if not all(map(_PATTERN.fullmatch, record.models)):
        raise ConfigError("models: write patterns of model ids, such as gpt-5-mini or claude-*.")
    if record.max_concurrent is not None and record.max_concurrent < 1:
        raise ConfigError(f"max_concurrent: {record.max_concurrent} is too small. Choose 1 or more.")
    caller = Caller(
        name=record.name,
        admin=record.admin,
        models=record.models,
        rate_limits=tuple(map(parse_rate_limit, record.rate_limits)),
        budgets=tuple(map(parse_budget, record.budgets)),
        max_concurrent=record.max_concurrent,
    )
    return KnownKey(bytes.fromhex(record.digest), caller, record.expires_at)


def parse_expiry(text: str, *, now: float) -> float:
    """When a key ends, in unix seconds: ``30d`` from now (or m, h, w), or when the day ``2027-01-31`` begins in UTC.

    Raises ``ConfigError``, also for what has passed.
    """
    span = _SPAN.fullmatch(text.strip().lower())
    expires_at = now + int(span[1]) * _SECONDS[span[2]] if span else _day(text.strip())
    if expires_at is None:
        raise ConfigError(f"expires: {text[:60]!r} does not fit. Write 12h, 30d, 8w, or a day such as 2027-01-31.")
    if expires_at <= now:
        raise ConfigError(f"expires: {text[:60]!r} has passed already.")
    return expires_at


def _day(text: str) -> float | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"name: {name[:64]!r} does not fit. Use 1 to 64 of the characters A-Z a-z 0-9 . _ -")
    if _RESERVED.fullmatch(name):
        raise ConfigError(f"name: {name} stands for callers without a key of their own. Choose another.")
