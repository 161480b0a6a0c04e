"""Which of our routes a request means, however the host changed its path.

Hosts differ: some leave the mount prefix in ``path`` and name it in ``root_path``, some strip it, one appends a slash,
one gives a ``root_path`` that is no prefix of ``path``. So candidates are built and the first known one is taken.
"""

import re
from collections.abc import Iterator

import msgspec

from copilot_asgi.wire.dialect import Dialect

__all__ = ["ENDPOINTS", "Endpoint", "Target", "resolve"]


class Endpoint(msgspec.Struct, frozen=True):
    """A route of ours: its name, the methods it takes, and the dialect of a model call."""

    name: str
    methods: tuple[str, ...]
    dialect: Dialect | None = None


class Target(msgspec.Struct, frozen=True):
    """The route a request means; ``argument`` is what follows a route that ends in a name, such as a model id."""

    endpoint: Endpoint
    argument: str = ""


_GET = ("GET", "HEAD")
_POST = ("POST",)

ENDPOINTS: dict[str, Endpoint] = {
    "/": Endpoint("index", _GET),
    "/healthz": Endpoint("healthz", _GET),
    "/readyz": Endpoint("readyz", _GET),
    "/usage": Endpoint("usage", _GET),
    "/approvals": Endpoint("approvals", _GET),
    "/models": Endpoint("models", _GET),
    "/chat/completions": Endpoint("chat", _POST, Dialect.CHAT),
    "/responses": Endpoint("responses", _POST, Dialect.RESPONSES),
    "/messages": Endpoint("messages", _POST, Dialect.MESSAGES),
    "/messages/count_tokens": Endpoint("count_tokens", _POST, Dialect.MESSAGES),
    "/responses/input_tokens": Endpoint("input_tokens", _POST, Dialect.RESPONSES),
    "/embeddings": Endpoint("embeddings", _POST, Dialect.EMBEDDINGS),
}
# Routes that end in a name, by what stands before it.
NAMED: dict[str, Endpoint] = {
    "/models/": Endpoint("model", _GET),
    "/approvals/": Endpoint("decide", _POST),
}

# The paths of other vendors' clients; none of them is also ours below /v1.
OTHERS: dict[str, Endpoint] = {
    "/v1beta/models": Endpoint("gemini_models", _GET, Dialect.GEMINI),
    "/api/chat": Endpoint("ollama_chat", _POST, Dialect.OLLAMA),
    "/api/generate": Endpoint("ollama_generate", _POST, Dialect.OLLAMA),
    "/api/embed": Endpoint("ollama_embed", _POST, Dialect.OLLAMA),
    "/api/embeddings": Endpoint("ollama_embeddings", _POST, Dialect.OLLAMA),
    "/api/show": Endpoint("ollama_show", _POST, Dialect.OLLAMA),
    "/api/tags": Endpoint("ollama_tags", _GET, Dialect.OLLAMA),
    "/api/ps": Endpoint("ollama_running", _GET, Dialect.OLLAMA),
    "/api/version": Endpoint("ollama_version", _GET, Dialect.OLLAMA),
}
GEMINI_MODEL = Endpoint("gemini_model", _GET, Dialect.GEMINI)
_GEMINI_METHODS = {
    "generateContent": Endpoint("gemini_generate", _POST, Dialect.GEMINI),
    "streamGenerateContent": Endpoint("gemini_stream", _POST, Dialect.GEMINI),
    "countTokens": Endpoint("gemini_count", _POST, Dialect.GEMINI),
}
_GEMINI_CALL = re.compile(rf"/(?:v1|v1alpha|v1beta)/models/(.+):({'|'.join(_GEMINI_METHODS)})")
_GEMINI_MODEL = re.compile(r"/v1beta/models/(.+)")

# Where the app is not mounted these paths need no looking.
_USUAL = {f"{version}{path}": Target(endpoint) for path, endpoint in ENDPOINTS.items() for version in ("", "/v1")}


def resolve(path: str, *, root_path: str = "", prefix: str | None = None) -> Target | None:
    """The route that ``path`` means, or ``None``. ``prefix`` is where the user says the app is mounted."""
    if not root_path and prefix is None and path in _USUAL:
        return _USUAL[path]
    for candidate in _candidates(path, root_path, prefix):
        target = _lookup(_normal(candidate))
        if target is not None:
            return target
    return None


def _candidates(path: str, root_path: str, prefix: str | None) -> Iterator[str]:
    mounts = [] if prefix is None else [prefix]
    segments = root_path.split("/")[1:]
    mounts += ["/" + "/".join(segments[index:]) for index in range(len(segments))]
    for mount in (each.rstrip("/") for each in mounts):
        if mount and (path == mount or path.startswith(mount + "/")):
            yield path[len(mount) :]
    yield path


def _normal(path: str) -> str:
    while "//" in path:
        path = path.replace("//", "/")
    return "/" + path.strip("/")


def _lookup(path: str) -> Target | None:
    return _ours(path) or _others(path)


def _others(path: str) -> Target | None:
    if path in OTHERS:
        return Target(OTHERS[path])
    if match := _GEMINI_MODEL.fullmatch(path):
        return Target(GEMINI_MODEL, match[1])
    return None


def _ours(path: str) -> Target | None:
    if match := _GEMINI_CALL.fullmatch(path):
        return Target(_GEMINI_METHODS[match[2]], match[1])
    if path == "/v1":
        return Target(ENDPOINTS["/"])
    path = path.removeprefix("/v1") if path.startswith("/v1/") else path
    endpoint = ENDPOINTS.get(path)
    if endpoint is not None:
        return Target(endpoint)
    named = ((beginning, each) for beginning, each in NAMED.items() if path.startswith(beginning))
    return next((Target(each, path.removeprefix(beginning)) for beginning, each in named), None)
