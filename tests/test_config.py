"""Settings: their order of precedence, and errors that say which key, from where, and what to do."""

from pathlib import Path

import pytest

from copilot_asgi.budgets import Budget, Currency, Period
from copilot_asgi.config import ApprovalKind, IdentityKind, LogLevel, Settings, TokenMode, is_loopback
from copilot_asgi.config_sources import load, shown
from copilot_asgi.errors import ConfigError
from copilot_asgi.limits import RateLimit, Unit
from copilot_asgi.pricing import NANO
from copilot_asgi.secret import Secret


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_defaults_are_gentle() -> None:
    """Without a word from anybody: loopback, no keys, no CORS."""
    loaded = load(environ={})
    assert loaded.settings == Settings()
    assert loaded.sources == {}
    assert (loaded.settings.host, loaded.settings.port, loaded.settings.cors_origins) == ("127.0.0.1", 4141, ())
    assert not loaded.settings.public


def test_arguments_beat_the_environment_beats_the_file(empty_directory: Path) -> None:
    """Each layer wins over the next; an argument that is ``None`` was not given."""
    (empty_directory / "copilot-asgi.toml").write_text('port = 1\nhost = "::1"\nmax_streams = 3\n')
    loaded = load({"port": 3, "host": None}, environ={"COPILOT_ASGI_PORT": "2", "COPILOT_ASGI_HOST": "localhost"})
    assert (loaded.settings.port, loaded.settings.host, loaded.settings.max_streams) == (3, "localhost", 3)
    assert loaded.sources == {"port": "argument", "host": "environment", "max_streams": "copilot-asgi.toml"}


def test_every_type_comes_from_text() -> None:
    """Numbers, lists, secrets, paths and choices are read from variables; an empty variable is unset."""
    settings = load(
        environ={
            "COPILOT_ASGI_API_KEYS": "one, two",
            "COPILOT_ASGI_ALLOWED_HOSTS": "ai.example",
            "COPILOT_ASGI_IDLE_TIMEOUT": "1.5",
            "COPILOT_ASGI_TOKEN_MODE": "direct",
            "COPILOT_ASGI_DATA_DIR": "/data",
            "COPILOT_ASGI_GITHUB_TOKEN": "ghu_x",
            "COPILOT_ASGI_COPILOT_URL": "",
            "OTHER": "ignored",
        }
    ).settings
    assert settings.api_keys == (Secret("one"), Secret("two"))
    assert (settings.idle_timeout, settings.token_mode) == (1.5, TokenMode.DIRECT)
    assert settings.data_dir == Path("/data")
    assert settings.github_token == Secret("ghu_x")
    assert settings.copilot_url is None
    assert settings.public


