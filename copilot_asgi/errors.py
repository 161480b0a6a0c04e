"""Every exception of the project, one tree.

CopilotASGIError
  ConfigError                  a setting is wrong: which, where it came from, how to mend it
  StoreError                   what is kept on disk cannot be read or written safely
  Refused                      we said no
    BadRequest 400   Unauthenticated 401   Forbidden 403   UnknownModel 404   NotFound 404
    MethodNotAllowed 405   BodyTimeout 408   BodyTooLarge 413   UnsupportedMediaType 415
    TranslationError 400       the other dialect cannot say that
    BudgetExceeded 402         what was agreed to be spent is spent
    ApprovalDenied 403         a person, or nobody in time, said no
    RateLimited 429            too many, or too much, for now
    CircuitOpen                upstream said no a moment ago, and is not asked again yet (status says what)
    Overloaded 503   Draining 503
  CredentialError
    LoginRequired 401          nobody is signed in, or GitHub no longer takes the token
    DeviceCodeFailed           GitHub gave no device code
    DeviceFlowDenied   DeviceFlowExpired   DeviceFlowFailed
    TokenExchangeFailed        GitHub gave no Copilot token (status says why)
    NoAccountAvailable 503
  UpstreamError                Copilot or the way to it
    UpstreamUnavailable 502    UpstreamTimeout 504        before a head
    UpstreamStatus             status, headers, body kept as received
      UpstreamUnauthorized     the token was refused, a new one may help
      UpstreamThrottled        too many requests, for upstream
    ResponseTooLarge 502       MalformedResponse 502
    StreamInterrupted          after the head

Messages say what happened and what to do, and never hold a secret. Only ``wire.dialect`` turns them into bytes.
"""

from typing import ClassVar

__all__ = [
    "ApprovalDenied",
    "BadRequest",
    "BodyTimeout",
    "BodyTooLarge",
    "BudgetExceeded",
    "CircuitOpen",
    "ConfigError",
    "CopilotASGIError",
    "CredentialError",
    "DeviceCodeFailed",
    "DeviceFlowDenied",
    "DeviceFlowExpired",
    "DeviceFlowFailed",
    "Draining",
    "Forbidden",
    "LoginRequired",
    "MalformedResponse",
    "MethodNotAllowed",
    "NoAccountAvailable",
    "NotFound",
    "Overloaded",
    "RateLimited",
    "Refused",
    "ResponseTooLarge",
    "StoreError",
    "StreamInterrupted",
    "TokenExchangeFailed",
    "TranslationError",
    "Unauthenticated",
    "UnknownModel",
    "UnsupportedMediaType",
    "UpstreamError",
    "UpstreamStatus",
    "UpstreamThrottled",
    "UpstreamTimeout",
    "UpstreamUnauthorized",
    "UpstreamUnavailable",
]


class CopilotASGIError(Exception):
    """Root of all errors raised on purpose.

    ``status`` is the HTTP status a client sees; ``code`` a stable machine-readable word for it (or ``None``);
    ``param`` the request field at fault; ``retry_after`` seconds after which another try makes sense.
    """

    status: int = 500
    code: str | None = None
    param: str | None = None
    retry_after: float | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ConfigError(CopilotASGIError):
    """A setting is wrong; the message names the key, where the value came from, and the fix."""

    code = "configuration_error"


class StoreError(CopilotASGIError):
    """The store cannot be read or written safely; the message holds the command that mends it."""

    code = "store_error"


