"""Event streams: the cases of the standard, every way to cut a stream, the size limit, and linear work."""

import re
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_asgi.errors import ResponseTooLarge
from copilot_asgi.wire import sse
from copilot_asgi.wire.sse import (
    BOM,
    EVENT_LIMIT,
    EventParser,
    EventReader,
    EventSplitter,
    ServerSentEvent,
    encode,
    parse_block,
)

Seen = list[tuple[str, bytes, str]]

# name of the web-platform-tests file -> stream, what must be dispatched as (type, data, last event id)
CONFORMANCE: dict[str, tuple[bytes, Seen]] = {
    "format-bom": (
        BOM + b"data:1\n\n" + BOM + b"data:2\n\ndata:3\n",
        [("message", b"1", "")],
    ),
    "format-bom-2": (
        BOM + BOM + b"data:1\n\ndata:2\n\ndata:3\n\n",
        [("message", b"2", ""), ("message", b"3", "")],
    ),
    "format-comments": (
        b"data:1\r:\0\n:\r\ndata:2\n:" + b"x" * 2048 + b"\rdata:3\n:data:fail\r:" + b"y" * 2048 + b"\ndata:4\n\n",
        [("message", b"1\n2\n3\n4", "")],
    ),
    "format-data-before-final-empty-line": (
        b"retry:1000\ndata:test1\n\nid:test\ndata:test2",
        [("message", b"test1", "")],
    ),
    "format-field-data": (
        b"data:\n\ndata\ndata\n\ndata:test\n\n",
        [("message", b"", ""), ("message", b"\n", ""), ("message", b"test", "")],
    ),
    "format-field-event": (
        b"event:test\ndata:x\n\ndata:x\n\n",
        [("test", b"x", ""), ("message", b"x", "")],
    ),
    "format-field-event-empty": (b"event: \ndata:data\n\n", [("message", b"data", "")]),
    "event type without data is reset": (b"event:test\n\ndata:x\n\n", [("message", b"x", "")]),
    "format-field-id": (
        b"id: 1\ndata:a\n\ndata:b\n\n",
        [("message", b"a", "1"), ("message", b"b", "1")],
    ),
    "format-field-id-2": (
        b"id: 1\ndata:a\n\ndata:b\n\nid:2\ndata:c\n\ndata:d\n\n",
        [("message", b"a", "1"), ("message", b"b", "1"), ("message", b"c", "2"), ("message", b"d", "2")],
    ),
    "format-field-id-3": (
        b"id: 1\ndata:a\n\nid\ndata:b\n\nid:\ndata:c\n\n",
        [("message", b"a", "1"), ("message", b"b", ""), ("message", b"c", "")],
    ),
    "id without data still counts": (b"id: 7\n\ndata:a\n\n", [("message", b"a", "7")]),
    "format-field-id-null": (
        b"".join(b"id: %s\ndata: x\n\n" % value for value in (b"\0ab", b"a\0b", b"ab\0", b"\0", b"a\0\0b")),
        [("message", b"x", "")] * 5,
    ),
    "format-field-parsing": (
        b"data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:3\ndata:4\n\n",
        [("message", b"\0\n 2\n1\n3\n\n4", "")],
    ),
    "format-field-unknown": (
        b"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n",
        [("message", b"test\n\ntest", "")],
    ),
    "format-leading-space": (
        b"data:\ttest\rdata: \ndata:test\n\n",
        [("message", b"\ttest\n\ntest", "")],
    ),
    "format-newlines": (b"data:test\r\ndata\ndata:test\r\n\r", [("message", b"test\n\ntest", "")]),
    "format-null-character": (b"data:\0\n\n\n\n", [("message", b"\0", "")]),
    "format-utf-8": ("data:ok…\n\n".encode(), [("message", "ok…".encode(), "")]),
    "event-data": (
        b"data:msg\ndata: msg\n\n:\nfalsefield:msg\n\nfalsefield:msg\nData:data\n\ndata\n\ndata:end\n\n",
        [("message", b"msg\nmsg", ""), ("message", b"", ""), ("message", b"end", "")],
    ),
    "done with stray spaces": (b"data:  [DONE] \n\n", [("message", b" [DONE] ", "")]),
    "cr only": (b"event: e\rdata: 1\r\rdata: 2\r\r", [("e", b"1", ""), ("message", b"2", "")]),
    "crlf": (b"event: e\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n", [("e", b"1", ""), ("message", b"2", "")]),
    "line separators of Unicode are text": (
        "data: a\u2028b\u2029c\u0085d\x0be\x0cf\n\n".encode(),
        [("message", "a\u2028b\u2029c\u0085d\x0be\x0cf".encode(), "")],
    ),
    "invalid utf-8 is kept": (b"data: \xff\xfe\n\n", [("message", b"\xff\xfe", "")]),
    "nothing": (b"", []),
    "only line ends": (b"\n\r\n\r\n\n\r\r", []),
}

