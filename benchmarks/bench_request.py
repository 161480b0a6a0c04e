"""What decoding a request once and shallowly saves, beside a full decode, on an agent's request of 187 KiB.

Run it:  python benchmarks/bench_request.py [--json FILE]
It prints the median of each way in microseconds of CPU, and its ratio to the shallow decode of the same round.
"""

import json
import time
from collections.abc import Callable

import msgspec
from report import Column, Row, arguments, median, median_ratio, publish

from copilot_asgi.exchange import Request
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.turn import turn_facts

ROUNDS = 30
CALLS = 50


def agent_request() -> bytes:
    """A request of 187 KiB as coding agents send it: many turns, tools, code."""
    line = "    return [value for value in values if value is not None]  # kept\n"
    turn = {"role": "user", "content": line * 20}
    tool = {"type": "function", "function": {"name": "read_file", "parameters": {"type": "object", "properties": {}}}}
    body = {"model": "gpt-4o", "stream": True, "tools": [tool] * 20, "messages": [turn] * 134}
    return json.dumps(body).encode()


def full_round_trip(body: bytes) -> bytes:
    """Decode everything, change the model, encode everything."""
    value = msgspec.json.decode(body)
    value["model"] = "gpt-4.1"
    return msgspec.json.encode(value)


def json_round_trip(body: bytes) -> bytes:
    """The same with the standard library."""
    value = json.loads(body)
    value["model"] = "gpt-4.1"
    return json.dumps(value).encode()


def main() -> None:
    """Measure the ways in turn, round after round."""
    chosen = arguments(__doc__).parse_args()
    body = agent_request()
    request = Request.decode(Dialect.CHAT, (), body)
    ways: dict[str, Callable[[], object]] = {
        "shallow decode": lambda: Request.decode(Dialect.CHAT, (), body),
        "replace one key": lambda: request.replace({"model": b'"gpt-4.1"'}),
        "who spoke last, and any image": lambda: turn_facts(Dialect.CHAT, request.fields),
        "full decode and encode, msgspec": lambda: full_round_trip(body),
        "full decode and encode, json": lambda: json_round_trip(body),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    rounds = 1 if chosen.quick else ROUNDS
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            for _ in range(CALLS):
                way()
            times[name].append((time.process_time() - start) / CALLS * 1e6)
    base = times["shallow decode"]
    rows: list[Row] = [
        {"way": name, "us": median(each), "ratio": median_ratio(each, base)} for name, each in times.items()
    ]
    title = f"A request of {len(body) / 1024:.0f} KiB, medians of {rounds} rounds"
    publish("request", title, COLUMNS, rows, chosen.json)


COLUMNS = (
    Column("way", "way"),
    Column("us", "us"),
    Column("ratio", "x shallow", "{:.2f}"),
)

if __name__ == "__main__":
    main()
