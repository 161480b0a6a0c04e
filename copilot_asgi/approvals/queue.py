"""Questions that wait for somebody to come and answer them: through the API, a dashboard, or code of the site's own.

Rule: each question is answered once. Who asked may be on another event loop, in another thread, than who answers.
"""

import threading

from copilot_asgi._signal import Signal
from copilot_asgi.approvals import Approved, Denied, Question

__all__ = ["ApprovalQueue"]


class _Waiting:
    """A question and what becomes of it."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.answered = Signal()
        self.answer: Approved | Denied = Denied()


class ApprovalQueue:
    """An approver that keeps at most ``max_pending`` questions until ``decide`` answers them.

    Of one caller there are at most ``of_one_caller``, so that nobody fills it for all others.
    """

    def __init__(self, max_pending: int = 100, *, of_one_caller: int = 20) -> None:
        self._max_pending = max_pending
        self._of_one_caller = of_one_caller
        self._lock = threading.Lock()
        self._waiting: dict[str, _Waiting] = {}

    async def __call__(self, question: Question) -> Approved | Denied:
        """The answer, when there is one. When cancelled the question is withdrawn."""
        waiting = _Waiting(question)
        with self._lock:
            same = sum(other.question.caller == question.caller for other in self._waiting.values())
            if len(self._waiting) >= self._max_pending or same >= self._of_one_caller:
                return Denied("too many requests wait for approval")
            self._waiting[question.id] = waiting
        try:
            await waiting.answered.wait()
        finally:
            with self._lock:
                self._waiting.pop(question.id, None)
        return waiting.answer

    def pending(self) -> list[Question]:
        """The questions that wait, the oldest first."""
        with self._lock:
            return [waiting.question for waiting in self._waiting.values()]

    def decide(self, id: str, *, approve: bool, remember: bool = False, reason: str = "") -> bool:
        """Answer a question; ``False`` when there is none by that id, or no longer.

        It never waits, and may be called from any thread. ``reason`` is told to the client of a denied request.
        """
        with self._lock:
            waiting = self._waiting.pop(id, None)
        if waiting is None:
            return False
        waiting.answer = _answer(approve=approve, remember=remember, reason=reason)
        return waiting.answered.set()


def _answer(*, approve: bool, remember: bool, reason: str) -> Approved | Denied:
    if approve:
        return Approved(remember=remember)
    return Denied(reason) if reason else Denied()
