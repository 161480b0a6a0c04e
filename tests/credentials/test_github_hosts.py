"""Which hosts may see a credential."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_asgi.config import AccountType, Settings
from copilot_asgi.credentials.hosts import GitHubHosts, copilot_url, github_hosts, is_allowed, origin, validate_endpoint

TENANT = Settings(enterprise_domain="octo.ghe.com")

HOSTILE = [
    "http://api.githubcopilot.com",
    "https://api.githubcopilot.com:8443",
    "https://user@api.githubcopilot.com",
    "https://evil.example",
    "https://githubcopilot.com.evil.example",
    "https://evilgithubcopilot.com",
    "https://githubcopilot.com",
    "https://evil.example/.githubcopilot.com",
    "https://evil.example#.githubcopilot.com",
    "https://evil.example?.githubcopilot.com",
    "https://evil.example\\.githubcopilot.com",
    "https://api.githubcopilot.com/path",
    "https://api.githubcopilot.com/?q=1",
    "https://api.githubcopilot.com/#f",
    "https://api.githubcopilot.com:99999",
    "https://[broken",
    "https:// api.githubcopilot.com",
    "https://api.githubcopilot.com\n",
    "https://\uff41pi.githubcopilot.com",
    "ftp://api.githubcopilot.com",
    "",
    "//api.githubcopilot.com",
]


@pytest.mark.parametrize("url", HOSTILE)
@pytest.mark.parametrize("settings", [Settings(), TENANT])
def test_a_named_endpoint_that_is_not_copilots_is_refused(url: str, settings: Settings) -> None:
    """No address but https, port 443, on a Copilot host is taken from the network."""
    assert validate_endpoint(url, settings) is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.individual.githubcopilot.com", "https://api.individual.githubcopilot.com"),
        ("https://API.githubcopilot.com/", "https://api.githubcopilot.com"),
        ("https://api.business.githubcopilot.com:443", "https://api.business.githubcopilot.com"),
    ],
)
def test_a_copilot_endpoint_becomes_its_origin(url: str, expected: str) -> None:
    """What GitHub really sends is accepted, in one normal form."""
    assert validate_endpoint(url, Settings()) == expected


def test_only_the_configured_tenant_is_accepted() -> None:
    """A tenant's hosts are allowed for that tenant and for nobody else."""
    url = "https://copilot-api.octo.ghe.com"
    assert validate_endpoint(url, TENANT) == url
    assert validate_endpoint(url, Settings()) is None
    assert validate_endpoint("https://copilot-api.other.ghe.com", TENANT) is None


@given(st.text(max_size=40))
def test_validation_never_raises(text: str) -> None:
    """Any text is either an allowed origin or refused."""
    for url in (text, f"https://{text}", f"https://{text}.githubcopilot.com", f"https://evil.example{text}"):
        named = validate_endpoint(url, Settings())
        assert named is None or (named.startswith("https://") and named.endswith(".githubcopilot.com"))


@pytest.mark.parametrize(
    ("endpoint", "settings", "expected"),
    [
        ("https://api.business.githubcopilot.com", Settings(), "https://api.business.githubcopilot.com"),
        (None, Settings(), "https://api.githubcopilot.com"),
        ("https://evil.example", Settings(), "https://api.githubcopilot.com"),
        (None, Settings(account_type=AccountType.BUSINESS), "https://api.business.githubcopilot.com"),
        (None, Settings(account_type=AccountType.ENTERPRISE), "https://api.enterprise.githubcopilot.com"),
        (None, TENANT, "https://copilot-api.octo.ghe.com"),
        ("https://x.githubcopilot.com", Settings(copilot_url="http://127.0.0.1:9/"), "http://127.0.0.1:9"),
    ],
)
def test_the_api_address_is_chosen_in_order(endpoint: str | None, settings: Settings, expected: str) -> None:
    """Setting, then GitHub's word, then tenant, then account type."""
    assert copilot_url(endpoint, settings) == expected


def test_github_hosts_follow_the_settings() -> None:
    """github.com by default, the tenant's hosts for a tenant, and a loopback simulator when set."""
    assert github_hosts(Settings()) == GitHubHosts("https://github.com", "https://api.github.com")
    assert github_hosts(TENANT) == GitHubHosts("https://octo.ghe.com", "https://api.octo.ghe.com")
    local = Settings(github_url="http://127.0.0.1:9/", github_api_url="http://127.0.0.1:9/")
    assert github_hosts(local) == GitHubHosts("http://127.0.0.1:9", "http://127.0.0.1:9")
    assert github_hosts(TENANT).name == "octo.ghe.com"
    assert GitHubHosts("odd", "odd").name == "odd"


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://api.githubcopilot.com/chat/completions?x=1", True),
        ("https://api.githubcopilot.com:8443/models", False),
        ("http://api.githubcopilot.com/models", False),
        ("http://127.0.0.1:4199/models", True),
        ("http://127.0.0.1:4198/models", False),
        ("https://127.0.0.1:4199/models", False),
        ("https://evil.example/", False),
        ("nonsense", False),
    ],
)
def test_credentials_go_to_allowed_origins_only(url: str, *, allowed: bool) -> None:
    """The configured origin, port included, and Copilot's own hosts; nothing else."""
    assert is_allowed(url, Settings(copilot_url="http://127.0.0.1:4199")) is allowed


def test_without_a_setting_loopback_is_not_allowed() -> None:
    """Loopback is special only when a person configured it."""
    assert not is_allowed("http://127.0.0.1:4199/models", Settings())


def test_origin_knows_default_ports() -> None:
    """RFC 6454: the port of the scheme is implied."""
    assert origin("https://a.example") == origin("https://a.example:443/x") == ("https", "a.example", 443)
    assert origin("http://a.example") == ("http", "a.example", 80)
    assert origin("https:///x") is None
