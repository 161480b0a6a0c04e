"""Libraries that programs are written with: a streamed answer, a tool that is called and answered, an object.

Rule: each runs the lines of docs/clients.md, then a program of its own that prints what its user got.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from clients.copilot import Copilot
from clients.installing import Installed
from clients.pages import pasted
from clients.running import Room
from clients.ways import CHAT, MESSAGES, RESPONSES, Way

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]  # the first run installs them

PROGRAMS = Path(__file__).parent / "programs"
FINISHES = frozenset({"stop", "end_turn", "completed"})


class Library(NamedTuple):
    """A library: the page's lines for it, the program that uses it, where it is installed, and where it goes."""

    lines: str
    program: str
    package: str
    ways: tuple[Way, ...]
    quick: bool = False


LIBRARIES = (
    Library("openai-node", "openai_chat.mjs", "openai-node", CHAT, quick=True),
    Library("openai-node", "openai_responses.mjs", "openai-node", RESPONSES, quick=True),
    Library("anthropic-node", "anthropic.mjs", "anthropic-node", MESSAGES, quick=True),
    Library("openai-python", "openai_chat.py", "", CHAT, quick=True),
    Library("openai-python", "openai_responses.py", "", RESPONSES, quick=True),
    Library("anthropic-python", "anthropic_messages.py", "", MESSAGES, quick=True),
    Library("vercel-chat", "vercel.mjs", "vercel", CHAT),
    Library("vercel-responses", "vercel.mjs", "vercel", RESPONSES),
    Library("vercel-messages", "vercel.mjs", "vercel", MESSAGES),
    Library("langchain-chat", "langchain.py", "langchain", CHAT),
    Library("langchain-responses", "langchain.py", "langchain", RESPONSES),
    Library("langchain-messages", "langchain.py", "langchain", MESSAGES),
    Library("pydantic-ai-chat", "pydantic_ai_agent.py", "pydantic-ai", CHAT),
    Library("pydantic-ai-responses", "pydantic_ai_agent.py", "pydantic-ai", RESPONSES),
    Library("pydantic-ai-messages", "pydantic_ai_agent.py", "pydantic-ai", MESSAGES),
)


CASES = [
    pytest.param(
        library,
        way,
        id=f"{library.lines}-{library.program}-{way.model}",
        marks=[pytest.mark.clients_quick] if library.quick else [],
    )
    for library in LIBRARIES
    for way in library.ways
]


@pytest.mark.parametrize(("library", "way"), CASES)
def test_a_library_gets_what_it_asks_for(
    library: Library, way: Way, copilot: Copilot, client: Callable[[str], Installed], room: Room
) -> None:
    """The library's user gets the text, why it ended, its usage, a tool's round trip and an object of a shape."""
    lines = pasted(library.lines, url=copilot.url, model=way.model)
    program = room.work / library.program
    program.write_text(f"{lines}\n{(PROGRAMS / library.program).read_text(encoding='utf-8')}", encoding="utf-8")
    outcome = room.run(*_interpreter(library, client, room), str(program))

    assert outcome.status == 0, f"{outcome.output}\n{outcome.complaints}"
    told = json.loads(outcome.output.splitlines()[-1])  # above it may be warnings
    assert told["text"] == "You said: Hello"
    assert told["finish"] in FINISHES
    assert told["input"] > 0
    assert told["output"] > 0
    assert told["calls"] == [["get_weather", {"city": "Paris"}]]
    assert told["answer"] == "The tool says: Sunny"
    assert told["object"] == {"city": "Paris"}
    assert copilot.paths() == {way.path}


def _interpreter(library: Library, client: Callable[[str], Installed], room: Room) -> list[str]:
    """What runs the program, which finds the library."""
    if not library.package:
        return [sys.executable]
    installed = client(library.package)
    if library.program.endswith(".py"):
        return [installed.command("python")]
    (room.work / "node_modules").symlink_to(installed.modules)
    return ["node"]
