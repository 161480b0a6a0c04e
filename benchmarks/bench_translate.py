"""What translating costs an event, for each pair of dialects, and that it does not grow with the stream's length.

Run it:  python benchmarks/bench_translate.py [--json FILE] [--quick]
For each direction it prints microseconds an upstream event (median of interleaved rounds) for a stream of 100 and of
1,000 events, and the ratio of the two: 1.0 is linear. The last rows are the native route, for scale, with one event in
a read and with ten.
"""

import time
from collections.abc import Callable
from functools import partial

from report import Column, Row, arguments, median, median_ratio, publish

from copilot_asgi.translate.conversation import Conversation, Role, Text, Turn
from copilot_asgi.translate.events import (
    Event,
    Finish,
    Finished,
    Kind,
    PartDelta,
    PartFinished,
    PartStarted,
    Started,
    Usage,
)
from copilot_asgi.translate.ids import ToolNames
from copilot_asgi.translated import CLIENTS, UPSTREAMS, Relay
from copilot_asgi.wire.chat_stream import ChatStream
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.messages import MessagesStream
from copilot_asgi.wire.responses import ResponsesStream
from copilot_asgi.wire.sse import EventSplitter
from copilot_asgi.wire.stream import StreamMender

ROUNDS = 15
LENGTHS = (100, 1000)
COLUMNS = (
    Column("direction", "upstream -> client"),
    Column("short", f"{LENGTHS[0]:,} events", "{:.2f}"),
    Column("long", f"{LENGTHS[1]:,} events", "{:.2f}"),
    Column("growth", "growth", "x {:.2f}"),
)
WORDS = "some words of an answer, about thirty bytes "
DIALECTS = (Dialect.CHAT, Dialect.MESSAGES, Dialect.RESPONSES)


def conversation() -> Conversation:
    """What the client asked."""
    return Conversation(model="m", stream=True, turns=(Turn(Role.USER, (Text("hello"),)),), include_usage=True)


def upstream_stream(dialect: Dialect, length: int) -> list[bytes]:
    """A stream of about ``length`` events as upstream sends it, an event a piece."""
    encoder = CLIENTS[dialect, ""].encoder(conversation(), id="1", created=1, prompt_tokens=1)
    events: list[Event] = [
        Started("1", "m"),
        PartStarted(0, Kind.TEXT),
        *[PartDelta(0, WORDS) for _ in range(length)],
        PartFinished(0),
        Finished(Finish.STOP, Usage(input=1, output=length)),
    ]
    wire = b"".join([encoder.encode(event) for event in events])
    return EventSplitter().feed(wire)


def relay(client: Dialect, upstream: Dialect) -> StreamMender:
    """What stands between the two in a translated exchange."""
    side = CLIENTS[client, ""]
    encoder = side.encoder(conversation(), id="1", created=1, prompt_tokens=1)
    return Relay(UPSTREAMS[upstream].decoder(names=ToolNames()), encoder, side.closing)


NATIVE: dict[Dialect, Callable[[], StreamMender]] = {
    Dialect.CHAT: lambda: ChatStream("m", include_usage=True, created=1, id="chatcmpl-1"),
    Dialect.MESSAGES: lambda: MessagesStream(context_management=False),
    Dialect.RESPONSES: ResponsesStream,
}


def timed(make: Callable[[], StreamMender], events: list[bytes], *, a_read: int) -> float:
    """Microseconds an event, of which each read brings some."""
    mender = make()
    reads = [b"".join(events[at : at + a_read]) for at in range(0, len(events), a_read)]
    start = time.perf_counter()
    for read in reads:
        mender.feed(read)
    mender.finish()
    return (time.perf_counter() - start) / len(events) * 1e6


def main() -> None:
    """Measure every direction in turn, round after round."""
    chosen = arguments(__doc__).parse_args()
    rounds = 1 if chosen.quick else ROUNDS
    rows: dict[str, tuple[Callable[[], StreamMender], Dialect, int]] = {}
    for upstream in DIALECTS:
        for client in DIALECTS:
            if client is not upstream:
                rows[f"{upstream.value} -> {client.value}"] = partial(relay, client, upstream), upstream, 1
    for a_read, label in ((1, "native"), (10, "native, ten a read")):
        rows |= {f"{dialect.value}, {label}": (make, dialect, a_read) for dialect, make in NATIVE.items()}
    streams = {(dialect, length): upstream_stream(dialect, length) for dialect in DIALECTS for length in LENGTHS}
    times: dict[str, dict[int, list[float]]] = {name: {length: [] for length in LENGTHS} for name in rows}
    for _ in range(rounds):
        for name, (make, dialect, a_read) in rows.items():
            for length in LENGTHS:
                times[name][length].append(timed(make, streams[dialect, length], a_read=a_read))
    table: list[Row] = [
        {
            "direction": name,
            "short": median(each[LENGTHS[0]]),
            "long": median(each[LENGTHS[1]]),
            "growth": median_ratio(each[LENGTHS[1]], each[LENGTHS[0]]),
        }
        for name, each in times.items()
    ]
    publish("translate", f"Microseconds an event, medians of {rounds} rounds", COLUMNS, table, chosen.json)


if __name__ == "__main__":
    main()
