"""Rules that requests must keep, as data, and how they are applied.

Rule: every broken rule is reported; the first one that has an answer refuses the request. Rules without an answer are
for what the real service may let pass but a well-behaved client never does.
"""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import msgspec

from copilot_asgi.simulator.access import Object
from copilot_asgi.simulator.answers import Answer, Incoming, json_answer, text_answer
from copilot_asgi.simulator.catalog import Model
from copilot_asgi.simulator.issued import Issued
from copilot_asgi.simulator.prompt import Prompt
from copilot_asgi.simulator.settings import SimulatorSettings

__all__ = ["Broken", "Call", "Refuse", "Rule", "anthropic_error", "bare_error", "broken_rules", "coded", "plain"]

Subject = TypeVar("Subject")
Refuse = Callable[[str], Answer]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A model request with everything that is known about it."""

    request: Incoming
    fields: Object
    model: Model
    prompt: Prompt
    issued: Issued
    login: str
    settings: SimulatorSettings


class Rule(msgspec.Struct, Generic[Subject], frozen=True):
    """``find`` says what is wrong, or nothing; ``refuse`` turns that into the service's answer."""

    id: str
    find: Callable[[Subject], str | None]
    refuse: Refuse | None = None


class Broken(msgspec.Struct, frozen=True):
    """A rule that was broken, and the answer to that if there is one."""

    rule: str
    message: str
    answer: Answer | None


def broken_rules(subject: Subject, rules: Iterable[Rule[Subject]]) -> list[Broken]:
    """The rules that ``subject`` breaks, in order."""
    found = ((rule, rule.find(subject)) for rule in rules)
    return [
        Broken(rule.id, message, rule.refuse(message) if rule.refuse else None)
        for rule, message in found
        if message is not None
    ]


def coded(code: str, *, status: int = 400, **more: object) -> Refuse:
    """An ``{"error": {...}}`` with a code."""

    def refuse(message: str) -> Answer:
        return json_answer({"error": {"message": message, "code": code, **more}}, status=status)

    return refuse


def plain(status: int) -> Refuse:
    """One line of plain text."""

    def refuse(message: str) -> Answer:
        return text_answer(status, message + "\n")

    return refuse


def anthropic_error(message: str) -> Answer:
    """Anthropic's envelope."""
    error = {"type": "invalid_request_error", "message": message}
    return json_answer({"type": "error", "error": error, "request_id": "req_simulated"}, status=400)


def bare_error(message: str) -> Answer:
    """A message without any envelope."""
    return json_answer({"message": message, "code": "invalid_request_body"}, status=400)