def test_lists_come_from_the_file_as_lists(empty_directory: Path) -> None:
    """TOML arrays are lists."""
    (empty_directory / "mine.toml").write_text('cors_origins = ["https://a.example", "https://b.example"]')
    settings = load(environ={}, file=Path("mine.toml")).settings
    assert settings.cors_origins == ("https://a.example", "https://b.example")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"COPILOT_ASGI_POTR": "1"}, ["potr", "environment", "Did you mean port?"]),
        ({"COPILOT_ASGI_ZZZZZZ": "1"}, ["zzzzzz", "no such setting"]),
        ({"COPILOT_ASGI_PORT": "x"}, ["port: 'x'", "environment", "a whole number"]),
        ({"COPILOT_ASGI_PORT": "70000"}, ["port: 70000 is not a port", "set by environment"]),
        ({"COPILOT_ASGI_IDENTITY": "cat"}, ["identity", "editor or own_app"]),
        ({"COPILOT_ASGI_IDENTITY": "own_app"}, ["own_app needs client_id"]),
        ({"COPILOT_ASGI_IDLE_TIMEOUT": "0"}, ["idle_timeout", "out of range"]),
        ({"COPILOT_ASGI_MAX_STREAMS": "0"}, ["max_streams", "too small"]),
        ({"COPILOT_ASGI_COPILOT_URL": "http://evil.example"}, ["copilot_url", "https"]),
        ({"COPILOT_ASGI_GITHUB_URL": "https://user@github.com"}, ["github_url", "https"]),
        ({"COPILOT_ASGI_GITHUB_URL": "https://[broken"}, ["github_url", "https"]),
        ({"COPILOT_ASGI_GITHUB_API_URL": "https://x/?q=1"}, ["github_api_url", "query"]),
        ({"COPILOT_ASGI_CORS_ORIGINS": "*"}, ["cors_origins", "never *"]),
        ({"COPILOT_ASGI_CORS_ORIGINS": "https://a.example/path"}, ["cors_origins"]),
        ({"COPILOT_ASGI_ALLOWED_HOSTS": "*.example"}, ["allowed_hosts"]),
        ({"COPILOT_ASGI_MODEL_ALIASES": "fast"}, ["model_aliases", "name=model"]),
        ({"COPILOT_ASGI_FALLBACKS": "gpt-5.4="}, ["fallbacks", "model=other"]),
        ({"COPILOT_ASGI_RATE_LIMIT": "fast"}, ["rate_limit: 'fast'", "60/min", "set by environment"]),
        ({"COPILOT_ASGI_RATE_LIMIT": "60/min, 0/s"}, ["rate_limit: '0/s'"]),
        ({"COPILOT_ASGI_RATE_LIMIT": "1/0s"}, ["rate_limit"]),
        ({"COPILOT_ASGI_RATE_LIMIT": "60/fortnight"}, ["rate_limit"]),
        ({"COPILOT_ASGI_RATE_LIMIT": "1.5/min"}, ["rate_limit", "fractions"]),
        ({"COPILOT_ASGI_RATE_LIMIT_MODE": "queue"}, ["rate_limit_mode", "reject or wait"]),
        ({"COPILOT_ASGI_RATE_LIMIT_BY": "day"}, ["rate_limit_by", "caller"]),
        ({"COPILOT_ASGI_APPROVAL": "maybe"}, ["approval", "off or terminal or queue"]),
        ({"COPILOT_ASGI_BUDGET": "500/month"}, ["budget: '500/month'", "credits/month"]),
        ({"COPILOT_ASGI_BUDGET": "5 credits/minute"}, ["budget"]),
        ({"COPILOT_ASGI_BUDGET_WARNING": "80"}, ["budget_warning", "0.8"]),
        ({"COPILOT_ASGI_RETRIES": "-1"}, ["retries", "too small"]),
        ({"COPILOT_ASGI_LEDGER": "perhaps"}, ["ledger", "true or false"]),
        ({"COPILOT_ASGI_USER_AGENT": "a\r\nb"}, ["user_agent", "printable"]),
        ({"COPILOT_ASGI_ENTERPRISE_DOMAIN": "https://octo.ghe.com"}, ["enterprise_domain", "octo.ghe.com"]),
        ({"COPILOT_ASGI_ENTERPRISE_DOMAIN": "localhost"}, ["enterprise_domain"]),
    ],
)
def test_errors_name_the_key_its_source_and_the_fix(environ: dict[str, str], words: list[str]) -> None:
    """A wrong or misspelt value is an error with a way out."""
    with pytest.raises(ConfigError) as caught:
        load(environ=environ)
    for word in words:
        assert word in caught.value.message


