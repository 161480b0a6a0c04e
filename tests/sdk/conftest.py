"""The demo as a real process, a second server in front of its simulator that wants a key, and the SDKs' majors."""

import json
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hosts.processes import clean_environment, running
from hosts.simulation import settings_for
from hosts.talking import ask
from sdk.servers import KEY, Servers


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    home = tmp_path_factory.mktemp("sdk")
    env = clean_environment(HOME=str(home), COPILOT_ASGI_DATA_DIR=str(home / "data"))
    with running("python", "-m", "copilot_asgi", "demo", "--port", "0", env=env, cwd=home) as demo:
        simulator_url = demo.wait_for(r"simulator +(http://\S+)")[1]
        url = demo.wait_for(r"listening on (http://\S+)")[1]
        token = ask(simulator_url, "/_simulator/sign_in", {}).json["token"]
        keyed_env = {**env, **settings_for(simulator_url, token), "COPILOT_ASGI_API_KEYS": KEY}
        with running("python", "-m", "copilot_asgi", "serve", "--port", "0", env=keyed_env, cwd=home) as serve:
            keyed_url = serve.wait_for(r"listening on (http://\S+)")[1]
            yield Servers(url=url, keyed_url=keyed_url, simulator_url=simulator_url)


@pytest.fixture(scope="session")
def interpreter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Gives the Python that has that major of the ``openai`` package; an old one gets an environment of its own."""
    cache = getattr(request.config, "cache", None)  # made once and kept, where pytest keeps anything
    kept = tmp_path_factory.mktemp("environments") if cache is None else cache.mkdir("sdk-environments")

    def interpreter(major: str) -> str:
        return sys.executable if major == "3" else _installed(kept / f"openai-{major}", major)

    return interpreter


def _installed(place: Path, major: str) -> str:
    """The Python of an environment with that major, made unless it is there and whole."""
    python, done = place / "bin" / "python", place / "done"
    with FileLock(f"{place}.lock"):
        if not done.exists():
            venv.create(place, clear=True, with_pip=True)
            wanted = f"openai>={major},<{int(major) + 1}"
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wanted]
            made = subprocess.run(pip, capture_output=True, text=True, check=False)
            assert made.returncode == 0, made.stderr
            done.write_text(json.dumps(pip), encoding="utf-8")
    return str(python)
