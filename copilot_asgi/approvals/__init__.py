"""Asking before anything is sent upstream: the question, the two answers, and who may be asked.

Rule: only ``Approved`` lets a request through. Silence, failure and anything else mean no.
"""

import msgspec

from copilot_asgi.hooks import Hook
from copilot_asgi.wire.dialect import Dialect

__all__ = ["Approved", "Approver", "Denied", "Question"]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One request that waits for an answer. ``id`` cannot be guessed: who knows it was shown the question.

    ``caller`` is who the request was identified as, ``model`` the one that would answer. ``size`` is the bytes of
    ``body``, which is what the client sent or an outer stage made of it; ``preview`` is how the last turn begins, safe
    to print. ``estimated_credits`` is ``None`` where nobody can tell; ``asked_at`` is unix seconds.
    """

    id: str
    caller: str
    account: str | None
    model: str
    dialect: Dialect
    size: int
    preview: str
    estimated_credits: float | None
    asked_at: float
    body: bytes

    def __repr__(self) -> str:
        # What people write to a model does not belong into logs.
        return f"Question(id={self.id!r}, caller={self.caller!r}, model={self.model!r}, size={self.size})"


class Approved(msgspec.Struct, frozen=True):
    """Send it. With ``remember`` the same caller is not asked about the same model again for a while."""

    remember: bool = False


class Denied(msgspec.Struct, frozen=True):
    """Do not send it. ``reason`` is told to the client."""

    reason: str = "the answer was no"


Approver = Hook[[Question], Approved | Denied]
"""Answers a question. An async one is cancelled when nobody waits for the answer any more; a plain one runs on."""
