"""The Copilot API: models, policies, auto mode, and the calls to models.

Rule: host and credentials first, then the headers, then the model, then the body; the first thing wrong is the answer,
everything wrong is on record.
"""

from collections.abc import Callable
from typing import NoReturn

import msgspec

from copilot_asgi.simulator import embeddings
from copilot_asgi.simulator.access import Object, decode_object, objects, string, strings
from copilot_asgi.simulator.answers import Answer, Incoming, json_answer, text_answer
from copilot_asgi.simulator.catalog import Catalog, Model
from copilot_asgi.simulator.checks_headers import CREDENTIAL_RULES, GENERATION_MANNERS, MODEL_MANNERS, Credentialed
from copilot_asgi.simulator.completer import Completer, Played
from copilot_asgi.simulator.completion import count_prompt
from copilot_asgi.simulator.endpoints import CHAT, MESSAGES, RESPONSES, Endpoint
from copilot_asgi.simulator.issued import Issued
from copilot_asgi.simulator.ledger import Ledger
from copilot_asgi.simulator.prompt import Prompt
from copilot_asgi.simulator.recorder import Recorder
from copilot_asgi.simulator.rules import Broken, Call, Refuse, broken_rules, coded, plain
from copilot_asgi.simulator.script import Fault
from copilot_asgi.simulator.settings import Plan, SimulatorSettings
from copilot_asgi.simulator.tokens import TokenRegistry

__all__ = ["CopilotAPI", "Refused"]

AUTO_DISCOUNT = 0.1
SESSION_SECONDS = 3600
_GENERATING = frozenset(endpoint.path for endpoint in (CHAT, RESPONSES, MESSAGES))


