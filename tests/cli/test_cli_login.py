"""Tests of signing in, in every way there is, against the simulation."""

import io
import json
import sys
from pathlib import Path

import httpx
import pytest
from cli_environment import ACCEPT, clean_environment, pointing_at
from cli_processes import finished, on_terminal, running

from copilot_asgi.cli import login as login_module
from copilot_asgi.cli.commands import run

TOKEN_NAMES = ("ghu_", "gho_", "tid=")


def stored(home: Path) -> str:
    """Everything that has been kept."""
    return "".join(path.read_text() for path in (home / "data").rglob("*.json")) if (home / "data").exists() else ""


@pytest.mark.servers
def test_the_device_flow_without_a_terminal(home: Path, env: dict[str, str]) -> None:
    """Code and address come as plain lines, the account is kept, Copilot is shown to work, no token is printed."""
    done = finished("login", ACCEPT, env=env, cwd=home)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Signed in as octocat (individual plan).\nCopilot works. Next: copilot-asgi serve\n"
    assert f"Open   {env['COPILOT_ASGI_GITHUB_URL']}/login/device" in done.stderr
    assert "Enter  " in done.stderr
    assert "at most 15:00" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert not any(name in done.stdout + done.stderr for name in TOKEN_NAMES)
    assert "consent" in "".join(str(path) for path in (home / "data").rglob("*"))


def test_without_a_terminal_consent_must_be_an_option(home: Path, env: dict[str, str], capsys) -> None:
    """Nothing is sent and nothing is kept when nobody can say yes."""
    assert run(["login"]) == 1
    assert "--accept-editor-identity" in capsys.readouterr().err
    assert stored(home) == ""


@pytest.mark.servers
def test_consent_is_asked_on_a_terminal_and_no_means_no(home: Path, env: dict[str, str]) -> None:
    """The risk is told in plain words, and without a yes nothing happens."""
    with on_terminal("login", env=env, cwd=home) as terminal:
        terminal.wait_for("not supported by GitHub")
        terminal.wait_for("suspension")
        terminal.wait_for("own_app")
        terminal.wait_for(r"\[y/N\]: ")
        terminal.type("\n")
        assert terminal.wait() == 130
        assert "Enter  " not in terminal.text
    assert stored(home) == ""


@pytest.mark.servers
def test_ctrl_c_at_the_question_ends_quietly(home: Path, env: dict[str, str]) -> None:
    """One press is enough, and it is no error."""
    with on_terminal("login", env=env, cwd=home) as terminal:
        terminal.wait_for(r"\[y/N\]: ")
        terminal.interrupt()
        assert terminal.wait() == 130
        assert "Traceback" not in terminal.text
        assert "error" not in terminal.text


@pytest.mark.servers
def test_a_terminal_gets_a_countdown_and_ctrl_c_cancels(home: Path, tmp_path: Path) -> None:
    """While the person has not answered, the time left is drawn in place; Ctrl-C leaves nothing behind but the consent.

    After that, the answered question is not asked again.
    """
    with running("simulate", "--port", "0", "--no-auto-approve", env=clean_environment(), cwd=tmp_path) as waiting:
        url = waiting.url()
        env = {
            **clean_environment(),
            **pointing_at(url),
            "HOME": str(home),
            "COPILOT_ASGI_DATA_DIR": str(home / "data"),
        }
        with on_terminal("login", "--no-browser", env=env, cwd=home) as terminal:
            terminal.wait_for(r"\[y/N\]: ")
            terminal.type("y\n")
            code = terminal.wait_for(r"Enter  ([A-Z]{4}-[A-Z]{4})")[1]
            terminal.wait_for("\x1b]52;c;[A-Za-z0-9+/=]+\a")
            terminal.wait_for(r"\rWaiting for GitHub, 15:00 left")
            terminal.wait_for(r"\rWaiting for GitHub, 14:5\d left")
            terminal.type("\x03")
            assert terminal.wait() == 130
            assert "Traceback" not in terminal.text
        assert "github_token" not in stored(home)
        with on_terminal("login", "--no-browser", env=env, cwd=home) as terminal:
            second = terminal.wait_for(r"Enter  ([A-Z]{4}-[A-Z]{4})")[1]
            assert second != code
            assert "[y/N]" not in terminal.text
            httpx.post(f"{url}/login/device", data={"user_code": second, "decision": "approve"})
            terminal.wait_for("Signed in as octocat")
            assert terminal.wait() == 0


