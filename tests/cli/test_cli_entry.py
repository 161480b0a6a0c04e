"""Tests of the way in: what happens without the optional packages, and with each kind of ending."""

import subprocess
import sys

import click
import pytest
from cli_processes import finished

from copilot_asgi import __version__
from copilot_asgi.cli import entry
from copilot_asgi.cli.commands import COMMANDS, group, run
from copilot_asgi.errors import ConfigError, CopilotASGIError

TOKEN = "ghu_" + "a" * 36


def entered(argv: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["copilot-asgi", *argv])
    with pytest.raises(SystemExit) as exit_:
        entry.main()
    return exit_.value.code


def without(module: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.modules[{module!r}] = None; from copilot_asgi.cli.entry import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "--version"], capture_output=True, text=True, timeout=20, check=False
    )


@pytest.mark.servers
@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_an_optional_package_it_says_what_to_install(missing) -> None:
    """A plain install answers with one line that names the extra, and status 2."""
    done = without(missing)
    assert done.stderr == 'The command line needs two more packages: pip install "copilot-asgi[cli]"\n'
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.servers
def test_another_missing_module_is_a_fault_and_shows() -> None:
    """Only the packages of the extra are explained away."""
    done = without("copilot_asgi.cli.logs")
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr


def test_main_exits_with_the_status_of_the_command(monkeypatch, capsys) -> None:
    """The entry point runs the command line."""
    assert entered(["--version"], monkeypatch) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.servers
def test_the_package_can_be_run(home, env) -> None:
    """``python -m copilot_asgi`` is the command."""
    done = finished("--version", env=env, cwd=home)
    assert (done.returncode, done.stdout) == (0, f"copilot-asgi, version {__version__}\n")


@pytest.mark.parametrize("command", [None, *sorted(COMMANDS), "config show", "config path"])
def test_every_command_explains_itself(command, capsys) -> None:
    """Each command has help of more than its options."""
    assert run([*(command or "").split(), "--help"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 5


def group_of_errors(error: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("tasks", [ExceptionGroup("tasks", [error])])


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (CopilotASGIError("It broke."), 1, "error: It broke.\n"),
        (ConfigError("port: no."), 2, "error: port: no.\n"),
        (group_of_errors(ConfigError("port: no.")), 2, "error: port: no.\n"),
        (CopilotASGIError(f"{TOKEN} is bad\x1b[31m\n\u202e!"), 1, "error: *** is bad[31m !\n"),
        (click.ClickException("Not like this."), 1, "Error: Not like this.\n"),
        (click.Abort(), 130, ""),
        (KeyboardInterrupt(), 130, "\n"),
    ],
)
def test_each_ending_has_its_status_and_one_line(error, status, shown, monkeypatch, capsys) -> None:
    """Errors on purpose are one clean line; Ctrl-C is silent; neither shows a traceback or a token."""

    def fail() -> None:
        raise error

    monkeypatch.setitem(group.commands, "fail", click.Command("fail", callback=fail))
    assert run(["fail"]) == status
    assert capsys.readouterr().err == shown


def test_a_fault_keeps_its_traceback_without_tokens(monkeypatch, capsys) -> None:
    """An unexpected exception shows where it came from, and none of the secrets in its text."""

    def fail() -> None:
        raise ValueError(f"cannot parse {TOKEN}")

    monkeypatch.setitem(group.commands, "fail", click.Command("fail", callback=fail))
    assert run(["fail"]) == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "cannot parse ***" in shown
    assert TOKEN not in shown
