"""Where the ``copilot-asgi`` command starts.

Rule: this file imports nothing that may be missing, so that a plain install says what to install instead of failing.
"""

import sys
from importlib.util import find_spec

__all__ = ["main"]

NEEDED = ("click", "rich")


def main() -> None:
    """Run the command line and exit with its status."""
    if not all(map(find_spec, NEEDED)):
        sys.stderr.write('The command line needs two more packages: pip install "copilot-asgi[cli]"\n')
        sys.exit(2)
    from copilot_asgi.cli.commands import run

    sys.exit(run())
