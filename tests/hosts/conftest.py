"""One simulator for the session, and each server started once, when the first test asks for it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hosts.processes import Process, clean_environment, free_port, running, until
from hosts.simulation import settings_for, simulation
from hosts.sites import SERVERS

from copilot_asgi.simulator import Simulator


@pytest.fixture(scope="session")
def simulator_and_url() -> Iterator[tuple[Simulator, str]]:
    with simulation() as both:
        yield both


@pytest.fixture(scope="session")
def environment(simulator_and_url: tuple[Simulator, str]) -> Callable[[Path], dict[str, str]]:
    """The environment of a host whose files are below a directory."""
    simulator, url = simulator_and_url

    def environment(home: Path) -> dict[str, str]:
        given = settings_for(url, simulator.sign_in())
        return clean_environment(**given, COPILOT_ASGI_DATA_DIR=str(home / "data"), HOME=str(home))

    return environment


@pytest.fixture(scope="session")
def start(
    environment: Callable[[Path], dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Process]]:
    """Gives the process of a server by name, started with the first use and anew after its end."""
    started: dict[str, Process] = {}
    with ExitStack() as stack:

        def start(name: str) -> Process:
            if name not in started or started[name].ended:
                home = tmp_path_factory.mktemp("host")
                command = (word.replace("{port}", str(free_port())) for word in SERVERS[name])
                process = running(*command, env=environment(home), cwd=home)
                started[name] = stack.enter_context(process)
            return started[name]

        yield start


@pytest.fixture
def simulator(simulator_and_url: tuple[Simulator, str]) -> Iterator[Simulator]:
    """The simulator with empty records; afterwards nothing is under way, and no request broke a rule."""
    simulator, _ = simulator_and_url
    simulator.reset()
    yield simulator
    until(lambda: simulator.open_streams == 0, "every answer has ended")
    assert simulator.violations == []
