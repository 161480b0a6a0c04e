"""Errors in each dialect: status, words, headers, no secret; and what upstream's bodies say in all their forms."""

import json

import anthropic
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseFailedEvent

from copilot_asgi import errors
from copilot_asgi.errors import (
    BadRequest,
    CopilotASGIError,
    Draining,
    MethodNotAllowed,
    StreamInterrupted,
    UnknownModel,
    UpstreamStatus,
    UpstreamTimeout,
)
from copilot_asgi.wire.dialect import UPSTREAM_PATHS, Dialect, ResponseProgress, error_event, render_error
from copilot_asgi.wire.error_body import error_under_success, is_auth_failure, parse_error_body
from copilot_asgi.wire.retry_after import retry_after_seconds
from copilot_asgi.wire.sse import EventParser

NOW = 1795180000.0  # Fri, 20 Nov 2026 13:06:40 GMT
OPENAI = (Dialect.CHAT, Dialect.RESPONSES, Dialect.EMBEDDINGS)


def upstream(status: int, body: object = b"", **headers: str) -> UpstreamStatus:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    pairs = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    return UpstreamStatus(status, pairs, raw)


def told(error: CopilotASGIError, dialect: Dialect = Dialect.CHAT) -> dict[str, str | None]:
    """The error object as a client of ``dialect`` reads it, with the status."""
    rendered = render_error(error, dialect, request_id="req_1", now=NOW)
    body = json.loads(rendered.body)
    if dialect is Dialect.MESSAGES:
        assert (body["type"], body["request_id"]) == ("error", "req_1")
    error = {"message": body["error"]} if dialect is Dialect.OLLAMA else body["error"]
    return error | {"status": rendered.status}


# upstream status, then status / type / code for OpenAI and status / type for Anthropic
STATUSES = [
    (400, 400, "invalid_request_error", None, 400, "invalid_request_error"),
    (401, 401, "authentication_error", "invalid_api_key", 401, "authentication_error"),
    (402, 402, "insufficient_quota", "quota_exceeded", 402, "billing_error"),
    (403, 403, "permission_error", None, 403, "permission_error"),
    (404, 404, "invalid_request_error", None, 404, "not_found_error"),
    (408, 408, "timeout", None, 408, "timeout_error"),
    (409, 409, "conflict", None, 409, "conflict_error"),
    (413, 413, "invalid_request_error", "request_too_large", 413, "request_too_large"),
    (418, 400, "invalid_request_error", None, 400, "invalid_request_error"),
    (421, 502, "server_error", None, 502, "api_error"),
    (422, 400, "invalid_request_error", "content_filter", 400, "invalid_request_error"),
    (424, 502, "server_error", None, 502, "api_error"),
    (429, 429, "rate_limit_error", "rate_limit_exceeded", 429, "rate_limit_error"),
    (466, 400, "invalid_request_error", "client_not_supported", 400, "invalid_request_error"),
    (499, 502, "server_error", None, 502, "api_error"),
    (500, 500, "server_error", None, 500, "api_error"),
    (502, 502, "server_error", None, 502, "api_error"),
    (503, 503, "server_error", "overloaded", 529, "overloaded_error"),
    (504, 504, "timeout", None, 504, "timeout_error"),
    (529, 503, "server_error", "overloaded", 529, "overloaded_error"),
    (599, 502, "server_error", None, 502, "api_error"),
    (999, 502, "server_error", None, 502, "api_error"),
    (204, 502, "server_error", None, 502, "api_error"),
    (304, 502, "server_error", None, 502, "api_error"),
]


@pytest.mark.parametrize("row", STATUSES, ids=lambda row: str(row[0]))
def test_upstream_statuses(row: tuple[int, int, str, str | None, int, str]) -> None:
    """Each status keeps its class and gets the type and code that the client's vendor uses."""
    status, openai_status, openai_type, code, anthropic_status, anthropic_type = row
    error = upstream(status, {"error": {"message": "what happened"}})
    for dialect in OPENAI:
        found = told(error, dialect)
        assert (found["status"], found["type"], found["code"]) == (openai_status, openai_type, code)
        assert (found["message"] or "").startswith("what happened")
    found = told(error, Dialect.MESSAGES)
    assert (found["status"], found["type"]) == (anthropic_status, anthropic_type)


