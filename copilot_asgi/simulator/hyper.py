"""Charm's Hyper, the second service: its device login, its rotating refresh tokens, its catalog and credits.

Rule: a refresh token works once; using it again revokes the whole family it came from.
"""

from collections.abc import Callable

import msgspec

from copilot_asgi.simulator.access import Object, string
from copilot_asgi.simulator.answers import Answer, Incoming, json_answer
from copilot_asgi.simulator.catalog import Model
from copilot_asgi.simulator.completer import Completer, Played
from copilot_asgi.simulator.endpoints import CHAT
from copilot_asgi.simulator.issued import Issued
from copilot_asgi.simulator.rules import Call
from copilot_asgi.simulator.script import Fault
from copilot_asgi.simulator.settings import SimulatorSettings

__all__ = ["Hyper"]

DEVICE_SECONDS = 600
BALANCE = 5000
ETAG = '"hyper-1"'
MODELS = ("qwen3.7-plus", "deepseek-v4-flash-0731", "kimi-k3", "glm-5.2", "gpt-oss-120b")


class _Login:
    """A device code and what became of it."""

    def __init__(self, user_code: str, expires_at: float) -> None:
        self.user_code = user_code
        self.expires_at = expires_at
        self.state = "pending"


class _Family:
    """The tokens that descend from one login; only the youngest of them work."""

    def __init__(self) -> None:
        self.revoked = False
        self.refresh = ""
        self.access = ""
        self.expires_at = 0.0


