"""What upstream refuses is told from what merely failed, with the scope and the wait that it names."""

import pytest

from copilot_asgi.errors import (
    MalformedResponse,
    StreamInterrupted,
    UpstreamError,
    UpstreamStatus,
    UpstreamThrottled,
    UpstreamTimeout,
    UpstreamUnauthorized,
    UpstreamUnavailable,
)
from copilot_asgi.wire.refusal import Reason, asked_wait, read_refusal, reason_of

NOW = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UpstreamStatus(402, (), b""), Reason.QUOTA),
        (UpstreamStatus(403, (), b'{"error":{"message":"No.","code":"model_not_allowed"}}'), Reason.POLICY),
        (UpstreamStatus(403, (), b'{"message":"it requires an enterprise or organization policy"}'), Reason.POLICY),
        (UpstreamStatus(403, (), b"You are not authorized to use this Copilot feature"), Reason.POLICY),
        (UpstreamStatus(403, (), b""), Reason.FORBIDDEN),
        (UpstreamStatus(403, (), b'{"error":{"message":"No.","type":"permission_error"}}'), Reason.FORBIDDEN),
        (UpstreamStatus(403, (), b'{"error":{"message":"Flagged.","code":"cyber_policy"}}'), Reason.FORBIDDEN),
        (UpstreamStatus(403, (), b"against the content policy: 'our privacy policy is'"), Reason.FORBIDDEN),
        (UpstreamUnauthorized(403, (), b"Forbidden\n"), Reason.FORBIDDEN),
        (UpstreamUnauthorized(403, (), b'{"error":{"code":"expired_token"}}'), None),
        (UpstreamUnauthorized(401, (), b"Forbidden"), None),
        (UpstreamThrottled(429, (), b""), Reason.THROTTLED),
        (UpstreamThrottled(400, (), b'{"error":{"code":"rate_limited"}}'), Reason.THROTTLED),
        (UpstreamStatus(429, (), b'{"error":"under a status of 200"}'), Reason.THROTTLED),
        *((UpstreamStatus(status, (), b""), None) for status in (400, 401, 404, 413, 421, 422, 500, 502, 503, 529)),
        (UpstreamUnavailable("gone", sent=False), None),
        (UpstreamTimeout("late"), None),
        (MalformedResponse("odd"), None),
        (StreamInterrupted("cut"), None),
    ],
)
def test_reasons(error: UpstreamError, reason: Reason | None) -> None:
    """402, a 403 that is not about the token, and throttling are refusals; a policy is one only for certain."""
    assert reason_of(error) is reason
    refusal = read_refusal(error, NOW)
    assert (refusal and refusal.reason) == reason


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_said_in_words_of_ours(reason: Reason) -> None:
    """One clause about GitHub Copilot, and what a person can do where a person can."""
    assert reason.said.startswith("GitHub Copilot ")
    assert not reason.said.endswith(".")
    assert bool(reason.advice) == (reason in {Reason.QUOTA, Reason.POLICY})


def test_every_reason_has_the_status_upstream_gave() -> None:
    """What is told of a refusal later carries the status of the first one."""
    assert {reason: reason.status for reason in Reason} == {
        Reason.QUOTA: 402,
        Reason.POLICY: 403,
        Reason.FORBIDDEN: 403,
        Reason.THROTTLED: 429,
    }


@pytest.mark.parametrize(
    ("code", "of_model"),
    [
        ("user_model_rate_limited", True),
        ("user_model_rate_limited:pro", True),
        ("model_overloaded", True),
        ("user_global_rate_limited:pro", False),
        ("user_weekly_rate_limited", False),
        ("rate_limited", False),
        ("", False),
    ],
)
def test_throttling_concerns_the_account_unless_its_code_names_the_model(code: str, of_model: bool) -> None:
    """A limit of one model leaves the others open; any other limit is everybody's."""
    refusal = read_refusal(UpstreamThrottled(429, (), b'{"error":{"message":"m","code":"%s"}}' % code.encode()), NOW)
    assert refusal is not None
    assert (refusal.of_model, refusal.code) == (of_model, code or None)


@pytest.mark.parametrize("status", [402, 403])
def test_quota_and_policy_concern_one_model(status: int) -> None:
    """Another model may be free, or allowed."""
    refusal = read_refusal(UpstreamStatus(status, (), b""), NOW)
    assert refusal is not None
    assert refusal.of_model


@pytest.mark.parametrize(
    ("header", "body", "wait"),
    [
        (b"20", b"", 20.0),
        (b" 0 ", b"", 0.0),
        (b"86400", b'{"error":{"retry_after":5}}', 86_400.0),
        (b"Fri, 15 Jan 2027 08:00:30 GMT", b"", 30.0),
        (b"Fri, 15 Jan 2027 07:00:00 GMT", b"", 0.0),
        (b"soon", b"", None),
        (b"-3", b"", None),
        (b"\xff\x00", b"", None),
        (b"soon", b'{"error":{"retry_after":5}}', 5.0),
        (None, b'{"retry_after":7.5,"error":{"message":"m"}}', 7.5),
        (None, b"\xff" * 10, None),
    ],
)
def test_the_wait_that_upstream_asks_for(header: bytes | None, body: bytes, wait: float | None) -> None:
    """Seconds, or a date turned into seconds; garbage is dropped; the body counts where the header says nothing."""
    headers = () if header is None else ((b"retry-after", header),)
    error = UpstreamThrottled(429, ((b"x-request-id", b"1"), *headers), body)
    refusal = read_refusal(error, NOW)
    assert refusal is not None
    assert (refusal.asked, asked_wait(error, NOW)) == (wait, wait)


@pytest.mark.parametrize(
    ("code", "kept"),
    [
        ("rate_limited", "rate_limited"),
        ("user_global_rate_limited:pro_plus2", "user_global_rate_limited:pro_plus2"),
        ("Tell me about Ada", None),
        ("tell me", None),
        ("model-x", None),
        ("caf\u00e9", None),
        ("x" * 64, "x" * 64),
        ("x" * 65, None),
    ],
)
def test_only_a_machines_word_is_kept(code: str, kept: str | None) -> None:
    """Anything else in place of the code may be somebody's text."""
    body = b'{"error":{"message":"m","code":"%s"}}' % code.encode()
    refusal = read_refusal(UpstreamThrottled(429, (), body), NOW)
    assert refusal is not None
    assert refusal.code == kept


@pytest.mark.parametrize("status", [402, 403, 429])
@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"message":"\\"my secret\\" is refused","code":"my secret"}}',
        b"my secret",
        b'["my secret"]',
        b"[" * 60_000,
    ],
)
def test_upstreams_words_are_not_kept(status: int, body: bytes) -> None:
    """Whatever the body quotes, nothing of it is in what others are told from."""
    refusal = read_refusal(UpstreamStatus(status, ((b"x-request-id", b"my secret"),), body), NOW)
    assert refusal is not None
    assert "secret" not in repr(refusal)
