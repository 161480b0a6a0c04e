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
        (UpstreamStatus(403, (), b'{"error":{"message":"policy"}}'), Reason.POLICY),
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
    """402, a 403 that is not about the token, and throttling are refusals; nothing else is."""
    assert reason_of(error) is reason
    refusal = read_refusal(error, NOW)
    assert (refusal and refusal.reason) == reason


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
    ("body", "message"),
    [
        (b'{"error":{"message":"no\\u001b[2J more"}}', "no [2J more"),
        (b"use Bearer abcdefghijklmnop", "use Bearer ***"),
        (b"", "GitHub Copilot answered with status 429."),
        (b"<html>Unicorn</html>", "GitHub answered with a web page instead of an error message."),
        (b"\xff\xfe" * 40_000, None),
        (b"[" * 60_000, None),
    ],
)
def test_the_words_are_clean_and_short(body: bytes, message: str | None) -> None:
    """Whatever the body holds, what is kept is one short printable line without a token."""
    refusal = read_refusal(UpstreamThrottled(429, (), body), NOW)
    assert refusal is not None
    assert message is None or refusal.message == message
    assert refusal.message.isprintable()
    assert len(refusal.message) <= 500


def test_what_a_person_can_do_is_said() -> None:
    """A quota that is used up comes with the place to raise it."""
    refusal = read_refusal(UpstreamStatus(402, (), b'{"error":{"message":"You have no quota"}}'), NOW)
    assert refusal is not None
    assert refusal.message.startswith("You have no quota See https://github.com/settings/copilot")
