"""The lines that docs/clients.md tells people to paste, which are what the tests run.

Rule: a test changes nothing in them but the address, the key and the model.
"""

import re
from pathlib import Path

from clients.copilot import KEY

__all__ = ["names", "pasted"]

PAGE = Path(__file__).parents[2] / "docs" / "clients.md"
ADDRESS = "http://127.0.0.1:4141"
ANY_KEY = "unused"

_BLOCK = re.compile(r"<!-- run: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
_MODEL = re.compile(r"\b(?:gpt-4\.1|gpt-5\.4|claude-sonnet-4\.6)\b")


def names() -> list[str]:
    """The names of the blocks."""
    return [name for name, _ in _blocks()]


def pasted(name: str, *, url: str, model: str) -> str:
    """The block of that name, for the proxy at ``url`` and another model."""
    text = dict(_blocks())[name]
    return _MODEL.sub(model, text.replace(ADDRESS, url).replace(ANY_KEY, KEY))


def _blocks() -> list[tuple[str, str]]:
    return _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
