"""Put the user code where it can be pasted from.

Rule: best effort, on a terminal only; a clipboard that is not there is no error.
"""

import base64
import shutil
import subprocess
import sys
from contextlib import suppress

import anyio

__all__ = ["copy"]

PATIENCE = 2.0  # seconds for a clipboard program
PROGRAMS = (("pbcopy",), ("wl-copy",), ("xclip", "-selection", "clipboard"), ("clip.exe",))


async def copy(text: str) -> None:
    """Copy ``text`` by the terminal (OSC 52, which also works over SSH) and by the first clipboard program found."""
    if not sys.stderr.isatty():
        return
    sys.stderr.write(f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\a")
    sys.stderr.flush()
    for program, *options in PROGRAMS:
        path = shutil.which(program)
        if path is not None:
            with suppress(OSError, subprocess.CalledProcessError), anyio.move_on_after(PATIENCE):
                null = subprocess.DEVNULL
                await anyio.run_process([path, *options], input=text.encode(), stdout=null, stderr=null)
            return
