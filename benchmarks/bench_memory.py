"""How much memory serving takes: at its start, for each open stream, and whether it stays flat.

Run it:  python benchmarks/bench_memory.py [--streams N] [--waves N] [--json FILE]
An idle stream has sent one chunk and then waits, as a model does that thinks. ``--streams 10000`` shows that so many at
once are served; it needs a limit of open files that root may raise, and else ``ulimit -Hn`` names. What is measured is
the resident memory of all processes of the server.
"""

from report import Column, Row, arguments, publish
from scenarios import Scenario
from stand import Running, Stand
from targets import OWN

RAMP_RATE = 1_000  # streams that are opened in a second
SILENCE = 600_000_000  # microseconds
SETTLED = 1.0  # seconds that idle streams are held before memory is read
WAVE = Scenario(connections=32, chunks=20)


def main() -> None:
    """Measure one server from its start to the last wave."""
    parser = arguments(__doc__)
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--waves", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each wave")
    chosen = parser.parse_args()
    seconds, streams = (0.2, min(chosen.streams, 50)) if chosen.quick else (chosen.seconds, chosen.streams)
    with Stand(files=2 * streams + 200) as stand:
        serve = stand.start("serve", OWN["serve"])
        serve.settle()
        rows = [row("listening", serve.usage().resident)]
        serve.answer_first()
        rows.append(row("first answers", serve.usage().resident))
        rows.append(idle(serve, streams))
        rows += [wave(serve, number, seconds) for number in range(1, chosen.waves + 1)]
    publish("memory", "Resident memory of serve, from its start on", COLUMNS, rows, chosen.json)


def row(when: str, resident: int, *, streams: int | None = None, base: int = 0, failed: int = 0) -> Row:
    """A line of the table; ``base`` is the memory before the streams were opened."""
    each = (resident - base) / streams / 1e3 if streams else None
    return {"when": when, "mb": resident / 1e6, "kb_a_stream": each, "failed": failed}


def idle(target: Running, streams: int) -> Row:
    """The memory with ``streams`` of them open and silent."""
    base = target.usage().resident
    scenario = Scenario(connections=streams, chunks=2, pause=SILENCE)
    measured, usage = target.hold(scenario, SETTLED, ramp=streams / RAMP_RATE)
    seen = measured.seen
    missing = seen.failed + max(0, streams - seen.open)
    return row(f"{streams:,} idle streams", usage.resident, streams=streams, base=base, failed=missing)


def wave(target: Running, number: int, seconds: float) -> Row:
    """The memory after one more wave of requests."""
    seen = target.work(WAVE, seconds).seen
    return row(f"wave {number}, {seen.answers:,} answers", target.usage().resident, failed=seen.failed)


COLUMNS = (
    Column("when", "when"),
    Column("mb", "MB"),
    Column("kb_a_stream", "kB a stream"),
    Column("failed", "failed", "{:.0f}"),
)

if __name__ == "__main__":
    main()
