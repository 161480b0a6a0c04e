"""What the README says holds."""

import re
import tomllib
from pathlib import Path
from typing import Any, get_type_hints

import httpx
import msgspec
import pytest

from copilot_asgi.config import Settings
from copilot_asgi.config_sources import PREFIX, shown
from copilot_asgi.in_process import in_process_transport

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def settings_table() -> str:
    """The README's table, made from the one list of settings."""
    defaults = shown(Settings())
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for name, hint in get_type_hints(Settings, include_extras=True).items():
        meta = next(each for each in hint.__metadata__ if isinstance(each, msgspec.Meta))
        default = f"`{defaults[name]}`" if defaults[name] else ""
        rows.append(f"| `{name}` | {default} | {meta.description} |")
    return "\n".join(rows)


def test_the_settings_table_is_the_settings() -> None:
    """Every setting is in the table, with its default and what it means."""
    assert settings_table() in README, "the table should be:\n" + settings_table()


@pytest.mark.parametrize(
    "name",
    ["HOST", "PORT", "GITHUB_URL", "GITHUB_API_URL", "COPILOT_URL", "GITHUB_TOKEN", "TOKEN_MODE", "IDENTITY"]
    + ["ACCOUNT_TYPE", "ENTERPRISE_DOMAIN", "API_KEYS", "DATA_DIR", "LOG_LEVEL", "LOG_FORMAT", "CONNECT_TIMEOUT"]
    + ["HEAD_TIMEOUT", "IDLE_TIMEOUT", "BODY_TIMEOUT", "AUTH_TIMEOUT", "QUEUE_TIMEOUT", "MAX_STREAMS"],
)
def test_names_that_scripts_rely_on_exist(name: str) -> None:
    """The environment variables that were promised are settings."""
    assert name.lower() in Settings.__struct_fields__
    assert PREFIX == "COPILOT_ASGI_"


def test_python_in_the_readme_is_python() -> None:
    """Each Python block at least compiles."""
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 5
    for block in blocks:
        compile(block, "README.md", "exec", flags=0x2000)  # top-level await is allowed


def test_the_package_says_what_the_project_file_says() -> None:
    """Python version and extras in the README are those of the project."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"
    assert "Python 3.11" in README
    for extra in re.findall(r'-e "\.\[(\w+)\]"', README):
        assert extra in project["optional-dependencies"]


@pytest.mark.anyio
async def test_the_stage_in_the_readme_works() -> None:
    """The example of a stage of one's own refuses what it says it refuses."""
    block = next(each for each in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "small_models_only" in each)
    names: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), names)
    transport = in_process_transport(names["app"])
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        response = await client.post("/v1/chat/completions", json={"model": "gpt-4o"})
    assert (response.status_code, response.json()["error"]["message"]) == (403, "Small models only, please.")
