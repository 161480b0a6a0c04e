"""The example of a host whose own login names the callers, as written."""

import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from copilot_asgi.in_process import in_process_transport

pytestmark = pytest.mark.anyio

EXAMPLE = Path(__file__).parents[2] / "examples" / "host_login.py"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example with settings of its own: nobody is signed in to GitHub, so nothing goes there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COPILOT_ASGI_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("COPILOT_ASGI_GITHUB_TOKEN", raising=False)
    spec = importlib.util.spec_from_file_location("host_login", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def site(example: ModuleType) -> AsyncIterator[httpx.AsyncClient]:
    transport = in_process_transport(example.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def code(site: httpx.AsyncClient) -> str:
    response = await site.get("/copilot/v1/models")
    assert response.status_code == 401
    answer: str = response.json()["error"]["code"]
    return answer


@pytest.mark.parametrize("name", ["ada", "guest"])
async def test_the_sites_login_opens_copilot(example: ModuleType, site: httpx.AsyncClient, name: str) -> None:
    """Before it nobody is served, after it Copilot is asked on the user's behalf (and misses its own login here)."""
    assert await code(site) == "invalid_api_key"
    hello = await site.post("/login", data={"name": name, "password": example.PASSWORDS[name]})
    assert hello.text == f"hello {name}"
    assert await code(site) == "login_required"


@pytest.mark.parametrize(
    "form", [{}, {"name": "ada"}, {"name": "ada", "password": "welcome"}, {"name": "eve", "password": ""}]
)
async def test_a_wrong_password_opens_nothing(site: httpx.AsyncClient, form: dict[str, str]) -> None:
    """Neither does a cookie that the site did not give."""
    assert (await site.post("/login", data=form)).status_code == 403
    site.cookies.set("session", "guessed")
    assert await code(site) == "invalid_api_key"


async def test_the_site_decides_about_models(example: ModuleType) -> None:
    """A caller's terms come from the host: a guest gets the small models."""
    user = example.SimpleUser("guest")
    guest = await example.caller(example.Arrival(client=None, user=user))
    assert guest.models == ("*-mini",)
