"""Put the user code where it can be pasted from.

Rule: best effort, on a terminal only; a clipboard that is not there is no error.
"""

import base64
import shutil
import subprocess
import sys
from contextlib import suppress

import anyio.to_thread

__all__ = ["copy"]

PATIENCE = 2.0  # seconds for a clipboard program
PROGRAMS = (("pbcopy",), ("wl-copy",), ("xclip", "-selection", "clipboard"), ("clip.exe",))


async def copy(text: str) -> None:
    """Copy ``text`` by the terminal (OSC 52, which also works over SSH) and by the first clipboard program found."""
    if not sys.stderr.isatty():
        return None
    sys.stderr.write(f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\a")
    sys.stderr.flush()
    for program, *options in PROGRAMS:
        path = shutil.which(program)
        if path is not None:
            return await anyio.to_thread.run_sync(_feed, [path, *options], text.encode())
    return None


def _feed(command: list[str], data: bytes) -> None:
    null = subprocess.DEVNULL
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(command, input=data, stdout=null, stderr=null, timeout=PATIENCE, check=False)  # noqa: S603
