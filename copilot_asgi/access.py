"""Who may talk to us at all, decided by Host, Origin and fetch metadata before anything else is looked at.

A page in the user's browser can reach a loopback port, and DNS rebinding can give it our Host's address under its own
name. So the Host must be one of ours and a browser's Origin one that the operator listed (or our own).
"""

from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from copilot_asgi.errors import BadRequest, BodyTooLarge, Forbidden, UnsupportedMediaType
from copilot_asgi.exchange import Headers, header

__all__ = ["check_content", "check_framing", "check_host", "check_origin", "cors_headers", "options_headers"]

# Only the spellings people type: other spellings of loopback addresses are how rebinding attacks look.
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def check_framing(headers: Headers) -> None:
    """Raise ``BadRequest`` where two parties could read the framing differently (RFC 9112, 3.2 and 6.1)."""
    names = [name for name, _ in headers]
    if names.count(b"host") != 1:
        raise BadRequest("The request must carry exactly one Host header.")
    lengths = names.count(b"content-length")
    if lengths > 1 or (lengths and b"transfer-encoding" in names):
        raise BadRequest("The request has more than one idea of its length.")


def check_host(value: bytes, allowed: Sequence[str]) -> None:
    """Raise ``Forbidden`` unless the Host header names a loopback address or one of ``allowed``."""
    host = value.decode("latin-1").strip().lower()
    name = _name(host)
    if name in LOOPBACK_NAMES or name in allowed or host in allowed:
        return
    raise Forbidden(
        "This Host is not allowed. Call us by a loopback name, or list the name in allowed_hosts "
        "(COPILOT_ASGI_ALLOWED_HOSTS).",
        code="host_not_allowed",
    )


def check_origin(headers: Headers, *, scheme: str, allowed: Sequence[str]) -> str | None:
    """The listed Origin of a browser's request, or ``None`` when there is none or it is our own.

    Raises ``Forbidden`` for any other origin, and for a page of another site that sends no Origin.
    """
    fields = dict(headers)
    origin = fields.get(b"origin", b"").decode("latin-1")
    if origin:
        if origin in allowed:
            return origin
        if origin == f"{scheme}://{fields[b'host'].decode('latin-1')}":
            return None
        raise Forbidden(
            "Web pages of this origin may not call us. List it in cors_origins (COPILOT_ASGI_CORS_ORIGINS).",
            code="origin_not_allowed",
        )
    if fields.get(b"sec-fetch-site", b"none").lower() not in {b"none", b"same-origin"}:
        raise Forbidden("Web pages of other sites may not call us.", code="origin_not_allowed")
    return None


def check_content(headers: Headers, *, limit: int) -> None:
    """Raise ``UnsupportedMediaType`` or ``BodyTooLarge`` for a body that need not be read to be refused.

    A JSON content type is what a web page cannot send elsewhere without asking first (WHATWG Fetch, CORS-safelisted).
    """
    kind = (header(headers, b"content-type") or b"").partition(b";")[0].strip().lower()
    if kind != b"application/json":
        raise UnsupportedMediaType("Send the body as JSON, with content-type application/json.")
    if (header(headers, b"content-encoding") or b"identity").strip().lower() != b"identity":
        raise UnsupportedMediaType("Send the body without content-encoding.")
    length = header(headers, b"content-length") or b"0"
    if not length.isdigit() or int(length[:20]) > limit:
        raise BodyTooLarge(f"The request body is over {limit} bytes. Raise max_body, or send less.")


def cors_headers(origin: str | None) -> Headers:
    """What lets a listed ``origin`` read the answer (WHATWG Fetch, CORS protocol); nothing without one."""
    if origin is None:
        return ()
    return (
        (b"access-control-allow-origin", origin.encode()),
        (b"access-control-expose-headers", b"x-request-id, request-id, retry-after"),
        (b"vary", b"origin"),
    )


def options_headers(methods: Sequence[str], origin: str | None) -> Headers:
    """The answer to OPTIONS, also as a preflight of a listed ``origin``."""
    names = ", ".join((*methods, "OPTIONS")).encode()
    if origin is None:
        return ((b"allow", names),)
    return (
        (b"allow", names),
        (b"access-control-allow-methods", names),
        (
            b"access-control-allow-headers",
            b"authorization, content-type, x-api-key, anthropic-version, anthropic-beta, x-request-id",
        ),
        (b"access-control-max-age", b"600"),
    )


@lru_cache(maxsize=64)  # every request of a client says the same
def _name(host: str) -> str:
    """``host`` without its port; empty when the port is not a number."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return ""
    if parts.username is not None or parts.path or parts.query or parts.fragment:
        return ""
    return parts.hostname or ""
