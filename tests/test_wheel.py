"""What people install holds everything that is needed, and nothing else."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parent.parent


def test_the_wheel_is_the_package(tmp_path: Path) -> None:
    """All modules and data files, the licence, the command; no tests."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("copilot_asgi-*.whl")
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry = next(name for name in names if name.endswith("entry_points.txt"))
        assert "copilot-asgi = copilot_asgi.cli.entry:main" in archive.read(entry).decode()
    package = ROOT / "copilot_asgi"
    modules = {path.relative_to(ROOT).as_posix() for path in package.rglob("*.py")}
    data = {"copilot_asgi/py.typed", "copilot_asgi/simulator/catalog.json"}
    assert {name for name in names if name.startswith("copilot_asgi/")} == modules | data
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests/", "examples/", "benchmarks/")) for name in names)
