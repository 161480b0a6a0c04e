"""What ``doctor`` finds, one line a check.

Rule: a check never ends the others: what it raises on purpose is its finding. No finding holds a secret.
"""

from collections.abc import Callable
from enum import Enum

from msgspec import Struct

from copilot_asgi.errors import CopilotASGIError
from copilot_asgi.secret import redact

__all__ = ["Finding", "Verdict", "failed", "found", "ok", "warning"]


class Verdict(Enum):
    """How a check went."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(Struct, frozen=True):
    """What was checked, how it went, what was found, and what to do about it."""

    check: str
    verdict: Verdict
    text: str
    hint: str = ""

    @property
    def line(self) -> str:
        """The finding for a person."""
        return f"{self.verdict.value:<6}{self.check:<12}{self.text}{f' {self.hint}' if self.hint else ''}"


def ok(check: str, text: str) -> Finding:
    """Nothing is wrong."""
    return Finding(check, Verdict.OK, redact(text))


def warning(check: str, text: str, hint: str = "") -> Finding:
    """It works, but something could be better."""
    return Finding(check, Verdict.WARN, redact(text), hint)


def failed(check: str, error: CopilotASGIError) -> Finding:
    """It does not work; the error says what to do."""
    return Finding(check, Verdict.FAIL, redact(error.message))


def found(check: str, look: Callable[[], Finding]) -> Finding:
    """What ``look`` returns, or the finding that its error is."""
    try:
        return look()
    except CopilotASGIError as error:
        return failed(check, error)
