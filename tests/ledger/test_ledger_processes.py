"""Several processes on one ledger: what it says was spent is what upstream says it charged, to the last billionth."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import anyio
import pytest

from copilot_asgi.ledger import By, Reservation, Total
from copilot_asgi.ledger.sqlite import SqliteLedger
from copilot_asgi.simulator import Simulator
from tests.hosts.processes import clean_environment, until
from tests.hosts.simulation import settings_for, simulation

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

SPENDER = Path(__file__).parent / "spender.py"
PROCESSES = 8
CONCURRENCY = 4
REQUESTS = 10_000


BUDGET = {"COPILOT_ASGI_BUDGET": "1000000 credits/month"}
RECORD_ONLY = {"COPILOT_ASGI_LEDGER": "true"}


@contextmanager
def spenders(
    url: str,
    simulator: Simulator,
    directory: Path,
    requests: int,
    *,
    processes: int = PROCESSES,
    kept: Mapping[str, str] = MappingProxyType(BUDGET),
) -> Iterator[list["subprocess.Popen[str]"]]:
    """Processes that have begun to spend; ``kept`` says why there is a ledger."""
    env = clean_environment(**settings_for(url, simulator.sign_in()), COPILOT_ASGI_DATA_DIR=str(directory), **kept)
    command = [sys.executable, str(SPENDER), str(requests // processes), str(CONCURRENCY)]
    running = [
        subprocess.Popen(command, env=env, cwd=directory, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(processes)
    ]
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in running:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def record(directory: Path) -> tuple[Sequence[Total], list[Reservation]]:
    """What the ledger says: the totals by caller, and what was never settled."""

    async def read() -> tuple[Sequence[Total], list[Reservation]]:
        ledger = SqliteLedger(directory / "ledger.sqlite3")
        totals = await ledger.totals(datetime(2020, 1, 1, tzinfo=UTC), None, (By.CALLER,))
        unsettled = await ledger.unsettled()
        await ledger.close()
        return totals, unsettled

    return anyio.run(read)


def test_ten_thousand_requests_of_eight_processes(tmp_path: Path) -> None:
    """Nothing is lost and nothing counted twice."""
    with simulation() as (simulator, url):
        with spenders(url, simulator, tmp_path, REQUESTS) as running:
            answered = [int(process.communicate()[0]) for process in running]
        totals, unsettled = record(tmp_path)
        assert sum(answered) == REQUESTS == sum(total.requests for total in totals)
        assert sum(total.nano_credits for total in totals) == simulator.ledger.nano_aiu > 0
        assert unsettled == []
        assert sum(total.estimated for total in totals) == 0


def test_processes_that_are_killed(tmp_path: Path) -> None:
    """What a killed process had under way is listed, at most so much; everything else is settled exactly."""
    with simulation() as (simulator, url):
        with spenders(url, simulator, tmp_path, REQUESTS // 5) as running:
            for number, process in enumerate(running[:4], 1):
                until(lambda number=number: len(simulator.ledger.charges) >= 150 * number, "requests under way")
                process.kill()
            answered = [int(process.communicate()[0]) for process in running[4:]]
            for process in running[:4]:
                process.communicate()
        totals, unsettled = record(tmp_path)
        assert answered == [REQUESTS // 5 // PROCESSES] * 4
        assert 0 < len(unsettled) <= 4 * CONCURRENCY
        open_ids = {entry.id for entry in unsettled}
        settled = [charge for charge in simulator.ledger.charges if charge.request_id not in open_ids]
        assert sum(total.requests for total in totals) == len(settled)
        assert sum(total.nano_credits for total in totals) == sum(charge.nano_aiu for charge in settled)


@pytest.mark.parametrize("ends", ["by itself", "on SIGTERM"])
def test_processes_without_a_budget(tmp_path: Path, ends: str) -> None:
    """What nobody waits for is written all the same, to the last request, however a process ends in order."""
    requests = 400 if ends == "by itself" else 1_000_000
    with simulation() as (simulator, url):
        with spenders(url, simulator, tmp_path, requests, processes=2, kept=RECORD_ONLY) as running:
            if ends == "on SIGTERM":
                until(lambda: len(simulator.ledger.charges) >= 300, "requests under way")
                for process in running:
                    process.terminate()
            answered = [int(process.communicate()[0]) for process in running]
            assert [process.returncode for process in running] == [0, 0]
        totals, unsettled = record(tmp_path)
        assert sum(answered) == sum(total.requests for total in totals) >= 300
        assert sum(total.nano_credits for total in totals) == simulator.ledger.nano_aiu > 0
        assert unsettled == []


def test_processes_without_a_budget_that_are_killed(tmp_path: Path) -> None:
    """They may lose a moment, and nothing is counted twice; what was under way for longer is listed."""
    with simulation() as (simulator, url):
        with spenders(url, simulator, tmp_path, 1_000_000, processes=2, kept=RECORD_ONLY) as running:
            until(lambda: len(simulator.ledger.charges) >= 600, "requests under way")
            for process in running:
                process.kill()
            for process in running:
                process.communicate()
        totals, unsettled = record(tmp_path)
        charges = {charge.request_id: charge.nano_aiu for charge in simulator.ledger.charges}
        assert 0 < sum(total.requests for total in totals) <= len(charges)
        assert 0 < sum(total.nano_credits for total in totals) <= sum(charges.values())
        assert len(unsettled) <= 2 * CONCURRENCY