class Hyper:
    """The routes of Hyper."""

    def __init__(
        self,
        settings: SimulatorSettings,
        *,
        clock: Callable[[], float],
        issued: Issued,
        completer: Completer,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._issued = issued
        self._completer = completer
        self._logins: dict[str, _Login] = {}
        self._families: dict[str, _Family] = {}

    def start(self, request: Incoming) -> Answer:
        """``POST /device/auth``."""
        device_code, user_code = self._issued.letters(32), self._issued.letters(8).upper()
        self._logins[device_code] = _Login(user_code, self._clock() + DEVICE_SECONDS)
        answer: Object = {
            "device_code": device_code,
            "user_code": user_code,
            "verification_url": f"{request.scheme}://{request.host}/device",
            "expires_in": DEVICE_SECONDS,
        }
        return json_answer(answer)

    def poll(self, _: Incoming, device_code: str) -> Answer:
        """``GET /device/auth/{device_code}``."""
        login = self._logins.get(device_code)
        if login is None:
            return json_answer({"error": "not_found"}, status=404)
        if self._clock() >= login.expires_at:
            return json_answer({"error": "expired_token", "error_description": "The code has expired."})
        if self._settings.auto_approve and login.state == "pending":
            login.state = "approved"
        if login.state != "approved":
            error = "authorization_pending" if login.state == "pending" else "access_denied"
            return json_answer({"error": error, "error_description": error.replace("_", " ")})
        del self._logins[device_code]
        return json_answer({"refresh_token": self._new_family(), "user_id": "u1", "organization_id": "o1"})

    def decide(self, user_code: str | None, *, state: str) -> bool:
        """Let pending logins with that code in, or not; whether there was one."""
        found = [
            login
            for login in self._logins.values()
            if login.state == "pending" and user_code in {None, login.user_code}
        ]
        for login in found:
            login.state = state
        return bool(found)

    def exchange(self, request: Incoming) -> Answer:
        """``POST /token/exchange``: the refresh token rotates."""
        used = string(request.fields.get("refresh_token"))
        family = self._families.get(used)
        if family is None:
            return json_answer({"error": "invalid_grant"}, status=400)
        if family.revoked or family.refresh != used:
            family.revoked = True
            return json_answer({"error": "invalid_grant", "error_description": "token family revoked"}, status=400)
        self._rotate(family)
        lifetime = self._settings.hyper_lifetime
        answer: Object = {
            "access_token": family.access,
            "refresh_token": family.refresh,
            "expires_in": lifetime,
            "expires_at": int(self._clock()) + lifetime,
        }
        return json_answer(answer)

    def introspect(self, request: Incoming) -> Answer:
        """``POST /token/introspect`` (RFC 7662)."""
        family = self._live(string(request.fields.get("token")))
        if family is None:
            return json_answer({"active": False})
        expires = int(family.expires_at)
        return json_answer({"active": True, "sub": "u1", "org_id": "o1", "exp": expires, "iss": "hyper", "jti": "1"})

    def credits(self, request: Incoming) -> Answer:
        """``GET /v1/credits``."""
        if self._live(request.authorization[1]) is None:
            return _unauthorized()
        hidden = self._settings.hyper_balance_hidden
        return json_answer({"balance_usd": BALANCE / 100} if hidden else {"balance": BALANCE})

    def provider(self, request: Incoming) -> Answer:
        """``GET /api/v1/provider``, with an entity tag."""
        if request.header("if-none-match") == ETAG:
            return Answer(status=304, headers=(("etag", ETAG),))
        answer: Object = {
            "name": "Charm Hyper",
            "id": "hyper",
            "type": "hyper",
            "api_endpoint": f"{request.scheme}://{request.host}/v1",
            "default_large_model_id": MODELS[0],
            "default_small_model_id": MODELS[1],
            "models": [_listed(name) for name in MODELS],
        }
        return json_answer(answer, headers=(("etag", ETAG),))

    def complete(self, request: Incoming, fault: Fault | None) -> Played:
        """``POST /v1/chat/completions``: OpenAI's format, plain."""
        fields = request.fields
        name = string(fields.get("model"))
        if self._live(request.authorization[1]) is None:
            return Played(answer=_unauthorized(), error_event=CHAT.error_event)
        if name not in MODELS:
            refusal = json_answer({"error": {"message": f"unknown model {name}", "code": "not_found"}}, status=404)
            return Played(answer=refusal, error_event=CHAT.error_event)
        call = Call(
            request=request,
            fields=fields,
            model=Model({"id": name, "version": name, "vendor": "Charm"}),
            prompt=CHAT.read(fields),
            issued=self._issued,
            login="hyper",
            settings=self._settings,
        )
        played = self._completer.complete(CHAT, call, fault=fault)
        return msgspec.structs.replace(played, answer=_with_credits(played.answer))

    def _new_family(self) -> str:
        family = _Family()
        self._rotate(family)
        return family.refresh

    def _rotate(self, family: _Family) -> None:
        family.refresh, family.access = "hrt_" + self._issued.letters(32), "hat_" + self._issued.letters(32)
        family.expires_at = self._clock() + self._settings.hyper_lifetime
        self._families[family.refresh] = self._families[family.access] = family

    def _live(self, access: str) -> _Family | None:
        family = self._families.get(access)
        if family is None or family.revoked or family.access != access or self._clock() >= family.expires_at:
            return None
        return family


def _unauthorized() -> Answer:
    return json_answer({"error": "unauthorized"}, status=401)


def _listed(name: str) -> Object:
    return {
        "id": name,
        "name": name,
        "context_window": 262144,
        "default_max_tokens": 32768,
        "can_reason": True,
        "supports_attachments": False,
        "cost_per_1m_in": 0.4,
        "cost_per_1m_out": 1.2,
        "cost_per_1m_in_cached": 0.04,
        "cost_per_1m_out_cached": 0.0,
    }


def _with_credits(answer: Answer) -> Answer:
    """``answer`` with the balance that is left in its usage."""
    marked, left = b'"usage":{', b'"usage":{"remaining":{"hypercredits":%d.5},' % (BALANCE - 1)
    events = None if answer.events is None else [event.replace(marked, left) for event in answer.events]
    return msgspec.structs.replace(answer, body=answer.body.replace(marked, left), events=events)
