"""docs/clients.md and the tests name the same clients."""

from pathlib import Path

import pytest
from clients.packages import NODE, PYTHON
from clients.pages import PAGE, names

pytestmark = pytest.mark.clients

TESTS = Path(__file__).parent


def test_every_block_is_run() -> None:
    """Each block of the page is named in a test."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in TESTS.glob("test_*.py"))
    assert [name for name in names() if f'"{name}"' not in source] == []
    assert len(names()) == len(set(names()))


def test_the_page_names_the_versions_that_run() -> None:
    """The versions on the page begin those that are installed."""
    page = PAGE.read_text(encoding="utf-8")
    pins = [pin for pins in (*NODE.values(), *PYTHON.values()) for pin in pins]
    versions = [pin.rpartition("@")[2] if "==" not in pin else pin.rpartition("==")[2] for pin in pins]
    assert versions
    for version in versions:
        assert any(f" {'.'.join(version.split('.')[:length])}" in page for length in (1, 2, 3)), version
