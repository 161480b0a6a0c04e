"""The plan for a native route, where upstream speaks the client's own dialect.

Pure: everything that a dialect's rules do not mention passes untouched, and what needs no change stays the same object.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.exchange import Request, header
from copilot_asgi.plan import EVENT_STREAM, JSON, Plan
from copilot_asgi.routing import Route
from copilot_asgi.translate import messages_native, responses_native
from copilot_asgi.translate.conversation import Loss
from copilot_asgi.translate.ollama_embed import ollama_embed, ollama_embeddings
from copilot_asgi.wire import chat, embeddings
from copilot_asgi.wire.answer import check_answer
from copilot_asgi.wire.chat_answer import mend_answer
from copilot_asgi.wire.chat_stream import ChatStream
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.messages import MessagesStream, mend_message, taken_betas
from copilot_asgi.wire.responses import ResponsesStream, mend_response
from copilot_asgi.wire.shallow import NULL, is_null
from copilot_asgi.wire.stream import StreamMender
from copilot_asgi.wire.turn import turn_facts

__all__ = ["plan_native"]

Changes = dict[str, bytes | None]

# Left out because it is said under another name or in another place, or because it said nothing.
_SAID_OTHERWISE = frozenset(
    {
        "cache_control",
        "encoding_format",
        "max_completion_tokens",
        "max_tokens",
        "output_format",
        "parallel_tool_calls",
        "tool_choice",
        "tools",
    }
)
# Without these the answer may be another one.
_MATTERING = frozenset({"container", "context_management", "mcp_servers", "output_config", "thinking"})


class _Native(msgspec.Struct, frozen=True):
    """What one dialect needs: changes to the request, and what mends its answer."""

    changes: Changes
    stream: StreamMender | None
    answer: Callable[[bytes], bytes]


def plan_native(request: Request, route: Route, *, answer_id: str, now: int) -> Plan:
    """The plan for ``request``; ``answer_id`` and ``now`` (unix seconds) fill in what an answer lacks.

    Raises ``BadRequest`` for what Copilot cannot serve.
    """
    native = _PLANS[request.dialect](request, route, answer_id, now)
    changes = native.changes
    if route.model.id != request.model:
        changes = {**changes, "model": msgspec.json.encode(route.model.id)}
    return Plan(
        request=request.replace(changes) if changes else request,
        turn=turn_facts(request.dialect, request.fields),
        stream=native.stream,
        answer=native.answer,
        content_type=EVENT_STREAM if request.stream else JSON,
        native=True,
        losses=_losses(request, native.changes),
    )


def _chat(request: Request, route: Route, answer_id: str, now: int) -> _Native:
    prepared = chat.prepare(request.fields, model=route.model, stream=request.stream)
    mended_id = f"chatcmpl-{answer_id}"
    if not request.stream:
        answer = partial(mend_answer, model=request.model, created=now, id=mended_id, choices=prepared.choices)
        return _Native(prepared.changes, None, answer)
    stream = ChatStream(
        model=request.model,
        include_usage=prepared.include_usage,
        choices=prepared.choices,
        created=now,
        id=mended_id,
    )
    return _Native(prepared.changes, stream, check_answer)


def _losses(request: Request, changes: Changes) -> tuple[Loss, ...]:
    """What the client asked for and upstream is not told, because it would refuse the request for it."""
    return tuple(
        Loss(name, matters=name in _MATTERING)
        for name, value in changes.items()
        if value is None and name not in _SAID_OTHERWISE and not is_null(request.fields.get(name, NULL))
    )


def _messages(request: Request, route: Route, answer_id: str, now: int) -> _Native:  # noqa: ARG001 - one shape for all
    betas = taken_betas(header(request.headers, b"anthropic-beta") or b"")
    changes = messages_native.prepare_native(request.fields, route.model, betas=betas)
    asked = changes.get("context_management", request.fields.get("context_management")) is not None
    stream = MessagesStream(context_management=asked) if request.stream else None
    return _Native(changes, stream, partial(mend_message, context_management=asked))


def _responses(request: Request, route: Route, answer_id: str, now: int) -> _Native:  # noqa: ARG001 - one shape for all
    changes = responses_native.prepare_native(request.fields, route.model)
    return _Native(changes, ResponsesStream() if request.stream else None, mend_response)


def _embeddings(request: Request, route: Route, answer_id: str, now: int) -> _Native:  # noqa: ARG001 - one shape
    if request.stream:
        raise BadRequest("Embeddings are not streamed. Leave 'stream' out.", code="invalid_value", param="stream")
    base64 = embeddings.wants_base64(request.fields)
    complete = partial(embeddings.complete_answer, model=request.model, base64=base64)
    render = _OLLAMA_EMBEDDINGS.get(request.form)
    answer = complete if render is None else lambda body: render(complete(body), request.model)
    return _Native(embeddings.prepare(request.fields), None, answer)


# Ollama's two ways of asking for embeddings, by the form of the request.
_OLLAMA_EMBEDDINGS: Mapping[str, Callable[[bytes, str], bytes]] = MappingProxyType(
    {
        "ollama_embed": lambda body, model: ollama_embed(body, model=model),
        "ollama_embeddings": lambda body, _: ollama_embeddings(body),
    }
)

_PLANS: Mapping[Dialect, Callable[[Request, Route, str, int], _Native]] = MappingProxyType(
    {
        Dialect.CHAT: _chat,
        Dialect.MESSAGES: _messages,
        Dialect.RESPONSES: _responses,
        Dialect.EMBEDDINGS: _embeddings,
    }
)
