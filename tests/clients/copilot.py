"""The proxy that the clients talk to, and what the simulated Copilot behind it is told and has seen."""

import json
from collections.abc import Iterable

from hosts.processes import until
from hosts.talking import ask

__all__ = ["KEY", "Copilot"]

KEY = "a-key-of-the-tests"


class Copilot:
    """The address of the proxy, which wants ``KEY``, and control of the simulator."""

    def __init__(self, *, url: str, simulator_url: str) -> None:
        self.url = url
        self._simulator_url = simulator_url

    def script(self, *replies: dict[str, object]) -> None:
        """Answer the next model requests with these, in order."""
        self._order([{"reply": reply} for reply in replies])

    def script_fault(self, fault: str | dict[str, object]) -> None:
        """Let that fault, given by name or fields, befall the next model request."""
        self._order([{"fault": fault}])

    def bodies(self) -> list[dict[str, object]]:
        """The bodies of the model requests, in order."""
        return [json.loads(seen["body"]) for seen in self._seen() if seen["method"] == "POST"]

    def paths(self) -> set[str]:
        """Where upstream the model requests went."""
        return {seen["path"] for seen in self._seen() if seen["method"] == "POST"}

    def forget(self) -> None:
        """Begin anew, without scripts and records."""
        ask(self._simulator_url, "/_simulator/reset", {})

    def is_content(self) -> None:
        """Raises when a request broke a rule of Copilot's, or when an answer is still under way."""
        violations = ask(self._simulator_url, "/_simulator/violations").json
        assert violations == [], violations
        until(lambda: self._under_way() == 0, "every answer has ended")

    def _order(self, lines: list[dict[str, object]]) -> None:
        answer = ask(self._simulator_url, "/_simulator/script", lines)
        assert answer.status == 200, answer.body

    def _under_way(self) -> int:
        count: int = ask(self._simulator_url, "/_simulator/ledger").json["open_streams"]
        return count

    def _seen(self) -> Iterable[dict[str, str]]:
        seen: Iterable[dict[str, str]] = ask(self._simulator_url, "/_simulator/requests").json
        return seen
