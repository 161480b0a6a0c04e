"""Ask upstream and pass its answer on, piece by piece as it comes. The innermost handler of the pipeline."""

from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

import anyio

from copilot_asgi.errors import (
    ConfigError,
    MalformedResponse,
    StreamInterrupted,
    UpstreamStatus,
    UpstreamThrottled,
    UpstreamUnauthorized,
)
from copilot_asgi.exchange import Exchange, Head, Headers, Send
from copilot_asgi.secret import redact
from copilot_asgi.wire.error_body import is_auth_failure, is_throttling

if TYPE_CHECKING:
    from copilot_asgi._calls import ResponseStream

__all__ = ["forward"]

ERROR_LIMIT = 64 * 1024
END_GRACE = 0.5  # seconds that upstream gets to end a response after its terminal event

# What a client may see of upstream's headers; everything else stays here.
_PASSED_ON = frozenset({b"content-type", b"retry-after", b"x-github-request-id", b"x-should-retry"})
_PASSED_ON_PREFIXES = (b"x-ratelimit-", b"x-quota-snapshot-", b"anthropic-ratelimit-")


async def forward(exchange: Exchange, send: Send) -> None:
    """The pieces of body that go on are the bytes objects that came.

    Raises ``UpstreamError``; when cancelled the connection upstream is closed at once.
    """
    opened, route, credential = exchange.opened, exchange.route, exchange.credential
    if opened is None or route is None or credential is None or exchange.turn is None:
        raise ConfigError("stages: without route, translation and lease nothing can be sent upstream.")
    async with opened.calls.call(exchange, route, credential) as response:
        if response.status != 200:
            raise _failure(response.status, response.headers, await response.read(ERROR_LIMIT))
        await send(Head(200, passed_on(response.headers)))
        stream = exchange.stream
        while piece := await response.receive():
            await send(piece)
            if stream is not None and stream.done:
                await _see_off(response, send)
                break


async def _see_off(response: "ResponseStream", send: Send) -> None:
    """Let a response end whose terminal event has come, so that its connection can be kept; however, it is whole."""
    with suppress(StreamInterrupted), anyio.move_on_after(END_GRACE):
        while piece := await response.receive():
            await send(piece)


def passed_on(headers: Headers) -> Headers:
    """Those of upstream's headers that a client may see; one that holds what looks like a token is not among them."""
    passed = [pair for pair in headers if pair[0] in _PASSED_ON or pair[0].startswith(_PASSED_ON_PREFIXES)]
    return tuple([pair for pair in passed if _is_harmless(pair[1])])


@lru_cache(maxsize=256)  # most are the same in every answer
def _is_harmless(value: bytes) -> bool:
    text = value.decode("latin-1")
    return redact(text) == text


def _failure(status: int, headers: Headers, body: bytes) -> Exception:
    if status < 400:
        return MalformedResponse(f"GitHub Copilot answered with the unexpected status {status}.")
    if is_auth_failure(status, body):
        return UpstreamUnauthorized(status, headers, body)
    if is_throttling(status, body):
        return UpstreamThrottled(status, headers, body)
    return UpstreamStatus(status, headers, body)
