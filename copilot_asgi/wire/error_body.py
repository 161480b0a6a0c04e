"""What an error body of upstream says, in whichever of its forms it came.

Rule: any bytes give a short clean text and no exception; nothing that looks like a token gets through.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import UpstreamStatus
from copilot_asgi.secret import redact
from copilot_asgi.wire.shallow import NOT_JSON

__all__ = [
    "ContextLimit",
    "ErrorBody",
    "clean",
    "context_limit",
    "error_under_success",
    "explain",
    "is_auth_failure",
    "is_throttling",
    "parse_error_body",
]

_WEB_PAGE = "GitHub answered with a web page instead of an error message."
TEXT_LIMIT = 2048  # bytes of upstream's text that a client may see
_READ_LIMIT = 4 * TEXT_LIMIT  # characters looked at, so that cleaning costs the same for any body
_NESTING = 3  # how often a provider's JSON is unpacked from another one's message

# Control characters, line separators, and the marks that turn the direction of text around.
_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]+")
_TOO_MANY_TOKENS = re.compile(
    r"token count of (?P<used>\d{1,12}) exceeds the limit of (?P<limit>\d{1,12})"
    r"|prompt is too long: (?P<used2>\d{1,12}) tokens > (?P<limit2>\d{1,12})"
    r"|maximum context length is (?P<limit3>\d{1,12}) tokens\D{1,80}(?P<used3>\d{1,12}) tokens",
    re.IGNORECASE,
)
_CONTEXT_WORDS = ("exceeds the limit of", "prompt is too long", "too large for model context window")
_CONTEXT_CODES = frozenset({"model_max_prompt_tokens_exceeded", "context_length_exceeded"})
_STALE_TOKEN_CODES = frozenset({"expired_token", "invalid_token", "token_expired"})

# The status that belongs to an error which upstream put under 200, by its code or type.
_STATUS_OF: Mapping[str, int] = MappingProxyType(
    {
        "invalid_request_error": 400,
        "invalid_request_body": 400,
        "invalid_prompt": 400,
        "model_not_supported": 400,
        "unsupported_api_for_model": 400,
        "model_max_prompt_tokens_exceeded": 400,
        "context_length_exceeded": 400,
        "empty_image_file": 400,
        "failed_to_download_image": 400,
        "image_content_policy_violation": 400,
        "image_file_not_found": 400,
        "image_file_too_large": 400,
        "image_parse_error": 400,
        "image_too_large": 400,
        "image_too_small": 400,
        "invalid_base64_image": 400,
        "invalid_image": 400,
        "invalid_image_format": 400,
        "invalid_image_mode": 400,
        "invalid_image_url": 400,
        "unsupported_image_media_type": 400,
        "authentication_error": 401,
        "insufficient_quota": 402,
        "billing_error": 402,
        "quota_exceeded": 402,
        "free_quota_exceeded": 402,
        "overage_limit_reached": 402,
        "session_quota_exceeded": 402,
        "permission_error": 403,
        "not_found_error": 404,
        "request_too_large": 413,
        "content_filter": 422,
        "rate_limit_error": 429,
        "rate_limit_exceeded": 429,
        "rate_limited": 429,
        "user_model_rate_limited": 429,
        "user_global_rate_limited": 429,
        "user_weekly_rate_limited": 429,
        "integration_rate_limited": 429,
        "upstream_provider_rate_limit": 429,
        "model_overloaded": 503,
        "overloaded_error": 529,
        "timeout_error": 504,
    }
)

# Refusals that a person can do something about: status, code, a word of the message (``None`` is any), what to do.
_HINTS: tuple[tuple[int | None, str | None, str | None, str], ...] = (
    (
        None,
        "model_not_supported",
        None,
        "Enable it at https://github.com/settings/copilot/features, or see GET models.",
    ),
    (None, "unsupported_api_for_model", None, "GET models lists the endpoints that serve it (supported_endpoints)."),
    (402, None, None, "See https://github.com/settings/copilot for when the quota resets and how to raise it."),
    (
        403,
        None,
        "policy",
        "An administrator of the organization that pays for Copilot has to allow it in its policies.",
    ),
    (
        421,
        None,
        None,
        "Check the settings account_type, enterprise_domain and copilot_url: this host does not serve the account.",
    ),
    (466, None, None, "GitHub no longer accepts this client version: update copilot-asgi."),
)


class ErrorBody(msgspec.Struct, frozen=True):
    """What could be read; ``message`` is clean and short, empty when the body says nothing a person can use."""

    message: str = ""
    code: str | None = None
    param: str | None = None
    type: str | None = None
    retry_after: float | None = None
    status: int | None = None


class ContextLimit(msgspec.Struct, frozen=True):
    """The prompt has more tokens than the model takes; ``None`` where upstream gave no number."""

    used: int | None = None
    limit: int | None = None


def clean(text: str) -> str:
    """``text`` on one line, printable, without anything that looks like a token, at most 2 kB of UTF-8."""
    text = redact(_UNPRINTABLE.sub(" ", text[:_READ_LIMIT]).strip())
    return text.encode("utf-8", "replace")[:TEXT_LIMIT].decode("utf-8", "ignore")


def parse_error_body(body: bytes) -> ErrorBody:
    """Read any of the forms: nested or flat JSON, Anthropic's, JSON inside a message, plain text, HTML, nothing."""
    try:
        value: object = msgspec.json.decode(body)
    except NOT_JSON:
        return ErrorBody(message=_plain_text(body))
    return _from_json(value, _NESTING)


