"""Text that goes on is told in the same bytes as text that begins, whatever the dialect and the part."""

import re
from collections.abc import Iterable

import pytest

from copilot_asgi.translate.conversation import Conversation, Role, Text, Tool, Turn
from copilot_asgi.translate.events import Event, Kind, PartDelta, PartStarted, Started
from copilot_asgi.translate.text_frame import TextFrame
from copilot_asgi.translated import CLIENTS
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.sse import EventSplitter

TEXTS = ["plain", 'quotes " and \\ and ""', "lines\n\r\n and \u2028", "h\u00e9 \U0001f600", "\0\x1f", '{"a":""}', "[]"]
DIALECTS = [Dialect.CHAT, Dialect.MESSAGES, Dialect.RESPONSES]
# A name that looks like what frames are cut at.
ASKED = Conversation(
    model='"" [] "sequence_number":0 m',
    stream=True,
    turns=(Turn(Role.USER, (Text("hello"),)),),
    tools=(Tool(name="patch", freeform=True),),
    include_usage=True,
)
_NUMBER = re.compile(rb'(?<="sequence_number":)\d+')


def told(dialect: Dialect, start: PartStarted, texts: Iterable[str]) -> list[bytes]:
    """The events that the client is sent."""
    encoder = CLIENTS[dialect, ""].encoder(ASKED, id="1", created=1, prompt_tokens=1)
    events: list[Event] = [Started("1", "m"), start, *(PartDelta(0, text) for text in texts)]
    return EventSplitter().feed(b"".join(map(encoder.encode, events)))


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    "start",
    [
        *(PartStarted(0, kind) for kind in (Kind.TEXT, Kind.REFUSAL, Kind.THINKING)),
        PartStarted(0, Kind.TOOL_CALL, id="c", name="f"),
        PartStarted(0, Kind.TOOL_CALL, id="c", name="patch", freeform=True),
    ],
    ids=lambda start: f"{start.kind.value}{' freeform' if start.freeform else ''}",
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_text_that_goes_on_is_told_as_text_that_begins(dialect: Dialect, start: PartStarted, text: str) -> None:
    """Only the number of the event tells them apart, where there is one."""
    first = told(dialect, start, [text])[-1]
    *before, later = told(dialect, start, ["x", text])
    assert _NUMBER.sub(b"", later) == _NUMBER.sub(b"", first)
    assert _NUMBER.findall(later) == [b"%d" % len(before)] * (dialect is Dialect.RESPONSES)


def test_the_text_stands_where_the_last_empty_one_was() -> None:
    """Whatever comes before it, be it empty as well."""
    frame = TextFrame(b'{"id":"","text":"","more":[]}')
    assert frame.around('a"b') == b'{"id":"","text":"a\\"b","more":[]}'
