"""Claude Code without its terminal: a chat, and a task that writes, edits and looks at a file."""

from collections.abc import Callable

import pytest
from clients.copilot import Copilot
from clients.installing import Installed
from clients.pages import pasted
from clients.running import Outcome, Room
from clients.ways import MESSAGES, Way, each

pytestmark = [pytest.mark.clients, pytest.mark.clients_quick, pytest.mark.timeout(300)]  # the first run installs it

ALLOWED = ("--permission-mode", "acceptEdits", "--allowedTools", "Write,Edit,Bash")

Claude = Callable[[str, Way], Outcome]


@pytest.fixture
def claude(client: Callable[[str], Installed], copilot: Copilot, room: Room) -> Claude:
    """Runs Claude Code with a prompt and a model."""

    def claude(prompt: str, way: Way) -> Outcome:
        exports = pasted("claude-code", url=copilot.url, model=way.model)
        return room.run(client("claude-code").command("claude"), "-p", prompt, *ALLOWED, exports=exports)

    return claude


@each(MESSAGES)
def test_a_chat(claude: Claude, copilot: Copilot, way: Way) -> None:
    """A question is answered, with one request."""
    claude("Hello there", way).said("You said: Hello there")

    assert copilot.paths() == {way.path}
    assert len(copilot.bodies()) == 1


@each(MESSAGES)
def test_a_file_is_written_and_edited(claude: Claude, copilot: Copilot, room: Room, way: Way) -> None:
    """The model's calls are carried out with their arguments as they were, and it reads every result."""
    note = room.work / "note.txt"
    copilot.script(
        _calling("I will write it.", "Write", file_path=str(note), content='one "quoted"\ntwo — Ünïcode\n'),
        _calling("", "Edit", file_path=str(note), old_string="two", new_string="three"),
        _calling("Now I look.", "Bash", command=f"cat {note}", description="Show the note"),
    )
    claude("Please keep a note", way).said("The tool says: one \"quoted\"")

    assert note.read_text(encoding="utf-8") == 'one "quoted"\nthree — Ünïcode\n'
    assert len(copilot.bodies()) == 4
    assert copilot.paths() == {way.path}


def _calling(text: str, tool: str, **arguments: str) -> dict[str, object]:
    return {"text": text, "reasoning": "A tool will help.", "tool_calls": [[tool, arguments]]}
