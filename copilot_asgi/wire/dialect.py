"""The wire formats that clients speak, and how each of them says that something failed.

Rule: an error keeps its class (4xx stays 4xx, so that no client retries what cannot work), says what to do in the words
the client's own vendor uses, and holds no secret. Statuses, types and codes stand in tables.
"""

import math
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import CopilotASGIError, MethodNotAllowed, UpstreamStatus
from copilot_asgi.wire import sse
from copilot_asgi.wire.error_body import ContextLimit, ErrorBody, clean, context_limit, explain, parse_error_body
from copilot_asgi.wire.retry_after import retry_after_seconds

__all__ = [
    "UPSTREAM_PATHS",
    "Dialect",
    "RenderedError",
    "ResponseProgress",
    "error_event",
    "render_error",
]


class Dialect(Enum):
    """A wire format; the value is its name in settings, headers and logs."""

    CHAT = "chat"
    MESSAGES = "messages"
    RESPONSES = "responses"
    EMBEDDINGS = "embeddings"
    GEMINI = "gemini"
    OLLAMA = "ollama"

    # Each member is one object, so this is the same; that of Enum is a method in Python, and tables are all over.
    __hash__ = object.__hash__


UPSTREAM_PATHS: Mapping[Dialect, str] = MappingProxyType(
    {
        Dialect.CHAT: "/chat/completions",
        Dialect.MESSAGES: "/v1/messages",
        Dialect.RESPONSES: "/responses",
        Dialect.EMBEDDINGS: "/embeddings",
    }
)
"""Where upstream takes each dialect it speaks; also the names in a catalog entry's ``supported_endpoints``."""


class RenderedError(msgspec.Struct, frozen=True):
    """An error response without the headers that every response carries."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class ResponseProgress(msgspec.Struct, frozen=True):
    """What the client has seen of a Responses stream; its last event must fit to that."""

    sequence_number: int = -1
    response_id: str = ""
    model: str = ""
    created: int = 0


class _Rule(msgspec.Struct, frozen=True):
    """How one status is told: to OpenAI clients, to Anthropic clients, inside a Responses stream, to Gemini clients.

    ``elsewhere`` is the status for a dialect whose vendor uses another one.
    """

    status: int
    openai_type: str
    code: str | None
    anthropic_type: str
    stream_code: str
    gemini: str
    elsewhere: Mapping[Dialect, int] = MappingProxyType({})


_INVALID = _Rule(400, "invalid_request_error", None, "invalid_request_error", "invalid_prompt", "INVALID_ARGUMENT")
_OVERLOADED = _Rule(
    503, "server_error", "overloaded", "overloaded_error", "server_error", "UNAVAILABLE", {Dialect.MESSAGES: 529}
)
_BROKEN = _Rule(502, "server_error", None, "api_error", "server_error", "INTERNAL")

_RULES: Mapping[int, _Rule] = MappingProxyType({
    400: _INVALID,
    401: _Rule(
        401, "authentication_error", "invalid_api_key", "authentication_error", "server_error", "UNAUTHENTICATED"
    ),
    402: _Rule(
        402, "insufficient_quota", "quota_exceeded", "billing_error", "rate_limit_exceeded", "RESOURCE_EXHAUSTED",
        {Dialect.GEMINI: 429},
    ),
    403: _Rule(403, "permission_error", None, "permission_error", "server_error", "PERMISSION_DENIED"),
    404: _Rule(404, "invalid_request_error", None, "not_found_error", "invalid_prompt", "NOT_FOUND"),
    405: _Rule(405, "invalid_request_error", None, "invalid_request_error", "invalid_prompt", "UNIMPLEMENTED"),
    408: _Rule(
        408, "timeout", None, "timeout_error", "server_error", "DEADLINE_EXCEEDED", {Dialect.GEMINI: 504}
    ),
    409: _Rule(409, "conflict", None, "conflict_error", "server_error", "ABORTED"),
    413: _Rule(
        413, "invalid_request_error", "request_too_large", "request_too_large", "invalid_prompt", "INVALID_ARGUMENT"
    ),
    415: _Rule(415, "invalid_request_error", None, "invalid_request_error", "invalid_prompt", "INVALID_ARGUMENT"),
    421: _BROKEN,
    422: _Rule(
        400, "invalid_request_error", "content_filter", "invalid_request_error", "invalid_prompt", "INVALID_ARGUMENT"
    ),
    424: _Rule(502, "server_error", None, "api_error", "server_error", "UNAVAILABLE"),
    429: _Rule(
        429, "rate_limit_error", "rate_limit_exceeded", "rate_limit_error", "rate_limit_exceeded", "RESOURCE_EXHAUSTED"
    ),
    466: _Rule(
        400, "invalid_request_error", "client_not_supported", "invalid_request_error", "server_error",
        "FAILED_PRECONDITION",
    ),
    499: _BROKEN,
    500: _Rule(500, "server_error", None, "api_error", "server_error", "INTERNAL"),
    503: _OVERLOADED,
    504: _Rule(504, "timeout", None, "timeout_error", "server_error", "DEADLINE_EXCEEDED"),
    529: _OVERLOADED,
})  # fmt: skip


class _Problem(msgspec.Struct, frozen=True):
    """One error, whoever it came from."""

    rule: _Rule
    message: str
    code: str | None
    param: str | None
    context: ContextLimit | None = None
    retry_after: float | None = None


def render_error(error: CopilotASGIError, dialect: Dialect, *, request_id: str, now: float) -> RenderedError:
    """``error`` as a response in ``dialect``; ``now`` is the wall clock in seconds, for a ``retry-after`` date."""
    problem = _problem(error)
    return RenderedError(
        status=_status(problem.rule, dialect),
        headers=((b"content-type", b"application/json"), *_headers(error, problem, now)),
        body=msgspec.json.encode(_body(problem, dialect, request_id)),
    )


def error_event(
    error: CopilotASGIError, dialect: Dialect, *, request_id: str, progress: ResponseProgress | None = None
) -> bytes:
    """``error`` as the last event of a stream in ``dialect``; nothing may follow it.

    Responses streams end with ``response.failed``: Codex reads no other failure, it passes over an ``error`` event, and
    openai-python delivers both. ``progress`` makes it fit to what came before.
    """
    problem = _problem(error)
    if dialect is Dialect.RESPONSES:
        return sse.encode(
            msgspec.json.encode(_failed_response(problem, request_id, progress or ResponseProgress())),
            event="response.failed",
        )
    data = msgspec.json.encode(_body(problem, dialect, request_id))
    if dialect is Dialect.OLLAMA:
        return data + b"\n"
    return sse.encode(data, event="error" if dialect is Dialect.MESSAGES else None)


def _problem(error: CopilotASGIError) -> _Problem:
    if isinstance(error, UpstreamStatus):
        return _upstream_problem(error, parse_error_body(error.body))
    rule = _rule(error.status)
    return _Problem(rule, clean(error.message), error.code or rule.code, error.param, retry_after=error.retry_after)


def _upstream_problem(error: UpstreamStatus, body: ErrorBody) -> _Problem:
    context = context_limit(body) if error.status in {400, 413, 422} else None
    if context is not None:
        return _Problem(_INVALID, body.message, "context_length_exceeded", None, context)
    rule = _rule(429 if body.code == "rate_limited" else error.status)
    message = " ".join(filter(None, (body.message or clean(error.message), explain(error.status, body))))
    return _Problem(rule, message, body.code or rule.code, body.param, retry_after=body.retry_after)


def _rule(status: int) -> _Rule:
    return _RULES.get(status) or (_INVALID if 400 <= status < 500 else _BROKEN)


def _status(rule: _Rule, dialect: Dialect) -> int:
    return rule.elsewhere.get(dialect, rule.status)


def _body(problem: _Problem, dialect: Dialect, request_id: str) -> dict[str, object]:
    match dialect:
        case Dialect.MESSAGES:
            error = {"type": problem.rule.anthropic_type, "message": _anthropic_message(problem)}
            return {"type": "error", "error": error, "request_id": request_id}
        case Dialect.GEMINI:
            code = _status(problem.rule, dialect)
            return {"error": {"code": code, "message": _gemini_message(problem), "status": problem.rule.gemini}}
        case Dialect.OLLAMA:
            return {"error": _openai_message(problem)}
        case _:
            return _openai_body(problem)


def _openai_body(problem: _Problem) -> dict[str, object]:
    return {
        "error": {
            "message": _openai_message(problem),
            "type": problem.rule.openai_type,
            "param": problem.param,
            "code": problem.code,
        }
    }


def _openai_message(problem: _Problem) -> str:
    """OpenAI's own sentence for a prompt that is too long: agents look for it to shorten their history."""
    context = problem.context
    if context is None:
        return problem.message
    if context.limit is None or context.used is None:
        return (
            "The prompt is longer than this model's maximum context length. Please reduce the length of the messages."
        )
    return (
        f"This model's maximum context length is {context.limit} tokens. However, your messages resulted in "
        f"{context.used} tokens. Please reduce the length of the messages."
    )


