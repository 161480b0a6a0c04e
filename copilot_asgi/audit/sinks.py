"""Entries for what a host has already: its logging, or a function of its own."""

import logging

from copilot_asgi.audit import Entry, line
from copilot_asgi.hooks import Hook, call_hook

__all__ = ["CallableSink", "LoggerSink"]


class LoggerSink:
    """One record of level INFO for each entry; its message is the line of JSON."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    async def write(self, entry: Entry) -> None:
        """Log the entry. The logger's handlers run on the event loop, as they do for any other record."""
        self._logger.info("%s", line(entry))


class CallableSink:
    """Every entry goes to ``hook``, plain (in a worker thread) or async."""

    def __init__(self, hook: Hook[[Entry], object]) -> None:
        self._hook = hook

    async def write(self, entry: Entry) -> None:
        """Call the hook. Raises what it raises."""
        await call_hook(self._hook, entry)
