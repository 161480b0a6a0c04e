"""A question about the service itself and its answer: the values between the edge and whoever answers."""

import msgspec

from copilot_asgi.exchange import Caller

__all__ = ["Answer", "Query", "json_answer"]


class Answer(msgspec.Struct, frozen=True):
    """A whole JSON answer."""

    status: int
    body: bytes


class Query(msgspec.Struct, frozen=True):
    """A question: which one, about what, asked by whom. ``anthropic`` chooses the shape of model lists.

    ``body`` is what came with a question that is posted.
    """

    name: str
    argument: str
    parameters: str
    body: bytes
    caller: Caller | None
    anthropic: bool


def json_answer(value: object, *, status: int = 200) -> Answer:
    """``value`` as an answer."""
    return Answer(status, msgspec.json.encode(value))
