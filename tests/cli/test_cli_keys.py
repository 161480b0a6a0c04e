"""Tests of ``copilot-asgi keys``: a key is shown once, its terms always, and what is wrong is one line."""

import json
import re
import sys
from pathlib import Path

import anyio
import pytest

from copilot_asgi.callers.key_record import key_digest, make_key
from copilot_asgi.callers.key_ring import KEY, KeyRing
from copilot_asgi.callers.keys import Keys
from copilot_asgi.cli.commands import run
from copilot_asgi.cli.keys import COLUMNS
from copilot_asgi.cli.serve import check_exposure
from copilot_asgi.config_sources import load
from copilot_asgi.errors import ConfigError
from copilot_asgi.exchange import Arrival, Caller
from copilot_asgi.stores.file import FileStore

A_KEY = re.compile(r"cak_[0-9a-f]{64}\n")


def output(arguments: list[str], capsys: pytest.CaptureFixture[str], status: int = 0) -> str:
    assert run(["keys", *arguments]) == status
    return capsys.readouterr().out


def caller_of(key: str, home: Path) -> Caller:
    """Whom a server that uses the same directory takes the key for."""
    keys = Keys((), KeyRing(FileStore(home / "data")), public=True)
    return anyio.run(keys, Arrival(client="192.0.2.7", headers=((b"x-api-key", key.encode()),)))


def test_a_key_is_printed_once_and_alone(home: Path, capsys) -> None:
    """Stdout is the key and nothing else, so a script can keep it; stderr explains; the disk has the digest only."""
    assert run(["keys", "add", "alice"]) == 0
    out, err = capsys.readouterr()
    assert A_KEY.fullmatch(out)
    assert "key of alice. It is not kept" in err
    assert out.strip() not in err
    assert caller_of(out.strip(), home) == Caller(name="alice")
    kept = b"".join(path.read_bytes() for path in (home / "data").iterdir())
    assert out.strip().encode() not in kept


def test_a_narrow_terminal_does_not_break_the_key(home, capsys, monkeypatch) -> None:
    """A key is copied in one piece, however wide the window is."""
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert A_KEY.fullmatch(re.sub(r"\x1b\[[0-9;]*m", "", output(["add", "alice"], capsys)))


TERMS = ["--models", "gpt-*,claude-haiku-*", "--models", "o3", "--rate-limit", "60/min"]
TERMS += ["--rate-limit", "9 credits/day"]
TERMS += ["--budget", "500 credits/month", "--max-concurrent", "2", "--expires", "2099-01-31", "--admin"]


def test_terms_are_agreed_with_the_key(home: Path, capsys) -> None:
    """Given one by one or with commas, they are what the server keeps to."""
    caller = caller_of(output(["add", "alice", *TERMS], capsys).strip(), home)
    assert (caller.name, caller.admin, caller.max_concurrent) == ("alice", True, 2)
    assert caller.models == ("gpt-*", "claude-haiku-*", "o3")
    assert list(map(str, caller.rate_limits)) == ["60 requests/min", "9 credits/day"]
    assert list(map(str, caller.budgets)) == ["500 credits/month"]


def test_as_json_the_key_comes_with_its_terms(home: Path, capsys) -> None:
    """For programs; this once."""
    made = json.loads(output(["add", "alice", *TERMS, "--json"], capsys))
    key = made.pop("key")
    assert A_KEY.fullmatch(key + "\n")
    assert made.pop("created_at").endswith("+00:00")
    assert made == {
        "name": "alice",
        "admin": True,
        "models": ["gpt-*", "claude-haiku-*", "o3"],
        "rate_limits": ["60/min", "9 credits/day"],
        "budgets": ["500 credits/month"],
        "max_concurrent": 2,
        "expires_at": "2099-01-31T00:00:00+00:00",
    }
    assert json.loads(output(["list", "--json"], capsys))[0].items() >= made.items()


def test_the_list_shows_terms_and_no_secret(home: Path, capsys) -> None:
    """Neither keys nor digests are in the table or the JSON (S4)."""
    keys = [output(["add", "alice", *TERMS], capsys).strip(), output(["add", "bob"], capsys).strip()]
    table, listed = output(["list"], capsys), output(["list", "--json"], capsys)
    rows = table.splitlines()
    assert re.split(" {2,}", rows[0].strip()) == list(COLUMNS)
    assert "yes" in rows[1]
    assert "gpt-*, claude-haiku-*, o3" in rows[1]
    assert "2099-01-31 00:00 UTC" in rows[1]
    assert re.fullmatch(r"bob +all +never +20\d\d-\d\d-\d\d *", rows[2])
    assert [each["name"] for each in json.loads(listed)] == ["alice", "bob"]
    for key in keys:
        for shown in (table, listed):
            assert key not in shown
            assert key.removeprefix("cak_")[:8] not in shown
            assert key_digest(key).hex() not in shown


