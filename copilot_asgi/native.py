"""What a request and its answer need on a native route, where upstream speaks the client's own dialect.

Pure: a plan is made once for an exchange; everything that a dialect's rules do not mention passes untouched.
"""

from collections.abc import Callable
from functools import partial

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.exchange import Request
from copilot_asgi.wire import chat, embeddings
from copilot_asgi.wire.answer import check_answer
from copilot_asgi.wire.chat_answer import mend_answer
from copilot_asgi.wire.chat_stream import ChatStream
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.messages import MessagesStream
from copilot_asgi.wire.models import Model
from copilot_asgi.wire.responses import ResponsesStream
from copilot_asgi.wire.stream import StreamMender

__all__ = ["Plan", "plan_native"]


class Plan(msgspec.Struct, frozen=True):
    """The request as Copilot wants it, and what mends its answer: a stream's mender, or a function of the whole."""

    request: Request
    stream: StreamMender | None
    answer: Callable[[bytes], bytes]


def plan_native(request: Request, model: Model, *, answer_id: str, now: int) -> Plan:
    """The plan for ``request``; ``answer_id`` and ``now`` (unix seconds) fill in what an answer lacks.

    Raises ``BadRequest`` for what Copilot cannot serve.
    """
    match request.dialect:
        case Dialect.CHAT:
            return _chat(request, model, answer_id=answer_id, now=now)
        case Dialect.EMBEDDINGS:
            return _embeddings(request)
        case Dialect.MESSAGES:
            return Plan(request, MessagesStream() if request.stream else None, check_answer)
        case Dialect.RESPONSES:
            return Plan(request, ResponsesStream() if request.stream else None, check_answer)


def _chat(request: Request, model: Model, *, answer_id: str, now: int) -> Plan:
    prepared = chat.prepare(request.fields, model=model, stream=request.stream)
    changed = _changed(request, prepared.changes)
    mended_id = f"chatcmpl-{answer_id}"
    if not request.stream:
        answer = partial(mend_answer, model=request.model, created=now, id=mended_id, choices=prepared.choices)
        return Plan(changed, None, answer)
    stream = ChatStream(
        model=request.model,
        include_usage=prepared.include_usage,
        choices=prepared.choices,
        created=now,
        id=mended_id,
    )
    return Plan(changed, stream, check_answer)


def _embeddings(request: Request) -> Plan:
    if request.stream:
        raise BadRequest("Embeddings are not streamed. Leave 'stream' out.", code="invalid_value", param="stream")
    base64 = embeddings.wants_base64(request.fields)
    answer = partial(embeddings.complete_answer, model=request.model, base64=base64)
    return Plan(_changed(request, embeddings.prepare(request.fields)), None, answer)


def _changed(request: Request, changes: dict[str, bytes | None]) -> Request:
    """The same object where nothing changes, so that its body goes on as it came."""
    return request.replace(changes) if changes else request
