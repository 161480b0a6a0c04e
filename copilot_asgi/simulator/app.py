"""The simulator as one raw ASGI app: GitHub, its REST API and the Copilot API on one origin, told apart by path.

Rule: every request is recorded before anything is decided; an ordered fault goes before everything else.
"""

import re
import time
from collections import deque
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import anyio
import msgspec

from copilot_asgi.simulator.answers import Answer, Incoming, json_answer, text_answer
from copilot_asgi.simulator.asgi import read_request, reject_websocket, serve_lifespan
from copilot_asgi.simulator.catalog import Catalog, built_in_models
from copilot_asgi.simulator.checks_headers import MANNERS
from copilot_asgi.simulator.completer import Completer, Played, answer_of
from copilot_asgi.simulator.control import PREFIX, answer_control
from copilot_asgi.simulator.copilot import CopilotAPI, Refused
from copilot_asgi.simulator.device_flow import DeviceFlow
from copilot_asgi.simulator.endpoints import CHAT, MESSAGES, RESPONSES
from copilot_asgi.simulator.github import GitHub
from copilot_asgi.simulator.hyper import Hyper
from copilot_asgi.simulator.issued import Issued
from copilot_asgi.simulator.ledger import Ledger
from copilot_asgi.simulator.recorder import RecordedRequest, Recorder, Violation
from copilot_asgi.simulator.rules import broken_rules
from copilot_asgi.simulator.script import Fault, Reply
from copilot_asgi.simulator.sender import Sender, apply_fault
from copilot_asgi.simulator.settings import SimulatorSettings
from copilot_asgi.simulator.tokens import TokenRegistry, kind_of

__all__ = ["Simulator"]

_POLICY = re.compile(r"^/models/([^/]+)/policy$")
_HYPER_POLL = re.compile(r"^/device/auth/([^/]+)$")
_COMPLETIONS = {endpoint.path: endpoint for endpoint in (CHAT, RESPONSES, MESSAGES)}
BROWSER_PATH = "/login/device"
_API_PATHS = ("/models", "/chat", "/responses", "/v1/messages", "/embeddings")


