"""Entries are single lines of JSON, whatever they hold."""

import json

import msgspec
import pytest
from audit.entries import ENTRY, entry
from hypothesis import given
from hypothesis import strategies as st

from copilot_asgi.audit import TEXT_LIMIT, Entry, line, shortened, timestamp


def test_an_entry_is_a_line_of_json_with_every_field() -> None:
    """Nothing is left out, also what is not known, and the line reads back as the entry."""
    text = line(ENTRY)
    assert list(json.loads(text)) == list(Entry.__struct_fields__)
    assert json.loads(text)["outcome"] == "ok"
    assert json.loads(text)["prompt"] is None
    assert msgspec.json.decode(text, type=Entry) == ENTRY


HOSTILE = [
    "\n",
    "\r\n",
    "\x1b[2J",
    "\x00",
    "\x7f",
    "\x9b31m",
    "\u2028",
    "\u2029",
    "\u202e",
    "\u2066",
    "\ufeff",
    '"',
    "\\",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_could_lead_a_log_astray_is_escaped(text: str) -> None:
    """Line ends, escape sequences and marks of direction reach neither the file nor a terminal, and none is lost."""
    written = line(entry(caller=f"a{text}b"))
    assert written.isprintable()
    assert json.loads(written)["caller"] == f"a{text}b"


@given(st.text(), st.text(max_size=50))
def test_any_text_is_one_line(caller: str, prompt: str) -> None:
    """No text whatever ends the line or is changed by its escaping, once it can be encoded at all."""
    written = line(entry(caller=shortened(caller), prompt=prompt.encode("utf-8", "replace").decode()))
    assert len(written.splitlines()) == 1
    assert json.loads(written)["caller"] == shortened(caller)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("plain", "plain"),
        ("x" * 10_000_000, "x" * TEXT_LIMIT),
        ("\n" * 300, "\n" * TEXT_LIMIT),
        ("\ud800", "?"),
        ("key sk-0123456789abcdef", "key ***"),
        ("Bearer hello", "Bearer ***"),
    ],
)
def test_texts_are_cut_and_redacted(text: str, kept: str) -> None:
    """A field of 10 MB is cut, a token is masked, what cannot be encoded is replaced."""
    assert shortened(text) == kept


def test_a_mask_does_not_make_a_text_longer_than_its_limit() -> None:
    """Masks may be longer than what they hide."""
    assert len(shortened("tid=1 " * 100, 40)) <= 40


@pytest.mark.parametrize(
    ("now", "text"), [(0.0, "1970-01-01T00:00:00.000Z"), (1_767_323_045.678, "2026-01-02T03:04:05.678Z")]
)
def test_times_are_utc(now: float, text: str) -> None:
    """RFC 3339 with milliseconds, whatever the machine's time zone is."""
    assert timestamp(now) == text
