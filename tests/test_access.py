"""Strangers' hosts, origins and bodies are refused before anything else happens."""

import pytest

from copilot_asgi.access import (
    check_content,
    check_framing,
    check_host,
    check_origin,
    cors_headers,
    options_headers,
)
from copilot_asgi.errors import BadRequest, BodyTooLarge, Forbidden, UnsupportedMediaType

Pairs = tuple[tuple[bytes, bytes], ...]


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:4141", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:4141", "[::1]", "[::1]:4141", "ai.example"]
    + ["AI.example:8443", "pinned.example:9000"],
)
def test_our_hosts_pass(host: str) -> None:
    """Loopback names with any port, listed names with any port, and listed names with their port pass."""
    check_host(host.encode(), frozenset({"ai.example", "pinned.example:9000"}))


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:4141",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example@127.0.0.1",
    ]
    + ["127.0.0.1@evil.example", "127.0.0.1#evil", "127.0.0.1/evil", "127.0.0.1?x", "127.1", "2130706433", "0x7f000001"]
    + ["0177.0.0.1", "0.0.0.0", "[::ffff:127.0.0.1]", "localhost:port", "localhost:99999", "localhost.", "127.0.0.2"]
    + ["192.168.0.1", "pinned.example", "pinned.example:9001", "ai.example\x00", "[::1", "local host"],
)
def test_other_hosts_are_refused(host: str) -> None:
    """Names of others, odd spellings of loopback addresses, and tricks with user info are refused."""
    with pytest.raises(Forbidden) as caught:
        check_host(host.encode("latin-1"), frozenset({"ai.example", "pinned.example:9000"}))
    assert caught.value.code == "host_not_allowed"


def with_host(*pairs: tuple[bytes, bytes]) -> Pairs:
    return ((b"host", b"localhost:4141"), *pairs)


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        (with_host(), None),
        (with_host((b"origin", b"https://app.example")), "https://app.example"),
        (with_host((b"origin", b"http://localhost:4141")), None),
        (with_host((b"sec-fetch-site", b"same-origin")), None),
        (with_host((b"sec-fetch-site", b"none")), None),
    ],
)
def test_known_origins_pass(headers: Pairs, origin: str | None) -> None:
    """No browser, a listed origin, and our own origin pass; only the listed one gets CORS headers."""
    assert check_origin(headers, scheme="http", allowed=["https://app.example"]) == origin


@pytest.mark.parametrize(
    "pair",
    [
        (b"origin", b"https://evil.example"),
        (b"origin", b"null"),
        (b"origin", b"https://app.example.evil.example"),
        (b"origin", b"http://app.example"),
        (b"origin", b"https://app.example:444"),
        (b"origin", b"http://localhost:3000"),
        (b"origin", b"https://localhost:4141"),
        (b"sec-fetch-site", b"cross-site"),
        (b"sec-fetch-site", b"same-site"),
    ],
)
def test_other_origins_are_refused(pair: tuple[bytes, bytes]) -> None:
    """Pages of any other origin are refused, with and without an Origin header."""
    with pytest.raises(Forbidden) as caught:
        check_origin(with_host(pair), scheme="http", allowed=["https://app.example"])
    assert caught.value.code == "origin_not_allowed"


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((b"host", b"a"), (b"host", b"b")),
        with_host((b"content-length", b"1"), (b"content-length", b"2")),
        with_host((b"content-length", b"1"), (b"transfer-encoding", b"chunked")),
    ],
)
def test_ambiguous_framing_is_refused(headers: Pairs) -> None:
    """Two hosts, two lengths, or a length beside chunks: two parties could read that differently."""
    with pytest.raises(BadRequest):
        check_framing(headers)


def test_plain_framing_passes() -> None:
    """One host and one length are what clients send."""
    check_framing(with_host((b"content-length", b"1")))
    check_framing(with_host((b"transfer-encoding", b"chunked")))


@pytest.mark.parametrize("kind", [b"application/json", b"Application/JSON; charset=utf-8", b"application/json;x=y"])
def test_json_is_taken(kind: bytes) -> None:
    """JSON with any parameters is taken, up to the limit."""
    check_content(((b"content-type", kind), (b"content-length", b"10")), limit=10)


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ((), UnsupportedMediaType),
        (((b"content-type", b"text/plain"),), UnsupportedMediaType),
        (((b"content-type", b"application/x-www-form-urlencoded"),), UnsupportedMediaType),
        (((b"content-type", b"application/json"), (b"content-encoding", b"gzip")), UnsupportedMediaType),
        (((b"content-type", b"application/json"), (b"content-length", b"11")), BodyTooLarge),
        (((b"content-type", b"application/json"), (b"content-length", b"9" * 5000)), BodyTooLarge),
        (((b"content-type", b"application/json"), (b"content-length", b"-1")), BodyTooLarge),
    ],
)
def test_other_bodies_are_refused(headers: Pairs, error: type[Exception]) -> None:
    """Forms, plain text, compressed and oversized bodies are refused unread."""
    with pytest.raises(error):
        check_content(headers, limit=10)


def test_cors_is_exact_or_absent() -> None:
    """Without a listed origin there is no CORS header at all; with one it is named, never a star."""
    assert cors_headers(None) == ()
    assert (b"access-control-allow-origin", b"https://app.example") in cors_headers("https://app.example")
    assert options_headers(("GET",), None) == ((b"allow", b"GET, OPTIONS"),)
    preflight = dict(options_headers(("POST",), "https://app.example"))
    assert preflight[b"access-control-allow-methods"] == b"POST, OPTIONS"
    assert b"authorization" in preflight[b"access-control-allow-headers"]