@pytest.mark.servers
def test_a_denied_code_is_a_clear_error(home: Path, tmp_path: Path) -> None:
    """What the person pressed is said, with status 1."""
    with running("simulate", "--port", "0", "--no-auto-approve", env=clean_environment(), cwd=tmp_path) as waiting:
        env = {**clean_environment(), **pointing_at(waiting.url()), "COPILOT_ASGI_DATA_DIR": str(home / "data")}
        with running("login", ACCEPT, env=env, cwd=home) as process:
            code = process.wait_for(r"Enter  (\S+)")[1]
            httpx.post(f"{waiting.url()}/login/device", data={"user_code": code, "decision": "deny"})
            assert process.wait() == 1
            assert "error: The sign-in was cancelled on GitHub's page." in process.stderr


def test_a_service_that_is_not_there_is_a_clear_error(home: Path, monkeypatch, capsys) -> None:
    """No network is one line, not a traceback."""
    for name, value in pointing_at("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    assert run(["login", ACCEPT]) == 1
    assert "error: GitHub gave no code to sign in with" in capsys.readouterr().err


def test_an_own_app_needs_no_consent(home: Path, env: dict[str, str], capsys) -> None:
    """The question is about the editor identity only; an unknown app is GitHub's to refuse."""
    assert run(["login", "--identity", "own_app", "--client-id", "Iv23mine", "--user-agent", "mine/1"]) == 1
    assert "gave no code" in capsys.readouterr().err


def github_token(env: dict[str, str]) -> str:
    """A token as another tool would have got it."""
    token: str = httpx.post(f"{env['COPILOT_ASGI_GITHUB_URL']}/_simulator/sign_in", json={}).json()["token"]
    return token


def test_a_token_from_standard_input(home: Path, env: dict[str, str], monkeypatch, capsys) -> None:
    """The token is checked with GitHub and kept; it is not printed."""
    token = github_token(env)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f" {token}\n"))
    assert run(["login", "--token-stdin", ACCEPT]) == 0
    out, err = capsys.readouterr()
    assert "Signed in as octocat" in out
    assert token not in out + err


class Keyboard(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_told_to_paste_the_token(home: Path, env: dict[str, str], monkeypatch, capsys) -> None:
    """Somebody who sits there is not left waiting; an empty line is no token."""
    monkeypatch.setattr(sys, "stdin", Keyboard("\n"))
    assert run(["login", "--token-stdin", ACCEPT]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "Paste the GitHub token, then press Enter:",
        "error: No token came on standard input.",
    ]


def test_a_token_that_github_refuses_is_not_kept(home: Path, env: dict[str, str], monkeypatch, capsys) -> None:
    """Verification comes before keeping."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("ghu_" + "x" * 36))
    assert run(["login", "--token-stdin", ACCEPT]) == 1
    assert "GitHub does not accept the token" in capsys.readouterr().err
    assert "github_token" not in stored(home)


def test_two_sources_at_once_are_refused(home: Path, capsys) -> None:
    """A token comes from one place."""
    assert run(["login", "--token-stdin", "--import"]) == 2
    assert "not both" in capsys.readouterr().err


@pytest.fixture
def other_tools(home: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A good token in a variable, one in a plugin's file for another host, a damaged file, an OpenCode token."""
    monkeypatch.setattr(Path, "home", lambda: home)
    token = github_token(env)
    host = "127.0.0.1"
    plugin = home / ".config" / "github-copilot"
    plugin.mkdir(parents=True)
    (plugin / "apps.json").write_text(
        json.dumps({f"{host}:Iv1.x": {"user": "octo\x1b[31mcat", "oauth_token": token}, "github.com:Iv1.x": {
            "user": "elsewhere", "oauth_token": "ghu_" + "e" * 36}})
    )  # fmt: skip
    (plugin / "hosts.json").write_text("{")
    opencode = home / ".local" / "share" / "opencode"
    opencode.mkdir(parents=True)
    entry = {"type": "oauth", "refresh": "gho_" + "o" * 36, "enterpriseUrl": host}
    (opencode / "auth.json").write_text(json.dumps({"github-copilot": entry}))
    return token


@pytest.mark.parametrize("choice", [["--import", "1"], ["--import", "--yes"]])
def test_a_token_of_another_tool_is_taken_over(choice, home: Path, other_tools: str, capsys) -> None:
    """The list names sources and masks tokens; files that cannot be read are told; other hosts are left out."""
    assert run(["login", *choice, ACCEPT]) == 0
    out, err = capsys.readouterr()
    assert "Signed in as octocat" in out
    assert other_tools not in out + err
    first, second = [line for line in err.splitlines() if line[:1].isdigit()]
    assert first.startswith(f"1  Copilot editor plugin  {other_tools[:4]}...{other_tools[-4:]}  octo[31mcat  ")
    assert second.startswith("2  OpenCode  gho_...oooo  login unknown  ")
    assert second.endswith("token_mode direct only")
    assert "skipped: " in err
    assert "elsewhere" not in err
    assert run(["status"]) == 0
    assert "from Copilot editor plugin" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (["--import"], "--import NUMBER"),
        (["--import", "3"], "choose a number from 1 to 2"),
        (["--import", "first"], "choose a number from 1 to 2"),
        (["--import", "2"], "--token-mode direct"),
    ],
)
def test_an_import_that_cannot_be_made_says_what_to_do(choice, said, home: Path, other_tools: str, capsys) -> None:
    """No choice, a wrong one, and one that needs another token mode."""
    assert run(["login", *choice, ACCEPT]) == 1
    assert said in capsys.readouterr().err


