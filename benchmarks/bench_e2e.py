"""What serving costs from socket to socket: our server, the same over httpx, nginx and a bare pass-through, in turn.

Run it:  python benchmarks/bench_e2e.py [--rounds N] [--seconds S] [--scenarios A,B] [--targets A,B] [--json FILE]
A unit is a chunk of a stream, or a plain answer. ``units a CPU second`` is the figure to compare: what a target does in
a second of its own CPU time. Milliseconds to the first byte (of a stream: to the first chunk of text), and those from a
chunk's sending to its arrival (lag), are what comes on top of asking upstream directly in the same round; those of
``direct`` itself are whole. Medians of all rounds, ratios round by round. Where nothing paces the work (plain, burst,
translated) these times are those of a queue that is always full. Who takes no Messages is asked for Chat instead.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from report import Column, Row, arguments, median, median_ratio, publish
from scenarios import SCENARIOS
from stand import Measured, Running, Stand
from targets import PEERS, Target, known

DEFAULT = ("serve", "serve-httpx", "pass-through", "nginx")
DIRECT = "direct"
RAMP = 0.5  # seconds at most over which the connections of a scenario start
TIMES = (("first", "p50"), ("first", "p99"), ("lag", "p50"), ("lag", "p99"))

Rounds = Mapping[tuple[str, str], Sequence[Measured]]  # by scenario and target


def main() -> None:
    """Start the targets, and measure each scenario with each of them, round after round."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--scenarios", default=",".join(SCENARIOS), help="some of %(default)s")
    parser.add_argument("--targets", help="some of those of this file and of --peers; nginx if it is installed")
    parser.add_argument("--base", default="pass-through", help="the target that ratios are taken to")
    parser.add_argument("--peers", type=Path, default=PEERS, help="a directory of TOML files, see peers/README.md")
    parser.add_argument("--env", type=Path, default=PEERS / ".env", help="where peers/setup.sh has installed them")
    chosen = parser.parse_args()
    rounds, seconds = (1, 0.2) if chosen.quick else (chosen.rounds, chosen.seconds)
    environment = chosen.env.resolve()
    targets = choose(chosen.targets, known(chosen.peers), environment)
    scenarios = chosen.scenarios.split(",")
    with Stand(environment=environment) as stand:
        running = {name: warmed(stand.start(name, target)) for name, target in targets.items()}
        found = measure(running, scenarios, rounds=rounds, seconds=seconds)
    base = chosen.base if chosen.base in targets else next(name for name in targets if name != DIRECT)
    rows = [row(found, scenario, name, base) for scenario in scenarios for name in targets]
    title = f"Serving, medians of {rounds} rounds of {seconds:g} s; milliseconds on top of those of `direct`"
    publish("e2e", title, columns(base), rows, chosen.json)


def choose(names: str | None, targets: Mapping[str, Target], environment: Path) -> dict[str, Target]:
    """The targets of these names, by default those that are there; ``direct`` is always among them."""
    if names is not None:
        wanted = names.split(",")
    else:
        wanted = [name for name in DEFAULT if targets[name].is_there(environment)]
    missing = [name for name in wanted if name not in targets or not targets[name].is_there(environment)]
    if missing:
        raise SystemExit(f"{', '.join(missing)}: unknown, or not installed. Known are {', '.join(targets)}.")
    return {name: targets[name] for name in dict.fromkeys((DIRECT, *wanted))}


def warmed(target: Running) -> Running:
    """The target when it has answered a few requests; it stands still until it is its turn."""
    target.answer_first()
    for name in ("plain-32", "burst-32"):
        target.work(SCENARIOS[name], 0.3)
    target.pause()
    return target


def measure(targets: Mapping[str, Running], scenarios: Sequence[str], *, rounds: int, seconds: float) -> Rounds:
    """Every scenario with every target, in another order in each round."""
    found: dict[tuple[str, str], list[Measured]] = {}
    for _ in range(rounds):
        for scenario in scenarios:
            for name in random.sample(list(targets), len(targets)):
                measured = measure_one(targets[name], scenario, seconds)
                found.setdefault((scenario, name), []).append(measured)
                if measured.seen.failed:
                    print(f"{name} {scenario}: {measured.seen.failed} failed: {measured.seen.error}")
    return found


def measure_one(target: Running, scenario: str, seconds: float) -> Measured:
    """One measurement; the target stands still before and after it."""
    target.resume()
    try:
        target.settle()
        return target.work(SCENARIOS[scenario], seconds * target.target.patience, ramp=min(RAMP, seconds / 4))
    finally:
        target.pause()


def row(found: Rounds, scenario: str, name: str, base: str) -> Row:
    """The medians of one scenario with one target."""
    mine, direct = found[scenario, name], found[scenario, DIRECT]
    work = [one.microseconds for one in mine]
    rates = [1e6 / each for each in work if each]
    others = [1e6 / one.microseconds if one.microseconds else 0.0 for one in found[scenario, base]]
    return {
        "scenario": scenario,
        "target": name,
        "rate": median(rates),
        "us": median(each for each in work if each),
        "ratio": median_ratio(rates, others) if len(rates) == len(others) else None,
        "per_second": median(one.seen.units / one.seen.seconds for one in mine),
        **{
            f"{kind}_{percentile}": added(mine, direct if name != DIRECT else None, kind, percentile)
            for kind, percentile in TIMES
        },
        "failed": sum(one.seen.failed for one in mine),
    }


def added(mine: Sequence[Measured], direct: Sequence[Measured] | None, kind: str, percentile: str) -> float | None:
    """The median of what ``mine`` took longer than ``direct``, in milliseconds; ``None`` where no time was taken."""
    own = [milliseconds(one, kind, percentile) for one in mine]
    less = [milliseconds(one, kind, percentile) for one in direct] if direct is not None else [0.0] * len(own)
    return median(one - other for one, other in zip(own, less, strict=True)) if any(own) else None


def milliseconds(measured: Measured, kind: str, percentile: str) -> float:
    """One of the times that the load saw."""
    times = measured.seen.first if kind == "first" else measured.seen.lag
    return times.p50 if percentile == "p50" else times.p99


def columns(base: str) -> tuple[Column, ...]:
    """What the table shows."""
    return (
        Column("scenario", "scenario"),
        Column("target", "target"),
        Column("rate", "units a CPU second", "{:,.0f}"),
        Column("us", "us of CPU a unit"),
        Column("ratio", f"x {base}", "{:.3g}"),
        Column("per_second", "units a second", "{:,.0f}"),
        Column("first_p50", "first p50", "{:.2f}"),
        Column("first_p99", "first p99", "{:.2f}"),
        Column("lag_p50", "lag p50", "{:.2f}"),
        Column("lag_p99", "lag p99", "{:.2f}"),
        Column("failed", "failed", "{:.0f}"),
    )


if __name__ == "__main__":
    main()
