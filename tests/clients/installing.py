"""Clients from npm and PyPI, each with a directory of its own that is kept between runs.

Rule: a client is there whole or not at all; without Node.js or without a registry its tests are skipped, any other
failure to install it is a failure.
"""

import shutil
import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest
from clients.packages import NODE, PYTHON
from filelock import FileLock

__all__ = ["Absent", "Installed", "install"]

OLDEST_NODE = 20
# npm would try for more than a minute before it says that there is no way.
HASTY = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000")
# What npm and pip say when the way to the registry is missing.
OFFLINE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "NewConnectionError", "ConnectTimeoutError")


class Absent(Exception):
    """The client cannot be had on this machine, through no fault of ours."""


class Installed:
    """A client in its directory."""

    def __init__(self, place: Path) -> None:
        self.modules = place / "node_modules"
        self._commands = (self.modules / ".bin", place / "bin")

    def command(self, name: str) -> str:
        """The path of one of its commands."""
        return next(str(folder / name) for folder in self._commands if (folder / name).exists())


def install(name: str, kept: Path) -> Installed:
    """The client ``name`` below ``kept``, put there unless it is there already. Raises ``Absent``."""
    if name in NODE:
        _need_node()
    place, done = kept / name, kept / name / "done"
    wanted = "\n".join(NODE.get(name, ()) or PYTHON[name])
    with FileLock(kept / f"{name}.lock"):
        if not done.exists() or done.read_text(encoding="utf-8") != wanted:
            shutil.rmtree(place, ignore_errors=True)
            _put(name, place)
            done.write_text(wanted, encoding="utf-8")
    return Installed(place)


def _put(name: str, place: Path) -> None:
    place.mkdir(parents=True)
    if name in NODE:
        _run(
            [
                "npm",
                "install",
                "--prefix",
                str(place),
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
                *HASTY,
                *NODE[name],
            ]
        )
        return
    venv.create(place, with_pip=True)
    _run([str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", *PYTHON[name]])


def _run(command: Sequence[str]) -> None:
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode == 0:
        return
    if any(word in made.stderr for word in OFFLINE):
        raise Absent(f"the registry cannot be reached: {command[-1]} is not installed")
    pytest.fail(f"{' '.join(command)}\n{made.stderr}")


def _need_node() -> None:
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise Absent(f"needs Node.js {OLDEST_NODE} or later, with npm")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        raise Absent(f"needs Node.js {OLDEST_NODE} or later; this is {version.strip()}")