class Simulator:
    """A raw ASGI app that plays GitHub and Copilot.

    Nothing waits but ``sleep``, no clock is read but ``clock`` (unix seconds), and all that looks random comes from
    ``seed``. Tests read ``requests``, ``violations``, ``ledger``, ``exchanges``, ``open_streams`` and ``disconnects``.
    """

    def __init__(
        self,
        *,
        settings: SimulatorSettings | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        seed: int = 0,
    ) -> None:
        self.settings = settings or SimulatorSettings()
        random = Random(seed)  # noqa: S311 - ids that must be the same on every run
        self._clock = clock
        self._recorder = Recorder()
        self._sender = Sender(clock=clock, sleep=sleep)
        self._faults: dict[str, deque[Fault]] = {}
        self._issued = Issued(random)
        self.ledger = Ledger(self.settings)
        self._tokens = TokenRegistry(self.settings, clock=clock, random=random)
        entries = built_in_models() if self.settings.catalog is None else self.settings.catalog
        self._catalog = Catalog(entries, plan=self.settings.plan)
        self._device_flow = DeviceFlow(self.settings, tokens=self._tokens, clock=clock, random=random)
        self._github = GitHub(self.settings, tokens=self._tokens, ledger=self.ledger, clock=clock)
        self._completer = Completer(issued=self._issued, ledger=self.ledger, clock=clock)
        self._copilot = CopilotAPI(
            self.settings,
            tokens=self._tokens,
            catalog=self._catalog,
            ledger=self.ledger,
            recorder=self._recorder,
            issued=self._issued,
            completer=self._completer,
            clock=clock,
        )
        self._hyper = Hyper(self.settings, clock=clock, issued=self._issued, completer=self._completer)
        self._routes = self._all_routes()

    @property
    def requests(self) -> list[RecordedRequest]:
        """Requests in the order they came; control requests are not among them."""
        return self._recorder.requests

    @property
    def violations(self) -> list[Violation]:
        """What the requests did wrong."""
        return self._recorder.violations

    @property
    def exchanges(self) -> int:
        """Token exchanges answered with a token."""
        return self._github.exchanges

    @property
    def open_streams(self) -> int:
        """Answers of models that are being sent now."""
        return self._sender.open_streams

    @property
    def disconnects(self) -> list[float]:
        """When clients left while they were being answered."""
        return self._sender.disconnects

    def enqueue(self, *replies: Reply | Fault) -> None:
        """Answer the next model requests that keep the rules with these, in order."""
        self._completer.script.extend(replies)

    def fail(self, path: str, *faults: Fault) -> None:
        """Let these befall the next requests to ``path``, whatever they are."""
        self._faults.setdefault(path, deque()).extend(faults)

    def sign_in(self, login: str = "octocat", *, client_id: str = "Iv1.b507a08c87ecfe98") -> str:
        """A GitHub token, as after a device flow with that OAuth client."""
        return self._device_flow.token_for(login, client_id, scope="read:user").value

    def approve(self, user_code: str | None = None) -> bool:
        """Let pending logins in, all or the one with that code; whether there was one."""
        hyper = self._hyper.decide(user_code, state="approved")
        return self._device_flow.approve(user_code) or hyper

    def deny(self, user_code: str | None = None) -> bool:
        """Refuse pending logins, all or the one with that code; whether there was one."""
        hyper = self._hyper.decide(user_code, state="denied")
        return self._device_flow.deny(user_code) or hyper

    def expire_copilot_tokens(self) -> None:
        """Let every Copilot token end now."""
        self._tokens.expire_copilot()

    def revoke_github_tokens(self) -> None:
        """Let every GitHub token become unknown."""
        self._tokens.revoke_github()

    def reset(self) -> None:
        """Forget requests, charges, scripts and policies. Tokens stay, so nobody has to sign in again."""
        self._recorder.clear()
        self.ledger.charges.clear()
        self._completer.clear()
        self._catalog.clear()
        self._copilot.clear()
        self._faults.clear()
        self._github.exchanges = 0
        self._sender.disconnects.clear()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one ASGI connection."""
        match scope["type"]:
            case "lifespan":
                await serve_lifespan(receive, send)
            case "http":
                await self._http(scope, receive, send)
            case "websocket":
                await reject_websocket(scope, receive, send)

    async def _http(self, scope: Any, receive: Any, send: Any) -> None:
        request = await read_request(scope, receive)
        if request is None:
            return
        played = self._play(request)
        if played.fault == Fault() and played.answer.events is None:
            await self._sender.send_whole(played.answer, send, head_only=request.method == "HEAD")
            return
        steps = apply_fault(played.answer, played.fault, error_event=played.error_event)
        await self._sender.play(played.answer, steps, played.fault, receive, send)

    def _play(self, request: Incoming) -> Played:
        if request.path.startswith(PREFIX):
            return Played(answer=answer_control(self, request), error_event=CHAT.error_event)
        kind = kind_of(request.authorization[1]).value
        request = self._recorder.add(request, received_at=self._clock(), credential=kind)
        for broken in () if request.path == BROWSER_PATH else broken_rules(request, MANNERS):
            self._recorder.violation(request, broken.rule, broken.message)
        ordered = self._faults.get(request.path)
        fault = ordered.popleft() if ordered else None
        played = self._answer(request, fault)
        if not request.path.startswith(_API_PATHS):
            return played
        return msgspec.structs.replace(played, answer=self._identified(played.answer, request))

    def _answer(self, request: Incoming, fault: Fault | None) -> Played:
        endpoint = _COMPLETIONS.get(request.path)
        error_event = CHAT.error_event if endpoint is None else endpoint.error_event
        if fault is not None and fault.status is not None:
            return Played(answer=answer_of(fault), fault=fault, error_event=error_event)
        try:
            if request.method == "POST" and endpoint is not None:
                return self._copilot.complete(endpoint, request, fault)
            if (request.method, request.path) == ("POST", "/v1/chat/completions"):
                return self._hyper.complete(request, fault)
            answer = self._route(request)
        except Refused as refused:
            answer = refused.answer
        return Played(answer=answer, fault=fault or Fault(), error_event=error_event)

    def _route(self, request: Incoming) -> Answer:
        if not self._is_right_host(request):
            return text_answer(404, "Not Found\n")
        method = "GET" if request.method == "HEAD" else request.method
        route = self._routes.get((method, request.path))
        if route is not None:
            return route(request)
        policy, poll = _POLICY.match(request.path), _HYPER_POLL.match(request.path)
        if policy and method == "POST":
            return self._copilot.policy(request, policy[1])
        if poll and method == "GET":
            return self._hyper.poll(request, poll[1])
        return json_answer({"error": {"message": "", "code": "not_found"}}, status=404)

    def _all_routes(self) -> dict[tuple[str, str], Callable[[Incoming], Answer]]:
        return {
            ("POST", "/login/device/code"): self._device_flow.start,
            ("POST", "/login/oauth/access_token"): self._device_flow.poll,
            ("GET", "/login/device"): self._device_flow.page,
            ("POST", "/login/device"): self._device_flow.page,
            ("GET", "/user"): self._github.user,
            ("GET", "/copilot_internal/user"): self._github.copilot_user,
            ("GET", "/copilot_internal/v2/token"): self._github.exchange,
            ("GET", "/models"): self._copilot.models,
            ("POST", "/models/session"): self._copilot.session,
            ("POST", "/models/session/intent"): self._copilot.intent,
            ("POST", "/v1/messages/count_tokens"): self._copilot.count_tokens,
            ("POST", "/embeddings"): self._copilot.embed,
            ("POST", "/device/auth"): self._hyper.start,
            ("POST", "/token/exchange"): self._hyper.exchange,
            ("POST", "/token/introspect"): self._hyper.introspect,
            ("GET", "/v1/credits"): self._hyper.credits,
            ("GET", "/api/v1/provider"): self._hyper.provider,
        }

    def _is_right_host(self, request: Incoming) -> bool:
        """In a GitHub Enterprise tenant, sign-in and REST live on hosts of their own."""
        domain = self.settings.ghe_domain
        if domain is None:
            return True
        if request.path.startswith("/login/"):
            return request.host == domain
        if request.path.startswith(("/user", "/copilot_internal/")):
            return request.host == f"api.{domain}"
        return True

    def _identified(self, answer: Answer, request: Incoming) -> Answer:
        """``answer`` with the ids that every answer of the Copilot API carries."""
        ids = (
            ("x-request-id", request.header("x-request-id") or self._issued.uuid()),
            ("x-github-request-id", self._issued.letters(24).upper()),
            ("x-copilot-service-request-id", self._issued.uuid()),
            ("x-github-backend", "Kubernetes"),
        )
        given = {name for name, _ in answer.headers}
        return msgspec.structs.replace(
            answer, headers=(*answer.headers, *(header for header in ids if header[0] not in given))
        )
