"""Log lines of the command line; the library itself configures no logging.

Rule: every record, tracebacks included, is redacted at the last moment, and can neither fake another line nor steer a
terminal.
"""

import logging
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TextIO

import msgspec

from copilot_asgi.config import LogFormat, LogLevel
from copilot_asgi.secret import Secret, redact

__all__ = ["configure"]

# Libraries that would log each request, whatever our own level is.
QUIET = ("httpx", "httpcore", "uvicorn.access", "uvicorn.error", "hypercorn.access", "granian.access", "asyncio")

_STEERING = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)], "\ufffd")


class TextLines(logging.Formatter):
    """``time level logger: message``, a line each; only tracebacks have further lines, and those are indented."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self._secrets = tuple(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """The record as text without secrets."""
        text = redact(super().format(record), self._secrets).translate(_STEERING)
        return text.replace("\n", "\n    ")


class JsonLines(logging.Formatter):
    """One JSON object a line: ``time`` (RFC 3339), ``level``, ``logger``, ``message``, and ``exception`` if any."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        super().__init__()
        self._secrets = tuple(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON without secrets."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage(), self._secrets),
        }
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info), self._secrets)
        return msgspec.json.encode(line).decode()


FORMATS = {LogFormat.TEXT: TextLines, LogFormat.JSON: JsonLines}


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what is stderr at that moment."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self.stream = sys.stderr
        super().emit(record)


def configure(level: LogLevel, form: LogFormat, *, secrets: Iterable[Secret] = ()) -> None:
    """Send log lines to stderr; what an earlier call has set up is replaced."""
    handler = StderrHandler()
    handler.setFormatter(FORMATS[form](secrets))
    root = logging.getLogger()
    for former in [each for each in root.handlers if isinstance(each, StderrHandler)]:
        root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(level.value.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
