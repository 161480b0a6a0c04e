"""GitHub tokens that other tools on this machine already hold, to offer for use.

Rule: look, never write; name where each token was found; take nothing from a link, a pipe or an enormous file; what
cannot be read is reported, never fatal.
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from copilot_asgi.credentials.direct_token import CLASSIC_PREFIX
from copilot_asgi.credentials.token_exchange import is_bearer_text
from copilot_asgi.credentials.tolerant import json_object, mapping, text
from copilot_asgi.errors import StoreError
from copilot_asgi.secret import Secret
from copilot_asgi.stores.safe_files import read_regular

__all__ = ["Findings", "FoundToken", "find_tokens"]

LARGEST = 1024 * 1024
GITHUB = "github.com"
VARIABLES = ("COPILOT_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN")  # in the order GitHub's own CLI reads them
UNEXCHANGEABLE = ("github_pat_", "ghs_")
OPENCODE_CLIENT = "Ov23li8tweQw6odWQebz"


class FoundToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token, the tool (or variable) and file it is from; ``direct_only`` when GitHub does not exchange its kind."""

    source: str
    token: Secret
    path: Path | None = None
    host: str = GITHUB
    login: str | None = None
    direct_only: bool = False


class Findings(msgspec.Struct, frozen=True):
    """The tokens, best first and each one once, and what could not be used and why."""

    tokens: tuple[FoundToken, ...]
    problems: tuple[str, ...]


class _Place(msgspec.Struct, frozen=True):
    """A file, and how to find tokens in it."""

    source: str
    path: Path
    parse: Callable[["_Place", bytes], Iterator[FoundToken]]


def find_tokens(environ: Mapping[str, str], home: Path) -> Findings:
    """Every GitHub token in the environment and in the files of known tools under ``home``. Blocking."""
    tokens: dict[str, FoundToken] = {}
    problems: list[str] = []
    for found in (*_in_environment(environ), *_in_files(environ, home, problems)):
        problem = _problem(found)
        if problem is None:
            tokens.setdefault(found.token.reveal(), found)
        else:
            problems.append(f"{found.path or found.source}: {problem}")
    return Findings(tuple(tokens.values()), tuple(problems))


def _in_environment(environ: Mapping[str, str]) -> Iterator[FoundToken]:
    for name in VARIABLES:
        value = environ.get(name, "").strip()
        if value:
            yield FoundToken(source=name, token=Secret(value), direct_only=value.startswith(UNEXCHANGEABLE))


def _in_files(environ: Mapping[str, str], home: Path, problems: list[str]) -> Iterator[FoundToken]:
    for place in _places(environ, home):
        try:
            data = read_regular(place.path, limit=LARGEST, check=_check_plain)
        except StoreError as error:
            problems.append(error.message)
            continue
        if data is None:
            continue
        if len(data) > LARGEST:
            problems.append(f"{place.path}: larger than {LARGEST} bytes; skipped")
            continue
        found = list(place.parse(place, data))
        if not found:
            problems.append(f"{place.path}: holds no GitHub token that we understand")
        yield from found


def _places(environ: Mapping[str, str], home: Path) -> Iterator[_Place]:
    """The files, in the order of preference."""
    for directory in _unique(environ.get("XDG_CONFIG_HOME"), home / ".config", environ.get("LOCALAPPDATA")):
        yield _Place("Copilot editor plugin", directory / "github-copilot" / "apps.json", _parse_plugin)
        yield _Place("Copilot editor plugin", directory / "github-copilot" / "hosts.json", _parse_plugin)
    for directory in _unique(environ.get("XDG_DATA_HOME"), home / ".local" / "share"):
        yield _Place("copilot-api", directory / "copilot-api" / "github_token", _parse_plain)
        yield _Place("OpenCode", directory / "opencode" / "auth.json", _parse_opencode)


def _unique(*candidates: str | Path | None) -> list[Path]:
    """The directories that are given and absolute, each once."""
    paths = [Path(candidate) for candidate in candidates if candidate]
    return list(dict.fromkeys(path for path in paths if path.is_absolute()))


def _parse_plugin(place: _Place, data: bytes) -> Iterator[FoundToken]:
    """``{"github.com:<client id>": {"user", "oauth_token"}}``, in older files without the client id."""
    for name, value in json_object(data).items():
        host, _, client = name.partition(":")
        token = text(mapping(value).get("oauth_token"))
        if token is not None:
            yield FoundToken(
                source=place.source,
                path=place.path,
                host=host or GITHUB,
                login=text(mapping(value).get("user")),
                token=Secret(token),
                direct_only=client == OPENCODE_CLIENT,
            )


def _parse_plain(place: _Place, data: bytes) -> Iterator[FoundToken]:
    """The token and nothing else."""
    token = data.decode("utf-8", "replace").strip()
    if token:
        yield FoundToken(source=place.source, path=place.path, token=Secret(token))


def _parse_opencode(place: _Place, data: bytes) -> Iterator[FoundToken]:
    """``{"github-copilot": {"type": "oauth", "refresh", "enterpriseUrl"?}}``; its app's tokens cannot be exchanged."""
    entry = mapping(json_object(data).get("github-copilot"))
    token = text(entry.get("refresh"))
    if token is not None:
        host = _host(text(entry.get("enterpriseUrl")))
        yield FoundToken(source=place.source, path=place.path, host=host, token=Secret(token), direct_only=True)


def _host(address: str | None) -> str:
    if address is None:
        return GITHUB
    try:
        return urlsplit(address if "//" in address else f"//{address}").hostname or GITHUB
    except ValueError:
        return GITHUB


def _problem(found: FoundToken) -> str | None:
    value = found.token.reveal()
    if value.startswith(CLASSIC_PREFIX):
        return "a classic personal access token (ghp_), which Copilot does not take"
    if not is_bearer_text(value) or len(value) > 1024:
        return "does not look like a token"
    return None


def _check_plain(path: Path, status: os.stat_result) -> None:
    """Other tools choose their own modes; all that matters here is that reading cannot hang."""
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{path}: not a plain file; skipped")
