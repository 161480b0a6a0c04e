"""Header rules: what every call to the Copilot API must carry, and what must never leave a proxy.

Rule: credentials first, then the host, then good manners; only the first two are refused.
"""

import re

import msgspec

from copilot_asgi.simulator.answers import Incoming
from copilot_asgi.simulator.rules import Rule, plain
from copilot_asgi.simulator.settings import Credentials, DirectScheme, SimulatorSettings
from copilot_asgi.simulator.tokens import Kind, TokenRegistry, kind_of

__all__ = ["CREDENTIAL_RULES", "GENERATION_MANNERS", "MANNERS", "MODEL_MANNERS", "Credentialed", "api_hosts"]

_FINGERPRINT = "x-stainless-"
_CLIENT_HEADERS = frozenset(
    {
        "anthropic-dangerous-direct-browser-access",
        "api-key",
        "cookie2",
        "forwarded",
        "http-referer",
        "openai-organization",
        "openai-project",
        "origin",
        "originator",
        "proxy-authorization",
        "referer",
        "session-id",
        "thread-id",
        "via",
        "x-api-key",
        "x-app",
        "x-client-request-id",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
        "x-title",
    }
)
_CLIENT_PREFIXES = ("x-claude-code-", "x-codex-", "sec-fetch-", "sec-ch-")
_CLIENT_AGENTS = re.compile(
    r"^(?:(?:Async)?(?:OpenAI|Anthropic)/|python-httpx|httpx2?/|claude-cli|codex|curl/|Mozilla/|axios/|node-fetch|ai/|"
    r"litellm|langchain|Bun/|undici|aiohttp|python-requests|Go-http-client)",
    re.IGNORECASE,
)
_BETAS = frozenset(
    {
        "interleaved-thinking-2025-05-14",
        "context-management-2025-06-27",
        "advanced-tool-use-2025-11-20",
        "mid-conversation-system-2026-04-07",
    }
)


class Credentialed(msgspec.Struct, frozen=True):
    """A request to the Copilot API, before it is known what it asks for."""

    request: Incoming
    settings: SimulatorSettings
    tokens: TokenRegistry

    @property
    def kind(self) -> Kind:
        """What sort of credential it carries."""
        return kind_of(self.request.authorization[1])

    @property
    def scheme(self) -> str:
        """The authorization scheme in lower case."""
        return self.request.authorization[0]


def api_hosts(settings: SimulatorSettings) -> tuple[str, ...]:
    """Hosts that serve this account's models; without any, every host does."""
    if settings.api_hosts or settings.ghe_domain is None:
        return settings.api_hosts
    return (f"copilot-api.{settings.ghe_domain}",)


def _misdirected(call: Credentialed) -> str | None:
    hosts = api_hosts(call.settings)
    return "Misdirected Request" if hosts and call.request.host not in hosts else None


def _bad_scheme(call: Credentialed) -> str | None:
    allowed = {"bearer"}
    if call.kind is Kind.GITHUB:
        allowed = {
            DirectScheme.ANY: {"bearer", "token"},
            DirectScheme.BEARER: {"bearer"},
            DirectScheme.TOKEN: {"token"},
        }[call.settings.direct_scheme]
    if call.scheme in allowed and call.kind is not Kind.NONE:
        return None
    return "bad request: Authorization header is badly formatted"


def _classic_pat(call: Credentialed) -> str | None:
    refused = call.kind is Kind.CLASSIC_PAT
    return "bad request: Personal Access Tokens are not supported for this endpoint" if refused else None


def _github_token_where_exchanged(call: Credentialed) -> str | None:
    refused = call.settings.credentials is Credentials.EXCHANGED and call.kind is Kind.GITHUB
    return "unauthorized: a GitHub token was sent where only exchanged tokens belong" if refused else None


def _exchanged_where_direct(call: Credentialed) -> str | None:
    refused = call.settings.credentials is Credentials.DIRECT and call.kind is Kind.COPILOT
    return "unauthorized: exchanged tokens are not accepted" if refused else None


def _no_editor(call: Credentialed) -> str | None:
    missing = call.kind is Kind.COPILOT and not call.request.header("editor-version")
    return "bad request: missing Editor-Version header for IDE auth" if missing else None


