"""A simulation on a free port, and a home of its own for each test."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_environment import ACCEPT, clean_environment, pointing_at
from cli_processes import Process, running

from copilot_asgi.cli.commands import run


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One simulation for all tests that only read from it; it approves every sign-in."""
    with running("simulate", "--port", "0", env=clean_environment(), cwd=tmp_path_factory.mktemp("sim")) as process:
        process.url()
        yield process


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, which is also the working directory; in the environment, only its own data directory."""
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COPILOT_ASGI_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def env(home: Path, simulator: Process, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment (of this process, too) that points at the simulation."""
    for name, value in pointing_at(simulator.url()).items():
        monkeypatch.setenv(name, value)
    return dict(os.environ)


@pytest.fixture(scope="session")
def login_data(simulator: Process, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a login in it."""
    home = tmp_path_factory.mktemp("login")
    with pytest.MonkeyPatch.context() as patch:
        for name in set(os.environ) - set(clean_environment()):
            patch.delenv(name)
        for name, value in {**pointing_at(simulator.url()), "COPILOT_ASGI_DATA_DIR": str(home / "data")}.items():
            patch.setenv(name, value)
        assert run(["login", ACCEPT, "--no-browser"]) == 0
    return home / "data"


@pytest.fixture
def signed_in(home: Path, env: dict[str, str], login_data: Path) -> dict[str, str]:
    """As ``env``, with somebody signed in."""
    shutil.copytree(login_data, home / "data")
    return env