def test_a_person_chooses_from_the_list(home: Path, other_tools: str, monkeypatch, capsys) -> None:
    """On a terminal the number is asked for."""
    keyboard = Keyboard("1\n")
    monkeypatch.setattr("copilot_asgi.cli.terminal.is_interactive", lambda: True)
    monkeypatch.setattr(sys, "stdin", keyboard)
    assert run(["login", "--import", ACCEPT]) == 0
    assert "Which one" in "".join(capsys.readouterr())


def test_nothing_to_import_is_an_error(home: Path, env: dict[str, str], monkeypatch, capsys) -> None:
    """It points to the ordinary sign-in."""
    monkeypatch.setattr(Path, "home", lambda: home)
    assert run(["login", "--import", "--yes"]) == 1
    assert "No other tool here holds a token for 127.0.0.1" in capsys.readouterr().err


def test_a_login_that_copilot_refuses_is_kept_and_said(home: Path, env, monkeypatch, capsys) -> None:
    """The account is there, the reason is GitHub's, the status is 1."""
    url = env["COPILOT_ASGI_GITHUB_URL"]
    refusal = {"status": 403, "body": json.dumps({"message": "No seat for you.", "error_details": {}})}
    script = [{"path": "/copilot_internal/v2/token", "fault": refusal}]
    httpx.post(f"{url}/_simulator/script", json=script).raise_for_status()
    monkeypatch.setattr(sys, "stdin", io.StringIO(github_token(env)))
    assert run(["login", "--token-stdin", ACCEPT]) == 1
    out, err = capsys.readouterr()
    assert "Signed in as octocat" in out
    assert "The sign-in is kept" in err
    assert "No seat for you" in err
    assert run(["status"]) == 0


@pytest.mark.parametrize(
    ("remote", "interactive", "answer", "wanted"),
    [("", True, True, True), ("", True, False, False), ("1", True, True, False), ("", False, True, False)],
)
def test_a_browser_is_opened_on_a_yes_only(remote, interactive, answer, wanted, monkeypatch) -> None:
    """Nobody is asked over SSH or without a terminal, where a browser would open on the wrong screen or none."""
    monkeypatch.delenv("SSH_TTY", raising=False)
    monkeypatch.setenv("SSH_CONNECTION", remote)
    monkeypatch.setattr("copilot_asgi.cli.terminal.is_interactive", lambda: interactive)
    monkeypatch.setattr("click.confirm", lambda *_, **__: answer)
    assert login_module._wants_browser() is wanted
