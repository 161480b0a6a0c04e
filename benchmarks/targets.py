"""What can be measured: our own server in its ways, and the peers that are described in TOML files.

A description is the fields of ``Target``. Filled into its command, environment and files are ``@port@`` (where it must
listen), ``@upstream@`` (host and port of the stand-in), ``@scratch@`` (a directory of its own, where it is started),
``@here@`` (that of its description), ``@env@`` (where ``peers/setup.sh`` installs) and ``@python@`` (this interpreter).
"""

import shutil
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
KEY = "one-key-of-a-bench"


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a program is started and asked.

    ``needs`` is what must be there: a file, or a command on the path. ``files`` are templates beside the description
    (``from`` to ``to``). ``paths`` are where it takes which dialect: one that takes no Messages is asked for Chat.
    ``patience``: it is measured for so many times as long, because it does little in a second.
    """

    command: str = ""
    needs: str = ""
    env: dict[str, str] = {}
    files: dict[str, str] = {}
    headers: dict[str, str] = {}
    paths: dict[str, str] = msgspec.field(default_factory=lambda: {"chat": "/chat/completions"})
    model: str = "gpt-4o"
    patience: float = 1.0
    here: str = str(PEERS)

    def is_there(self, environment: Path) -> bool:
        """Whether it can be started."""
        needed = self.needs.replace("@env@", str(environment))
        return not needed or shutil.which(needed) is not None or Path(needed).exists()


def serve(*options: str) -> Target:
    """Our own server with one key, a rate limit and its ledger, and ``options`` beside."""
    command = (
        "@python@ -m copilot_asgi serve --port @port@ --data-dir @scratch@ --github-url http://@upstream@ "
        "--github-api-url http://@upstream@ --copilot-url http://@upstream@ --rate-limit 1000000/s "
        "--max-streams 100000 --log-level warning"
    )
    return Target(
        command=" ".join([command, *options]),
        env={"COPILOT_ASGI_API_KEYS": KEY, "COPILOT_ASGI_GITHUB_TOKEN": "gho_bench"},
        headers={"authorization": f"Bearer {KEY}"},
        paths={"chat": "/v1/chat/completions", "messages": "/v1/messages"},
    )


OWN: Mapping[str, Target] = MappingProxyType(
    {
        "direct": Target(),
        "serve": serve("--engine h1"),
        "serve-httpx": serve("--engine httpx"),
        "pass-through": Target(
            command="@python@ -m uvicorn pass_through:app --app-dir @here@/.. --port @port@ --no-access-log "
            "--log-level warning",
            env={"BENCH_UPSTREAM": "@upstream@"},
        ),
    }
)


def known(peers: Path) -> dict[str, Target]:
    """All targets by name: ours, and one for each TOML file in ``peers``."""
    described = {path.stem: _read(path) for path in sorted(peers.glob("*.toml"))}
    return {**OWN, **described}


def fill(text: str, values: Mapping[str, str]) -> str:
    """``text`` with each ``@name@`` replaced."""
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def values(target: Target, *, port: int, upstream: int, scratch: Path, environment: Path) -> dict[str, str]:
    """What is filled into the description of ``target``."""
    return {
        "port": str(port),
        "upstream": f"127.0.0.1:{upstream}",
        "scratch": str(scratch),
        "here": target.here,
        "env": str(environment),
        "python": sys.executable,
    }


def _read(path: Path) -> Target:
    return msgspec.convert({**tomllib.loads(path.read_text()), "here": str(path.resolve().parent)}, Target)