def test_every_error_of_ours_is_rendered_in_every_dialect() -> None:
    """No class of the tree is without a status, and none of its messages is lost."""
    made = [
        MethodNotAllowed("Use POST.", allow=("POST",)),
        errors.DeviceFlowFailed("No.", code="incorrect_device_code"),
        errors.TokenExchangeFailed("No.", status=403),
        errors.UpstreamUnavailable("No.", sent=False),
        upstream(500),
        errors.UpstreamUnauthorized(401, (), b""),
        errors.UpstreamThrottled(429, (), b""),
        errors.CircuitOpen("No.", status=402, retry_after=1.0),
        *(
            getattr(errors, name)("Said so.")
            for name in errors.__all__
            if name
            not in {
                "MethodNotAllowed",
                "DeviceFlowFailed",
                "TokenExchangeFailed",
                "UpstreamUnavailable",
                "UpstreamStatus",
                "UpstreamUnauthorized",
                "UpstreamThrottled",
                "CircuitOpen",
            }
        ),
    ]
    for error in made:
        for dialect in Dialect:
            found = told(error, dialect)
            assert found["message"]
            assert 400 <= int(found["status"] or 0) < 600
            end = b"\n" if dialect is Dialect.OLLAMA else b"\n\n"
            assert error_event(error, dialect, request_id="r").endswith(end)


