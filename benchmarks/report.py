"""What every benchmark tells at its end: one Markdown table on stdout and, with ``--json``, the same as a file.

Rule: figures come with the machine, the versions and the date they were measured with.
"""

import argparse
import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

PACKAGES = ("copilot-asgi", "anyio", "httptools", "httpx", "msgspec", "uvicorn", "uvloop")

Row = Mapping[str, str | float | None]


class Column(msgspec.Struct, frozen=True):
    """A column of a table: the key of its values, its heading, and how a number is written."""

    key: str
    heading: str
    form: str = "{:,.1f}"

    def text(self, row: Row) -> str:
        """The cell; empty where there is no value."""
        value = row.get(self.key)
        if value is None or isinstance(value, str):
            return value or ""
        return self.form.format(value)


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark takes."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file as well")
    parser.add_argument("--quick", action="store_true", help="measure next to nothing, to see that it works")
    return parser


def median(values: Iterable[float]) -> float | None:
    """The median, ``None`` of nothing."""
    found = sorted(values)
    return statistics.median(found) if found else None


def median_ratio(values: Sequence[float], others: Sequence[float]) -> float | None:
    """The median of the ratios, round by round; a round in which ``others`` has nothing does not count."""
    return median(one / other for one, other in zip(values, others, strict=True) if other)


def publish(name: str, title: str, columns: Sequence[Column], rows: Sequence[Row], file: Path | None) -> None:
    """Print the table, and write what ``run_all.py`` and ``plot.py`` read."""
    table = "\n".join(_lines(columns, rows))
    print(f"\n{title}\n\n{table}")
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        found = {"benchmark": name, "title": title, "machine": machine(), "rows": rows, "table": table}
        file.write_text(json.dumps(found, indent=2) + "\n")


def machine() -> dict[str, str]:
    """What the figures depend on."""
    versions = {package: found for package in PACKAGES if (found := _version(package))}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": f"{_processor()}, {os.cpu_count()} CPUs",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        **versions,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _lines(columns: Sequence[Column], rows: Sequence[Row]) -> Iterable[str]:
    """A Markdown table, in columns of one width, texts to the left and numbers to the right."""
    cells = [[column.heading for column in columns], *([column.text(row) for column in columns] for row in rows)]
    widths = [max(3, *(len(line[index]) for line in cells)) for index in range(len(columns))]
    left = [all(isinstance(row.get(column.key), str | None) for row in rows) for column in columns]
    rule = ["-" * width if is_left else "-" * (width - 1) + ":" for width, is_left in zip(widths, left, strict=True)]
    for line in (cells[0], rule, *cells[1:]):
        padded = (
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(line, widths, left, strict=True)
        )
        yield f"| {' | '.join(padded)} |"
