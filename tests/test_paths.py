"""However a host changes the path, the request finds its route."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_asgi.paths import ENDPOINTS, resolve

CASES = [
    # (what happens, path, root_path, prefix) -> endpoint name, argument
    ("standalone", "/v1/models", "", None, "models", ""),
    ("without /v1", "/models", "", None, "models", ""),
    ("mount keeps the full path", "/copilot/v1/models", "/copilot", None, "models", ""),
    ("parametric mount", "/t/acme/v1/models", "/t/acme", None, "models", ""),
    ("root_path is no prefix of path", "/copilot/v1/models", "/edge/copilot", None, "models", ""),
    ("nested mounts", "/edge/api/copilot/v1/models", "/edge/api/copilot", None, "models", ""),
    ("host strips the prefix and adds a slash", "/v1/models/", "", None, "models", ""),
    ("host strips the leading slash as well", "v1/models/", "", None, "models", ""),
    ("explicit prefix", "/hidden/v1/models", "", "/hidden", "models", ""),
    ("explicit prefix with a slash", "/hidden/v1/models", "", "/hidden/", "models", ""),
    ("doubled slashes", "/copilot//v1//models", "/copilot", None, "models", ""),
    ("bare mount", "/copilot", "/copilot", None, "index", ""),
    ("bare mount with a slash", "/copilot/", "/copilot", None, "index", ""),
    ("version root", "/v1", "", None, "index", ""),
    ("one model", "/v1/models/gpt-4o", "", None, "model", "gpt-4o"),
    ("a model id with a slash", "/v1/models/org/tuned", "", None, "model", "org/tuned"),
    ("chat", "/chat/completions", "", None, "chat", ""),
    ("messages", "/v1/messages", "", None, "messages", ""),
]


@pytest.mark.parametrize(("path", "root_path", "prefix", "name", "argument"), [case[1:] for case in CASES])
def test_route_is_found(path: str, root_path: str, prefix: str | None, name: str, argument: str) -> None:
    """Every way in which hosts were seen to pass a path leads to the route."""
    target = resolve(path, root_path=root_path, prefix=prefix)
    assert target is not None
    assert (target.endpoint.name, target.argument) == (name, argument)


@pytest.mark.parametrize(
    ("path", "root_path"),
    [("/copilotx/v1/models", "/copilot"), ("/nothing", ""), ("/copilot/nothing", "/copilot"), ("/v1/v1/models", "")],
)
def test_look_alikes_are_not_routes(path: str, root_path: str) -> None:
    """A prefix counts at segment borders only, and unknown paths have no route."""
    assert resolve(path, root_path=root_path) is None


segments = st.lists(st.sampled_from(["a", "copilot", "api", "edge-1"]), max_size=3).map(
    lambda names: "".join(f"/{name}" for name in names)
)


@given(proxy=segments, mount=segments, strips=st.booleans(), route=st.sampled_from(sorted(ENDPOINTS)), v1=st.booleans())
def test_any_mount_below_any_proxy(*, proxy: str, mount: str, strips: bool, route: str, v1: bool) -> None:
    """For every combination of proxy prefix and mount, stripped by the proxy or not, the route is found."""
    path = ("" if strips else proxy) + mount + ("/v1" if v1 else "") + route
    target = resolve(path, root_path=proxy + mount)
    assert target is not None
    assert target.endpoint == ENDPOINTS[route]
