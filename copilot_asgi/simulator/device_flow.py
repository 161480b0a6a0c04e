"""GitHub's side of the OAuth device flow (RFC 8628, GitHub's "Authorizing OAuth apps").

Rule: pending and error answers have status 200; JSON is given only to those who ask for it; a code that was used,
denied or is too old stays dead.
"""

from collections.abc import Callable
from enum import Enum
from html import escape
from random import Random
from urllib.parse import urlencode

from copilot_asgi.simulator.access import Object, string
from copilot_asgi.simulator.answers import Answer, Incoming, json_answer
from copilot_asgi.simulator.settings import SimulatorSettings
from copilot_asgi.simulator.tokens import GitHubToken, TokenRegistry

__all__ = ["DeviceFlow"]

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
SLOWER_BY = 5
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
_DESCRIPTIONS = {
    "authorization_pending": "The authorization request is still pending.",
    "slow_down": "Too many requests have been made in the same timeframe.",
    "expired_token": "The device code has expired.",
    "access_denied": "The authorization request was denied.",
    "incorrect_device_code": "The device_code provided is not valid.",
    "incorrect_client_credentials": "The client_id and/or client_secret passed are incorrect.",
    "unsupported_grant_type": "The grant type is not supported.",
    "device_flow_disabled": "Device Flow must be explicitly enabled for this App.",
}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Device activation</title></head><body>
<h1>Device activation</h1>
<p>{notice}</p>
<form method="post"><label>Code <input name="user_code" value="{code}" autocomplete="off"></label>
<button name="decision" value="approve">Authorize</button> <button name="decision" value="deny">Cancel</button></form>
</body></html>
"""


class State(Enum):
    """Where a device code stands."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    USED = "used"


class DeviceCode:
    """One login under way."""

    def __init__(self, *, device_code: str, user_code: str, client_id: str, scope: str, interval: int) -> None:
        self.device_code = device_code
        self.user_code = user_code
        self.client_id = client_id
        self.scope = scope
        self.interval = interval
        self.expires_at = 0.0
        self.last_poll: float | None = None
        self.state = State.PENDING


