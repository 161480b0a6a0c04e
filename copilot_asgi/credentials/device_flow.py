"""Signing in with a code on another device: the OAuth 2.0 device grant (RFC 8628), without input or output.

The flow is a generator. It yields what is to be done (``Post``, ``Show``, ``Wait``) and is sent what came of it and
what time it is (``Resumed``); it returns the token. The service is data, so another one needs no other flow.

Rule: poll no faster than the server allows; show an address only if it is the service's own; never print the device
code.
"""

from collections.abc import Callable, Generator, Mapping
from urllib.parse import parse_qsl

import msgspec

from copilot_asgi.credentials.fetch import FetchedResponse
from copilot_asgi.credentials.hosts import origin
from copilot_asgi.credentials.tolerant import json_object, number, text
from copilot_asgi.errors import CredentialError, DeviceCodeFailed, DeviceFlowExpired, DeviceFlowFailed
from copilot_asgi.secret import MASK, Secret

__all__ = ["DeviceCode", "Flow", "GrantedToken", "Post", "Resumed", "Service", "Show", "Wait", "device_flow"]

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
USUAL_INTERVAL = 5.0  # RFC 8628, section 3.2
SLOWER = 5.0  # RFC 8628, section 3.5
INTERVALS = (1.0, 60.0)
USUAL_LIFE = 900.0
LIVES = (1.0, 3600.0)
LONGEST_BACKOFF = 60.0


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A service that grants tokens to devices. ``errors`` makes our error of each of its error codes."""

    name: str
    web: str
    code_url: str
    token_url: str
    client_id: str
    scope: str
    errors: Mapping[str, Callable[[], CredentialError]]


class DeviceCode(msgspec.Struct, frozen=True, kw_only=True):
    """What the person needs (address, user code, seconds it lives) and what we poll with (the device code)."""

    user_code: str
    verification_uri: str
    expires_in: float
    interval: float
    device_code: Secret


class GrantedToken(msgspec.Struct, frozen=True):
    """What the service granted."""

    token: Secret
    scope: str | None = None


class Post(msgspec.Struct, frozen=True):
    """Send this form."""

    url: str
    form: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        return f"Post({self.url!r}, {MASK})"


class Show(msgspec.Struct, frozen=True):
    """Tell the person where to go and what to type."""

    code: DeviceCode


class Wait(msgspec.Struct, frozen=True):
    """Do nothing for that many seconds."""

    seconds: float


class Resumed(msgspec.Struct, frozen=True):
    """What came of the last step: the time (monotonic seconds), and the response to a ``Post``, if one came."""

    now: float
    response: FetchedResponse | None = None


Flow = Generator[Post | Show | Wait, Resumed, GrantedToken]


def device_flow(service: Service) -> Flow:
    """The whole flow, from no code to a token.

    Raises ``DeviceCodeFailed``, ``DeviceFlowExpired``, and what ``service.errors`` or else ``DeviceFlowFailed`` says.
    """
    resumed = yield Post(service.code_url, (("client_id", service.client_id), ("scope", service.scope)))
    code = _device_code(service, resumed.response)
    deadline = resumed.now + code.expires_in
    yield Show(code)
    return (yield from _poll(service, code, deadline))


def _poll(service: Service, code: DeviceCode, deadline: float) -> Flow:
    form = (("client_id", service.client_id), ("device_code", code.device_code.reveal()), ("grant_type", GRANT_TYPE))
    interval, failures = code.interval, 0
    while True:
        resumed = yield Wait(_backed_off(interval, failures))
        if resumed.now >= deadline:
            raise DeviceFlowExpired("The code was not entered in time. Start again to get a new one.")
        resumed = yield Post(service.token_url, form)
        answer = _fields(resumed.response)
        if _is_hiccup(resumed.response, answer):
            failures += 1
            continue
        failures = 0
        token = _token(answer)
        if token is not None:
            return token
        interval = _next_interval(service, resumed.response, answer, interval)


def _next_interval(
    service: Service, response: FetchedResponse | None, answer: Mapping[str, object], interval: float
) -> float:
    """Seconds to the next poll, if the answer lets us poll again; raises what ended the flow otherwise."""
    error = text(answer.get("error"))
    match error:
        case "authorization_pending":
            return interval
        case "slow_down":
            return max(interval + SLOWER, _clamped(answer.get("interval"), INTERVALS, interval))
        case None:
            status = None if response is None else response.status
            raise DeviceFlowFailed(f"{service.name} answered with status {status} and no token.", code=f"http_{status}")
        case _ if error in service.errors:
            failure = service.errors[error]()
            raise failure
        case _:
            raise DeviceFlowFailed(f"{service.name} ended the sign-in: {_word(error)}.", code=_word(error))


def _is_hiccup(response: FetchedResponse | None, answer: Mapping[str, object]) -> bool:
    """Whether nothing was said about the flow, so that asking again later makes sense (RFC 8628, section 3.5)."""
    if response is None or response.status >= 500 or response.status == 429:
        return True
    return response.status == 200 and "error" not in answer and _token(answer) is None


def _backed_off(interval: float, failures: int) -> float:
    return max(interval, min(interval * 2.0 ** min(failures, 10), LONGEST_BACKOFF))


def _device_code(service: Service, response: FetchedResponse | None) -> DeviceCode:
    answer = _fields(response)
    device, user = text(answer.get("device_code")), text(answer.get("user_code"))
    address = text(answer.get("verification_uri")) or ""
    if device is None or user is None:
        raise DeviceCodeFailed(f"{service.name} gave no code to sign in with: {_why(response, answer)}. Try again.")
    if not _is_typable(user) or origin(address) is None or origin(address) != origin(service.web):
        raise DeviceCodeFailed(f"{service.name}'s answer sends you to another place than {service.web}; not shown.")
    return DeviceCode(
        user_code=user,
        verification_uri=address,
        expires_in=_clamped(answer.get("expires_in"), LIVES, USUAL_LIFE),
        interval=_clamped(answer.get("interval"), INTERVALS, USUAL_INTERVAL),
        device_code=Secret(device),
    )


def _why(response: FetchedResponse | None, answer: Mapping[str, object]) -> str:
    error = text(answer.get("error"))
    if error is not None:
        return _word(error)
    return "no answer came" if response is None else f"status {response.status}"


def _token(answer: Mapping[str, object]) -> GrantedToken | None:
    token = text(answer.get("access_token"))
    if token is None or not token.isascii() or not token.isprintable() or " " in token:
        return None
    return GrantedToken(Secret(token), text(answer.get("scope")))


def _fields(response: FetchedResponse | None) -> Mapping[str, object]:
    """The answer's fields: JSON as we asked for, or the form encoding that GitHub falls back to."""
    if response is None:
        return {}
    fields = json_object(response.body)
    if fields:
        return fields
    try:
        return dict(parse_qsl(response.body.decode("ascii"), max_num_fields=20))
    except ValueError:
        return {}


def _clamped(value: object, limits: tuple[float, float], default: float) -> float:
    seconds = number(value)
    low, high = limits
    return default if seconds is None else min(max(seconds, low), high)


def _word(code: str) -> str:
    """An error code of the service, safe to show."""
    return "".join(char for char in code[:64] if char.isascii() and (char.isalnum() or char in "_-")) or "unknown"


def _is_typable(user_code: str) -> bool:
    return len(user_code) <= 32 and user_code.isascii() and user_code.isprintable()