class Refused(Exception):
    """The request is answered with a refusal."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class CopilotAPI:
    """The routes of the Copilot API for every account that has a token."""

    def __init__(
        self,
        settings: SimulatorSettings,
        *,
        tokens: TokenRegistry,
        catalog: Catalog,
        ledger: Ledger,
        recorder: Recorder,
        issued: Issued,
        completer: Completer,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._tokens = tokens
        self._catalog = catalog
        self._ledger = ledger
        self._recorder = recorder
        self._issued = issued
        self._completer = completer
        self._clock = clock
        self._sessions: set[str] = set()

    def models(self, request: Incoming) -> Answer:
        """``GET /models``."""
        self._login(request)
        integration, version = request.header("copilot-integration-id"), request.header("x-github-api-version")
        return json_answer(self._catalog.listing(integration=integration, api_version=version))

    def policy(self, request: Incoming, model: str) -> Answer:
        """``POST /models/{id}/policy``."""
        self._login(request)
        if self._catalog.known(model) is None:
            return text_answer(404, "model not found\n")
        if self._settings.policy_by_admin or self._settings.plan in {Plan.BUSINESS, Plan.ENTERPRISE}:
            return json_answer({"message": "Policies are set by the organization."}, status=403)
        self._catalog.set_policy(model, string(request.fields.get("state")))
        return json_answer({"message": "Policy updated"})

    def session(self, request: Incoming) -> Answer:
        """``POST /models/session``: auto mode chooses among the chat models."""
        self._login(request)
        available = self._chat_models(request)
        token = "cst_" + self._issued.letters(32)
        self._sessions.add(token)
        answer: Object = {
            "available_models": available,
            "selected_model": available[0] if available else None,
            "session_token": token,
            "expires_at": int(self._clock()) + SESSION_SECONDS,
            "discounted_costs": dict.fromkeys(available, AUTO_DISCOUNT),
        }
        return json_answer(answer)

    def intent(self, request: Incoming) -> Answer:
        """``POST /models/session/intent``: whether a prompt needs reasoning, told by its length."""
        self._login(request)
        if request.header("copilot-session-token") not in self._sessions:
            return json_answer({"error": {"message": "unknown session", "code": "session_expired"}}, status=401)
        needed = 0.9 if len(string(request.fields.get("prompt"))) > 80 else 0.1
        candidates = strings(request.fields.get("available_models"))
        answer: Object = {
            "predicted_label": "needs_reasoning" if needed > 0.5 else "no_reasoning",
            "confidence": max(needed, 1 - needed),
            "latency_ms": 3,
            "candidate_models": candidates,
            "scores": {"needs_reasoning": needed, "no_reasoning": round(1 - needed, 3)},
        }
        return json_answer(answer | ({"chosen_model": candidates[0]} if candidates else {}))

    def complete(self, endpoint: Endpoint, request: Incoming, fault: Fault | None) -> Played:
        """A model call in one of the three dialects."""
        call = self._call(endpoint.path, request, endpoint.read)
        self._enforce(request, broken_rules(call, endpoint.rules))
        if call.prompt.stream and call.model.supports.get("streaming") is False:
            self._refuse(request, "streaming", f"model {call.model.id} does not stream", coded("invalid_request_body"))
        if self._ledger.must_refuse(call.login, call.model):
            answer = coded("quota_exceeded", status=402)("You have no quota")
            headers = (*answer.headers, ("retry-after", "3600"))
            raise Refused(msgspec.structs.replace(answer, headers=headers))
        return self._completer.complete(endpoint, call, fault=fault, discount=self._discount(request))

    def count_tokens(self, request: Incoming) -> Answer:
        """``POST /v1/messages/count_tokens``, which takes shapes that generation refuses."""
        call = self._call(MESSAGES.path, request, MESSAGES.read)
        return json_answer({"input_tokens": count_prompt(call.prompt)})

    def embed(self, request: Incoming) -> Answer:
        """``POST /embeddings``."""
        call = self._call("/embeddings", request, _no_prompt)
        self._enforce(request, broken_rules(call, embeddings.RULES))
        return embeddings.render(call)

    def clear(self) -> None:
        """Forget auto mode's sessions."""
        self._sessions.clear()

    def _call(self, path: str, request: Incoming, read: Callable[[Object], Prompt]) -> Call:
        """Everything known about a model call whose headers and model are right."""
        login = self._login(request)
        if len(request.body) > self._settings.max_body:
            self._refuse(request, "body-size", "Request Entity Too Large", plain(413))
        manners = GENERATION_MANNERS if request.path in _GENERATING else MODEL_MANNERS
        self._enforce(request, broken_rules(request, manners))
        fields = decode_object(request.body)
        if fields is None:
            self._refuse(request, "json", "failed to parse request", coded("invalid_request_body"))
        model = self._model(path, request, string(fields.get("model")))
        return Call(
            request=request,
            fields=fields,
            model=model,
            prompt=read(fields),
            issued=self._issued,
            login=login,
            settings=self._settings,
        )

    def _login(self, request: Incoming) -> str:
        subject = Credentialed(request, self._settings, self._tokens)
        self._enforce(request, broken_rules(subject, CREDENTIAL_RULES))
        credential = request.authorization[1]
        token = self._tokens.copilot(credential) or self._tokens.github(credential)
        return token.login if token else ""

    def _model(self, path: str, request: Incoming, name: str) -> Model:
        model = self._catalog.usable(name, integration=request.header("copilot-integration-id"))
        if model is None:
            refusal = coded("model_not_supported", param="model", type="invalid_request_error")
            self._refuse(request, "model", "The requested model is not supported.", refusal)
        if path not in model.endpoints:
            message = f'model "{name}" is not accessible via the {path} endpoint'
            self._refuse(request, "endpoint", message, coded("unsupported_api_for_model"))
        return model

    def _refuse(self, request: Incoming, rule: str, message: str, refuse: Refuse) -> NoReturn:
        self._recorder.violation(request, rule, message)
        raise Refused(refuse(message))

    def _enforce(self, request: Incoming, broken: list[Broken]) -> None:
        """Put all broken rules on record and refuse with the first that has an answer."""
        for found in broken:
            self._recorder.violation(request, found.rule, found.message)
        answer = next((found.answer for found in broken if found.answer is not None), None)
        if answer is not None:
            raise Refused(answer)

    def _chat_models(self, request: Incoming) -> list[str]:
        integration = request.header("copilot-integration-id")
        listed = self._catalog.listing(integration=integration, api_version="")
        names = [string(entry.get("id")) for entry in objects(listed.get("data"))]
        usable = [self._catalog.usable(name, integration=integration) for name in names]
        return [model.id for model in usable if model and model.type == "chat" and CHAT.path in model.endpoints]

    def _discount(self, request: Incoming) -> float:
        token = request.header("copilot-session-token")
        if token and token not in self._sessions:
            self._recorder.violation(request, "session-token", "the auto mode session is unknown")
        return AUTO_DISCOUNT if token in self._sessions else 0.0


def _no_prompt(_: Object) -> Prompt:
    """Embeddings have no conversation."""
    return Prompt(turns=())
