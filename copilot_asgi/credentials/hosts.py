"""Which hosts may see a credential. Pure.

Rule: an address that came over the network gets no credential unless it is https on port 443, without user info, on a
host of GitHub Copilot or of the configured tenant. Only settings, which a person wrote, may name another one.
"""

from urllib.parse import SplitResult, urlsplit

import msgspec

from copilot_asgi.config import AccountType, Settings

__all__ = ["GitHubHosts", "copilot_url", "github_hosts", "is_allowed", "origin", "validate_endpoint"]

COPILOT_DOMAIN = ".githubcopilot.com"

BY_ACCOUNT_TYPE = {
    AccountType.INDIVIDUAL: "https://api.githubcopilot.com",
    AccountType.BUSINESS: "https://api.business.githubcopilot.com",
    AccountType.ENTERPRISE: "https://api.enterprise.githubcopilot.com",
}

_PORTS = {"https": 443, "http": 80}


class GitHubHosts(msgspec.Struct, frozen=True):
    """Base addresses, without a trailing slash, of GitHub's pages and of its REST API."""

    web: str
    api: str

    @property
    def name(self) -> str:
        """The host people know the login by, such as ``github.com``."""
        return urlsplit(self.web).hostname or self.web


def github_hosts(settings: Settings) -> GitHubHosts:
    """The configured tenant's hosts, or else the configured GitHub addresses (github.com by default)."""
    domain = settings.enterprise_domain
    if domain is not None:
        return GitHubHosts(web=f"https://{domain}", api=f"https://api.{domain}")
    return GitHubHosts(web=settings.github_url.rstrip("/"), api=settings.github_api_url.rstrip("/"))


def copilot_url(endpoint: str | None, settings: Settings) -> str:
    """The base address of Copilot's API, without a trailing slash.

    The setting wins, then ``endpoint`` as GitHub named it (if it may), then the tenant, then the account type.
    """
    if settings.copilot_url is not None:
        return settings.copilot_url.rstrip("/")
    named = None if endpoint is None else validate_endpoint(endpoint, settings)
    if named is not None:
        return named
    if settings.enterprise_domain is not None:
        return f"https://copilot-api.{settings.enterprise_domain}"
    return BY_ACCOUNT_TYPE[settings.account_type]


def validate_endpoint(url: str, settings: Settings) -> str | None:
    """The address that GitHub named, as a bare origin, or ``None`` when no credential may go there."""
    parts = _split(url)
    if parts is None or parts.scheme != "https" or parts.path not in {"", "/"} or parts.query or parts.fragment:
        return None
    host = parts.hostname or ""
    if parts.port not in {None, 443} or not _is_copilot_host(host, settings):
        return None
    return f"https://{host}"


def is_allowed(url: str, settings: Settings) -> bool:
    """Whether a credential may be sent to ``url``: the configured Copilot origin, or one GitHub may name."""
    target = origin(url)
    if target is None:
        return False
    if settings.copilot_url is not None and target == origin(settings.copilot_url):
        return True
    scheme, host, port = target
    return scheme == "https" and port == 443 and _is_copilot_host(host, settings)


def origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port (RFC 6454), or ``None`` for what is no plain http or https address."""
    parts = _split(url)
    if parts is None or parts.scheme not in _PORTS or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def _split(url: str) -> SplitResult | None:
    """The parts of a URL that holds no user info and nothing that parsers are known to disagree on."""
    if not url.isascii() or not url.isprintable() or set(url) & set(" \\@"):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _is_copilot_host(host: str, settings: Settings) -> bool:
    tenant = settings.enterprise_domain
    return host.endswith(COPILOT_DOMAIN) or (tenant is not None and host.endswith(f".{tenant.lower()}"))