def context_limit(error: ErrorBody) -> ContextLimit | None:
    """The numbers when ``error`` says that the prompt is too long, else ``None``."""
    found = _TOO_MANY_TOKENS.search(error.message)
    if found is not None:
        numbers = {name.rstrip("23"): int(value) for name, value in found.groupdict().items() if value}
        return ContextLimit(**numbers)
    if error.code in _CONTEXT_CODES or any(words in error.message.lower() for words in _CONTEXT_WORDS):
        return ContextLimit()
    return None


def explain(status: int, error: ErrorBody) -> str | None:
    """One sentence of what to do about a refusal, where a person can do something."""
    for at, code, word, hint in _HINTS:
        if at in {None, status} and code in {None, error.code} and (word is None or word in error.message.lower()):
            return hint
    return None


def error_under_success(body: bytes) -> UpstreamStatus:
    """The error that upstream put under a status of 200, with the status that it should have had."""
    error = parse_error_body(body)
    status = error.status or _STATUS_OF.get(error.code or "") or _STATUS_OF.get(error.type or "")
    if status is None:
        status = 400 if context_limit(error) else 502
    return UpstreamStatus(status, (), body)


def is_auth_failure(status: int, body: bytes) -> bool:
    """Whether upstream refused the token itself, so that a fresh one may help.

    A 401 may also be about a sealed item id or an agent's own sign-in, a 403 about a policy: no token mends those.
    The bare 403 ``Forbidden`` says nothing; callers try one fresh token for it and no more.
    """
    if status == 401:
        return b"does not belong to this connection" not in body and b'"authorize_url"' not in body
    if status != 403:
        return False
    if body.strip() == b"Forbidden":
        return True
    error = parse_error_body(body)
    return error.code in _STALE_TOKEN_CODES or "token expired" in error.message.lower()


def is_throttling(status: int, body: bytes) -> bool:
    """Whether upstream had too many requests; now and then it says so under 400."""
    return status == 429 or (status == 400 and parse_error_body(body).code == "rate_limited")


def _plain_text(body: bytes) -> str:
    text = body[:_READ_LIMIT].decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    return _WEB_PAGE if text.startswith("<") else clean(text)


def _from_json(value: object, nesting: int) -> ErrorBody:
    if isinstance(value, str):
        return _from_text(value, nesting)
    if not isinstance(value, Mapping):
        return ErrorBody()
    inner = value.get("error")
    if inner is None and isinstance(value.get("response"), Mapping):
        inner = value["response"].get("error")
    if isinstance(inner, str):
        return _from_text(inner, nesting)
    fields = inner if isinstance(inner, Mapping) else value
    message = fields.get("message")
    unpacked = _from_text(message, nesting) if isinstance(message, str) else ErrorBody()
    return ErrorBody(
        message=unpacked.message,
        code=_word(fields.get("code")) or unpacked.code,
        param=_word(fields.get("param")) or unpacked.param,
        type=_word(fields.get("type")) or unpacked.type,
        status=_status(fields.get("code")) or unpacked.status,
        retry_after=_seconds(fields.get("retry_after", value.get("retry_after"))),
    )


def _from_text(text: str, nesting: int) -> ErrorBody:
    """A message that is itself the JSON of another provider's error gives that one's message."""
    if nesting and text.lstrip().startswith("{"):
        try:
            inner = _from_json(msgspec.json.decode(text), nesting - 1)
        except (*NOT_JSON, UnicodeEncodeError):
            return ErrorBody(message=clean(text))
        if inner.message:
            return inner
    return ErrorBody(message=clean(text))


def _word(value: object) -> str | None:
    return clean(value)[:128] or None if isinstance(value, str) else None


def _status(value: object) -> int | None:
    """Some providers write the status where a code belongs."""
    return value if isinstance(value, int) and 400 <= value <= 599 else None


def _seconds(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e10:
        return float(value)
    return None
