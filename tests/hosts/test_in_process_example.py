"""The example that uses the app inside its own process, run as its docstring says."""

import shlex
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hosts.processes import EXAMPLES, running, until
from hosts.sites import documented

from copilot_asgi.simulator import Simulator

pytestmark = pytest.mark.servers

Environment = Callable[[Path], dict[str, str]]


def command(*question: str) -> list[str]:
    """The documented command, with another question if one is given."""
    python, script, *words = shlex.split(documented("in_process")[0])
    return [python, str(EXAMPLES / script), *(question or words)]


def test_it_answers(simulator: Simulator, environment: Environment, tmp_path: Path) -> None:
    """The example prints the model's answer and ends."""
    with running(*command(), env=environment(tmp_path), cwd=tmp_path) as process:
        assert process.wait() == 0

    assert process.output == "You said: Why is the sky blue?\n"


def test_it_streams_and_ends_at_once(simulator: Simulator, environment: Environment, tmp_path: Path) -> None:
    """What the model has said is shown while it has not finished; Ctrl-C leaves the model."""
    with running(*command("[sim chunks=5 hang=4]"), env=environment(tmp_path), cwd=tmp_path) as process:
        process.wait_for("0 .*1 ")
        assert simulator.open_streams == 1
        process.stop(signal.SIGINT)

    until(lambda: len(simulator.disconnects) == 1, "the simulator is left")
