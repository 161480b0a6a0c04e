"""What can be asked about the service itself: models, usage, whether it is alive and able to serve.

Rule: no answer holds a token, and what GitHub says about the account is passed on field by field from a list.
"""

import logging
import math
import time
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

import msgspec

from copilot_asgi import __version__
from copilot_asgi.admin import Approvals
from copilot_asgi.budgets import Period, period_start
from copilot_asgi.callers.permitted import permitted
from copilot_asgi.circuits import CircuitStatus
from copilot_asgi.controls import Controls
from copilot_asgi.errors import BadRequest, CopilotASGIError, LoginRequired, StoreError, UnknownModel
from copilot_asgi.exchange import Caller
from copilot_asgi.ledger.report import Report, claims_of, report
from copilot_asgi.query import Answer, Query, json_answer
from copilot_asgi.routing import Catalog, find_model
from copilot_asgi.secret import redact
from copilot_asgi.translate.gemini_models import gemini_model, gemini_models
from copilot_asgi.translate.ollama_models import ollama_running, ollama_show, ollama_tags, ollama_version
from copilot_asgi.upstream.client import Upstream
from copilot_asgi.wire import models as wire_models
from copilot_asgi.wire.models import Model
from copilot_asgi.wire.shallow import NOT_JSON

__all__ = ["Queries"]

logger = logging.getLogger(__name__)


class _Show(msgspec.Struct):
    model: str = ""
    name: str = ""


_show_decoder = msgspec.json.Decoder(_Show)


class Queries:
    """Answers questions by name."""

    # These are asked by probes and by people looking at the address: no caller is needed, nothing personal is told.
    open_to_all = frozenset({"index", "healthz", "readyz", "ollama_version"})

    def __init__(self, upstream: Upstream, controls: Controls) -> None:
        self._upstream = upstream
        self._controls = controls
        approvals = Approvals(controls.approvals)
        self._answers: dict[str, Callable[[Query], Awaitable[Answer]]] = {
            "index": self._index,
            "healthz": self._healthz,
            "readyz": self._readyz,
            "models": self._models,
            "model": self._model,
            "usage": self._usage,
            "approvals": approvals.list,
            "decide": approvals.decide,
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
        return json_answer({"name": "copilot_asgi", "version": __version__})

    async def _healthz(self, query: Query) -> Answer:  # noqa: ARG002 - one shape for all
        return json_answer({"status": "alive"})

    async def _readyz(self, query: Query) -> Answer:
        try:
            opened = await self._upstream.opened()
            account = await self._upstream.resolve_account(query.caller)
            await opened.credentials.credential(account)
        except CopilotASGIError as error:
            # Everybody may ask, and the error's own words may name an account or a path.
            logger.info("not ready: %s", redact(error.message))
            command = "login" if isinstance(error, LoginRequired) else "status"
            message = f"Run copilot-asgi {command} where the server runs."
            return json_answer({"status": "not ready", "missing": error.code, "message": message}, status=503)
        circuits = self._controls.circuits.states(time.monotonic())
        return json_answer({"status": "ready", "circuits": [_circuit(each) for each in circuits]})

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
        caller = query.caller
        assert caller is not None
        user = await (await self._upstream.opened()).users.get(await self._upstream.resolve_account(caller))
        return json_answer({**msgspec.structs.asdict(user), "spending": await self._spending(caller)})

    async def _spending(self, caller: Caller) -> Report | None:
        """This month's; ``None`` where none is kept. Raises ``StoreError``, which names a path to the operator only."""
        settings, now = self._upstream.settings, time.time()
        if not (settings.ledger or settings.budget or caller.budgets):
            return None
        try:
            return await report(
                self._controls.ledger,
                period_start(Period.MONTH, now),
                now=now,
                caller=None if caller.admin else caller.name,
                claims=claims_of(settings, caller),
            )
        except StoreError as error:
            if caller.admin:
                raise
            logger.warning("Spending cannot be shown: %s", redact(error.message))
            raise StoreError("What was spent cannot be read. The server's log says why.") from error

    async def _catalog(self, query: Query) -> Catalog:
        """The models that the caller may use."""
        opened = await self._upstream.opened()
        catalog = await opened.catalogs.get(await self._upstream.resolve_account(query.caller))
        if query.caller is None or not query.caller.models:
            return catalog
        return Catalog({id: model for id, model in catalog.models.items() if permitted(query.caller, id)})


def _circuit(status: CircuitStatus) -> dict[str, object]:
    """Without the account: everybody may ask."""
    return {
        "model": status.model,
        "reason": status.reason.value,
        "state": status.state.value,
        "seconds_left": math.ceil(status.seconds_left),
    }


def _limit(parameters: dict[str, list[str]]) -> int:
    """The page's size; anything that is no plain number is out of range."""
    text = parameters.get("limit", ["20"])[-1]
    return int(text) if text.isdecimal() and len(text) < 10 else 0
