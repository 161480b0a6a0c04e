"""aider without its terminal: an answer in its own edit format changes a file."""

from collections.abc import Callable

import pytest
from clients.copilot import Copilot
from clients.installing import Installed
from clients.pages import pasted
from clients.running import Room
from clients.ways import CHAT, MESSAGES, Way

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]  # the first run installs it

QUIET = (
    "--no-git", "--yes-always", "--no-check-update", "--analytics-disable", "--no-show-model-warnings",
    "--no-pretty", "--map-tokens", "0", "--edit-format", "whole",
)  # fmt: skip
# aider takes anthropic/gpt-4.1 for a model of OpenAI's and asks for that key, so that no request is made.
OWN_NAMES = tuple(way for way in MESSAGES if way.model != "gpt-4.1")
CASES = [
    pytest.param(lines, way, id=f"{lines}-{way.model}")
    for lines, ways in (("aider-chat", CHAT), ("aider-messages", OWN_NAMES))
    for way in ways
]


@pytest.mark.parametrize(("lines", "way"), CASES)
def test_a_file_is_changed(
    lines: str, way: Way, client: Callable[[str], Installed], copilot: Copilot, room: Room
) -> None:
    """What the model writes as the file's new text is in the file."""
    note = room.work / "note.txt"
    note.write_text("old\n", encoding="utf-8")
    copilot.script({"text": "Here it is.\n\nnote.txt\n```\none\n\ntwo — Ünïcode\n```\n"})
    exports = pasted(lines, url=copilot.url, model=way.model)
    aider = client("aider").command("aider")
    room.run(aider, *QUIET, "--message", "Change it", "note.txt", exports=exports).said("Applied edit to note.txt")

    assert note.read_text(encoding="utf-8") == "one\n\ntwo — Ünïcode\n"
    assert len(copilot.bodies()) == 1
    assert copilot.paths() == {way.path}