def _anthropic_message(problem: _Problem) -> str:
    """Anthropic names the field first; a prompt that is too long starts as Claude Code expects it."""
    context = problem.context
    if context is None:
        return f"{problem.param}: {problem.message}" if problem.param else problem.message
    if context.limit is None or context.used is None:
        return "prompt is too long: it does not fit into this model's context window"
    return f"prompt is too long: {context.used} tokens > {context.limit} maximum"


def _gemini_message(problem: _Problem) -> str:
    """Google names the field first; a prompt that is too long is told in its own sentence."""
    context = problem.context
    if context is None:
        return f"{problem.param}: {problem.message}" if problem.param else problem.message
    if context.limit is None or context.used is None:
        return "The input token count exceeds the maximum number of tokens allowed."
    return f"The input token count ({context.used}) exceeds the maximum number of tokens allowed ({context.limit})."


def _failed_response(problem: _Problem, request_id: str, progress: ResponseProgress) -> dict[str, object]:
    # Codex shortens its history when it reads this code; for everything else the vendor's list has a word.
    code = problem.rule.stream_code if problem.context is None else problem.code
    response = {
        "id": progress.response_id or f"resp_{request_id}",
        "object": "response",
        "created_at": progress.created,
        "status": "failed",
        "error": {"code": code, "message": _openai_message(problem)},
        "incomplete_details": None,
        "model": progress.model,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    return {"type": "response.failed", "sequence_number": progress.sequence_number + 1, "response": response}


def _headers(error: CopilotASGIError, problem: _Problem, now: float) -> list[tuple[bytes, bytes]]:
    upstream = dict(reversed(error.headers)) if isinstance(error, UpstreamStatus) else {}
    headers = []
    wait = retry_after_seconds(upstream.get(b"retry-after", b"").decode("latin-1"), now=now)
    if wait is None:
        wait = problem.retry_after
    if wait is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(wait)))
    if upstream.get(b"x-should-retry") in {b"true", b"false"}:
        headers.append((b"x-should-retry", upstream[b"x-should-retry"]))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.allow).encode()))
    return headers
