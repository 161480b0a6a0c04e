"""Codex without its terminal: a chat, and a shell command that writes a file."""

from collections.abc import Callable

import pytest
from clients.copilot import Copilot
from clients.installing import Installed
from clients.pages import pasted
from clients.running import Outcome, Room
from clients.ways import RESPONSES, Way, each

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]  # the first run installs it

# The commands are the test's own, and not every machine that runs tests lets a sandbox be built.
FREE = ("--skip-git-repo-check", "--sandbox", "danger-full-access")

Codex = Callable[[str, Way], Outcome]


@pytest.fixture
def codex(client: Callable[[str], Installed], copilot: Copilot, room: Room) -> Codex:
    """Runs Codex with a prompt and a model."""

    def codex(prompt: str, way: Way) -> Outcome:
        config = room.home / ".codex" / "config.toml"
        config.parent.mkdir()
        config.write_text(pasted("codex-config", url=copilot.url, model=way.model), encoding="utf-8")
        key = pasted("codex-key", url=copilot.url, model=way.model)
        return room.run(client("codex").command("codex"), "exec", *FREE, prompt, exports=key)

    return codex


@each(RESPONSES)
def test_a_chat(codex: Codex, copilot: Copilot, way: Way) -> None:
    """A question is answered, with one request."""
    codex("Hello there", way).said("You said: Hello there")

    assert copilot.paths() == {way.path}
    assert len(copilot.bodies()) == 1


@each(RESPONSES)
def test_a_command_writes_a_file(codex: Codex, copilot: Copilot, room: Room, way: Way) -> None:
    """The model's commands are run as they were given, and it reads what they printed."""
    copilot.script(
        _running("I will write it.", "printf 'one \"quoted\"\\ntwo — Ünïcode\\n' > note.txt"),
        _running("", "cat note.txt"),
    )
    codex("Please keep a note", way).said("The tool says: ")

    assert (room.work / "note.txt").read_text(encoding="utf-8") == 'one "quoted"\ntwo — Ünïcode\n'
    assert len(copilot.bodies()) == 3
    assert copilot.paths() == {way.path}


def _running(text: str, command: str) -> dict[str, object]:
    return {"text": text, "reasoning": "A command will do.", "tool_calls": [["exec_command", {"cmd": command}]]}