class Refused(CopilotASGIError):
    """We said no, before anything was sent upstream."""

    def __init__(
        self, message: str, *, code: str | None = None, param: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        if param is not None:
            self.param = param
        if retry_after is not None:
            self.retry_after = retry_after


class BadRequest(Refused):
    """The request cannot be understood or cannot be served as it is."""

    status = 400


class TranslationError(Refused):
    """The model speaks another dialect, which cannot say what was asked; leaving it out would give a wrong answer."""

    status = 400
    code = "unsupported_parameter"


class Unauthenticated(Refused):
    """The caller gave no key, or one we do not know."""

    status = 401
    code = "invalid_api_key"


class Forbidden(Refused):
    """The caller may not do that: wrong Host or Origin."""

    status = 403


class UnknownModel(Refused):
    """The catalog does not hold that model."""

    status = 404
    code = "model_not_found"
    param = "model"


class NotFound(Refused):
    """No route has that path."""

    status = 404
    code = "not_found"


class MethodNotAllowed(Refused):
    """The route exists, the method does not; ``allow`` lists those that do."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, *, allow: tuple[str, ...]) -> None:
        super().__init__(message)
        self.allow = allow


class BodyTimeout(Refused):
    """The request body did not arrive in time."""

    status = 408
    code = "request_timeout"


class BodyTooLarge(Refused):
    """The request body is over the limit."""

    status = 413
    code = "request_too_large"


class UnsupportedMediaType(Refused):
    """The request body is not plain JSON."""

    status = 415
    code = "unsupported_media_type"


class BudgetExceeded(Refused):
    """The budget does not hold what the request may cost; ``retry_after`` is the time to its reset."""

    status = 402
    code = "budget_exceeded"


class ApprovalDenied(Refused):
    """Whoever had to approve the request said no, or nothing in time."""

    status = 403
    code = "approval_denied"


class RateLimited(Refused):
    """Too many requests, or too much in them; ``retry_after`` says when there is room again."""

    status = 429
    code = "rate_limit_exceeded"


class CircuitOpen(Refused):
    """Upstream refused the same thing a moment ago (``status`` says how), so it is not asked again yet."""

    def __init__(self, message: str, *, status: int, retry_after: float, code: str | None = None) -> None:
        super().__init__(message, code=code or "circuit_open", retry_after=retry_after)
        self.status = status


class Overloaded(Refused):
    """Every upstream place stayed taken for as long as we are willing to wait."""

    status = 503
    code = "overloaded"
    retry_after = 1.0


class Draining(Refused):
    """We are shutting down; another process may answer."""

    status = 503
    code = "shutting_down"
    retry_after = 1.0


class CredentialError(CopilotASGIError):
    """The way to a usable token failed."""

    status = 503


class LoginRequired(CredentialError):
    """Nobody is signed in, or GitHub no longer accepts the stored token."""

    status = 401
    code = "login_required"


class DeviceCodeFailed(CredentialError):
    """GitHub did not hand out a device code."""

    code = "device_code_failed"


class DeviceFlowDenied(CredentialError):
    """The user pressed cancel on GitHub's page."""

    status = 403
    code = "access_denied"


class DeviceFlowExpired(CredentialError):
    """The user code was not entered in time."""

    code = "expired_token"


class DeviceFlowFailed(CredentialError):
    """GitHub ended the device flow for another reason; ``code`` is GitHub's error code."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class TokenExchangeFailed(CredentialError):
    """GitHub gave no Copilot token; ``status`` is what the client sees, ``reason`` GitHub's notification id, if any."""

    code = "token_exchange_failed"

    def __init__(
        self, message: str, *, status: int = 503, reason: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class NoAccountAvailable(CredentialError):
    """No account may serve this caller now."""

    code = "no_account_available"


class UpstreamError(CopilotASGIError):
    """Copilot, or the way to it, failed."""

    status = 502


class UpstreamUnavailable(UpstreamError):
    """No answer began. ``sent`` is False when it is certain that upstream processed nothing, so a retry is safe."""

    code = "upstream_unavailable"

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class UpstreamTimeout(UpstreamError):
    """No answer began in time."""

    status = 504
    code = "upstream_timeout"


class ResponseTooLarge(UpstreamError):
    """Upstream sent more than the limit allows."""

    code = "response_too_large"


class MalformedResponse(UpstreamError):
    """Upstream answered with something that is not what the protocol promises."""

    code = "malformed_response"


class StreamInterrupted(UpstreamError):
    """The stream broke off, or ended without its terminal event, after the head had been sent."""

    code = "stream_interrupted"


class UpstreamStatus(UpstreamError):
    """Upstream answered with an error status; ``status``, ``headers`` (lower-case names) and ``body`` as received."""

    summary: ClassVar[str] = "GitHub Copilot answered with status {status}."

    def __init__(self, status: int, headers: tuple[tuple[bytes, bytes], ...], body: bytes) -> None:
        super().__init__(self.summary.format(status=status))
        self.status = status
        self.headers = headers
        self.body = body


class UpstreamUnauthorized(UpstreamStatus):
    """Upstream refused the token itself; one fresh token and one more try may help."""


class UpstreamThrottled(UpstreamStatus):
    """Upstream had too many requests of this account; asking again at once makes it worse."""
