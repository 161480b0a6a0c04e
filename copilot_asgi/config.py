"""Frozen settings: every value that can be chosen, its default, and what makes a value wrong.

The fields of ``Settings`` are the one list of settings; ``load``, ``config show`` and the README's table follow it.
"""

import ipaddress
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from copilot_asgi.budgets import Budget, parse_budget
from copilot_asgi.errors import ConfigError
from copilot_asgi.limits import RateLimit, parse_rate_limit
from copilot_asgi.secret import Secret

__all__ = [
    "AccountType",
    "ApprovalKind",
    "Engine",
    "IdentityKind",
    "LimitBy",
    "LogFormat",
    "LogLevel",
    "RateLimitMode",
    "Settings",
    "TokenMode",
    "is_loopback",
]


class TokenMode(Enum):
    """How the GitHub token becomes the credential of a model call."""

    EXCHANGE = "exchange"
    DIRECT = "direct"


class AccountType(Enum):
    """The Copilot plan's API host, used when GitHub names none."""

    INDIVIDUAL = "individual"
    BUSINESS = "business"
    ENTERPRISE = "enterprise"


class IdentityKind(Enum):
    """What we say we are upstream."""

    EDITOR = "editor"
    OWN_APP = "own_app"


class RateLimitMode(Enum):
    """What becomes of a request over a limit: refused at once, or kept waiting for its turn."""

    REJECT = "reject"
    WAIT = "wait"


class LimitBy(Enum):
    """Whose requests are counted together."""

    ALL = "all"
    CALLER = "caller"
    ACCOUNT = "account"
    MODEL = "model"


class ApprovalKind(Enum):
    """Who is asked before a request is sent upstream: nobody, the terminal, or whoever answers the queue."""

    OFF = "off"
    TERMINAL = "terminal"
    QUEUE = "queue"


class Engine(Enum):
    """What speaks HTTP upstream: our own on asyncio and httptools, httpx's, or the faster of those that can be used."""

    AUTO = "auto"
    H1 = "h1"
    HTTPX = "httpx"


class LogFormat(Enum):
    """How the command line's server writes log lines."""

    TEXT = "text"
    JSON = "json"


