"""The ``copilot-asgi`` command: its subcommands, and how each of them may end.

Rule: errors end as ``endings`` says; Ctrl-C is 130 and silent.
"""

import io
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from copilot_asgi import __version__
from copilot_asgi.cli import endings, logs
from copilot_asgi.config import LogFormat, LogLevel

__all__ = ["group", "run"]

INTERRUPTED = 130
# Each is called as its module is.
COMMANDS = frozenset(
    {"config", "demo", "doctor", "keys", "login", "logout", "models", "serve", "simulate", "status", "usage"}
)


class Commands(click.Group):
    """Commands that are imported when they are used: all of them together take 0.4 s to load, `serve` 0.15 s."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, sorted."""
        return sorted({*COMMANDS, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or ``None``."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(import_module(f"copilot_asgi.cli.{cmd_name}"), cmd_name)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="copilot-asgi")
def group() -> None:
    """A GitHub Copilot subscription as OpenAI- and Anthropic-compatible endpoints.

    Begin with `copilot-asgi login`, then `copilot-asgi serve`. To look around without an account: `copilot-asgi demo`.
    When something does not work: `copilot-asgi doctor`.

    Every setting can also be an environment variable (COPILOT_ASGI_PORT=4141) or a line of copilot-asgi.toml (port =
    4141); `copilot-asgi config show` lists all of them and where each value comes from.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status. ``arguments`` are those of the process by default."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding lacks must not end the program.
            stream.reconfigure(errors="backslashreplace")
    logs.configure(LogLevel.WARNING, LogFormat.TEXT)
    try:
        status = group.main(arguments, prog_name="copilot-asgi", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the end of the program: nobody else could hide the secrets in it
        return endings.tell(error)
    return status if isinstance(status, int) else 0
