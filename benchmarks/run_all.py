"""Runs the benchmarks one after another and keeps their figures; with ``--publish`` the pages and plots get them.

Run it:  python benchmarks/run_all.py DIRECTORY [--only wire,e2e] [--quick] [--publish]
Each benchmark leaves ``DIRECTORY/NAME.json``. On a page, what stands between ``<!-- table: NAME -->`` and ``<!-- end
-->`` becomes the table of that benchmark, and what follows ``<!-- machine -->`` becomes what it was measured with.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PAGES = (HERE / "README.md", ROOT / "docs" / "speed.md")
NAMES = ("request", "wire", "translate", "pipeline", "stages", "e2e", "scale", "memory", "workers")
MARKED = re.compile(r"<!-- (?:table: (?P<name>\w+)|machine) -->\n.*?<!-- end -->", re.DOTALL)


def main() -> None:
    """Run what was chosen; a benchmark that fails ends it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path, help="where the figures go")
    parser.add_argument(
        "--only", default=",".join(NAMES), help="some of %(default)s; nothing, to publish what is there"
    )
    parser.add_argument("--quick", action="store_true", help="measure next to nothing, to see that it works")
    parser.add_argument("--publish", action="store_true", help="put the figures into the pages, and draw the plots")
    chosen = parser.parse_args()
    chosen.directory.mkdir(parents=True, exist_ok=True)
    for name in filter(None, chosen.only.split(",")):
        run(name, chosen.directory.resolve(), quick=chosen.quick)
    if chosen.publish:
        subprocess.run([sys.executable, HERE / "plot.py", chosen.directory], check=True)
        for page in PAGES:
            page.write_text(filled(page.read_text(), chosen.directory))


def run(name: str, directory: Path, *, quick: bool) -> None:
    """Run one benchmark, which prints its table."""
    options = ["--quick"] if quick else []
    file = directory / f"{name}.json"
    subprocess.run([sys.executable, HERE / f"bench_{name}.py", "--json", file, *options], check=True)


def filled(text: str, directory: Path) -> str:
    """A page with the figures that ``directory`` holds; what it does not hold stays as it is."""

    def replaced(mark: re.Match[str]) -> str:
        name = mark["name"]
        file = directory / f"{name or 'e2e'}.json"
        if not file.exists():
            return mark[0]
        found = json.loads(file.read_text())
        if name is None:
            return f"<!-- machine -->\n{', '.join(described(found['machine']))}.\n<!-- end -->"
        return f"<!-- table: {name} -->\n{found['title']}.\n\n{found['table']}\n<!-- end -->"

    return MARKED.sub(replaced, text)


def described(machine: dict[str, str]) -> list[str]:
    """What the figures depend on, in words; date, processor, system and interpreter name themselves."""
    named = ("date", "processor", "system", "Python")
    return [value if key in named else f"{key} {value}" for key, value in machine.items()]


if __name__ == "__main__":
    main()