@pytest.mark.parametrize(("text", "words"), [("port = [", "cannot be read"), ("port = '1'\nprot = 2", "prot")])
def test_a_bad_file_is_named(empty_directory: Path, text: str, words: str) -> None:
    """Errors in the file name the file."""
    (empty_directory / "copilot-asgi.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"copilot-asgi\.toml") as caught:
        load(environ={})
    assert words in caught.value.message


def test_a_file_that_was_asked_for_must_exist() -> None:
    """Only the default file may be missing."""
    with pytest.raises(ConfigError, match="does not exist"):
        load(environ={}, file=Path("absent.toml"))


def test_a_value_of_the_wrong_kind_in_the_file(empty_directory: Path) -> None:
    """A number where text belongs is refused with the key's name."""
    (empty_directory / "copilot-asgi.toml").write_text("github_token = 5")
    with pytest.raises(ConfigError, match="github_token"):
        load(environ={})


def test_shown_settings_hold_no_secret() -> None:
    """The effective settings can be printed: secrets are masked, choices are words, absent ones empty."""
    settings = Settings(api_keys=(Secret("hunter2"), Secret("b")), github_token=Secret("hunter2"))
    text = shown(settings)
    assert set(text) == set(Settings.__struct_fields__)
    assert "hunter2" not in repr(text) + repr(settings)
    assert (text["api_keys"], text["identity"], text["copilot_url"]) == ("***, ***", "editor", "")


def test_own_app_is_complete_with_two_names() -> None:
    """Your own app needs its client id and its user agent."""
    settings = Settings(identity=IdentityKind.OWN_APP, client_id="Iv1.own", user_agent="mine/1.0")
    assert settings.identity is IdentityKind.OWN_APP


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.2", "::1", "[::1]"])
def test_loopback_names(host: str) -> None:
    """This machine only."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", "", "localhost.example"])
def test_other_names(host: str) -> None:
    """Not this machine only."""
    assert not is_loopback(host)


def test_a_loopback_upstream_may_be_plain() -> None:
    """Plain http is for loopback addresses."""
    assert Settings(copilot_url="http://127.0.0.1:9999").copilot_url == "http://127.0.0.1:9999"


@pytest.mark.parametrize("text", ["rate_limit = 60", "[budget]\namount = 1"])
def test_what_should_be_a_list_in_the_file(empty_directory: Path, text: str) -> None:
    """The message names the key and says what to write."""
    (empty_directory / "copilot-asgi.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"(rate_limit|budget): give one text with commas, or a list of texts"):
        load(environ={})


def test_choices_in_any_case() -> None:
    """``INFO`` is what other programs call it."""
    settings = load(environ={"COPILOT_ASGI_LOG_LEVEL": "INFO", "COPILOT_ASGI_APPROVAL": "Queue"}).settings
    assert (settings.log_level, settings.approval) == (LogLevel.INFO, ApprovalKind.QUEUE)


def test_limits_and_budgets_come_from_text() -> None:
    """Amounts, units and times are read as people write them, several with commas."""
    settings = load(
        environ={
            "COPILOT_ASGI_RATE_LIMIT": "60/min, 1/10s, 200000 Tokens / hour, 1.5 credits/2d",
            "COPILOT_ASGI_BUDGET": "500 credits/month, 0.25 credits/day, 300 premium/week",
            "COPILOT_ASGI_FALLBACKS": "gpt-5.4=gpt-5.2+gpt-4o, o=x",
        }
    ).settings
    assert settings.rate_limits == (
        RateLimit(60, Unit.REQUESTS, 60),
        RateLimit(1, Unit.REQUESTS, 10),
        RateLimit(200_000, Unit.TOKENS, 3_600),
        RateLimit(1.5, Unit.CREDITS, 172_800),
    )
    assert settings.budgets == (
        Budget(500 * NANO, Currency.CREDITS, Period.MONTH),
        Budget(NANO // 4, Currency.CREDITS, Period.DAY),
        Budget(300 * NANO, Currency.PREMIUM, Period.WEEK),
    )
    assert settings.fallback_models == {"gpt-5.4": ("gpt-5.2", "gpt-4o"), "o": ("x",)}
    assert [str(limit) for limit in settings.rate_limits[1:]] == [
        "1 request/10s",
        "200000 tokens/hour",
        "1.5 credits/172800s",
    ]
    assert str(settings.budgets[1]) == "0.25 credits/day"
