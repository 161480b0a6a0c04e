"""The layers hold: imports point down, and what must stay in one place does."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "copilot_asgi"

# The layer of each module, by the longest matching prefix of its path inside the package.
LAYERS = {
    "errors": 0,
    "secret": 0,
    "__init__": 0,  # only a version, and names that load at first use
    "wire": 1,
    "translate": 2,
    "exchange": 3,
    "pipeline": 3,
    "config": 3,
    "config_sources": 3,
    "routing": 3,
    "limits": 3,
    "budgets": 3,
    "pricing": 3,
    "estimates": 3,
    "circuits": 3,
    "retrying": 3,
    "transforms": 3,
    "complaints": 4,
    "hooks": 4,
    "batches": 4,
    "fair_queue": 4,
    "limiter": 4,
    "ledger": 4,
    "approvals": 4,
    "callers": 4,
    "audit": 4,
    "native": 3,
    "plan": 3,
    "translated": 3,
    "tokenizer": 3,
    "_signal": 4,
    "_spawn": 4,
    "_loop_local": 4,
    "_per_loop": 4,
    "_calls": 4,
    "_http": 4,
    "_transport": 4,
    "_guards": 4,
    "_h1": 4,
    "_h1_connection": 4,
    "_h1_response": 4,
    "_failures": 4,
    "stores": 4,
    "credentials": 4,
    "upstream": 4,
    "stages": 5,
    "paths": 6,
    "access": 6,
    "edge": 6,
    "visit": 6,
    "in_flight": 6,
    "admin": 6,
    "queries": 6,
    "query": 6,
    "reading": 6,
    "counting": 6,
    "controls": 6,
    "stack": 6,
    "app": 6,
    "in_process": 5,
    "_in_process": 5,
    "asgi": 7,
    "mount": 7,
    "testing": 7,
    "simulator": 7,
    "contrib": 7,
    "dashboard": 7,
    "cli": 8,
    "__main__": 8,
}
PURE = (
    "wire",
    "translate",
    "routing",
    "plan",
    "native",
    "translated",
    "limits",
    "pricing",
    "budgets",
    "circuits",
    "retrying",
)
IMPURE = {"anyio", "asyncio", "httpx", "time", "random", "os", "logging"}
HTTP_DOORS = {
    "_calls",
    "_http",
    "_transport",
    "_guards",
    "_failures",
    "_h1",
    "_h1_connection",
    "_h1_response",
    "in_process",
    "_in_process",
    "testing",
}
SCOPE_PLACES = ("app", "edge", "mount", "in_process", "_in_process", "testing", "simulator", "contrib", "dashboard")


def modules() -> list[str]:
    return sorted(
        path.relative_to(PACKAGE).with_suffix("").as_posix()
        for path in PACKAGE.rglob("*.py")
        if "__pycache__" not in path.parts
    )


def top(module: str) -> str:
    return module.partition("/")[0]


def imports(module: str, *, at_run_time: bool = True) -> Iterator[str]:
    """Names of modules that ``module`` imports; those for type checkers only do not count."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text())
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING" and at_run_time
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            yield node.module or ""
            if node.module == "copilot_asgi":
                yield from (f"copilot_asgi.{alias.name}" for alias in node.names)


def own_imports(module: str) -> Iterator[str]:
    """The layer keys of what ``module`` imports from this package."""
    for name in imports(module):
        parts = name.split(".")
        if parts[0] == "copilot_asgi" and len(parts) > 1 and parts[1] in LAYERS:
            yield parts[1]


@pytest.mark.parametrize("module", modules())
def test_imports_point_down_or_sideways_in_one_package(module: str) -> None:
    """No module imports from a layer above it."""
    assert top(module) in LAYERS, f"{module} has no layer"
    above = [name for name in own_imports(module) if LAYERS[name] > LAYERS[top(module)]]
    assert above == []


@pytest.mark.parametrize("module", [name for name in modules() if name.startswith("stages/")])
def test_stages_do_not_know_each_other(module: str) -> None:
    """A stage imports no other stage."""
    assert [name for name in imports(module) if name.startswith("copilot_asgi.stages")] == []


@pytest.mark.parametrize("module", [name for name in modules() if top(name) in PURE])
def test_pure_modules_do_no_io(module: str) -> None:
    """Formats and rules import no clock, no loop, no network, no logging."""
    assert {name.split(".")[0] for name in imports(module)} & IMPURE == set()


@pytest.mark.parametrize("module", modules())
def test_the_http_client_has_one_door(module: str) -> None:
    """The HTTP client library is imported by the door to the network and the in-process transport only."""
    clients = {name for name in imports(module) if name.split(".")[0] in {"httpx", "httpcore", "httpx2", "httpcore2"}}
    assert not clients or top(module) in HTTP_DOORS or module.startswith("cli/demo")


@pytest.mark.parametrize("module", [name for name in modules() if top(name) not in SCOPE_PLACES])
def test_asgi_dictionaries_stay_at_the_edge(module: str) -> None:
    """No function outside the edge takes a ``scope`` and ``receive``."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text())
    takers = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)} >= {"scope", "receive"}
    ]
    assert takers == []


@pytest.mark.parametrize("module", [name for name in modules() if name.startswith("simulator/")])
def test_the_simulator_does_not_know_what_it_tests(module: str) -> None:
    """The simulator is built on wire formats, never on the code that it stands in for."""
    assert set(own_imports(module)) <= {"wire", "translate", "simulator", "errors", "secret"}


def test_nothing_imports_the_command_line() -> None:
    """Only the command line's own modules import it."""
    outside = [name for name in modules() if top(name) not in {"cli", "__main__"}]
    assert [name for name in outside if "cli" in own_imports(name)] == []


def test_all_names_exist() -> None:
    """Each name in a module's ``__all__`` is there, and the package's public names are the promised ones."""
    for name in modules():
        if name in {"__main__", "asgi"}:
            continue
        module = importlib.import_module("copilot_asgi." + name.replace("/", ".").removesuffix(".__init__"))
        for public in getattr(module, "__all__", ()):
            assert hasattr(module, public), f"{name}.{public}"
    package = importlib.import_module("copilot_asgi")
    assert package.__all__ == [
        "Arrival",
        "Caller",
        "Controls",
        "CopilotApp",
        "CopilotMiddleware",
        "Exchange",
        "Handler",
        "Head",
        "Part",
        "Request",
        "Secret",
        "Send",
        "Settings",
        "Stage",
        "Upstream",
        "__version__",
    ]
    assert dir(package) == sorted(package.__all__)
    with pytest.raises(AttributeError, match="nothing_like_this"):
        _ = package.nothing_like_this


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_next_to_nothing() -> None:
    """``import copilot_asgi`` loads itself and a little of the standard library: no loop, no ssl, no dependency."""
    loaded = {name.partition(".")[0] for name in loaded_after("import copilot_asgi")}
    assert loaded - {"copilot_asgi"} <= sys.stdlib_module_names
    assert loaded & {"asyncio", "ssl", "socket", "http", "json", "logging", "email", "urllib"} == set()


def test_making_an_app_loads_no_http_client() -> None:
    """An app can be made without the HTTP client, ssl, or any optional dependency in memory."""
    loaded = loaded_after("import copilot_asgi; copilot_asgi.CopilotApp(copilot_asgi.Settings())")
    forbidden = {"httpx", "httpx2", "httpcore", "h11", "click", "rich", "uvicorn", "redis", "filelock", "django"}
    assert {name.partition(".")[0] for name in loaded} & forbidden == set()
