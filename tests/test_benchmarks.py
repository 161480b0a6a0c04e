"""The benchmarks work: each measures next to nothing here; of its figures those are looked at that say what failed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"

needs_linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the CPU time of others from /proc")


def run(script: str, *options: str | Path, cwd: Path) -> str:
    """What a script prints; it has to succeed."""
    command = [sys.executable, BENCHMARKS / script, *options]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rows(name: str, directory: Path, *options: str) -> list[dict[str, Any]]:
    """What a benchmark measured, which is what it printed as well."""
    file = directory / f"{name}.json"
    printed = run(f"bench_{name}.py", "--quick", "--json", file, *options, cwd=directory)
    found = json.loads(file.read_text())
    assert found["benchmark"] == name
    assert found["table"] in printed
    assert found["title"] in printed
    return found["rows"]


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [
        ("request", "way", {"shallow decode", "who spoke last, and any image"}),
        ("translate", "direction", {"chat -> messages", "chat, native", "chat, native, ten a read"}),
        ("wire", "reader", {"plain json.loads", "EventSplitter", "EventParser", "ChatStream"}),
        ("pipeline", "setup", {"no stages", "all stages"}),
        ("stages", "stage", {"the edge", "identify", "translation", "forward"}),
    ],
)
def test_what_runs_in_one_process(name: str, key: str, expected: set[str], tmp_path: Path) -> None:
    """Each way is measured, and compared to the first one."""
    found = rows(name, tmp_path)
    assert expected <= {row[key] for row in found}
    assert all(value is not None for row in found for value in row.values())


@pytest.mark.servers
@needs_linux
def test_serving_is_measured_beside_a_pass_through(tmp_path: Path) -> None:
    """Every target does every kind of work without a failure; upstream itself, asked directly, has no CPU time."""
    scenarios = "plain-32,burst-32,translated-32,agent-8"
    found = rows("e2e", tmp_path, "--targets", "serve,pass-through", "--scenarios", scenarios)
    assert [row["scenario"] for row in found[::3]] == scenarios.split(",")
    assert [row["target"] for row in found[:3]] == ["direct", "serve", "pass-through"]
    assert {row["failed"] for row in found} == {0}
    assert all((row["us"] is None) is (row["target"] == "direct") for row in found)
    assert all((row["lag_p50"] is None) is (row["scenario"] == "plain-32") for row in found)


@pytest.mark.servers
@needs_linux
def test_a_described_peer_is_a_target(tmp_path: Path) -> None:
    """A TOML file says how a program is started and asked; what it needs and is not there is named."""
    (tmp_path / "bare.toml").write_text(
        'command = "@python@ -m uvicorn pass_through:app --app-dir @place@ --port @port@"\n'
        'env = { BENCH_UPSTREAM = "@upstream@" }\n'.replace("@place@", str(BENCHMARKS))
    )
    (tmp_path / "gone.toml").write_text('command = "gone --port @port@"\nneeds = "@env@/gone"\n')
    found = rows("e2e", tmp_path, "--peers", str(tmp_path), "--targets", "bare", "--scenarios", "burst-32")
    assert [(row["target"], row["failed"]) for row in found] == [("direct", 0), ("bare", 0)]
    command = [sys.executable, BENCHMARKS / "bench_e2e.py", "--peers", tmp_path, "--targets", "gone"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "gone: unknown, or not installed" in refused.stderr


@pytest.mark.servers
@needs_linux
def test_a_load_counts_what_is_not_whole(tmp_path: Path) -> None:
    """A target that answers with something else is not measured as if it had worked."""
    (tmp_path / "wrong.toml").write_text('command = "@python@ -m http.server @port@ --bind 127.0.0.1"\n')
    code = (
        "import sys; from pathlib import Path; from stand import Stand; from targets import known\n"
        "from scenarios import SCENARIOS\n"
        "with Stand() as stand:\n"
        "    wrong = stand.start('wrong', known(Path(sys.argv[1]))['wrong'])\n"
        "    seen = wrong.work(SCENARIOS['burst-32'], 0.05).seen\n"
        "    print(seen.answers, seen.failed > 0, seen.error)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(BENCHMARKS)}
    command = [sys.executable, "-c", code, tmp_path]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "0 True status 501, 0 chunks, in order: True\n"


@pytest.mark.servers
@needs_linux
@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("scale", ("--counts", "1,32"), 2),
        ("memory", ("--waves", "2"), 5),
        ("workers", (), 6),
    ],
)
def test_what_needs_a_server(name: str, options: tuple[str, ...], count: int, tmp_path: Path) -> None:
    """Nothing fails or is missing, and there is a row for each thing that was asked for."""
    found = rows(name, tmp_path, *options)
    assert len(found) == count
    assert {row["failed"] for row in found} == {0}


def test_figures_are_published(tmp_path: Path) -> None:
    """A run leaves a file for each benchmark; the pages get its table, the plots its bars, and the rest stays."""
    for name in ("benchmarks", "docs"):
        (tmp_path / name).mkdir()
    for script in BENCHMARKS.glob("*.py"):
        shutil.copy(script, tmp_path / "benchmarks")
    page = "Before\n<!-- table: wire -->\nold\n<!-- end -->\n<!-- table: e2e -->\nkept\n<!-- end -->\nAfter\n"
    for name in ("benchmarks/README.md", "docs/speed.md"):
        (tmp_path / name).write_text(page)
    command = [sys.executable, tmp_path / "benchmarks/run_all.py", "figures", "--only", "wire", "--quick", "--publish"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    table = json.loads((tmp_path / "figures/wire.json").read_text())["table"]
    published = (tmp_path / "docs/speed.md").read_text()
    assert table in published
    assert "old" not in published
    assert published.startswith("Before\n<!-- table: wire -->\n")
    assert published.endswith("<!-- table: e2e -->\nkept\n<!-- end -->\nAfter\n")
    assert (tmp_path / "benchmarks/README.md").read_text() == published
    drawing = ET.parse(tmp_path / "docs/speed/wire.svg").getroot()
    assert len(drawing.findall("{*}rect")) == 1 + len(json.loads((tmp_path / "figures/wire.json").read_text())["rows"])


def test_pages_hold_a_place_for_each_table() -> None:
    """The benchmarks' own page shows every benchmark that ``run_all.py`` runs."""
    page = (BENCHMARKS / "README.md").read_text()
    scripts = {path.stem.removeprefix("bench_") for path in BENCHMARKS.glob("bench_*.py")}
    assert {name for name in scripts if f"bench_{name}.py" in page} == scripts
    assert scripts == {name for name in scripts if f"<!-- table: {name} -->\n" in page}