def test_without_keys_the_list_says_how_to_make_one(home, capsys) -> None:
    """A table without rows helps nobody; JSON stays a list."""
    assert output(["list"], capsys) == "There are no keys. Make one: copilot-asgi keys add NAME\n"
    assert json.loads(output(["list", "--json"], capsys)) == []


def test_an_expired_key_is_marked(home: Path, capsys) -> None:
    """It stays in the list until it is revoked."""
    anyio.run(KeyRing(FileStore(home / "data")).add, make_key("old", now=0.0, expires_at=60.0)[1])
    assert "1970-01-01 00:01 UTC (expired)" in output(["list"], capsys)


def test_a_revoked_key_is_gone(home: Path, capsys) -> None:
    """By name, in any case of letters; with the last one it is said what that means."""
    output(["add", "alice"], capsys)
    output(["add", "bob"], capsys)
    assert run(["keys", "revoke", "Alice"]) == 0
    assert capsys.readouterr() == ("Revoked Alice.\n", "")
    assert [each["name"] for each in json.loads(output(["list", "--json"], capsys))] == ["bob"]
    assert run(["keys", "revoke", "bob"]) == 0
    assert "No key is left" in capsys.readouterr().err


def test_the_settings_keys_are_left_when_the_last_one_is_revoked(home, capsys, monkeypatch) -> None:
    """Then nothing opens up, and nothing is said."""
    monkeypatch.setenv("COPILOT_ASGI_API_KEYS", "one-key")
    output(["add", "alice"], capsys)
    assert run(["keys", "revoke", "alice"]) == 0
    assert capsys.readouterr() == ("Revoked alice.\n", "")


def test_what_was_never_there_cannot_be_revoked(home, capsys) -> None:
    """The error lists what there is."""
    assert run(["keys", "revoke", "alice"]) == 1
    assert "error: There is no key called alice. There are: none." in capsys.readouterr().err
    output(["add", "bob"], capsys)
    assert run(["keys", "revoke", "alice"]) == 1
    assert "There are: bob." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["a b"], "name: 'a b' does not fit"),
        (["a\x1b[2J"], "name: "),
        (["local"], "name: local stands for"),
        (["key-3"], "name: key-3 stands for"),
        (["alice", "--models", "gpt 4"], "models: "),
        (["alice", "--models", ","], "An option for a limit is empty"),
        (["alice", "--budget", ""], "An option for a limit is empty"),
        (["alice", "--rate-limit", "sixty"], "rate_limit: 'sixty' does not fit"),
        (["alice", "--budget", "20/day"], "budget: '20/day' does not fit"),
        (["alice", "--max-concurrent", "0"], "max_concurrent: 0 is too small"),
        (["alice", "--expires", "soon"], "expires: 'soon' does not fit"),
        (["alice", "--expires", "2001-01-01"], "expires: '2001-01-01' has passed"),
        (["BOB"], "name: there is a key called BOB already"),
    ],
)
def test_what_does_not_fit_is_one_line(arguments: list[str], fault: str, home: Path, capsys) -> None:
    """The status is 2, the line names what is wrong, no key is printed and none is kept."""
    output(["add", "bob"], capsys)
    assert run(["keys", "add", *arguments]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"error: {fault}")
    assert (out, err.count("\n"), "\x1b" in err) == ("", 1, False)
    assert [each["name"] for each in json.loads(output(["list", "--json"], capsys))] == ["bob"]


def test_a_record_that_cannot_be_read_is_left_alone(home: Path, capsys) -> None:
    """Making a key must not lose the others."""
    store = FileStore(home / "data")
    anyio.run(store.set, KEY, b"{}{")
    for arguments in (["add", "alice"], ["list"], ["revoke", "alice"]):
        assert run(["keys", *arguments]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert "cannot be understood" in err
    assert anyio.run(store.get, KEY) == b"{}{"


@pytest.mark.parametrize("public", [{"host": "0.0.0.0"}, {"allowed_hosts": "ai.example"}])
def test_a_key_of_the_ring_is_a_key_for_serving_beyond_this_machine(public: dict[str, str], home, capsys) -> None:
    """``serve`` refuses without any key, and names the command that makes one; with one it does not."""
    loaded = load({**public, "identity": "editor"})
    with pytest.raises(ConfigError, match=r"^api_keys: .*keys add NAME"):
        check_exposure(loaded)
    output(["add", "alice"], capsys)
    check_exposure(loaded)
    output(["revoke", "alice"], capsys)
    with pytest.raises(ConfigError, match=r"^api_keys: "):
        check_exposure(loaded)
