"""What a second worker brings: ``serve --workers 1`` beside ``serve --workers 2``.

Run it:  python benchmarks/bench_workers.py [--rounds N] [--seconds S] [--workers 1,2] [--json FILE]
Nothing is kept to a CPU of its own here. Load and upstream are one process each, and need CPUs as well: the table says
how much they used, because with few CPUs it is they that set the limit, and not the workers.
"""

import os

from report import Column, Row, arguments, median, median_ratio, publish
from scenarios import SCENARIOS
from stand import Measured, Running, Stand
from targets import serve

RAMP = 0.5  # seconds over which connections come
WORK = ("plain-32", "burst-32", "prompts-32")


def main() -> None:
    """Measure each number of workers in turn, round after round."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--workers", default="1,2", help="numbers of workers; %(default)s")
    chosen = parser.parse_args()
    rounds, seconds = (1, 0.3) if chosen.quick else (chosen.rounds, chosen.seconds)
    counts = [int(count) for count in chosen.workers.split(",")]
    found: dict[tuple[str, int], list[tuple[Measured, float]]] = {
        (name, count): [] for name in WORK for count in counts
    }
    with Stand(pinned=False) as stand:
        running = {count: stand.start(f"workers-{count}", serve(f"--workers {count}")) for count in counts}
        for target in running.values():
            target.answer_first()
            target.work(SCENARIOS["plain-32"], seconds / 3)
            target.pause()
        for _ in range(rounds):
            for (name, count), each in found.items():
                each.append(measure(stand, running[count], name, seconds))
    rows = [row(name, count, each, found[name, counts[0]]) for (name, count), each in found.items()]
    title = f"serve with several workers on {os.cpu_count()} CPUs, medians of {rounds} rounds of {seconds:g} s"
    publish("workers", title, COLUMNS, rows, chosen.json)


def measure(stand: Stand, target: Running, name: str, seconds: float) -> tuple[Measured, float]:
    """One measurement, and the seconds of CPU that the upstream used for it."""
    target.resume()
    try:
        target.settle()
        before = stand.upstream.usage().cpu
        # Connections that come at the same moment may all be taken by one worker.
        measured = target.work(SCENARIOS[name], seconds, ramp=min(RAMP, seconds / 4))
        return measured, stand.upstream.usage().cpu - before
    finally:
        target.pause()


def row(
    name: str,
    count: int,
    mine: list[tuple[Measured, float]],
    first: list[tuple[Measured, float]],
) -> Row:
    """The medians of one scenario with so many workers."""
    rates = [measured.seen.units / measured.seen.seconds for measured, _ in mine]
    return {
        "scenario": name,
        "workers": count,
        "per_second": median(rates),
        "ratio": median_ratio(rates, [measured.seen.units / measured.seen.seconds for measured, _ in first]),
        "us": median(measured.microseconds for measured, _ in mine if measured.microseconds),
        "own": median(measured.cpu / measured.seen.seconds for measured, _ in mine),
        "load": median(measured.seen.cpu / measured.seen.seconds for measured, _ in mine),
        "upstream": median(cpu / measured.seen.seconds for measured, cpu in mine),
        "failed": sum(measured.seen.failed for measured, _ in mine),
    }


COLUMNS = (
    Column("scenario", "scenario"),
    Column("workers", "workers", "{:.0f}"),
    Column("per_second", "units a second", "{:,.0f}"),
    Column("ratio", "x one", "{:.2f}"),
    Column("us", "us of CPU a unit"),
    Column("own", "CPUs used", "{:.2f}"),
    Column("load", "by the load", "{:.2f}"),
    Column("upstream", "by the upstream", "{:.2f}"),
    Column("failed", "failed", "{:.0f}"),
)

if __name__ == "__main__":
    main()
