"""Simulator and proxy as real processes, and clients that are installed when the first test asks for them."""

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from clients.copilot import KEY, Copilot
from clients.installing import Absent, Installed, install
from clients.running import Room
from hosts.processes import clean_environment, running
from hosts.simulation import settings_for
from hosts.talking import ask


@pytest.fixture(scope="session")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copilot]:
    home = tmp_path_factory.mktemp("proxy")
    env = clean_environment(HOME=str(home), COPILOT_ASGI_DATA_DIR=str(home / "data"))
    with running("python", "-m", "copilot_asgi", "simulate", "--port", "0", env=env, cwd=home) as simulate:
        simulator_url = simulate.wait_for(r"listening on (http://\S+)")[1]
        token = ask(simulator_url, "/_simulator/sign_in", {}).json["token"]
        env = {**env, **settings_for(simulator_url, token), "COPILOT_ASGI_API_KEYS": KEY}
        with running("python", "-m", "copilot_asgi", "serve", "--port", "0", env=env, cwd=home) as serve:
            yield Copilot(url=serve.wait_for(r"listening on (http://\S+)")[1], simulator_url=simulator_url)


@pytest.fixture
def copilot(proxy: Copilot) -> Iterator[Copilot]:
    """The proxy with empty records; afterwards Copilot would have taken every request."""
    proxy.forget()
    yield proxy
    proxy.is_content()


@pytest.fixture(scope="session")
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Installed]:
    """Gives the client of that name, in COPILOT_ASGI_CLIENTS_DIR or where pytest keeps anything."""
    given = os.environ.get("COPILOT_ASGI_CLIENTS_DIR")
    kept = Path(given) if given else _kept(request.config) or tmp_path_factory.mktemp("clients")
    kept.mkdir(parents=True, exist_ok=True)

    @cache
    def found(name: str) -> Installed | Absent:
        try:
            return install(name, kept)
        except Absent as absent:
            return absent  # kept, too: the next test need not try in vain

    def client(name: str) -> Installed:
        client = found(name)
        if isinstance(client, Absent):
            pytest.skip(str(client))
        return client

    return client


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """A home and a working directory for one client."""
    return Room(tmp_path)


def _kept(config: pytest.Config) -> Path | None:
    kept = getattr(config, "cache", None)
    return None if kept is None else Path(kept.mkdir("clients"))
