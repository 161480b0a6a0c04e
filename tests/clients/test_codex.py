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
# Codex gives this tool to models that it knows.
APPLIES_PATCHES = (Way("gpt-5.5", "/responses"),)
TRANSLATED = tuple(way for way in RESPONSES if way.path != "/responses")

Codex = Callable[..., Outcome]


@pytest.fixture
def codex(client: Callable[[str], Installed], copilot: Copilot, room: Room) -> Codex:
    """Runs Codex with a model and words of its command line."""

    def codex(way: Way, *words: str) -> Outcome:
        config = room.home / ".codex" / "config.toml"
        config.parent.mkdir(exist_ok=True)
        config.write_text(pasted("codex-config", url=copilot.url, model=way.model), encoding="utf-8")
        key = pasted("codex-key", url=copilot.url, model=way.model)
        return room.run(client("codex").command("codex"), "exec", *FREE, *words, exports=key)

    return codex


@each(RESPONSES)
def test_a_chat(codex: Codex, copilot: Copilot, way: Way) -> None:
    """A question is answered, with one request."""
    outcome = codex(way, "Hello there")

    outcome.said("You said: ")
    assert outcome.output.rstrip().endswith("Hello there")  # before it may be what Codex says of the machine
    assert copilot.paths() == {way.path}
    assert len(copilot.bodies()) == 1


@each(RESPONSES)
def test_a_command_writes_a_file(codex: Codex, copilot: Copilot, room: Room, way: Way) -> None:
    """The model's commands are run as they were given, and it reads what they printed."""
    copilot.script(
        _running("I will write it.", "printf 'one \"quoted\"\\ntwo — Ünïcode\\n' > note.txt"),
        _running("", "cat note.txt"),
    )
    codex(way, "Please keep a note").said("The tool says: ")

    assert (room.work / "note.txt").read_text(encoding="utf-8") == 'one "quoted"\ntwo — Ünïcode\n'
    assert len(copilot.bodies()) == 3
    assert copilot.paths() == {way.path}


@each(RESPONSES)
def test_a_conversation_goes_on(codex: Codex, copilot: Copilot, way: Way) -> None:
    """A later run takes up the history, thoughts and calls included."""
    copilot.script(_running("Let me see.", "echo first"))
    codex(way, "Begin").said("first")
    outcome = codex(way, "resume", "--last", "Go on")

    outcome.said("You said: ")
    assert outcome.output.rstrip().endswith("Go on")
    assert len(copilot.bodies()) == 3
    assert copilot.paths() == {way.path}


@each(RESPONSES)
def test_a_cut_stream_is_repeated(codex: Codex, copilot: Copilot, way: Way) -> None:
    """A stream that breaks off looks so to Codex, which asks once more and tells the whole answer."""
    copilot.script_fault({"cut_after": 3})
    outcome = codex(way, "Hello")

    outcome.said("You said: ")
    assert outcome.output.rstrip().endswith("Hello")
    assert len(copilot.bodies()) == 2


@each(TRANSLATED)
def test_tools_of_a_namespace_are_called(codex: Codex, copilot: Copilot, way: Way) -> None:
    """A tool that Codex groups with others has a name of its own at Copilot, and its call finds the way back."""
    copilot.script({"tool_calls": [["multi_agent_v1__spawn_agent", {"message": "Hello"}]]})
    outcome = codex(way, "Ask somebody else")

    # What is said last depends on which of the two agents is faster.
    outcome.said("")
    assert "collab: SpawnAgent" in outcome.complaints
    assert copilot.paths() == {way.path}


@each(APPLIES_PATCHES)
def test_a_patch_is_applied(codex: Codex, copilot: Copilot, room: Room, way: Way) -> None:
    """A tool that takes text instead of JSON gets it as the model wrote it."""
    patch = '*** Begin Patch\n*** Add File: note.txt\n+one "quoted"\n+two — Ünïcode\n*** End Patch\n'
    copilot.script({"text": "I will write it.", "tool_calls": [["apply_patch", patch]]})
    codex(way, "Please keep a note").said("The tool says: ")

    assert (room.work / "note.txt").read_text(encoding="utf-8") == 'one "quoted"\ntwo — Ünïcode\n'
    assert len(copilot.bodies()) == 2
    assert copilot.paths() == {way.path}


def _running(text: str, command: str) -> dict[str, object]:
    return {"text": text, "reasoning": "A command will do.", "tool_calls": [["exec_command", {"cmd": command}]]}
