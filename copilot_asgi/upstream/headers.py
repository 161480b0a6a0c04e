"""The headers of a model call, built from nothing: what the client sent is never copied, except one filtered list."""

from copilot_asgi.credentials.credential import Credential
from copilot_asgi.credentials.identity import Identity
from copilot_asgi.exchange import Exchange, Headers, header
from copilot_asgi.routing import Route
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.messages import taken_betas
from copilot_asgi.wire.models import Model

__all__ = ["betas", "common_headers", "own_headers"]

_JSON = (b"content-type", b"application/json")
_ACCEPT = {True: (b"accept", b"text/event-stream"), False: (b"accept", b"application/json")}
_INITIATOR = {True: (b"x-initiator", b"user"), False: (b"x-initiator", b"agent")}
_INTENT = (b"openai-intent", b"conversation-panel")
_VISION = (b"copilot-vision-request", b"true")
_ANTHROPIC_VERSION = (b"anthropic-version", b"2023-06-01")

# What a catalog entry must not ask for: the message's framing, and what is ours to say.
_OURS = frozenset({
    "authorization", "proxy-authorization", "cookie", "host", "connection", "content-length", "transfer-encoding",
    "content-encoding", "content-type", "accept", "accept-encoding", "expect", "te", "trailer", "upgrade",
    "x-initiator", "x-request-id",
})  # fmt: skip


def common_headers(exchange: Exchange, route: Route, credential: Credential, identity: Identity) -> Headers:
    """Identity, token, and what such a request needs: who started the turn, whether it holds an image."""
    request, turn = exchange.request, exchange.turn
    assert turn is not None
    headers = [
        *identity.model_headers,
        (b"authorization", credential.authorization),
        _JSON,
        _INTENT,
        _ACCEPT[request.stream],
        *_model_headers(route.model),
    ]
    if route.dialect is not Dialect.EMBEDDINGS:
        headers += [_INITIATOR[turn.by_user], *([_VISION] if turn.has_image else [])]
    if route.dialect is Dialect.MESSAGES:
        headers += [_ANTHROPIC_VERSION, *betas(request.headers)]
    return tuple(headers)


def own_headers(exchange: Exchange) -> Headers:
    """What no other request has."""
    return ((b"x-request-id", exchange.id.encode()),)


def betas(headers: Headers) -> Headers:
    """Those of Anthropic's beta features that the client asks for and upstream takes."""
    taken = taken_betas(header(headers, b"anthropic-beta") or b"")
    return ((b"anthropic-beta", ",".join(taken).encode()),) if taken else ()


def _model_headers(model: Model) -> Headers:
    """What the catalog says to send with calls to a model; it may add, never replace, and only plain text."""
    asked = (model.request_headers or {}).items()
    return tuple(
        (name.lower().encode(), value.encode())
        for name, value in asked
        if name.lower() not in _OURS and (name + value).isascii() and value.isprintable()
    )
