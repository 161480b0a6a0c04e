"""A simulator on a clock that stands still, and a client that talks to it."""

import pytest
from simulator_client import Client, Clock

from copilot_asgi.simulator import Simulator, SimulatorSettings


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(clock):
    """Makes a client of a simulator with the given settings."""

    def made(**settings) -> Client:
        chosen = SimulatorSettings(**settings)
        return Client(Simulator(settings=chosen, clock=clock, sleep=clock.sleep))

    return made


@pytest.fixture
def client(make) -> Client:
    return make()
