"""The scenario, run with two majors of the OpenAI SDK against the demo over TCP."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hosts.processes import clean_environment
from sdk.scenario import CHECKS
from sdk.servers import Servers

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]  # the first run installs the old major

TESTS = Path(__file__).parents[1]

# Copilot's own answers lack these, and the native route passes them on as they are.


class Report:
    """What a run of the scenario found: the problem of each check, empty where there is none."""

    def __init__(self, major: str, lines: list[dict[str, str]]) -> None:
        self.major = major
        self.versions = {line["sdk"] for line in lines}
        self.problems = {line["check"]: line["problem"] for line in lines}


@pytest.fixture(scope="module", params=["1", "3"], ids="openai {}".format)
def report(request: pytest.FixtureRequest, servers: Servers, interpreter: Callable[[str], str]) -> Report:
    command = [interpreter(request.param), "-m", "sdk.scenario", servers.url, servers.keyed_url, servers.key]
    env = clean_environment(PYTHONPATH=str(TESTS))
    run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    return Report(request.param, [json.loads(line) for line in run.stdout.splitlines()])


def test_it_ran_with_the_major_that_was_meant(report: Report) -> None:
    """The run used one version of the SDK, of the right major."""
    assert [version.split(".")[0] for version in report.versions] == [report.major]


@pytest.mark.parametrize("check", CHECKS)
def test_the_sdk_gets_what_it_promises(report: Report, check: str) -> None:
    """The SDK's user gets a right answer, valid by the SDK's own models."""
    assert not report.problems[check], report.problems[check]


def test_copilot_would_take_every_request(report: Report, servers: Servers) -> None:
    """The simulator saw the requests and found nothing wrong with any."""
    assert servers.requests() > len(CHECKS)
    assert servers.violations() == []
