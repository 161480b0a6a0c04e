"""A key's record: what is kept, and which names and terms are refused."""

import hashlib
from datetime import UTC, datetime

import msgspec
import pytest

from copilot_asgi.budgets import Currency, Period
from copilot_asgi.callers.key_record import KeyRecord, key_digest, known_key, make_key, parse_expiry
from copilot_asgi.errors import ConfigError
from copilot_asgi.exchange import Caller
from copilot_asgi.limits import RateLimit, Unit
from copilot_asgi.secret import MASK, redact

NOW = 1_800_000_000.0  # 2027-01-15 08:00 UTC


def test_a_key_is_long_random_and_recognisable() -> None:
    """256 random bits behind a prefix; no two are the same."""
    key, another = make_key("alice", now=NOW)[0].reveal(), make_key("alice", now=NOW)[0].reveal()
    assert key.startswith("cak_")
    assert len(bytes.fromhex(key.removeprefix("cak_"))) == 32
    assert key != another


def test_what_is_kept_is_the_digest() -> None:
    """The record and everything that shows it hold no key; the digest is SHA-256."""
    key, record = make_key("alice", now=NOW)
    assert record.digest == hashlib.sha256(key.reveal().encode()).hexdigest() == key_digest(key.reveal()).hex()
    assert key.reveal() not in repr(record) + msgspec.json.encode(record).decode()


def test_a_known_key_does_not_show_its_digest() -> None:
    """A digest of a key that a person chose could be guessed back, so the repr has the name alone."""
    assert repr(known_key(make_key("alice", now=NOW)[1])) == "KnownKey(alice)"


@pytest.mark.parametrize("frame", ["{}", "x-api-key: {}", '{{"key":"{}"}}', "cookie={};", "refused {} at once"])
def test_a_key_in_a_text_is_cut_out(frame: str) -> None:
    """Whatever quotes a key, the redaction finds it (S4)."""
    key = make_key("alice", now=NOW)[0].reveal()
    assert redact(frame.format(key)) == frame.format(MASK)


def test_terms_become_the_caller() -> None:
    """Name, rights, models, limits and budgets are the caller's; the key ends when the record says."""
    _, record = make_key(
        "alice",
        now=NOW,
        expires_at=NOW + 1,
        admin=True,
        models=["gpt-*"],
        rate_limits=["60/min"],
        budgets=["20 credits/day"],
        max_concurrent=2,
    )
    known = known_key(record)
    budget = known.caller.budgets[0]
    assert known.expires_at == NOW + 1
    assert known.caller.rate_limits == (RateLimit(amount=60.0, unit=Unit.REQUESTS, window=60.0),)
    assert (budget.currency, budget.period) == (Currency.CREDITS, Period.DAY)
    assert known.caller == Caller(
        name="alice",
        admin=True,
        models=("gpt-*",),
        rate_limits=known.caller.rate_limits,
        budgets=(budget,),
        max_concurrent=2,
    )


def test_without_terms_there_are_no_limits_and_no_rights() -> None:
    """A plain key may use every model and administer nothing."""
    assert known_key(make_key("alice", now=NOW)[1]).caller == Caller(name="alice")


@pytest.mark.parametrize("name", ["a", "Alice", "build-bot_2.staging", "keys-1", "key-x", "locale", "x" * 64])
def test_good_names(name: str) -> None:
    """Letters, digits, dots, dashes and underscores."""
    assert make_key(name, now=NOW)[1].name == name


@pytest.mark.parametrize(
    "name",
    ["", "x" * 65, "a b", " a", "a\n", "a\r\nx: y", "al\x1b[2Jice", "jos\u00e9", "a/b", "a:b", "\u202eab"]
    + ["local", "LOCAL", "key-1", "Key-0017", "key-99999"],
)
def test_bad_names(name: str) -> None:
    """Whatever could break a line or a header is refused (S9), and so are the names of callers without own keys."""
    with pytest.raises(ConfigError, match=r"^name: "):
        make_key(name, now=NOW)


@pytest.mark.parametrize(
    ("terms", "fault"),
    [
        ({"models": ["gpt-5", ""]}, "models: "),
        ({"models": ["gpt 5"]}, "models: "),
        ({"models": ["x" * 129]}, "models: "),
        ({"rate_limits": ["60"]}, "rate_limit: "),
        ({"rate_limits": ["60/min", "fast"]}, "rate_limit: "),
        ({"budgets": ["much/day"]}, "budget: "),
        ({"max_concurrent": 0}, "max_concurrent: 0 is too small"),
        ({"max_concurrent": -1}, "max_concurrent: "),
    ],
)
def test_bad_terms(terms: dict[str, object], fault: str) -> None:
    """A term that does not fit makes no key, and the message names it."""
    with pytest.raises(ConfigError, match="^" + fault):
        make_key("alice", now=NOW, **terms)


@pytest.mark.parametrize(
    ("text", "expires_at"),
    [
        ("90m", NOW + 5_400),
        ("12h", NOW + 43_200),
        ("30d", NOW + 30 * 86_400),
        (" 8W ", NOW + 8 * 604_800),
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC).timestamp()),
        ("2027-01-16", NOW + 16 * 3_600),
    ],
)
def test_when_a_key_ends(text: str, expires_at: float) -> None:
    """A time from now, or the beginning of a day in UTC."""
    assert parse_expiry(text, now=NOW) == expires_at


@pytest.mark.parametrize(
    "text", ["", "30", "d", "-1d", "1.5d", "30 days", "2027-13-01", "31.01.2027", "never", "123456d", "\u0663d\u00b2"]
)
def test_what_is_no_time(text: str) -> None:
    """Anything else is refused with examples."""
    with pytest.raises(ConfigError, match=r"^expires: .* does not fit\. Write 12h"):
        parse_expiry(text, now=NOW)


@pytest.mark.parametrize("text", ["2027-01-15", "1999-12-31", "0d"])
def test_what_has_passed(text: str) -> None:
    """A key that would be useless at once is not made."""
    with pytest.raises(ConfigError, match="has passed already"):
        parse_expiry(text, now=NOW)


def test_a_record_of_another_kind_is_not_read() -> None:
    """A field that is not known may be a restriction, and a digest has one form only."""
    record = msgspec.to_builtins(make_key("alice", now=NOW)[1])
    assert msgspec.convert(record, KeyRecord).name == "alice"
    for change in ({"only_from": "10.0.0.0/8"}, {"digest": "00"}, {"digest": record["digest"] + "\n"}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({**record, **change}, KeyRecord)