class LogLevel(Enum):
    """The least important log line that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that can be set. Times are in seconds, sizes in bytes.

    Raises ``ConfigError`` when a value cannot be right, naming the key and the fix.
    """

    host: Annotated[str, Meta(description="Address that `serve` listens on.")] = "127.0.0.1"
    port: Annotated[int, Meta(description="Port that `serve` listens on.")] = 4141
    workers: Annotated[
        int, Meta(description="Processes of `serve` (uvicorn only); each has limits, circuits and a cache of its own.")
    ] = 1
    api_keys: Annotated[
        tuple[Secret, ...], Meta(description="The operator's keys. Without any key, only loopback callers are served.")
    ] = ()
    allowed_hosts: Annotated[
        tuple[str, ...], Meta(description="Host names callers use, beside the loopback names. Needs a key.")
    ] = ()
    cors_origins: Annotated[
        tuple[str, ...], Meta(description="Web origins whose pages may call. Exact, never `*`.")
    ] = ()
    identity: Annotated[IdentityKind, Meta(description="`editor`, or `own_app` with `client_id` and `user_agent`.")] = (
        IdentityKind.EDITOR
    )
    client_id: Annotated[str | None, Meta(description="OAuth client id of your own GitHub app (`own_app`).")] = None
    user_agent: Annotated[str | None, Meta(description="User agent of your own app (`own_app`).")] = None
    integration_id: Annotated[
        str | None, Meta(description="`Copilot-Integration-Id` of your own app, if GitHub gave you one.")
    ] = None
    token_mode: Annotated[
        TokenMode, Meta(description="`exchange` the GitHub token for a Copilot token, or use it `direct`.")
    ] = TokenMode.EXCHANGE
    github_token: Annotated[Secret | None, Meta(description="A GitHub token to use instead of the stored login.")] = (
        None
    )
    account_type: Annotated[
        AccountType, Meta(description="`individual`, `business` or `enterprise`: the API host when GitHub names none.")
    ] = AccountType.INDIVIDUAL
    enterprise_domain: Annotated[str | None, Meta(description="GitHub Enterprise tenant, such as `octo.ghe.com`.")] = (
        None
    )
    github_url: Annotated[str, Meta(description="Where people sign in.")] = "https://github.com"
    github_api_url: Annotated[str, Meta(description="GitHub's REST API.")] = "https://api.github.com"
    copilot_url: Annotated[
        str | None, Meta(description="Copilot's API, overriding what GitHub names. Plain http for loopback only.")
    ] = None
    data_dir: Annotated[
        Path | None, Meta(description="Where the login is kept; by default the user's data directory.")
    ] = None
    model_aliases: Annotated[tuple[str, ...], Meta(description="Other names for models, each as `name=model`.")] = ()
    fallbacks: Annotated[
        tuple[str, ...],
        Meta(description="Models to try when one fails before it answers, each as `model=other` or `model=one+two`."),
    ] = ()
    rate_limit: Annotated[
        tuple[str, ...],
        Meta(description="Limits such as `60/min`, `1/10s`, `200000 tokens/hour`, `50 credits/day`; all of them hold."),
    ] = ()
    rate_limit_mode: Annotated[
        RateLimitMode, Meta(description="Over a limit: `reject` with 429, or `wait` in a queue.")
    ] = RateLimitMode.REJECT
    rate_limit_by: Annotated[
        LimitBy, Meta(description="Whose requests are counted together: `all`, `caller`, `account`, `model`.")
    ] = LimitBy.ALL
    rate_limit_queue: Annotated[int, Meta(description="Requests that may wait in each line at once.")] = 32
    rate_limit_timeout: Annotated[float, Meta(description="Seconds that a request may wait for its turn.")] = 30.0
    max_concurrent: Annotated[
        int, Meta(description="Model calls of one caller that may be under way at once; others wait. 0: no limit.")
    ] = 0
    approval: Annotated[
        ApprovalKind, Meta(description="Who is asked before anything is sent: `off`, `terminal`, `queue`.")
    ] = ApprovalKind.OFF
    approval_timeout: Annotated[float, Meta(description="Seconds to answer; after that the answer is no.")] = 120.0
    approval_above: Annotated[
        float, Meta(description="Ask only for requests estimated to cost more than so many credits.")
    ] = 0.0
    approval_allow_models: Annotated[
        tuple[str, ...], Meta(description="Models that need no approval, as patterns such as `*-mini`.")
    ] = ()
    approval_allow_callers: Annotated[
        tuple[str, ...], Meta(description="Callers that need no approval, as patterns.")
    ] = ()
    approval_session_timeout: Annotated[
        float, Meta(description="Seconds that an approval lasts which was given for the session.")
    ] = 3600.0
    budget: Annotated[
        tuple[str, ...],
        Meta(description="What may be spent, such as `500 credits/month`, `20 credits/day`, `300 premium/month`."),
    ] = ()
    budget_by: Annotated[
        LimitBy, Meta(description="Whose spending is added up: `all`, `caller`, `account`, `model`.")
    ] = LimitBy.ALL
    budget_warning: Annotated[float, Meta(description="Share of a budget from which answers carry a warning.")] = 0.8
    ledger: Annotated[
        bool,
        Meta(description="Keep what every answer costs, not only where a budget needs it; `serve` does by default."),
    ] = False
    retries: Annotated[int, Meta(description="Further tries of a request that failed before its answer began.")] = 1
    cache: Annotated[bool, Meta(description="Keep answers to embeddings and deterministic requests.")] = False
    cache_timeout: Annotated[float, Meta(description="Seconds that a kept answer is used.")] = 3600.0
    cache_size: Annotated[int, Meta(description="Bytes of kept answers.")] = 64 * 1024 * 1024
    audit_file: Annotated[Path | None, Meta(description="File that gets one JSON line for each exchange.")] = None
    audit_prompts: Annotated[bool, Meta(description="Put the request bodies into the audit file as well.")] = False
    audit_size: Annotated[int, Meta(description="Bytes after which the audit file is rotated.")] = 64 * 1024 * 1024
    audit_backups: Annotated[int, Meta(description="Rotated audit files that are kept.")] = 5
    strict: Annotated[
        bool, Meta(description="Refuse what a translated request would lose, instead of naming it in a header.")
    ] = False
    max_body: Annotated[int, Meta(description="Largest request body, in bytes.")] = 32 * 1024 * 1024
    max_streams: Annotated[int, Meta(description="Model calls that may be under way at once.")] = 64
    engine: Annotated[
        Engine,
        Meta(description="What speaks HTTP upstream: `h1` (asyncio, needs the extra `fast`), `httpx`, or `auto`."),
    ] = Engine.AUTO
    connect_timeout: Annotated[float, Meta(description="Seconds to open a connection upstream.")] = 10.0
    head_timeout: Annotated[float, Meta(description="Seconds from sending a request to the head of its response.")] = (
        300.0
    )
    idle_timeout: Annotated[float, Meta(description="Seconds between two pieces of a response.")] = 300.0
    body_timeout: Annotated[float, Meta(description="Seconds for the client's request body to arrive.")] = 30.0
    auth_timeout: Annotated[float, Meta(description="Seconds for each login, token and catalog call.")] = 30.0
    queue_timeout: Annotated[
        float, Meta(description="Seconds to wait for a place while `max_streams` are under way.")
    ] = 30.0
    keep_alive_interval: Annotated[
        float, Meta(description="Seconds of silence in a stream before the client hears that it is alive.")
    ] = 15.0
    drain_timeout: Annotated[float, Meta(description="Seconds that streams get to finish when `serve` is stopped.")] = (
        10.0
    )
    log_level: Annotated[
        LogLevel, Meta(description="Least important log line of `serve`: `debug`, `info`, `warning`, `error`.")
    ] = LogLevel.INFO
    log_format: Annotated[LogFormat, Meta(description="Log lines of `serve`: `text` or `json`.")] = LogFormat.TEXT

    def __post_init__(self) -> None:
        _check_lists(self)
        _check_numbers(self)
        _check_urls(self)
        _check_identity(self)
        _check_names(self)
        _check_models(self)
        _ = self.rate_limits, self.budgets

    @property
    def aliases(self) -> dict[str, str]:
        """``model_aliases`` by name."""
        return {name: model for name, _, model in (alias.partition("=") for alias in self.model_aliases)}

    @property
    def fallback_models(self) -> dict[str, tuple[str, ...]]:
        """``fallbacks`` by the model they stand in for."""
        pairs = (fallback.partition("=") for fallback in self.fallbacks)
        return {name: tuple(others.split("+")) for name, _, others in pairs}

    @property
    def rate_limits(self) -> tuple[RateLimit, ...]:
        """``rate_limit``, parsed."""
        return tuple(map(parse_rate_limit, self.rate_limit))

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """``budget``, parsed."""
        return tuple(map(parse_budget, self.budget))

    @property
    def public(self) -> bool:
        """Whether callers beyond this machine are expected."""
        return not is_loopback(self.host) or bool(self.allowed_hosts)


