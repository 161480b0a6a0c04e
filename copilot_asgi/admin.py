"""What operators ask and decide: which requests wait for approval, and whether they go on.

Rule: a caller who is no operator sees and decides nothing here.
"""

import logging

import msgspec

from copilot_asgi.approvals import Question
from copilot_asgi.approvals.queue import ApprovalQueue
from copilot_asgi.errors import BadRequest, Forbidden, NotFound
from copilot_asgi.query import Answer, Query, json_answer
from copilot_asgi.wire.shallow import NOT_JSON

__all__ = ["Approvals"]

logger = logging.getLogger(__name__)


class _Decision(msgspec.Struct, forbid_unknown_fields=True):
    approve: bool
    remember: bool = False
    reason: str = ""


_decision_decoder = msgspec.json.Decoder(_Decision)


class Approvals:
    """The routes of ``queue``; without one they say how to get it."""

    def __init__(self, queue: ApprovalQueue | None) -> None:
        self._queue = queue

    async def list(self, query: Query) -> Answer:
        """The requests that wait, the oldest first. Raises ``Forbidden`` or ``NotFound``."""
        return json_answer({"approvals": [_shown(question) for question in self._checked(query).pending()]})

    async def decide(self, query: Query) -> Answer:
        """Answer one of them: ``{"approve": true}``, with ``remember`` or a ``reason``.

        Raises ``Forbidden``, ``NotFound`` or ``BadRequest``.
        """
        queue = self._checked(query)
        try:
            decision = _decision_decoder.decode(query.body)
        except NOT_JSON:
            raise BadRequest(
                'Say {"approve": true} or {"approve": false}; "remember": true holds for the session, "reason" is '
                "told to the client.",
                param="approve",
            ) from None
        decided = queue.decide(
            query.argument, approve=decision.approve, remember=decision.remember, reason=decision.reason
        )
        if not decided:
            raise NotFound("No request waits under that id. It may have been answered, or its client has left.")
        assert query.caller is not None
        logger.info("%s %s a request", query.caller.name, "approved" if decision.approve else "denied")
        return json_answer({"id": query.argument, "approved": decision.approve})

    def _checked(self, query: Query) -> ApprovalQueue:
        if query.caller is None or not query.caller.admin:
            raise Forbidden(
                "Only an operator may approve requests. Use a key of api_keys, or one made with keys add --admin.",
                code="operator_only",
            )
        if self._queue is None:
            raise NotFound("No approvals are asked for here. Set approval = queue (COPILOT_ASGI_APPROVAL).")
        return self._queue


def _shown(question: Question) -> dict[str, object]:
    return {
        "id": question.id,
        "caller": question.caller,
        "account": question.account,
        "model": question.model,
        "dialect": question.dialect.value,
        "size": question.size,
        "preview": question.preview,
        "estimated_credits": question.estimated_credits,
        "asked_at": question.asked_at,
    }
