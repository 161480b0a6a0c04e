"""Where the app is hosted: a table of servers, and a table of places on them. All host tests run over both."""

import re
import shlex

import msgspec
from hosts.processes import EXAMPLES

__all__ = ["SERVERS", "SITES", "Site", "documented"]

HELLO = "hello"  # what every host's own page says


class Site(msgspec.Struct, frozen=True):
    """A place where the app is: on which server, below which prefix, and the host's own page there."""

    name: str
    server: str
    prefix: str
    home: str = "/"
    says: str = HELLO


def documented(example: str) -> list[str]:
    """The commands that an example's docstring tells people to run."""
    text = (EXAMPLES / f"{example}.py").read_text(encoding="utf-8").split('"""')[1]
    return [match.strip() for match in re.findall(r":  ((?:uvicorn|python|curl) .*)", text)]


def _uvicorn(line: str, *options: str) -> tuple[str, ...]:
    return ("python", "-m", *shlex.split(line), "--no-access-log", "--port", "0", *options)


def _other(*command: str) -> tuple[str, ...]:
    return ("python", "-m", *command, "copilot_asgi.asgi:app")


# Each example is run as its docstring says, but for the port; {port} is a free one.
SERVERS: dict[str, tuple[str, ...]] = {
    "starlette": _uvicorn(documented("starlette_app")[0]),
    "starlette without lifespan": _uvicorn(documented("starlette_app")[0], "--lifespan", "off"),
    "starlette on h11": _uvicorn(documented("starlette_app")[0], "--http", "h11", "--loop", "asyncio"),
    "fastapi": _uvicorn(documented("fastapi_app")[0]),
    "fastapi without lifespan": _uvicorn(documented("fastapi_app")[0], "--lifespan", "off"),
    "litestar": _uvicorn(documented("litestar_app")[0]),
    "django": _uvicorn(documented("django_app")[0]),
    "standalone": _uvicorn(documented("standalone_app")[0]),
    "no code": _uvicorn(documented("standalone_app")[1]),
    "other places": _uvicorn("uvicorn other_places:app"),
    "root path": _uvicorn("uvicorn other_places:behind_proxy"),
    "granian": _other("granian", "--interface", "asgi", "--port", "{port}"),
    "hypercorn": _other("hypercorn", "--bind", "127.0.0.1:0"),
    "hypercorn trio": _other("hypercorn", "--bind", "127.0.0.1:0", "-k", "trio"),
}

_OURS = '"copilot_asgi"'

SITES: tuple[Site, ...] = (
    Site("starlette", "starlette", "/copilot"),
    Site("starlette without lifespan", "starlette without lifespan", "/copilot"),
    Site("starlette on h11", "starlette on h11", "/copilot"),
    Site("fastapi", "fastapi", "/copilot"),
    Site("fastapi without lifespan", "fastapi without lifespan", "/copilot"),
    Site("litestar", "litestar", "/copilot"),
    Site("django", "django", "/copilot"),
    Site("standalone", "standalone", "", says=_OURS),
    Site("no code", "no code", "", says=_OURS),
    Site("granian", "granian", "", says=_OURS),
    Site("hypercorn", "hypercorn", "", says=_OURS),
    Site("hypercorn trio", "hypercorn trio", "", says=_OURS),
    Site("another prefix", "other places", "/some/where/else"),
    Site("prefix with a parameter", "other places", "/t/acme/copilot"),
    Site("mount in a mount", "other places", "/nested/a/b/copilot", "/nested/"),
    Site("behind middleware", "other places", "/middleware/copilot", "/middleware/"),
    Site("fastapi in fastapi", "other places", "/fastapi/v1/ai", "/fastapi/v1/"),
    Site("litestar in starlette", "other places", "/litestar/deep/copilot", "/litestar/"),
    Site("django in starlette", "other places", "/django/copilot", "/django/"),
    Site("beside a mounted host", "other places", "/beside/x/copilot", "/beside/"),
    Site("fastapi with a root path", "root path", "/llm"),
)
