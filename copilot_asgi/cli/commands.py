"""The ``copilot-asgi`` command: its subcommands, and how each of them may end.

Rule: what goes wrong on purpose is one line on stderr and an exit status (1, or 2 for a setting or an argument). Ctrl-C
is 130 and silent. What goes wrong by accident keeps its traceback, without secrets.
"""

import io
import sys
import traceback
from collections.abc import Sequence

import click

from copilot_asgi import __version__
from copilot_asgi.cli import logs, terminal
from copilot_asgi.cli.config import config
from copilot_asgi.cli.demo import demo
from copilot_asgi.cli.keys import keys
from copilot_asgi.cli.login import login
from copilot_asgi.cli.logout import logout
from copilot_asgi.cli.models import models
from copilot_asgi.cli.serve import serve
from copilot_asgi.cli.simulate import simulate
from copilot_asgi.cli.status import status
from copilot_asgi.cli.usage import usage
from copilot_asgi.config import LogFormat, LogLevel
from copilot_asgi.errors import ConfigError, CopilotASGIError
from copilot_asgi.secret import redact

__all__ = ["group", "run"]

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="copilot-asgi")
def group() -> None:
    """A GitHub Copilot subscription as OpenAI- and Anthropic-compatible endpoints.

    Begin with `copilot-asgi login`, then `copilot-asgi serve`. To look around without an account: `copilot-asgi demo`.

    Every setting can also be an environment variable (COPILOT_ASGI_PORT=4141) or a line of copilot-asgi.toml (port =
    4141); `copilot-asgi config show` lists all of them and where each value comes from.
    """


for _command in (login, logout, status, models, usage, keys, serve, simulate, demo, config):
    group.add_command(_command)


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
        return _failed(_innermost(error))
    return status if isinstance(status, int) else 0


def _failed(error: BaseException) -> int:
    if isinstance(error, CopilotASGIError):
        terminal.error(redact(error.message))
        return 2 if isinstance(error, ConfigError) else 1
    sys.stderr.write(redact("".join(traceback.format_exception(error))))
    return 1


def _innermost(error: BaseException) -> BaseException:
    """The one error inside groups of one, which is how task groups pass an error on."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