# About two kilobytes with everything in it, so that every cut falls somewhere interesting.
CORPUS = b"".join(stream for stream, _ in list(CONFORMANCE.values())[3:]) + b"\n\ndata: end\n\n" * 100
SMALL_CORPUS = (
    BOM
    + b'data:1\r\n\r\nevent: e\ndata: {"a":1}\n\n: c\r\rid: 4\rdata: 2\r\rdata\r\ndata:x\n\r\n\r'
    + b"data: \xf0\x9f\x98\x80\n\n\nretry: 5\nid\ndata: 3\n\r\r\n\ndata: last\r\n\r"
)


def parse(chunks: Iterable[bytes]) -> Seen:
    parser = EventParser()
    return [(event.event, event.data, event.id) for chunk in chunks for event in parser.feed(chunk)]


def split(chunks: Iterable[bytes]) -> tuple[list[bytes], bytes]:
    splitter = EventSplitter()
    return [block for chunk in chunks for block in splitter.feed(chunk)], splitter.rest


def byte_by_byte(stream: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in stream]


@pytest.mark.parametrize("cut", [lambda stream: [stream], byte_by_byte], ids=["whole", "bytes"])
@pytest.mark.parametrize("name", CONFORMANCE)
def test_conformance(name: str, cut: Callable[[bytes], list[bytes]]) -> None:
    """Each case of the standard's test suite dispatches what it says."""
    stream, expected = CONFORMANCE[name]
    assert parse(cut(stream)) == expected


@pytest.mark.parametrize("name", CONFORMANCE)
def test_conformance_at_every_cut(name: str) -> None:
    """Where a stream is cut in two changes nothing, for no case."""
    stream, expected = CONFORMANCE[name]
    for at in range(0, len(stream), 1 if len(stream) < 500 else 7):
        assert parse([stream[:at], stream[at:]]) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"retry: 3000", 3000),
        (b"retry:0", 0),
        (b"retry: 1000x", None),
        (b"retry:", None),
        (b"retry", None),
        (b"retry: -1", None),
        (b"retry: \xc2\xb2", None),
        (b"retry: " + b"9" * 5000, None),
    ],
)
def test_retry(line: bytes, expected: int | None) -> None:
    """A reconnection time is digits only; anything else leaves it alone."""
    parser = EventParser()
    parser.feed(line + b"\n\n")
    assert parser.retry == expected


def test_text_replaces_what_is_not_utf_8() -> None:
    """Text of an event is always a string."""
    assert ServerSentEvent(b"a\xff").text == "a\ufffd"


def test_every_cut_in_two() -> None:
    """A corpus of two kilobytes gives the same events and the same blocks at each of its cuts."""
    events, blocks = parse([CORPUS]), split([CORPUS])
    assert len(CORPUS) > 2000
    for at in range(len(CORPUS)):
        pieces = [CORPUS[:at], CORPUS[at:]]
        assert parse(pieces) == events
        assert split(pieces) == blocks


def test_every_cut_in_three() -> None:
    """A smaller corpus with each kind of line end gives the same at each pair of cuts."""
    events, blocks = parse([SMALL_CORPUS]), split([SMALL_CORPUS])
    assert len(events) == 7
    for first in range(len(SMALL_CORPUS)):
        for second in range(first, len(SMALL_CORPUS)):
            pieces = [SMALL_CORPUS[:first], SMALL_CORPUS[first:second], SMALL_CORPUS[second:]]
            assert parse(pieces) == events
            assert split(pieces) == blocks


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [b"data: x", b"data", b":", b"event: e", b"id: 1", b"\r", b"\n", b"\r\n", b"\n\n", BOM, b"{\xc3"]
        )
    ),
    st.data(),
)
def test_any_cut_of_any_stream(parts: list[bytes], data: st.DataObject) -> None:
    """Any stream cut anywhere gives the blocks and events of the whole, and the blocks and the rest are the input."""
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    blocks, rest = split(pieces)
    assert b"".join(blocks) + rest == stream
    assert (blocks, rest) == split([stream])
    assert parse(pieces) == parse([stream])