def _unknown_token(call: Credentialed) -> str | None:
    credential = call.request.authorization[1]
    if call.tokens.github(credential) or call.tokens.copilot(credential):
        return None
    return "unauthorized: token is unknown or was revoked"


def _expired_token(call: Credentialed) -> str | None:
    token = call.tokens.copilot(call.request.authorization[1])
    if token is None or call.tokens.is_live(token):
        return None
    return "IDE token expired: unauthorized: token expired"


CREDENTIAL_RULES: tuple[Rule[Credentialed], ...] = (
    Rule("host", _misdirected, plain(421)),
    Rule("classic-pat", _classic_pat, plain(400)),
    Rule("authorization-scheme", _bad_scheme, plain(400)),
    Rule("github-token-to-model-host", _github_token_where_exchanged, plain(401)),
    Rule("exchanged-token", _exchanged_where_direct, plain(401)),
    Rule("editor-version", _no_editor, plain(400)),
    Rule("unknown-token", _unknown_token, plain(401)),
    Rule("expired-token", _expired_token, plain(401)),
)


def _is_githubs_own(request: Incoming) -> bool:
    """Whether this is GitHub's command line, whose SDK headers are its own."""
    own = request.header("copilot-integration-id") == "copilot-developer-cli"
    return own and request.header("user-agent").startswith("copilot/")


def _cookie(request: Incoming) -> str | None:
    return "cookies were sent" if "cookie" in request.headers else None


def _fingerprint(request: Incoming) -> str | None:
    leaked = sorted(name for name in request.headers if name.startswith(_FINGERPRINT))
    return f"SDK fingerprint: {', '.join(leaked)}" if leaked and not _is_githubs_own(request) else None


def _client_header(request: Incoming) -> str | None:
    leaked = sorted(name for name in request.headers if name in _CLIENT_HEADERS or name.startswith(_CLIENT_PREFIXES))
    return f"a client's header was passed on: {', '.join(leaked)}" if leaked else None


def _agent(request: Incoming) -> str | None:
    agent = request.header("user-agent")
    if not agent:
        return "no User-Agent"
    return f"the User-Agent of another program: {agent}" if _CLIENT_AGENTS.match(agent) else None


def _secret_in_query(request: Incoming) -> str | None:
    return "a token stands in the query" if re.search(r"token=|gh[a-z]_|tid(=|%3D)", request.query) else None


def _token_on_wrong_side(request: Incoming) -> str | None:
    wrong = request.path.startswith(("/copilot_internal/", "/user", "/login/"))
    sent = kind_of(request.authorization[1]) is Kind.COPILOT
    return "a Copilot token was sent to GitHub" if wrong and sent else None


MANNERS: tuple[Rule[Incoming], ...] = (
    Rule("cookie", _cookie),
    Rule("sdk-fingerprint", _fingerprint),
    Rule("client-header", _client_header),
    Rule("user-agent", _agent),
    Rule("secret-in-query", _secret_in_query),
    Rule("copilot-token-to-github", _token_on_wrong_side),
)


def _initiator(request: Incoming) -> str | None:
    if "x-initiator" not in request.headers:
        return "no X-Initiator"
    value = request.header("x-initiator")
    return None if value in {"user", "agent"} else f"X-Initiator is {value!r}, not user or agent"


def _content_type(request: Incoming) -> str | None:
    value = request.header("content-type")
    return None if value.partition(";")[0] == "application/json" else f"Content-Type is {value!r}"


def _beta(request: Incoming) -> str | None:
    given = {flag.strip() for flag in request.header("anthropic-beta").split(",") if flag.strip()}
    unknown = sorted(given - _BETAS)
    return f"unsupported beta header(s): {', '.join(unknown)}" if unknown else None


def _version(request: Incoming) -> str | None:
    value = request.header("anthropic-version")
    return None if value in {"", "2023-06-01"} else f"anthropic-version {value} has never been sent there"


MODEL_MANNERS: tuple[Rule[Incoming], ...] = (
    Rule("content-type", _content_type),
    Rule("anthropic-beta", _beta, plain(400)),
    Rule("anthropic-version", _version),
)
GENERATION_MANNERS: tuple[Rule[Incoming], ...] = (Rule("initiator-value", _initiator), *MODEL_MANNERS)
