"""What reading an event stream costs an event, however its bytes were cut, beside a plain reader of JSON lines.

Run it:  python benchmarks/bench_wire.py [--json FILE]
The readers: ``EventSplitter`` cuts into events and copies what it must; ``EventParser`` reads the fields of each;
``ChatStream`` is what a streamed answer passes on the native route, with every check of it; the plain reader splits at
empty lines and decodes each event with ``json.loads``, which is what most programs do. Events to be mended are those
of older backends, which lack a field that clients want. Microseconds of CPU an event, medians of interleaved rounds;
ratios to the plain reader, round by round.
"""

import json
import random
import time
from collections.abc import Callable

from fake_upstream import DELTA
from report import Column, Row, arguments, median, median_ratio, publish

from copilot_asgi.wire.chat_stream import ChatStream
from copilot_asgi.wire.sse import EventParser, EventSplitter

ROUNDS = 15
EVENTS = 1000
LARGEST_PIECE = 700  # bytes, when cut at odd places
PLAIN = "plain json.loads"
EVENT = DELTA % b" some words of an answer"
UNMENDED = EVENT.replace(b'"object":"chat.completion.chunk",', b"")

Feed = Callable[[bytes], object]


class PlainReader:
    """The side-by-side: no limits, no checks, LF only."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[object]:
        """The decoded events that ``chunk`` completes."""
        *events, self._rest = (self._rest + chunk).split(b"\n\n")
        return [json.loads(event[6:]) for event in events]


READERS: dict[str, Callable[[], Feed]] = {
    PLAIN: lambda: PlainReader().feed,
    "EventSplitter": lambda: EventSplitter().feed,
    "EventParser": lambda: EventParser().feed,
    "ChatStream": lambda: ChatStream("gpt-4o", include_usage=True, created=1, id="chatcmpl-1").feed,
}


def main() -> None:
    """Measure every reader with every cut in turn, round after round."""
    chosen = arguments(__doc__).parse_args()
    rounds = 1 if chosen.quick else ROUNDS
    cuts = {**cut([EVENT] * EVENTS), "one a piece, to be mended": [UNMENDED] * EVENTS}
    times: dict[tuple[str, str], list[float]] = {(name, reader): [] for name in cuts for reader in READERS}
    for _ in range(rounds):
        for (name, reader), each in times.items():
            each.append(timed(READERS[reader](), cuts[name]))
    rows: list[Row] = [
        {"cut": name, "reader": reader, "us": median(each), "ratio": median_ratio(each, times[name, PLAIN])}
        for (name, reader), each in times.items()
    ]
    publish("wire", f"Reading an event of {len(EVENT)} bytes, medians of {rounds} rounds", COLUMNS, rows, chosen.json)


def cut(events: list[bytes]) -> dict[str, list[bytes]]:
    """The same stream as it may arrive."""
    whole = b"".join(events)
    places = random.Random(1)
    odd, start = [], 0
    while start < len(whole):
        size = places.randint(1, LARGEST_PIECE)
        odd.append(whole[start : start + size])
        start += size
    tens = [b"".join(events[start : start + 10]) for start in range(0, len(events), 10)]
    return {"one a piece": events, "ten a piece": tens, "cut at odd places": odd}


def timed(feed: Feed, pieces: list[bytes]) -> float:
    """Microseconds of CPU an event."""
    start = time.process_time()
    for piece in pieces:
        feed(piece)
    return (time.process_time() - start) / EVENTS * 1e6


COLUMNS = (
    Column("cut", "how it arrives"),
    Column("reader", "reader"),
    Column("us", "us an event", "{:.2f}"),
    Column("ratio", "x plain", "{:.2f}"),
)

if __name__ == "__main__":
    main()