def test_whole_event_is_passed_on_as_the_same_object() -> None:
    """One whole event in one chunk is not copied."""
    chunk = b'data: {"a": 1}\n\n'
    assert EventSplitter().feed(chunk)[0] is chunk


def read_blocks(chunks: Iterable[bytes]) -> list[tuple[str, bytes, bytes]]:
    reader = EventReader()
    return [block for chunk in chunks for block in reader.feed(chunk)] + reader.finish()


USUAL = [b"data: 1\n\n", b"event: e\ndata: 2\n\n", b"event: \ndata: 3\n\n", b"data: \n\n"]
UNUSUAL = [
    b"data:1\n\n",
    b"event: e\n\n",
    b"data: 1\ndata: 2\n\n",
    b"data: 1\n\ndata: 2\n\n",
    b"data: 1\r2\n\n",
    b"event: a\rb\ndata: 1\n\n",
    b"event: e\ndata: 1\n\n\n",
    b"event: e\ndata: 1\nid: 5\n\n",
    b"data: 1\n",
    b"data: 1",
    b"event: e\n",
    b": ping\n\n",
    BOM + b"data: 1\n\n",
    b"\n",
    b"",
]


@pytest.mark.parametrize("between", [b"", b"data: 0\n\n", b"dat", b"data: 0\r\n\r"], ids=str)
@pytest.mark.parametrize("chunk", USUAL + UNUSUAL, ids=str)
def test_a_reader_says_what_splitting_and_parsing_say(chunk: bytes, between: bytes) -> None:
    """However a read looks, and whatever came before it, blocks are the splitter's, names and data the parser's."""
    chunks = [b"data: first\n\n", between, chunk, b"data: last\n\n"]
    blocks, rest = split(chunks)
    expected = [(*parse_block(block), block) for block in blocks]
    cut_off = [(*parse_block(rest + b"\n\n"), rest + b"\n\n")] if rest.strip() else []
    assert read_blocks(chunks) == expected + cut_off


@pytest.mark.parametrize("stream", [SMALL_CORPUS, CORPUS], ids=["small", "large"])
@pytest.mark.parametrize("cut", [lambda stream: [stream], byte_by_byte], ids=["whole", "bytes"])
def test_a_reader_does_not_mind_the_cuts(stream: bytes, cut: Callable[[bytes], list[bytes]]) -> None:
    """Names, data and raw bytes of the blocks are the same however they arrive."""
    assert read_blocks(cut(stream)) == read_blocks([stream[:1], stream[1:]])


def test_a_reader_passes_over_one_byte_order_mark() -> None:
    """Only the first block may have one, which stays in its raw bytes."""
    first, second = read_blocks([BOM + b"data: 1\n\n", BOM + b"data: 2\n\n"])
    assert first == ("message", b"1", BOM + b"data: 1\n\n")
    assert second == ("message", b"", BOM + b"data: 2\n\n")


@pytest.mark.parametrize("chunk", USUAL)
def test_a_reader_hands_on_a_whole_block_as_the_same_object(chunk: bytes) -> None:
    """The raw bytes of one block in one read are not copied, be it the first or a later one."""
    reader = EventReader()
    assert all(reader.feed(chunk)[0][2] is chunk for _ in range(3))


def test_a_reader_has_a_limit() -> None:
    """A block of the usual form is measured like any other."""
    reader = EventReader(limit=20)
    assert [reader.feed(b"data: 345678901234\n\n")[0][1] for _ in range(2)] == [b"345678901234"] * 2
    with pytest.raises(ResponseTooLarge):
        reader.feed(b"data: 3456789012345\n\n")


@pytest.mark.parametrize("data", [b"", b"1", b"1\n2", b"1\r2\r\n3", b"1\n"])
@pytest.mark.parametrize("name", [None, "e"])
def test_what_is_encoded_can_be_read(data: bytes, name: str | None) -> None:
    """Each line of the data is a line of the event."""
    assert parse_block(encode(data, event=name)) == (name or "message", b"\n".join(re.split(rb"\r\n|\n|\r", data)))


def event_of(size: int, line_end: bytes) -> bytes:
    return b"data: " + b"x" * (size - 6 - 2 * len(line_end)) + line_end * 2