class DeviceFlow:
    """Device codes, their approval, and the two endpoints a client talks to."""

    def __init__(
        self, settings: SimulatorSettings, *, tokens: TokenRegistry, clock: Callable[[], float], random: Random
    ) -> None:
        self._settings = settings
        self._tokens = tokens
        self._clock = clock
        self._random = random
        self._codes: dict[str, DeviceCode] = {}

    def start(self, request: Incoming) -> Answer:
        """``POST /login/device/code``."""
        client_id = string(request.fields.get("client_id"))
        if client_id in self._settings.disabled_clients:
            return _encoded(request, _error("device_flow_disabled"))
        if client_id not in self._settings.clients:
            return _encoded(request, {"error": "Not Found"}, status=404)
        code = DeviceCode(
            device_code=f"{self._random.getrandbits(160):040x}",
            user_code=self._letters(4) + "-" + self._letters(4),
            client_id=client_id,
            scope=string(request.fields.get("scope")),
            interval=self._settings.interval,
        )
        code.expires_at = self._clock() + self._settings.device_expires_in
        self._codes[code.device_code] = code
        answer: Object = {
            "device_code": code.device_code,
            "user_code": code.user_code,
            "verification_uri": f"{request.scheme}://{request.host}/login/device",
            "expires_in": self._settings.device_expires_in,
            "interval": code.interval,
        }
        return _encoded(request, answer)

    def poll(self, request: Incoming) -> Answer:
        """``POST /login/oauth/access_token``."""
        return _encoded(request, self._poll(request.fields))

    def page(self, request: Incoming) -> Answer:
        """``GET`` and ``POST /login/device``: where a person lets the device in, or not."""
        user_code = string(request.fields.get("user_code"))
        if request.method != "POST":
            return _page("Enter the code displayed on your device.", user_code)
        decide = self.deny if request.fields.get("decision") == "deny" else self.approve
        if not decide(user_code.strip().upper()):
            return _page("That code is not known.", user_code)
        return _page("Done. You can go back to your device.", "")

    def approve(self, user_code: str | None = None) -> bool:
        """Let the pending logins with that code in (all of them without a code); whether there was one."""
        return self._decide(user_code, State.APPROVED)

    def deny(self, user_code: str | None = None) -> bool:
        """Refuse the pending logins with that code (all of them without a code); whether there was one."""
        return self._decide(user_code, State.DENIED)

    def token_for(self, login: str, client_id: str, *, scope: str) -> GitHubToken:
        """A new token of the kind that ``client_id`` gets."""
        return self._tokens.new_github(
            login,
            prefix=self._settings.clients[client_id],
            scope=scope,
            exchangeable=client_id not in self._settings.direct_only_clients,
        )

    def _decide(self, user_code: str | None, state: State) -> bool:
        found = [
            code for code in self._codes.values() if code.state is State.PENDING and user_code in {None, code.user_code}
        ]
        for code in found:
            code.state = state
        return bool(found)

    def _poll(self, fields: Object) -> Object:
        code = self._codes.get(string(fields.get("device_code")))
        refusal = self._refusal(fields, code)
        if refusal is not None or code is None:
            return refusal or _error("incorrect_device_code")
        if self._is_too_fast(code):
            code.interval += SLOWER_BY
            return _error("slow_down") | {"interval": code.interval}
        if self._settings.auto_approve and code.state is State.PENDING:
            code.state = State.APPROVED
        if code.state is State.PENDING:
            return _error("authorization_pending")
        code.state = State.USED
        token = self.token_for(self._settings.login, code.client_id, scope=code.scope)
        return {"access_token": token.value, "token_type": "bearer", "scope": token.scope}

    def _refusal(self, fields: Object, code: DeviceCode | None) -> Object | None:
        """The error that no waiting can mend, if there is one."""
        client_id = string(fields.get("client_id"))
        rules = (
            (client_id in self._settings.disabled_clients, "device_flow_disabled"),
            (client_id not in self._settings.clients, "incorrect_client_credentials"),
            (fields.get("grant_type") != GRANT_TYPE, "unsupported_grant_type"),
            (code is None or code.client_id != client_id or code.state is State.USED, "incorrect_device_code"),
            (code is not None and code.state is State.DENIED, "access_denied"),
            (code is not None and self._clock() >= code.expires_at, "expired_token"),
        )
        return next((_error(error) for broken, error in rules if broken), None)

    def _is_too_fast(self, code: DeviceCode) -> bool:
        now = self._clock()
        last, code.last_poll = code.last_poll, now
        return last is not None and now - last < code.interval

    def _letters(self, count: int) -> str:
        return "".join(self._random.choices(_LETTERS, k=count))


def _error(code: str) -> Object:
    return {
        "error": code,
        "error_description": _DESCRIPTIONS[code],
        "error_uri": "https://docs.github.com/developers/apps/authorizing-oauth-apps#error-codes-for-the-device-flow",
    }


def _encoded(request: Incoming, fields: Object, *, status: int = 200) -> Answer:
    accept = request.header("accept")
    if "application/json" in accept:
        return json_answer(fields, status=status)
    if "application/xml" in accept:
        inner = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in fields.items())
        body = f"<OAuth>{inner}</OAuth>".encode()
        return Answer(status=status, headers=(("content-type", "application/xml; charset=utf-8"),), body=body)
    content_type = ("content-type", "application/x-www-form-urlencoded; charset=utf-8")
    return Answer(status=status, headers=(content_type,), body=urlencode(fields).encode())


def _page(notice: str, code: str) -> Answer:
    body = _PAGE.format(notice=escape(notice), code=escape(code)).encode()
    return Answer(status=200, headers=(("content-type", "text/html; charset=utf-8"),), body=body)
