"""Draws the figures of a run as bars, in SVG, without any library.

Run it:  python benchmarks/plot.py DIRECTORY [--into docs/speed]
``DIRECTORY`` holds the JSON files of ``run_all.py``. Bars are compared within their group, each of which has a scale of
its own; less is better in all of them.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from types import MappingProxyType

import msgspec
from report import Row

ROOT = Path(__file__).resolve().parent.parent
WIDTH, LEFT, BAR, LINE = 760, 210, 440, 22  # pixels
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-size:15px;font-weight:600}"
    ".group{font-weight:600}.bar{fill:#8c959f}.own{fill:#0969da}"
)


class Figure(msgspec.Struct, frozen=True):
    """Which values of a benchmark are drawn: by which label, in which groups, and in which unit.

    Bars whose label begins with ``own`` stand out, all of them if it is empty.
    """

    benchmark: str
    title: str
    value: str
    label: str
    group: str | None = None
    form: str = "{:,.1f}"
    own: str = ""


FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "cpu": Figure("e2e", "Microseconds of CPU a chunk, or a plain answer", "us", "target", "scenario", own="serve"),
        "lag": Figure("e2e", "Milliseconds that a chunk comes later (median)", "lag_p50", "target", "scenario",
                      "{:,.2f}", "serve"),
        "scale": Figure("scale", "Microseconds of CPU a chunk, by open streams", "us", "streams"),
        "memory": Figure("memory", "Resident memory of serve, in MB", "mb", "when"),
        "wire": Figure("wire", "Microseconds to read an event", "us", "reader", "cut", "{:,.2f}", "ChatStream"),
    }
)  # fmt: skip

Groups = Mapping[str, list[tuple[str, float]]]


def main() -> None:
    """Draw each figure whose benchmark was run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path, help="where the JSON files are")
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "speed", help="where the figures go")
    chosen = parser.parse_args()
    chosen.into.mkdir(parents=True, exist_ok=True)
    for name, figure in FIGURES.items():
        source = chosen.directory / f"{figure.benchmark}.json"
        if source.exists():
            rows = json.loads(source.read_text())["rows"]
            drawn = "\n".join(svg(figure, grouped(figure, rows)))
            (chosen.into / f"{name}.svg").write_text(drawn + "\n")


def grouped(figure: Figure, rows: list[Row]) -> Groups:
    """The labels and values of each group; without groups there is one, which has no name."""
    found: dict[str, list[tuple[str, float]]] = {}
    for row in rows:
        value = row.get(figure.value)
        if isinstance(value, int | float):
            group = str(row[figure.group]) if figure.group else ""
            label = row[figure.label]
            text = f"{label:,}" if isinstance(label, int) else str(label)
            found.setdefault(group, []).append((text, value))
    return found


def svg(figure: Figure, groups: Groups) -> Iterator[str]:
    """The lines of the drawing."""
    lines = 2 + sum(len(bars) + (2 if name else 0) for name, bars in groups.items())
    height = lines * LINE
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    yield f"<title>{escape(figure.title)}</title><style>{STYLE}</style>"
    yield f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    yield f'<text class="title" x="8" y="{LINE}">{escape(figure.title)}</text>'
    top = 2 * LINE - 8
    for name, bars in groups.items():
        if name:
            top += LINE
            yield f'<text class="group" x="8" y="{top + 15}">{escape(name)}</text>'
            top += LINE
        longest = max(0.0, *(value for _, value in bars)) or 1.0
        for label, value in bars:
            yield from bar(figure, label, value, share=max(value, 0.0) / longest, top=top)
            top += LINE
    yield "</svg>"


def bar(figure: Figure, label: str, value: float, *, share: float, top: int) -> Iterator[str]:
    """A label, a bar of a ``share`` of the full length, and its value."""
    length = max(1.0, share * BAR)
    kind = "own" if label.startswith(figure.own) else "bar"
    yield f'<text x="{LEFT - 8}" y="{top + 15}" text-anchor="end">{escape(label)}</text>'
    yield f'<rect class="{kind}" x="{LEFT}" y="{top + 2}" width="{length:.1f}" height="{LINE - 6}" rx="2"/>'
    yield f'<text x="{LEFT + length + 6:.1f}" y="{top + 15}">{figure.form.format(value)}</text>'


if __name__ == "__main__":
    main()
