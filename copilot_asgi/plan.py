"""What an exchange needs between the client's dialect and upstream's: made once, followed by the translation stage."""

from collections.abc import Callable

import msgspec

from copilot_asgi.exchange import Request
from copilot_asgi.translate.conversation import Loss
from copilot_asgi.wire.stream import StreamMender
from copilot_asgi.wire.turn import TurnFacts

__all__ = ["ANSWER_LIMIT", "EVENT_STREAM", "JSON", "Plan"]

ANSWER_LIMIT = 16 * 1024 * 1024
"""Bytes of an answer that is kept whole before it goes on."""

EVENT_STREAM = b"text/event-stream"
JSON = b"application/json"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The request for upstream, and how its answer becomes the client's.

    ``stream`` follows upstream's stream, ``answer`` turns its whole answer; which of them is used depends on
    ``request.stream``. ``content_type`` is what the client gets. ``native``: both speak the same dialect.
    ``losses`` could not be said upstream.
    """

    request: Request
    turn: TurnFacts
    stream: StreamMender | None
    answer: Callable[[bytes], bytes]
    content_type: bytes
    native: bool
    losses: tuple[Loss, ...] = ()
