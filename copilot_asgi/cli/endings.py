"""How a process of the command line ends when something went wrong.

Rule: what goes wrong on purpose is one line on stderr and an exit status (1, or 2 for a setting or an argument). What
goes wrong by accident keeps its traceback, without secrets.
"""

import sys
import traceback

from copilot_asgi.cli import terminal
from copilot_asgi.errors import ConfigError, CopilotASGIError
from copilot_asgi.secret import redact

__all__ = ["FAILED", "WRONG_SETTING", "tell"]

FAILED = 1
WRONG_SETTING = 2


def tell(error: BaseException) -> int:
    """Say on stderr what went wrong, and return the exit status for it."""
    error = _innermost(error)
    if isinstance(error, CopilotASGIError):
        terminal.error(redact(error.message))
        return WRONG_SETTING if isinstance(error, ConfigError) else FAILED
    sys.stderr.write(redact("".join(traceback.format_exception(error))))
    return FAILED


def _innermost(error: BaseException) -> BaseException:
    """The one error inside groups of one, which is how task groups pass an error on."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
