"""Warnings about what fails again and again."""

import logging

import pytest
from stages.bench import Clock

from copilot_asgi.complaints import INTERVAL, Complaints

logger = logging.getLogger("tests.complaints")


def test_every_failure_counts_and_one_line_a_minute_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand failures within a minute are one line; the next minute's line says how many there were."""
    clock = Clock()
    complaints = Complaints(logger, "The thing fails", clock=clock)
    for _ in range(1000):
        complaints.add("it broke")
    clock.now += INTERVAL
    complaints.add(ValueError("again"))
    assert complaints.count == 1001
    assert [record.getMessage() for record in caplog.records] == [
        "The thing fails (1 times so far). it broke",
        "The thing fails (1001 times so far). ValueError: again",
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_a_line_holds_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """What an error quotes is redacted."""
    Complaints(logger, "The thing fails").add(OSError("at redis://x with ghp_0123456789abcdef"))
    assert "ghp_" not in caplog.text
    assert "***" in caplog.text