def test_our_own_errors_keep_code_and_param() -> None:
    """Code and field of a refusal reach OpenAI clients; Anthropic clients read the field first."""
    error = UnknownModel("There is no model 'x'.")
    assert told(error) == {
        "status": 404,
        "message": "There is no model 'x'.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
    assert told(error, Dialect.MESSAGES)["message"] == "model: There is no model 'x'."
    assert told(BadRequest("No."), Dialect.MESSAGES)["message"] == "No."


WEB_PAGE = "GitHub answered with a web page instead of an error message."
NESTED = json.dumps({"error": {"code": 429, "message": "Resource exhausted", "status": "RESOURCE_EXHAUSTED"}})

# body of upstream -> message, code, param
BODIES: dict[str, tuple[bytes, str, str | None, str | None]] = {
    "nested": (b'{"error":{"message":"m","code":"c","type":"t","param":"p"}}', "m", "c", "p"),
    "flat": (b'{"message":"m","code":"c"}', "m", "c", None),
    "flat without code": (b'{"message":"m"}', "m", None, None),
    "anthropic": (b'{"type":"error","error":{"type":"invalid_request_error","message":"m"}}', "m", None, None),
    "error text": (b'{"error":"m"}', "m", None, None),
    "failed response": (b'{"response":{"error":{"code":"c","message":"m"}}}', "m", "c", None),
    "plain text": (b"unauthorized: token is gone\n", "unauthorized: token is gone", None, None),
    "json string": (b'"m"', "m", None, None),
    "html": (b"\n<!DOCTYPE html><html><body>Unicorn!</body></html>", WEB_PAGE, None, None),
    "empty": (b"", "", None, None),
    "json in the message": (
        json.dumps({"error": {"message": NESTED, "code": 429}}).encode(),
        "Resource exhausted",
        None,
        None,
    ),
    "broken json in the message": (b'{"message":"{ not json"}', "{ not json", None, None),
    "silent json in the message": (b'{"message":"{}"}', "{}", None, None),
    "surrogate in the message": (b'{"message":"{\\ud83d\\ude00"}', "{\U0001f600", None, None),
    "numeric code": (b'{"error":{"message":"m","code":400}}', "m", None, None),
    "types that make no sense": (b'{"error":{"message":5,"code":[],"param":{},"type":true}}', "", None, None),
    "null": (b"null", "", None, None),
    "array": (b"[1]", "", None, None),
    "huge number": (b'{"message":"m","code":' + b"9" * 6000 + b"}", '{"message":"m","code":999', None, None),
    "deep": (b'{"error":' + b"[" * 60_000, '{"error":[[[', None, None),
    "not utf-8": (b"\xff\xfebad", "\ufffd\ufffdbad", None, None),
    "controls": (b'{"message":"a\\r\\nX-Evil: 1\\u001b[31m\\u202eb"}', "a X-Evil: 1 [31m b", None, None),
    "statusCode": (b'{"statusCode":413,"message":"request entity too large"}', "request entity too large", None, None),
}


@pytest.mark.parametrize("name", BODIES)
def test_body_forms(name: str) -> None:
    """Message, code and field are found wherever upstream put them."""
    body, message, code, param = BODIES[name]
    found = parse_error_body(body)
    assert found.message.startswith(message) if name in {"huge number", "deep"} else found.message == message
    assert (found.code, found.param) == (code, param)


@pytest.mark.parametrize("status", [400, 502])
@pytest.mark.parametrize("body", [b"", b"null", b"{}"])
def test_a_silent_body_gets_a_sentence(body: bytes, status: int) -> None:
    """When upstream says nothing, the status is said."""
    assert told(upstream(status, body))["message"] == f"GitHub Copilot answered with status {status}."


@pytest.mark.parametrize(
    "secret",
    ["ghu_0123456789abcdefABCDEF", "gho_0123456789abcdef", "tid=abc;exp=1;sku=x:0123456789", "Bearer abcdefgh12345678"],
)
@pytest.mark.parametrize("where", ["message", "code", "type", "param"])
def test_no_token_gets_through(secret: str, where: str) -> None:
    """An upstream that echoes a token does not show it to the client, in any field."""
    error = upstream(400, {"error": {"message": "bad", where: f"bad {secret} token"}})
    for dialect in Dialect:
        for wire in (
            render_error(error, dialect, request_id="r", now=NOW).body,
            error_event(error, dialect, request_id="r"),
        ):
            assert secret.rsplit(maxsplit=1)[-1].encode() not in wire


def test_own_messages_are_cleaned_too() -> None:
    """A token in a message of ours does not leave either."""
    assert told(BadRequest("key ghu_0123456789abcdef\nx"))["message"] == "key *** x"


def test_text_is_cut() -> None:
    """No more than two kilobytes of upstream's text are passed on, in whole characters."""
    message = told(upstream(400, {"error": {"message": "é" * 5000}}))["message"] or ""
    assert message == "é" * 1024


@given(st.binary(max_size=300))
def test_any_body_is_rendered(body: bytes) -> None:
    """No bytes make rendering fail."""
    for dialect in Dialect:
        json.loads(render_error(upstream(400, body), dialect, request_id="r", now=NOW).body)


@pytest.mark.parametrize(
    ("status", "body", "hint"),
    [
        (
            400,
            {"error": {"message": "The requested model is not supported.", "code": "model_not_supported"}},
            "features",
        ),
        (400, {"error": {"message": "no", "code": "unsupported_api_for_model"}}, "supported_endpoints"),
        (402, {"error": {"message": "You have no quota", "code": "quota_exceeded"}}, "quota resets"),
        (403, {"message": "requires an enterprise or organization policy to be enabled"}, "administrator"),
        (421, b"Misdirected Request", "copilot_url"),
        (466, b"too old", "update copilot-asgi"),
        (403, b"Forbidden\n", None),
        (400, {"error": {"message": "policy"}}, None),
    ],
)
def test_refusals_are_explained(status: int, body: object, hint: str | None) -> None:
    """What a person can mend is said in one sentence behind upstream's own."""
    message = told(upstream(status, body))["message"] or ""
    if hint is None:
        assert message in {"Forbidden", "policy"}
    else:
        assert hint in message


LONG = [
    (400, {"error": {"message": "prompt token count of 130000 exceeds the limit of 128000"}}, 130000, 128000),
    (
        400,
        {
            "error": {
                "message": "prompt token count of 5 exceeds the limit of 4",
                "code": "model_max_prompt_tokens_exceeded",
            }
        },
        5,
        4,
    ),
    (
        400,
        {"type": "error", "error": {"message": "prompt is too long: 208310 tokens > 200000 maximum"}},
        208310,
        200000,
    ),
    (
        400,
        {"error": {"message": "maximum context length is 4 tokens. However, your messages resulted in 5 tokens."}},
        5,
        4,
    ),
    (400, {"error": {"message": "Request body is too large for model context window"}}, None, None),
    (413, {"message": "Request body is too large for model context window"}, None, None),
    (400, {"error": {"message": "too long", "code": "context_length_exceeded"}}, None, None),
]


@pytest.mark.parametrize(("status", "body", "used", "limit"), LONG)
def test_a_prompt_that_is_too_long(status: int, body: object, used: int | None, limit: int | None) -> None:
    """Each client gets the words it looks for in order to shorten its history."""
    error = upstream(status, body)
    found = told(error)
    assert (found["status"], found["code"], found["type"]) == (400, "context_length_exceeded", "invalid_request_error")
    assert "maximum context length" in (found["message"] or "")
    native = told(error, Dialect.MESSAGES)
    assert (native["status"], native["type"]) == (400, "invalid_request_error")
    if used is None:
        assert (native["message"] or "").startswith("prompt is too long: ")
    else:
        assert native["message"] == f"prompt is too long: {used} tokens > {limit} maximum"
        assert f"is {limit} tokens" in (found["message"] or "")
        assert f"in {used} tokens" in (found["message"] or "")


def test_a_rate_limit_under_400_is_one() -> None:
    """Upstream now and then says 400 for a rate limit."""
    assert told(upstream(400, {"error": {"message": "m", "code": "rate_limited"}}))["status"] == 429


def headers_of(error: CopilotASGIError, dialect: Dialect = Dialect.CHAT) -> dict[bytes, bytes]:
    rendered = render_error(error, dialect, request_id="r", now=NOW)
    assert rendered.headers[0] == (b"content-type", b"application/json")
    return dict(rendered.headers[1:])


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        (" 1.5 ", 1.5),
        ("0", 0.0),
        ("86400", 86400.0),
        ("209000", 209000.0),
        ("Fri, 20 Nov 2026 13:07:40 GMT", 60.0),
        ("Fri, 20 Nov 2026 13:07:40 -0000", 60.0),
        ("Friday, 20-Nov-26 13:07:40 GMT", 60.0),
        ("2026-11-20T13:07:40Z", 60.0),
        ("2026-11-20T13:07:40", 60.0),
        ("Fri, 20 Nov 2020 13:07:40 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("nan", None),
        ("1e3", None),
        ("9" * 5000, None),
        ("٣", None),
        ("Fri, 99 Nov 2026 13:07:40 GMT", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    """Seconds and dates are read, garbage is dropped, a large wait is kept, and the client gets whole seconds."""
    assert retry_after_seconds(value, now=NOW) == seconds
    expected = None if seconds is None else str(-(-int(seconds * 10) // 10)).encode()
    error = UpstreamStatus(429, ((b"retry-after", value.encode()),), b"")
    assert headers_of(error).get(b"retry-after") == expected


def test_headers() -> None:
    """Only the headers that a client reads are there, each once."""
    assert headers_of(upstream(429, {"error": {"message": "m", "retry_after": 7}})) == {b"retry-after": b"7"}
    assert headers_of(upstream(429, {"error": {"message": "m", "retry_after": True}})) == {}
    assert headers_of(upstream(500, x_should_retry="false", set_cookie="a=b")) == {b"x-should-retry": b"false"}
    assert headers_of(upstream(500, x_should_retry="perhaps")) == {}
    assert headers_of(Draining("Bye.")) == {b"retry-after": b"1"}
    assert headers_of(MethodNotAllowed("No.", allow=("GET", "HEAD"))) == {b"allow": b"GET, HEAD"}


def test_chat_error_event_is_raised_by_the_openai_library() -> None:
    """The library finds the error and raises; it does not see an answer."""
    wire = error_event(StreamInterrupted("It broke off."), Dialect.CHAT, request_id="r")
    [event] = EventParser().feed(wire)
    assert event.event == "message"
    with pytest.raises(openai.APIError, match="It broke off"):
        for _ in sdk_stream(wire, openai):
            pass


def test_messages_error_event_is_raised_by_the_anthropic_library() -> None:
    """The library finds the error and raises."""
    wire = error_event(UpstreamTimeout("Too slow."), Dialect.MESSAGES, request_id="req_9")
    [event] = EventParser().feed(wire)
    assert event.event == "error"
    assert json.loads(event.data) == {
        "type": "error",
        "error": {"type": "timeout_error", "message": "Too slow."},
        "request_id": "req_9",
    }
    with pytest.raises(anthropic.APIStatusError, match="Too slow"):
        for _ in sdk_stream(wire, anthropic):
            pass


def sdk_stream(wire: bytes, library: object) -> object:
    """A stream of the library's own over fixed bytes."""
    import httpx2

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=wire)

    http_client = httpx2.Client(transport=httpx2.MockTransport(answer))
    if library is openai:
        with openai.OpenAI(api_key="k", base_url="http://test", http_client=http_client) as client:
            return list(client.chat.completions.create(model="m", messages=[], stream=True))
    with anthropic.Anthropic(api_key="k", base_url="http://test", http_client=http_client) as client:
        return list(client.messages.create(model="m", messages=[], max_tokens=1, stream=True))


def test_responses_error_event_fits_to_the_stream() -> None:
    """The failure is a valid lifecycle event of the response that the client knows, with the next number."""
    progress = ResponseProgress(sequence_number=7, response_id="resp_a", model="gpt-6", created=5)
    [event] = EventParser().feed(
        error_event(StreamInterrupted("Cut."), Dialect.RESPONSES, request_id="r", progress=progress)
    )
    assert event.event == "response.failed"
    failed = ResponseFailedEvent.model_validate_json(event.data)
    assert (failed.sequence_number, failed.response.id, failed.response.model) == (8, "resp_a", "gpt-6")
    assert failed.response.error
    assert (failed.response.error.code, failed.response.error.message) == ("server_error", "Cut.")


def test_responses_error_event_before_anything_else() -> None:
    """Without a response to fit to, the failure stands for itself."""
    error = upstream(400, LONG[0][1])
    [event] = EventParser().feed(error_event(error, Dialect.RESPONSES, request_id="r"))
    failed = json.loads(event.data)
    assert (failed["sequence_number"], failed["response"]["id"]) == (0, "resp_r")
    assert failed["response"]["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, b"unauthorized: token expired\n", True),
        (401, b"", True),
        (401, b'{"error":{"message":"input item ID does not belong to this connection"}}', False),
        (401, b'{"authorize_url":"https://example.com"}', False),
        (403, b"Forbidden\n", True),
        (403, b'{"error":{"message":"m","code":"token_expired"}}', True),
        (403, b'{"code":"invalid_token"}', True),
        (403, b"IDE token expired: unauthorized: token expired", True),
        (403, b'{"message":"not authorized ... organization policy to be enabled"}', False),
        (403, b'{"error":{"message":"m","code":"model_not_allowed"}}', False),
        (403, b"", False),
        (400, b"bad request: Authorization header is badly formatted", False),
        (429, b"", False),
    ],
)
def test_is_auth_failure(status: int, body: bytes, expected: bool) -> None:
    """Only what a fresh token may mend counts as a failure of the token."""
    assert is_auth_failure(status, body) is expected


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}', 529),
        (b'{"type":"response.failed","response":{"error":{"code":"invalid_prompt","message":"m"}}}', 400),
        (b'{"error":{"message":"m","code":503}}', 503),
        (b'{"error":{"message":"m","code":200}}', 502),
        (b'{"error":{"message":"prompt is too long"}}', 400),
        (b"", 502),
    ],
)
def test_error_under_success(body: bytes, status: int) -> None:
    """An error that came under 200 gets the status it should have had."""
    assert error_under_success(body).status == status


@pytest.mark.parametrize(
    "code",
    [
        "empty_image_file",
        "failed_to_download_image",
        "image_content_policy_violation",
        "image_file_not_found",
        "image_file_too_large",
        "image_parse_error",
        "image_too_large",
        "image_too_small",
        "invalid_base64_image",
        "invalid_image",
        "invalid_image_format",
        "invalid_image_mode",
        "invalid_image_url",
        "unsupported_image_media_type",
    ],
)
def test_a_bad_image_is_the_client_s_mistake(code: str) -> None:
    """The codes that the Responses API has for images are refusals, in a failed response as in an error event."""
    for body in ({"type": "response.failed", "response": {"error": {"code": code, "message": "m"}}}, {"code": code}):
        failure = error_under_success(json.dumps(body).encode())
        assert failure.status == 400
        told = json.loads(render_error(failure, Dialect.CHAT, request_id="r", now=0.0).body)
        assert told["error"]["type"] == "invalid_request_error"


def test_paths() -> None:
    """Each dialect that upstream speaks has its path there; in the others nobody asks a model."""
    assert set(UPSTREAM_PATHS) == set(Dialect) - {Dialect.GEMINI, Dialect.OLLAMA}
