"""What can be asked about the service itself: models, usage, whether it is alive and able to serve.

Rule: no answer holds a token, and what GitHub says about the account is passed on field by field from a list.
"""

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

import msgspec

from copilot_asgi import __version__
from copilot_asgi.credentials.github_user import fetch_user
from copilot_asgi.errors import BadRequest, CopilotASGIError, UnknownModel
from copilot_asgi.exchange import Caller
from copilot_asgi.routing import Catalog, find_model
from copilot_asgi.translate.gemini_models import gemini_model, gemini_models
from copilot_asgi.translate.ollama_models import ollama_running, ollama_show, ollama_tags, ollama_version
from copilot_asgi.upstream.client import Upstream
from copilot_asgi.wire import models as wire_models
from copilot_asgi.wire.models import Model
from copilot_asgi.wire.shallow import NOT_JSON

__all__ = ["Answer", "Queries", "Query"]


class Answer(msgspec.Struct, frozen=True):
    """A whole JSON answer."""

    status: int
    body: bytes


class Query(msgspec.Struct, frozen=True):
    """A question: which one, about what, asked by whom. ``anthropic`` chooses the shape of model lists.

    ``body`` is what came with a question that is posted.
    """

    name: str
    argument: str
    parameters: str
    body: bytes
    caller: Caller | None
    anthropic: bool


class _Show(msgspec.Struct):
    model: str = ""
    name: str = ""


_show_decoder = msgspec.json.Decoder(_Show)


class Queries:
    """Answers questions by name."""

    # These are asked by probes and by people looking at the address: no caller is needed, nothing personal is told.
    open_to_all = frozenset({"index", "healthz", "readyz", "ollama_version"})

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._answers: dict[str, Callable[[Query], Awaitable[Answer]]] = {
            "index": self._index,
            "healthz": self._healthz,
            "readyz": self._readyz,
            "models": self._models,
            "model": self._model,
            "usage": self._usage,
            "gemini_models": self._gemini_models,
            "gemini_model": self._gemini_model,
            "ollama_tags": self._ollama_tags,
            "ollama_show": self._ollama_show,
            "ollama_running": self._ollama_running,
            "ollama_version": self._ollama_version,
        }

    def __contains__(self, name: str) -> bool:
        return name in self._answers

    async def answer(self, query: Query) -> Answer:
        """The answer. Raises ``Refused``, ``CredentialError`` or ``UpstreamError``."""
        return await self._answers[query.name](query)

    async def _index(self, query: Query) -> Answer:  # noqa: ARG002 - one shape for all
        return _json({"name": "copilot_asgi", "version": __version__})

    async def _healthz(self, query: Query) -> Answer:  # noqa: ARG002 - one shape for all
        return _json({"status": "alive"})

    async def _readyz(self, query: Query) -> Answer:
        try:
            opened = await self._upstream.opened()
            account = await self._upstream.resolve_account(query.caller)
            await opened.credentials.credential(account)
        except CopilotASGIError as error:
            return _json({"status": "not ready", "missing": error.code, "message": error.message}, status=503)
        return _json({"status": "ready"})

    async def _models(self, query: Query) -> Answer:
        catalog = await self._catalog(query)
        models = tuple(catalog.models.values())
        if not query.anthropic:
            return Answer(200, wire_models.openai_list(models))
        parameters = parse_qs(query.parameters)
        page = wire_models.anthropic_list(
            models,
            limit=_limit(parameters),
            after_id=parameters.get("after_id", [None])[-1],
            before_id=parameters.get("before_id", [None])[-1],
        )
        return Answer(200, page)

    async def _model(self, query: Query) -> Answer:
        model = await self._found(query, query.argument)
        return Answer(200, (wire_models.anthropic_model if query.anthropic else wire_models.openai_model)(model))

    async def _gemini_models(self, query: Query) -> Answer:
        return Answer(200, gemini_models((await self._catalog(query)).models.values()))

    async def _gemini_model(self, query: Query) -> Answer:
        return Answer(200, gemini_model(await self._found(query, query.argument)))

    async def _ollama_tags(self, query: Query) -> Answer:
        return Answer(200, ollama_tags((await self._catalog(query)).models.values()))

    async def _ollama_show(self, query: Query) -> Answer:
        try:
            named = _show_decoder.decode(query.body)
        except NOT_JSON:
            raise BadRequest('Name the model: {"model": "..."}.', param="model") from None
        return Answer(200, ollama_show(await self._found(query, named.model or named.name)))

    async def _ollama_running(self, query: Query) -> Answer:  # noqa: ARG002 - one shape for all
        return Answer(200, ollama_running())

    async def _ollama_version(self, query: Query) -> Answer:  # noqa: ARG002 - one shape for all
        return Answer(200, ollama_version())

    async def _found(self, query: Query, name: str) -> Model:
        model = find_model(name, await self._catalog(query), self._upstream.settings.aliases)
        if model is None:
            raise UnknownModel("Your Copilot account has no such model. GET models lists all of them.")
        return model

    async def _usage(self, query: Query) -> Answer:
        upstream = self._upstream
        opened = await upstream.opened()
        account = await upstream.resolve_account(query.caller)
        user = await fetch_user(opened.http.fetch, account.github_token, upstream.hosts, upstream.identity)
        return _json(user)

    async def _catalog(self, query: Query) -> Catalog:
        opened = await self._upstream.opened()
        return await opened.catalogs.get(await self._upstream.resolve_account(query.caller))


def _json(value: object, *, status: int = 200) -> Answer:
    return Answer(status, msgspec.json.encode(value))


def _limit(parameters: dict[str, list[str]]) -> int:
    """The page's size; anything that is no plain number is out of range."""
    text = parameters.get("limit", ["20"])[-1]
    return int(text) if text.isdecimal() and len(text) < 10 else 0
