"""The page about the pipeline says what is there."""

import re
from pathlib import Path

import pytest

from copilot_asgi import Secret, Settings, Upstream, stack

PAGE = (Path(__file__).parent.parent / "docs" / "pipeline.md").read_text()


def test_the_table_is_the_stack() -> None:
    """Every stage is in the table, in order."""
    names = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert tuple(names) == stack.default(Upstream(Settings(github_token=Secret("ghu_12345678")))).names


@pytest.mark.parametrize("name", sorted(set(re.findall(r"COPILOT_ASGI_([A-Z_]+)", PAGE))))
def test_variables_are_settings(name: str) -> None:
    """Each environment variable of the page exists."""
    assert name.lower() in Settings.__struct_fields__


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_python_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each Python block runs as it stands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COPILOT_ASGI_DATA_DIR", str(tmp_path))
    names: dict[str, object] = {}
    exec(compile(block, "pipeline.md", "exec"), names)
    assert "copilot" in names
