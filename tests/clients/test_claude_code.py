"""Claude Code without its terminal: a chat, and a task that writes, edits and looks at a file."""

import json
from base64 import b64decode
from collections.abc import Callable

import pytest
from clients.copilot import Copilot
from clients.installing import Installed
from clients.pages import pasted
from clients.running import Outcome, Room
from clients.ways import MESSAGES, Way, each

pytestmark = [pytest.mark.clients, pytest.mark.clients_quick, pytest.mark.timeout(300)]  # the first run installs it

ALLOWED = ("--permission-mode", "acceptEdits", "--allowedTools", "Write,Edit,Bash")

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
OWN_NAMES = (
    ("sonnet", "claude-sonnet-5.5"),
    ("opus", "claude-opus-5.5"),
    ("claude-sonnet-4-6", "claude-sonnet-4.6"),
    ("claude-sonnet-4-5-20250929", "claude-sonnet-4.5"),
)

Claude = Callable[..., Outcome]


@pytest.fixture
def claude(client: Callable[[str], Installed], copilot: Copilot, room: Room) -> Claude:
    """Runs Claude Code with a prompt, a model and further options."""

    def claude(prompt: str, way: Way, *options: str, exports: str = "") -> Outcome:
        exports += pasted("claude-code", url=copilot.url, model=way.model)
        return room.run(client("claude-code").command("claude"), "-p", prompt, *ALLOWED, *options, exports=exports)

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
    claude("Please keep a note", way).said('The tool says: one "quoted"')

    assert note.read_text(encoding="utf-8") == 'one "quoted"\nthree — Ünïcode\n'
    assert len(copilot.bodies()) == 4
    assert copilot.paths() == {way.path}


@each(MESSAGES)
def test_a_picture_is_looked_at(claude: Claude, copilot: Copilot, room: Room, way: Way) -> None:
    """A picture that a tool returns reaches the model."""
    picture = room.work / "dot.png"
    picture.write_bytes(b64decode(PNG))
    copilot.script(_calling("", "Read", file_path=str(picture)))

    claude("What is in the picture?", way).said("I see 1 image: image/png.")


@each(MESSAGES)
def test_calls_at_once_are_all_answered(claude: Claude, copilot: Copilot, way: Way) -> None:
    """Two calls in one answer are both carried out, and the model reads both results."""
    calls = [["Bash", {"command": f"echo {word}", "description": "Say it"}] for word in ("first", "second")]
    copilot.script({"text": "Both.", "tool_calls": calls})
    outcome = claude("Go", way)

    outcome.said("first")
    outcome.said("second")
    assert len(copilot.bodies()) == 2


@pytest.mark.parametrize(("name", "model"), OWN_NAMES)
def test_its_own_names_are_understood(claude: Claude, copilot: Copilot, name: str, model: str) -> None:
    """Short, dashed and dated names of Claude models are Copilot's models."""
    claude("Hello", Way(name, "/v1/messages")).said("You said: Hello")

    assert [body["model"] for body in copilot.bodies()] == [model]


@each(MESSAGES)
def test_a_conversation_goes_on(claude: Claude, copilot: Copilot, room: Room, way: Way) -> None:
    """A later run takes up the history, thoughts and calls included."""
    copilot.script(_calling("Let me see.", "Bash", command="echo first", description="Say it"))
    claude("Begin", way).said("The tool says: first")
    claude("Go on", way, "--continue").said("You said: Go on")

    assert len(copilot.bodies()) == 3
    assert copilot.paths() == {way.path}


@each(MESSAGES)
def test_usage_is_counted(claude: Claude, way: Way) -> None:
    """Claude Code knows how much of the context is used, of which it makes its meter."""
    outcome = claude("Hello", way, "--output-format", "json")

    outcome.said("You said: Hello")
    usage = json.loads(outcome.output)["usage"]
    assert usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"] > 5000
    assert usage["output_tokens"] > 0


def test_a_window_can_be_told(claude: Claude, copilot: Copilot) -> None:
    """Claude Code takes the page's word for the window of a model that it does not know, and warns no more."""
    unknown = Way("gpt-4.1", "/chat/completions")
    window = pasted("claude-code-window", url=copilot.url, model=unknown.model)

    assert "context window" in claude("Hello", unknown).complaints
    assert "context window" not in claude("Hello", unknown, exports=window).complaints


@each(MESSAGES)
def test_a_cut_stream_is_repeated(claude: Claude, copilot: Copilot, way: Way) -> None:
    """A stream that breaks off looks so to Claude Code, which asks once more and tells the whole answer."""
    copilot.script_fault({"cut_after": 3})
    claude("Hello", way).said("You said: Hello")

    assert len(copilot.bodies()) == 2


@pytest.mark.parametrize("model", ["claude-opus-4.6", "gpt-5.5", "kimi-k3"])
def test_a_refusal_is_told(claude: Claude, copilot: Copilot, model: str) -> None:
    """When the quota is used up, the person reads so, after one request.

    The models are no other test's: after a refusal they are left alone for a while.
    """
    copilot.script_fault("quota_exceeded")
    outcome = claude("Hello", Way(model, ""))

    assert outcome.status == 1
    assert "quota" in outcome.output + outcome.complaints
    assert len(copilot.bodies()) == 1


def _calling(text: str, tool: str, **arguments: str) -> dict[str, object]:
    return {"text": text, "reasoning": "A tool will help.", "tool_calls": [[tool, arguments]]}
