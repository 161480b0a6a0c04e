"""Tests of settings as options, and of the commands that show them."""

import json

import pytest

from copilot_asgi.cli.commands import run
from copilot_asgi.cli.options import ALL
from copilot_asgi.cli.serve import serve
from copilot_asgi.config import Settings

KEY = "a-key-that-must-not-show"


def shown(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    assert run(["config", "show", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_an_argument_beats_the_environment_beats_the_file(home, monkeypatch, capsys) -> None:
    """Each value is shown with the place it came from."""
    (home / "copilot-asgi.toml").write_text('port = 1\nhost = "::1"\nmax_streams = 3\n')
    monkeypatch.setenv("COPILOT_ASGI_PORT", "2")
    monkeypatch.setenv("COPILOT_ASGI_HOST", "localhost")
    settings = shown(["--port", "4"], capsys)
    assert settings["port"] == {"value": "4", "source": "argument"}
    assert settings["host"] == {"value": "localhost", "source": "environment"}
    assert settings["max_streams"] == {"value": "3", "source": "copilot-asgi.toml"}
    assert settings["log_level"] == {"value": "info", "source": "default"}
    assert tuple(settings) == Settings.__struct_fields__


def test_another_settings_file_can_be_named(home, capsys) -> None:
    """``--config`` reads that file, and says that it did."""
    file = home / "other.toml"
    file.write_text("port = 7")
    assert shown(["--config", str(file)], capsys)["port"] == {"value": "7", "source": str(file)}
    assert run(["config", "path", "--config", "other.toml"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"settings  {file}", f"data      {home / 'data'}"]


def test_the_path_command_says_when_there_is_no_file(home, capsys) -> None:
    """Where a settings file would be is said, too."""
    assert run(["config", "path"]) == 0
    assert f"{home / 'copilot-asgi.toml'}  (not there)" in capsys.readouterr().out


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_secrets_are_masked(form, home, monkeypatch, capsys) -> None:
    """Neither form of the list shows a key or a token."""
    monkeypatch.setenv("COPILOT_ASGI_API_KEYS", f"{KEY},{KEY}2")
    monkeypatch.setenv("COPILOT_ASGI_GITHUB_TOKEN", KEY)
    assert run(["config", "show", *form]) == 0
    out = capsys.readouterr().out
    assert KEY not in out
    assert "***, ***" in out


def test_secrets_are_no_options() -> None:
    """Everything that can be set is an option of ``serve``, except what a process list would give away."""
    options = {parameter.name for parameter in serve.params}
    assert set(Settings.__struct_fields__) - options == {"api_keys", "github_token"}
    assert set(ALL) <= options


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--port", "99999"], 2, "port: 99999 is not a port"),
        (["--port", "x"], 2, "port: 'x' (from the arguments) is not a whole number"),
        (["--identity", "nobody"], 2, "'nobody' is not one of 'editor', 'own_app'"),
        (["--config", "missing.toml"], 2, "missing.toml does not exist"),
        (["--prot", "1"], 2, "--port"),
    ],
)
def test_wrong_settings_are_named(arguments, status, said, home, capsys) -> None:
    """The error names the key and the fix, and the status is 2."""
    assert run(["config", "show", *arguments]) == status
    assert said in capsys.readouterr().err
