"""How many tokens a request has, before it is sent: upstream's own count where it has one, else an estimate.

Rule: counting never blocks the loop, never fails because upstream does, and sends nothing that may not be sent.
"""

import logging
from collections.abc import Callable
from typing import Annotated

import anyio
import anyio.to_thread
import msgspec

from copilot_asgi.errors import CopilotASGIError
from copilot_asgi.exchange import Exchange, Head, Request, Send
from copilot_asgi.native import plan_native
from copilot_asgi.routing import Route
from copilot_asgi.tokenizer import exact_counter
from copilot_asgi.translate.conversation import Conversation
from copilot_asgi.translate.gemini_request import parse_count_request
from copilot_asgi.translate.tokens import by_bytes, estimate
from copilot_asgi.translated import CLIENTS
from copilot_asgi.upstream.client import Upstream
from copilot_asgi.upstream.headers import common_headers, own_headers
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.shallow import NOT_JSON

__all__ = ["CountTokens", "messages_count", "responses_count"]

UPSTREAM_TIMEOUT = 5.0
MOST_ASKING = 4  # counts asked for at once; they share the connections that tokens are renewed over
# Up to this many bytes the exact tokenizer is used, where it is installed.
EXACT_LIMIT = 4 * 1024 * 1024

logger = logging.getLogger(__name__)


class _Counted(msgspec.Struct):
    input_tokens: Annotated[int, msgspec.Meta(ge=0, le=2**53)]


def messages_count(tokens: int) -> bytes:
    """Anthropic's answer."""
    return msgspec.json.encode({"input_tokens": tokens})


def responses_count(tokens: int) -> bytes:
    """OpenAI's answer."""
    return msgspec.json.encode({"object": "response.input_tokens", "input_tokens": tokens})


class CountTokens:
    """Answers with the number of tokens; ``render`` says it in the client's dialect. The innermost handler.

    Upstream is asked where ``may_ask`` says so, by a few at a time; otherwise an estimate serves.
    """

    def __init__(
        self, upstream: Upstream, render: Callable[[int], bytes], *, may_ask: Callable[[Exchange], bool]
    ) -> None:
        self._upstream = upstream
        self._render = render
        self._may_ask = may_ask
        self._asking = 0

    async def __call__(self, exchange: Exchange, send: Send) -> None:
        """Raises ``BadRequest`` for a request that could not be sent either."""
        route = exchange.route
        assert route is not None
        tokens = None
        native = route.dialect is exchange.dialect is Dialect.MESSAGES
        if native and self._asking < MOST_ASKING and self._may_ask(exchange):
            tokens = await self._ask(exchange, route)
        if tokens is None:
            tokens = await anyio.to_thread.run_sync(_estimated, exchange.request, route.model.id)
        await send(Head(200, ((b"content-type", b"application/json"),)))
        await send(self._render(tokens))

    async def _ask(self, exchange: Exchange, route: Route) -> int | None:
        """Upstream's count, or ``None`` when it gives none in time."""
        self._asking += 1
        try:
            with anyio.move_on_after(UPSTREAM_TIMEOUT):
                return await self._ask_once(exchange, route)
        except (CopilotASGIError, *NOT_JSON) as error:
            logger.info("%s: no count from upstream, an estimate serves: %s", exchange.id, error)
        finally:
            self._asking -= 1
        return None

    async def _ask_once(self, exchange: Exchange, route: Route) -> int | None:
        opened = await self._upstream.opened()
        account = exchange.account
        assert account is not None
        credential = await opened.credentials.credential(account)
        plan = plan_native(exchange.request, route, answer_id=exchange.id, now=0)
        exchange.turn = plan.turn
        response = await opened.http.fetch(
            "POST",
            f"{credential.api_url}{route.path}/count_tokens",
            headers=(*common_headers(exchange, route, credential, self._upstream.identity), *own_headers(exchange)),
            content=plan.request.body,
        )
        if response.status != 200:
            return None
        return msgspec.json.decode(response.body, type=_Counted).input_tokens


def _estimated(request: Request, model_id: str) -> int:
    """Runs in a worker thread."""
    exact = exact_counter() if len(request.body) <= EXACT_LIMIT else None
    return estimate(_conversation(request), model_id=model_id, count=exact or by_bytes)


def _conversation(request: Request) -> Conversation:
    fields = request.fields
    if request.dialect is Dialect.MESSAGES:
        # What is only counted need not say how long the answer may be.
        fields = {"max_tokens": msgspec.Raw(b"1"), **fields}
    if request.dialect is Dialect.GEMINI:
        return parse_count_request(fields)
    return CLIENTS[request.dialect, request.form].parse(fields, stream=False)
