"""What a chunk costs when 1 to 1,000 streams are open, and that it does not grow with their number.

Run it:  python benchmarks/bench_scale.py [--rounds N] [--seconds S] [--counts 1,32,...] [--json FILE]
All streams together bring the same number of chunks a second, whatever their number, and only what is used while all of
them are open is counted: what is left to grow is the work that is done for streams that have nothing to do.
"""

from report import Column, Row, arguments, median, median_ratio, publish
from scenarios import Scenario
from stand import Running, Stand
from targets import OWN

RATE = 2_000  # chunks a second, of all streams together
RAMP_RATE = 2_000  # streams that are opened in a second
REFERENCE = 32


def main() -> None:
    """Measure each number of streams in turn, round after round."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--counts", default="1,8,32,128,512,1000", help="numbers of streams; %(default)s")
    chosen = parser.parse_args()
    rounds, seconds = (1, 0.3) if chosen.quick else (chosen.rounds, chosen.seconds)
    counts = [int(count) for count in chosen.counts.split(",")]
    found: dict[int, list[float]] = {count: [] for count in counts}
    failed = dict.fromkeys(counts, 0)
    with Stand(files=2 * max(counts) + 200) as stand:
        serve = stand.start("serve", OWN["serve"])
        serve.answer_first()
        for _ in range(rounds):
            for count in counts:
                cost, missing = measure(serve, count, seconds)
                found[count].append(cost)
                failed[count] += missing
    reference = found.get(REFERENCE) or found[counts[0]]
    rows: list[Row] = [
        {
            "streams": count,
            "us": median(costs),
            "growth": median_ratio(costs, reference),
            "failed": failed[count],
        }
        for count, costs in found.items()
    ]
    publish("scale", f"{RATE:,} chunks a second over so many streams, medians of {rounds} rounds", COLUMNS, rows,
            chosen.json)  # fmt: skip


def measure(target: Running, count: int, seconds: float) -> tuple[float, int]:
    """Microseconds of CPU for a chunk, and how many streams failed or did not begin."""
    # Long enough not to end while it is measured, however long the opening takes.
    scenario = Scenario(connections=count, chunks=10_000_000, pause=count * 1_000_000 // RATE)
    measured, _ = target.hold(scenario, seconds, ramp=count / RAMP_RATE)
    seen = measured.seen
    return measured.cpu / max(seen.chunks, 1) * 1e6, seen.failed + max(0, count - seen.open)


COLUMNS = (
    Column("streams", "streams", "{:,.0f}"),
    Column("us", "us of CPU a chunk"),
    Column("growth", "growth", "x {:.2f}"),
    Column("failed", "failed", "{:.0f}"),
)

if __name__ == "__main__":
    main()
