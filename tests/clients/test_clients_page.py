"""docs/clients.md and the tests name the same clients."""

import re
from itertools import chain
from pathlib import Path

import pytest
from clients.packages import NODE, PYTHON
from clients.pages import PAGE, names

pytestmark = [pytest.mark.clients, pytest.mark.clients_quick]

TESTS = Path(__file__).parent


def test_every_block_is_run() -> None:
    """Each block of the page is named in a test."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in TESTS.glob("test_*.py"))
    assert [name for name in names() if f'"{name}"' not in source] == []
    assert len(names()) == len(set(names()))


def test_the_page_names_the_versions_that_run() -> None:
    """Major and minor of each client that is installed are on the page."""
    page = PAGE.read_text(encoding="utf-8")
    pins = [re.split("==|@", pin)[-1] for pin in chain(*NODE.values(), *PYTHON.values())]
    assert pins
    assert [pin for pin in pins if not re.search(rf"\b{re.escape(_minor(pin))}\b", page)] == []


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
