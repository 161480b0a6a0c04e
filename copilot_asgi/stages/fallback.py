"""When a model cannot answer, ask the one that the operator named to stand in for it.

Sits outside the route, as the stand-in has its own; nothing is tried again once a part has reached the client. Off
unless models are named: that another model answers than was asked for must be somebody's decision.
"""

import logging
import re
from collections.abc import Mapping

import msgspec

from copilot_asgi.errors import (
    BudgetExceeded,
    CircuitOpen,
    CopilotASGIError,
    Forbidden,
    RateLimited,
    UnknownModel,
    UpstreamError,
    UpstreamStatus,
    UpstreamThrottled,
    UpstreamUnauthorized,
)
from copilot_asgi.exchange import Exchange, Handler, Head, Part, Request, Send
from copilot_asgi.routing import spelled
from copilot_asgi.secret import redact
from copilot_asgi.wire.error_body import parse_error_body

__all__ = ["Fallback"]

logger = logging.getLogger(__name__)

# What upstream says about the model that was asked for, and not about the request: not paid for, not allowed, not
# there, too much asked for. Beside these stands everything from 500 on.
_ABOUT_THE_MODEL = frozenset({402, 403, 404, 429})

# What a stand-in may find wrong with a request that was made for another model: then the next one is tried.
_MISFITS = frozenset({400, 413, 422})

# A header takes none but these characters; a client chooses the name it asks for.
_UNSPEAKABLE = re.compile(r"[^A-Za-z0-9_.:/\[\]-]")
_NAME_LIMIT = 100


class Fallback:
    """Ask the models that ``models`` lists for the name the client asked for, however spelled, once that one failed.

    The answer of a stand-in says so in its header ``x-copilot-asgi-fallback``.
    """

    def __init__(self, models: Mapping[str, tuple[str, ...]]) -> None:
        self._models = {spelled(name): others for name, others in models.items()}

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises the first model's error when no other one can answer: its hints are about what was asked for.

        What is not about a model, such as a budget that is spent or a person who says no, is raised as it comes.
        """
        others = self._models.get(spelled(exchange.request.model))
        if not others:
            return await call_next(exchange, send)
        asked = exchange.request
        client = _Client(send)
        try:
            await call_next(exchange, client)
        except CopilotASGIError as error:
            if client.started or not _may_fall_back(error):
                raise
            _log(asked.model, error)
            if not await _ask_others(others, asked, exchange, client, call_next):
                raise


async def _ask_others(
    others: tuple[str, ...], asked: Request, exchange: Exchange, client: "_Client", call_next: Handler
) -> bool:
    """Whether one of them answered."""
    for model in others:
        _start_over(exchange, asked.replace({"model": msgspec.json.encode(model)}))
        client.told = f"{_speakable(asked.model)} -> {_speakable(model)}"
        try:
            await call_next(exchange, client)
        except CopilotASGIError as error:
            if client.started or not (_may_fall_back(error) or _is_about_the_stand_in(error)):
                raise
            _log(model, error)
        else:
            return True
    return False


class _Client:
    """A ``Send`` that knows whether anything has left; ``told`` is said of the answer in its head."""

    def __init__(self, send: Send) -> None:
        self.started = False
        self.told: str | None = None
        self._send = send

    async def __call__(self, part: Part) -> None:
        self.started = True
        if isinstance(part, Head) and self.told is not None:
            part = Head(part.status, (*part.headers, (b"x-copilot-asgi-fallback", self.told.encode())))
        await self._send(part)


def _may_fall_back(error: CopilotASGIError) -> bool:
    """Whether another model may do better than the one that failed with ``error``."""
    match error:
        case UnknownModel() | CircuitOpen() | UpstreamThrottled():
            return True
        case UpstreamUnauthorized():
            return False
        case UpstreamStatus(status=400):
            return parse_error_body(error.body).code == "model_not_supported"
        case UpstreamError():
            return error.status >= 500 or error.status in _ABOUT_THE_MODEL
        case _:
            return False


def _is_about_the_stand_in(error: CopilotASGIError) -> bool:
    """Whether the next one may do, because this one does not fit the request, the caller, or what may be spent."""
    return error.status in _MISFITS or isinstance(error, BudgetExceeded | RateLimited) or type(error) is Forbidden


def _start_over(exchange: Exchange, request: Request) -> None:
    """Forget what the last attempt found out; the account is chosen with the route."""
    exchange.request = request
    exchange.route = exchange.turn = exchange.stream = exchange.account = exchange.credential = exchange.usage = None


def _speakable(name: str) -> str:
    return _UNSPEAKABLE.sub("?", name)[:_NAME_LIMIT]


def _log(model: str, error: CopilotASGIError) -> None:
    logger.info("%s failed and may be stood in for: %s", model, redact(error.message))