def is_loopback(host: str) -> bool:
    """Whether ``host`` (a name or an address, without port) means this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


_LEAST: Mapping[str, int] = MappingProxyType(
    {
        "approval_above": 0,
        "audit_backups": 0,
        "audit_size": 1024,
        "cache_size": 1,
        "max_body": 1,
        "max_concurrent": 0,
        "max_streams": 1,
        "rate_limit_queue": 0,
        "retries": 0,
        "workers": 1,
    }
)


def _check_lists(settings: Settings) -> None:
    for name, value in zip(settings.__struct_fields__, settings.__struct_defaults__, strict=True):
        if isinstance(value, tuple) and not isinstance(getattr(settings, name), tuple):
            raise ConfigError(f"{name}: give a tuple of texts, such as Settings({name}=(...,)).")


def _check_numbers(settings: Settings) -> None:
    if not 0 <= settings.port <= 65535:
        raise ConfigError(f"port: {settings.port} is not a port. Choose 1 to 65535, or 0 for any free one.")
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if name.endswith(("_timeout", "_interval")) and not 0 < value < 86_400:
            raise ConfigError(f"{name}: {value} is out of range. Choose more than 0 and less than 86400 seconds.")
        least = _LEAST.get(name)
        if least is not None and value < least:
            raise ConfigError(f"{name}: {value} is too small. Choose {least} or more.")
    if not 0 < settings.budget_warning <= 1:
        raise ConfigError(f"budget_warning: {settings.budget_warning} is out of range. Choose a share such as 0.8.")


def _check_urls(settings: Settings) -> None:
    for name in ("github_url", "github_api_url", "copilot_url"):
        url = getattr(settings, name)
        if url is not None and not _is_safe_url(url):
            raise ConfigError(
                f"{name}: use an https URL without user, query or fragment (plain http is for loopback addresses only)."
            )


def _is_safe_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or parts.username is not None or parts.query or parts.fragment or not url.isprintable():
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))


def _check_identity(settings: Settings) -> None:
    for name in ("client_id", "user_agent", "integration_id"):
        value = getattr(settings, name)
        if value is not None and (not value or not value.isascii() or not value.isprintable()):
            raise ConfigError(f"{name}: use printable ASCII text.")
    if settings.identity is IdentityKind.OWN_APP and not (settings.client_id and settings.user_agent):
        raise ConfigError("identity: own_app needs client_id and user_agent as well.")


def _check_names(settings: Settings) -> None:
    for origin in settings.cors_origins:
        parts = urlsplit(origin)
        if parts.scheme not in {"http", "https"} or origin != f"{parts.scheme}://{parts.netloc}":
            raise ConfigError("cors_origins: list exact origins such as https://app.example, without path and never *.")
    for host in settings.allowed_hosts:
        if not host or set(host) & set("*/@ ,") or not host.isascii() or not host.isprintable():
            raise ConfigError("allowed_hosts: list plain host names such as ai.example or ai.example:8443.")
    domain = settings.enterprise_domain
    if domain is not None and (domain != urlsplit(f"//{domain}").hostname or "." not in domain):
        raise ConfigError("enterprise_domain: give the bare host name of the tenant, such as octo.ghe.com.")


def _check_models(settings: Settings) -> None:
    for alias in settings.model_aliases:
        name, _, model = alias.partition("=")
        if not name or not model or not alias.isprintable():
            raise ConfigError("model_aliases: list names as name=model, such as fast=gpt-5-mini.")
    for fallback in settings.fallbacks:
        name, _, others = fallback.partition("=")
        if not name or not all(others.split("+")) or not fallback.isprintable():
            raise ConfigError(
                "fallbacks: list them as model=other, such as gpt-5.4=gpt-5-mini or gpt-5.4=gpt-5.2+gpt-4o."
            )
