"""Entries for a host's logging and for a user's function."""

import logging
import threading

import pytest
from audit.entries import ENTRY

from copilot_asgi.audit import Entry, line
from copilot_asgi.audit.sinks import CallableSink, LoggerSink

pytestmark = pytest.mark.anyio


async def test_a_logger_gets_one_record_an_entry(caplog: pytest.LogCaptureFixture) -> None:
    """Its level is INFO and its message the line of JSON."""
    logger = logging.getLogger("tests.audit")
    with caplog.at_level(logging.INFO, logger.name):
        await LoggerSink(logger).write(ENTRY)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(logging.INFO, line(ENTRY))]


async def test_a_plain_function_gets_entries_in_a_worker_thread() -> None:
    """It may block, so it does not run on the event loop."""
    seen: list[tuple[Entry, bool]] = []

    def keep(entry: Entry) -> None:
        seen.append((entry, threading.current_thread() is threading.main_thread()))

    await CallableSink(keep).write(ENTRY)
    assert seen == [(ENTRY, False)]


async def test_an_async_function_gets_entries() -> None:
    """It is awaited, and what it raises comes out."""
    seen: list[Entry] = []

    async def keep(entry: Entry) -> None:
        seen.append(entry)
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        await CallableSink(keep).write(ENTRY)
    assert seen == [ENTRY]