def lines_of(size: int) -> bytes:
    lines = b"data: xxxxxxxxx\n" * (size // 16 - 1)
    return lines + b"data: " + b"y" * (size - len(lines) - 8) + b"\n\n"


@pytest.mark.parametrize("pieces", [1, 2, 4096])
@pytest.mark.parametrize(
    "build",
    [
        lambda size: event_of(size, b"\n"),
        lambda size: event_of(size, b"\r"),
        lines_of,
        lambda size: b":" * (size - 2) + b"\n\n",
    ],
    ids=["line", "cr line", "sum of lines", "comment"],
)
def test_limit(build: Callable[[int], bytes], pieces: int) -> None:
    """An event of exactly the limit passes, one byte more does not, however it arrives."""
    for extra in (0, 1):
        stream = build(EVENT_LIMIT + extra)
        assert len(stream) == EVENT_LIMIT + extra
        step = -(-len(stream) // pieces)
        chunks = [stream[at : at + step] for at in range(0, len(stream), step)]
        if extra:
            with pytest.raises(ResponseTooLarge, match="1048576"):
                split(chunks)
        else:
            assert b"".join(split(chunks)[0]) == stream


def test_limit_does_not_wait_for_the_end() -> None:
    """An event that never ends is refused as soon as it is too long."""
    splitter = EventSplitter(limit=100)
    assert splitter.feed(b"d" * 100) == []
    with pytest.raises(ResponseTooLarge):
        splitter.feed(b"d")


def test_limit_holds_for_a_late_event_of_a_chunk() -> None:
    """Each event of a chunk is measured, not only the first."""
    with pytest.raises(ResponseTooLarge):
        EventParser(limit=20).feed(b"data: 1\n\ndata: " + b"x" * 20 + b"\n\n")


def test_comment_flood() -> None:
    """Comments in any number dispatch nothing and do no harm to the event after them."""
    assert parse([b": ping\n\n" * 100_000 + b"data: 1\n\n"]) == [("message", b"1", "")]
    assert parse([b": ping\n"] * 10_000 + [b"data: 1\n\n"]) == [("message", b"1", "")]


class CountingPattern:
    """A compiled pattern that adds up how many bytes it was given to look at."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self._pattern = pattern
        self.bytes = 0

    def search(self, buffer: bytearray, start: int) -> re.Match[bytes] | None:
        self.bytes += len(buffer) - start
        return self._pattern.search(buffer, start)

    def finditer(self, buffer: bytes) -> Iterable[re.Match[bytes]]:
        self.bytes += len(buffer)
        return self._pattern.finditer(buffer)


@pytest.mark.parametrize("piece", [1, 3, 100])
def test_work_is_linear(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    """An event that arrives in thousands of pieces is scanned a constant number of times, not once for each piece."""
    counting = CountingPattern(sse._BLOCK_END)
    monkeypatch.setattr(sse, "_BLOCK_END", counting)
    stream = event_of(100_000, b"\n") + event_of(100_000, b"\r\n")
    blocks, _ = split(stream[at : at + piece] for at in range(0, len(stream), piece))
    assert len(blocks) == 2
    assert len(stream) - piece <= counting.bytes <= 3 * len(stream)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (b"data: x\n\n", ("message", b"x")),
        (b"data:x\n\n", ("message", b"x")),
        (b"data: x\r\n\r", ("message", b"x")),
        (b"data: x\r\rdata: y\n\n", ("message", b"x\ny")),
        (b"\ndata:  x\r\n\r", ("message", b" x")),
        (b"event: e\ndata: a\ndata: b\n\n", ("e", b"a\nb")),
        (b"event:\ndata: a\n\n", ("message", b"a")),
        (b": comment\n\n", ("message", b"")),
        (b"id: 1\ndata\n\n", ("message", b"")),
    ],
)
def test_parse_block(block: bytes, expected: tuple[str, bytes]) -> None:
    """Name and data of a block, for every way to write it."""
    assert parse_block(block) == expected


@pytest.mark.parametrize(
    ("data", "event", "wire"),
    [
        (b"{}", None, b"data: {}\n\n"),
        (b"{}", "error", b"event: error\ndata: {}\n\n"),
        (b"a\nb\r\nc\rd", None, b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
        (b"", None, b"data: \n\n"),
    ],
)
def test_encode(data: bytes, event: str | None, wire: bytes) -> None:
    """An event is written so that it reads back the same."""
    assert encode(data, event=event) == wire
    assert parse([wire]) == [(event or "message", re.sub(rb"\r\n|\r", b"\n", data), "")]
