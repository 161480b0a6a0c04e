"""OpenCode without its terminal, with each of the three formats: a chat, and a command that writes a file."""

from collections.abc import Callable

import pytest
from clients.copilot import Copilot
from clients.installing import Installed
from clients.pages import pasted
from clients.running import Outcome, Room
from clients.ways import CHAT, MESSAGES, RESPONSES, Way

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]  # the first run installs it

CASES = [
    pytest.param(provider, way, id=f"{provider}-{way.model}")
    for provider, ways in (("copilot-chat", CHAT), ("copilot-responses", RESPONSES), ("copilot-messages", MESSAGES))
    for way in ways
]
each = pytest.mark.parametrize(("provider", "way"), CASES)

OpenCode = Callable[[str, str, Way], Outcome]


@pytest.fixture
def opencode(client: Callable[[str], Installed], copilot: Copilot, room: Room) -> OpenCode:
    """Runs OpenCode with a prompt, a provider of the page and a model."""

    def opencode(prompt: str, provider: str, way: Way) -> Outcome:
        config = pasted("opencode", url=copilot.url, model=way.model)
        (room.work / "opencode.json").write_text(config, encoding="utf-8")
        return room.run(client("opencode").command("opencode"), "run", "--model", f"{provider}/{way.model}", prompt)

    return opencode


@each
def test_a_chat(opencode: OpenCode, copilot: Copilot, provider: str, way: Way) -> None:
    """A question is answered."""
    opencode("Hello", provider, way).said("You said: ")

    assert copilot.paths() == {way.path}


@each
def test_a_command_writes_a_file(opencode: OpenCode, copilot: Copilot, room: Room, provider: str, way: Way) -> None:
    """The model's command is run as it was given, and it reads what was printed."""
    # No script: the request for the session's title, which comes at the same time, might take the reply.
    told = opencode("Use bash with command='printf hello > note.txt; cat note.txt'", provider, way)

    told.said("The tool says: hello")
    assert (room.work / "note.txt").read_text(encoding="utf-8") == "hello"
    assert copilot.paths() == {way.path}
