"""Named faults: the refusals and failures of the real service, body for body.

Rule: a name says what happened; the bodies are those that clients have met, in every form they come in.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.simulator.script import Fault

__all__ = ["FAULTS"]

_UNICORN = """<!DOCTYPE html>
<html><head><title>Unicorn! &middot; GitHub</title></head>
<body><p><strong>We had issues producing the response to your request.</strong></p></body></html>
"""
_PROVIDER = """{
  "error": {
    "code": 429,
    "message": "Resource exhausted.",
    "status": "RESOURCE_EXHAUSTED"
  }
}"""
_JSON = (("content-type", "application/json; charset=utf-8"),)
_TEXT = (("content-type", "text/plain; charset=utf-8"),)
_HTML = (("content-type", "text/html; charset=utf-8"),)
_LONG_WAIT = str(51 * 3600)
_WEEKS = str(14 * 24 * 3600)


def _error(status: int, code: str, message: str, *headers: tuple[str, str], **more: object) -> Fault:
    body = msgspec.json.encode({"error": {"message": message, "code": code, **more}}).decode()
    return Fault(status=status, headers=(*_JSON, *headers), body=body)


def _text(status: int, body: str, *headers: tuple[str, str]) -> Fault:
    return Fault(status=status, headers=(*_TEXT, *headers), body=body)


def _json(status: int, value: object, *headers: tuple[str, str]) -> Fault:
    return Fault(status=status, headers=(*_JSON, *headers), body=msgspec.json.encode(value).decode())


def _no_access(notification: str, message: str) -> Fault:
    details = {
        "message": message,
        "notification_id": notification,
        "title": "Copilot",
        "url": "https://github.com/features/copilot",
    }
    return _json(403, {"can_signup_for_limited": True, "error_details": details, "message": "Resource not accessible"})


_RATE_LIMITS = {
    code: _error(
        429, code, "Sorry, you have exceeded the rate limit.", ("retry-after", "20"), ("x-ratelimit-exceeded", code)
    )
    for code in (
        "rate_limited",
        "user_model_rate_limited",
        "user_global_rate_limited",
        "user_global_rate_limited:pro",
        "user_weekly_rate_limited",
        "integration_rate_limited",
        "model_overloaded",
        "agent_mode_limit_exceeded",
        "upstream_provider_rate_limit",
    )
}
_QUOTA = {
    code: _error(402, code, "You have no quota", ("retry-after", "3600"))
    for code in (
        "quota_exceeded",
        "free_quota_exceeded",
        "overage_limit_reached",
        "billing_not_configured",
        "session_quota_exceeded",
    )
}
_TOKEN_CODES = {
    f"403_{code}": _error(403, code, "The token is not valid.")
    for code in ("expired_token", "invalid_token", "token_expired")
}

FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        **_RATE_LIMITS,
        **_QUOTA,
        **_TOKEN_CODES,
        "exchange_no_access": _no_access("no_copilot_access", "No access to GitHub Copilot found."),
        "exchange_not_signed_up": _no_access("not_signed_up", "You have not signed up for GitHub Copilot."),
        "exchange_subscription_ended": _no_access("subscription_ended", "Your subscription has ended."),
        "exchange_rate_limit": _json(
            403,
            {
                "message": "API rate limit exceeded for user ID 1.",
                "documentation_url": "https://docs.github.com/rest/rate-limit",
                "status": "403",
            },
        ),
        "exchange_not_found": _json(404, {"message": "Not Found", "status": "404"}),
        "exchange_throttled": _text(429, "too many requests\n", ("retry-after", "60")),
        "bad_credentials": _json(401, {"message": "Bad credentials", "status": "401"}),
        "model_not_supported": _error(
            400,
            "model_not_supported",
            "The requested model is not supported.",
            param="model",
            type="invalid_request_error",
        ),
        "policy_403": _json(
            403,
            {
                "message": "You are not authorized to use this Copilot feature, it requires an enterprise or "
                "organization policy to be enabled."
            },
        ),
        "model_not_allowed": _error(403, "model_not_allowed", "The model is not allowed."),
        "forbidden": _text(403, "Forbidden\n", ("x-github-request-id", "0000:000000:0000000:0000000:00000000")),
        "token_expired": _text(401, "unauthorized: token expired\n"),
        "ide_token_expired": _text(401, "IDE token expired: unauthorized: token expired\n"),
        "foreign_item": _error(401, "", "input item ID does not belong to this connection"),
        "authorize_url": _json(401, {"authorize_url": "https://example.com/authorize"}),
        "quota_date": _error(
            402, "quota_exceeded", "You have no quota", ("retry-after", "Tue, 01 Dec 2026 00:00:00 GMT")
        ),
        "weekly_long": _error(429, "user_weekly_rate_limited", "Weekly limit reached.", ("retry-after", _LONG_WAIT)),
        "429_text": _text(429, "too many requests\n", ("retry-after", "30")),
        "429_quota_text": _text(429, "quota exceeded\n", ("retry-after", _WEEKS)),
        "429_extension": _error(429, "extension_blocked", "Blocked.", type="rate_limit_error"),
        "429_body_retry": _json(429, {"error": {"message": "Slow down.", "code": "rate_limited"}, "retry_after": 7}),
        "429_provider": _json(429, {"error": {"message": _PROVIDER, "code": 429, "status": "Too Many Requests"}}),
        "400_rate_limited": _error(400, "rate_limited", "Too many requests."),
        "400_bodyless": Fault(status=400),
        "400_text": _text(400, "Bad Request\n"),
        "400_off_topic": _error(400, "off_topic", "The prompt was refused as off_topic."),
        "404_item": _error(404, "not_found", ""),
        "413_text": _text(413, "Request Entity Too Large\n"),
        "413_json": _json(413, {"statusCode": 413, "message": "request entity too large"}),
        "413_parse": _error(413, "", "failed to parse request"),
        "421": _text(421, "Misdirected Request"),
        "422": _text(422, "filtered by the responsible AI service\n"),
        "424": _text(424, "failed dependency\n"),
        "466": _text(466, "client version not supported\n"),
        "499": Fault(status=499),
        "500": _error(500, "internal_error", "Internal server error."),
        "400_cyber_policy": _error(400, "cyber_policy", "The request was flagged."),
        "502_html": Fault(status=502, headers=_HTML, body=_UNICORN),
        "503_provider": _error(503, "upstream_provider_rate_limit", "The provider is rate limited."),
        "504_text": _text(504, "upstream request timeout\n"),
        "529": _json(529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
        "json_as_text": Fault(status=429, headers=_TEXT, body='{"error":{"message":"slow","code":"rate_limited"}}'),
        "bare_message": _json(400, {"message": "The request is not valid.", "code": "invalid_request_body"}),
        "anthropic_error": _json(
            400, {"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens: Field required"}}
        ),
        "refused": Fault(drop=True),
    }
)
