"""Answers are changed event by event, and what is not changed is not touched."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_asgi.errors import ResponseTooLarge
from copilot_asgi.wire.edits import WHOLE_LIMIT, Edit, Untouched, edits_for
from copilot_asgi.wire.sse import EVENT_LIMIT, ServerSentEvent

SSE = b"text/event-stream; charset=utf-8"
NDJSON = b"application/x-ndjson"
JSON = b"application/json"


def same(event: ServerSentEvent) -> ServerSentEvent | None:
    return event


def drop(event: ServerSentEvent) -> ServerSentEvent | None:
    return None


def shout(event: ServerSentEvent) -> ServerSentEvent | None:
    return ServerSentEvent(event.data.upper(), event.event)


def rename(event: ServerSentEvent) -> ServerSentEvent | None:
    return ServerSentEvent(event.data, "other")


def edited(kind: bytes, edit: Edit, *chunks: bytes) -> bytes:
    edits = edits_for(kind, edit)
    return b"".join([*(edits.feed(chunk) for chunk in chunks), edits.finish()])


CASES = [
    (SSE, shout, b"data: a\n\n", b"data: A\n\n"),
    (SSE, shout, b"event: x\ndata: a\ndata: b\n\n", b"event: x\ndata: A\ndata: B\n\n"),
    (SSE, shout, b": ping\n\ndata: a\n\n", b": ping\n\ndata: A\n\n"),
    (SSE, shout, b"data: a\n\ndata: [DONE]\n\n", b"data: A\n\ndata: [DONE]\n\n"),
    (SSE, drop, b"data: a\n\n: ping\n\ndata: [DONE]\n\n", b": ping\n\ndata: [DONE]\n\n"),
    (SSE, rename, b"data: a\n\n", b"event: other\ndata: a\n\n"),
    (SSE, shout, b"data: a\n\ndata: b", b"data: A\n\ndata: B\n\n"),
    (SSE, same, b"data: a\r\n\r\ndata: b", b"data: a\r\n\r\ndata: b"),
    (SSE, shout, b"", b""),
    (NDJSON, shout, b'{"a"}\n{"b"}\n', b'{"A"}\n{"B"}\n'),
    (NDJSON, shout, b"a\n\nb", b"A\n\nB"),
    (NDJSON, drop, b"a\n\nb\n", b"\n"),
    (NDJSON, same, b"a\n\nb", b"a\n\nb"),
    (JSON, shout, b'{"a":\n"b"}', b'{"A":\n"B"}'),
    (JSON, same, b"a\n", b"a\n"),
    (JSON, shout, b"", b""),
]


@pytest.mark.parametrize(("kind", "edit", "given", "sent"), CASES)
def test_events_are_changed(kind: bytes, edit: Edit, given: bytes, sent: bytes) -> None:
    """Each as its form has it, whole, one byte at a time, and cut at every place."""
    assert edited(kind, edit, given) == sent
    assert edited(kind, edit, *(given[index : index + 1] for index in range(len(given)))) == sent
    for cut in range(len(given)):
        assert edited(kind, edit, given[:cut], given[cut:]) == sent


@pytest.mark.parametrize(
    ("kind", "chunk"),
    [
        (SSE, b"data: one\n\n"),
        (SSE, b"event: x\ndata: one\n\ndata: two\n\n: ping\n\n"),
        (NDJSON, b'{"a":1}\n'),
        (NDJSON, b'{"a":1}\n{"b":2}\n'),
    ],
)
def test_whole_events_that_stay_leave_as_the_same_object(kind: bytes, chunk: bytes) -> None:
    """Nothing is copied where nothing is changed."""
    assert edits_for(kind, same).feed(chunk) is chunk


def test_a_whole_body_that_stays_leaves_as_the_same_object() -> None:
    """It waits for its end, and then goes on as it came."""
    edits, body = edits_for(JSON, same), b'{"a":1}'
    assert edits.feed(body) == b""
    assert edits.finish() is body


def test_no_edit_is_no_change() -> None:
    """Chunks go through, and nothing is kept back."""
    chunk = b"half an ev"
    assert Untouched().feed(chunk) is chunk
    assert Untouched().finish() == b""


@given(st.sampled_from([SSE, NDJSON, JSON]), st.lists(st.binary(max_size=20)))
@settings(max_examples=200, deadline=None)
def test_an_edit_that_changes_nothing_changes_nothing(kind: bytes, chunks: list[bytes]) -> None:
    """Whatever the bytes are, and however they were cut."""
    assert edited(kind, same, *chunks) == b"".join(chunks)


@pytest.mark.parametrize(
    ("kind", "limit", "end"), [(SSE, EVENT_LIMIT, b"\n\n"), (NDJSON, EVENT_LIMIT, b"\n"), (JSON, WHOLE_LIMIT, b"")]
)
def test_what_is_kept_back_is_bounded(kind: bytes, limit: int, end: bytes) -> None:
    """What fills the limit passes, one byte more does not."""
    full = b"x" * (limit - len(end)) + end
    assert edited(kind, same, full) == full
    edits = edits_for(kind, same)
    edits.feed(b"x" * limit)
    with pytest.raises(ResponseTooLarge):
        edits.feed(b"x")


def junk(event: ServerSentEvent) -> ServerSentEvent | None:
    return b"junk"  # type: ignore[return-value]  # what untyped code may return


def split(event: ServerSentEvent) -> ServerSentEvent | None:
    return ServerSentEvent(event.data, "x\ndata: forged")


@pytest.mark.parametrize(
    ("kind", "edit", "error"),
    [(SSE, junk, TypeError), (NDJSON, junk, TypeError), (JSON, junk, TypeError), (SSE, split, ValueError)],
)
def test_what_is_no_event_is_refused(kind: bytes, edit: Edit, error: type[Exception]) -> None:
    """Another type, and a name that would end its line."""
    with pytest.raises(error):
        edited(kind, edit, b"data: a\n\n")


def test_a_whole_answer_cannot_be_dropped() -> None:
    """Its client waits for something."""
    with pytest.raises(TypeError, match="cannot be dropped"):
        edited(JSON, drop, b"{}")
