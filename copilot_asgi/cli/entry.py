"""Where the ``copilot-asgi`` command starts.

Rule: this file imports nothing that may be missing, so that a plain install says what to install instead of failing.
"""

import sys

__all__ = ["main"]

NEEDED = frozenset({"click", "rich"})


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        from copilot_asgi.cli.commands import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in NEEDED:
            raise
        sys.stderr.write('The command line needs two more packages: pip install "copilot-asgi[cli]"\n')
        sys.exit(2)
    sys.exit(run())
