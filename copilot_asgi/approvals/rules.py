"""What needs no question: requests that rules approve, so that people are asked about the rest only."""

from fnmatch import fnmatchcase

from copilot_asgi.approvals import Approved, Approver, Denied, Question
from copilot_asgi.hooks import call_hook

__all__ = ["AllowRules"]


class AllowRules:
    """An approver that approves what any rule allows, and puts every other question to ``ask``.

    ``models`` and ``callers`` are patterns (``*-mini``; case matters). With ``above_credits`` what is known to cost no
    more needs no question; what nobody can estimate does. A body larger than ``max_size`` bytes is always asked about,
    whatever the rules say.
    """

    def __init__(
        self,
        ask: Approver,
        *,
        models: tuple[str, ...] = (),
        callers: tuple[str, ...] = (),
        above_credits: float = 0.0,
        max_size: int | None = None,
    ) -> None:
        self._ask = ask
        self._models = models
        self._callers = callers
        self._above_credits = above_credits
        self._max_size = max_size

    async def __call__(self, question: Question) -> Approved | Denied:
        """The rules' answer, or that of ``ask``, with whatever it raises."""
        if self._allows(question):
            return Approved()
        return await call_hook(self._ask, question)

    def _allows(self, question: Question) -> bool:
        if self._max_size is not None and question.size > self._max_size:
            return False
        return (
            _matches(question.model, self._models)
            or _matches(question.caller, self._callers)
            or self._is_cheap(question.estimated_credits)
        )

    def _is_cheap(self, estimate: float | None) -> bool:
        return self._above_credits > 0 and estimate is not None and estimate <= self._above_credits


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
