"""Tests of the doctor: each thing that can go wrong has its line, and no line has a secret."""

import json
import os
import socket
from email.utils import formatdate
from pathlib import Path

import pytest
from stand import stand

from copilot_asgi import _transport
from copilot_asgi.cli import local_checks, network_checks
from copilot_asgi.cli.commands import run
from copilot_asgi.cli.findings import Finding, Verdict
from copilot_asgi.cli.network_checks import clock, network, proxies
from copilot_asgi.simulator import SimulatorSettings
from copilot_asgi.simulator.faults import FAULTS
from copilot_asgi.simulator.script import Fault

TOKEN = "ghu_" + "x" * 36
LOCAL = ["python", "event loop", "server", "settings", "engine", "data", "login", "identity", "exposure", "workers"]
LOCAL += ["port"]
REMOTE = ["proxy", "github", "github api", "clock", "token", "copilot api", "models"]
OFFLINE = ("--offline", "--port", "0")


def examined(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str], status: int = 0) -> dict[str, str]:
    """The lines of each check, by its name, without the hint's padding."""
    assert run(["doctor", *arguments]) == status
    out = capsys.readouterr().out
    return {line[6:18].strip(): line[:6] + line[18:] for line in out.splitlines()}


def test_all_is_well(signed_in, capsys) -> None:
    """One line a check, in the order of the way a request takes; the status is 0."""
    shown = examined(("--port", "0"), capsys)
    assert list(shown) == LOCAL + REMOTE
    assert {line[:6] for line in shown.values()} == {"ok    "}
    assert shown["login"].startswith("ok    octocat on 127.0.0.1, from login, since 20")
    assert shown["token"] == "ok    0 min old, expires in 30 min"
    assert shown["identity"].startswith("ok    editor: ")
    assert int(shown["models"][6:]) > 10


def test_json_says_the_same(signed_in, capsys) -> None:
    """The findings as objects, and whether all is well."""
    assert run(["doctor", "--json", "--port", "0"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert [finding["check"] for finding in told["findings"]] == LOCAL + REMOTE
    assert set(told["findings"][0]) == {"check", "verdict", "text", "hint"}


def test_offline_asks_nobody(home, monkeypatch, capsys) -> None:
    """Without a network what is on this machine is checked all the same."""
    monkeypatch.setenv("COPILOT_ASGI_GITHUB_TOKEN", TOKEN)
    shown = examined((*OFFLINE, "--identity", "own_app", "--client-id", "Iv23x", "--user-agent", "mine/1"), capsys)
    assert list(shown) == LOCAL
    assert shown["data"] == f"ok    {home / 'data'} (not there; the first login makes it)"
    assert shown["login"] == "ok    (settings) on github.com, from settings"
    assert shown["settings"] == (
        f"ok    no file {home / 'copilot-asgi.toml'}; from the environment: data_dir, github_token"
    )


def test_without_a_login_the_hosts_are_asked_all_the_same(env, capsys) -> None:
    """Nobody is signed in, which fails; what needs no login is checked."""
    shown = examined(("--port", "0"), capsys, status=1)
    assert shown["login"] == "fail  Nobody is signed in to GitHub. Run: copilot-asgi login"
    assert shown["identity"].startswith("warn  editor: ")
    assert "Run: copilot-asgi login" in shown["identity"]
    assert list(shown) == [*LOCAL, "proxy", "github", "github api", "clock", "copilot api"]
    assert shown["copilot api"].startswith("ok    127.0.0.1:")


def test_a_wrong_setting_is_a_finding(home, monkeypatch, capsys) -> None:
    """What does not depend on the settings is checked; the rest waits until they can be read."""
    monkeypatch.setenv("COPILOT_ASGI_PORT", "many")
    shown = examined((), capsys, status=1)
    assert list(shown) == LOCAL[:4]
    assert shown["settings"] == "fail  port: 'many' (from the environment) is not a whole number."


def test_hosts_that_cannot_be_reached_say_where_it_failed(signed_in, monkeypatch, capsys) -> None:
    """Each host fails by itself, with the step at which it did."""
    for name in ("GITHUB_URL", "GITHUB_API_URL", "COPILOT_URL"):
        monkeypatch.setenv(f"COPILOT_ASGI_{name}", "http://127.0.0.1:9")
    shown = examined(("--port", "0"), capsys, status=1)
    for check in ("github", "github api", "copilot api"):
        assert shown[check].startswith("fail  127.0.0.1 could not be reached.")
        assert shown[check].endswith("TCP: the connection was refused.")
    assert "clock" not in shown
    assert shown["models"].startswith("fail  127.0.0.1 could not be reached.")


def test_a_network_that_cannot_be_opened_is_one_finding(signed_in, monkeypatch, capsys) -> None:
    """What stops every call is told once."""
    monkeypatch.setattr(_transport, "_build_context", _transport._build_context.__wrapped__)
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/at/all")
    shown = examined(("--port", "0"), capsys, status=1)
    assert list(shown) == [*LOCAL, "proxy", "network"]
    assert shown["network"].startswith("fail  SSL_CERT_FILE does not name a readable file")


def test_no_secret_is_shown(signed_in, home: Path, monkeypatch, capsys) -> None:
    """Neither tokens, nor keys, nor the passwords of proxies."""
    monkeypatch.setenv("COPILOT_ASGI_GITHUB_TOKEN", TOKEN)
    monkeypatch.setenv("COPILOT_ASGI_API_KEYS", "an-operators-key")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:pass@proxy.example:8080")
    assert run(["doctor", "--port", "0"]) == 1
    shown = capsys.readouterr()
    assert "keys: 1" in shown.out
    assert "HTTPS_PROXY is proxy.example:8080" in shown.out
    assert "fail  token" in shown.out
    for secret in (TOKEN, "an-operators-key", "pass", "me:"):
        assert secret not in shown.out + shown.err


@pytest.mark.parametrize(
    ("named", "shown"),
    [
        ({}, "none"),
        ({"https": "http://u:p@one.example", "no": "intern.example"}, "HTTPS_PROXY is one.example"),
        ({"http": "two.example:3128", "all": "socks5://[::1]:9"}, "HTTP_PROXY is two.example:3128, ALL_PROXY is ::1:9"),
        ({"http": "http://u:p@three.example:port"}, "HTTP_PROXY is no address"),
    ],
)
def test_proxies_are_named_without_their_passwords(named, shown, monkeypatch) -> None:
    """Host and port, as far as there are any."""
    monkeypatch.setattr(network_checks, "getproxies", lambda: named)
    assert proxies() == Finding("proxy", Verdict.OK, shown)


NOW = 1_795_000_000.0


@pytest.mark.parametrize(
    ("date", "verdict", "said"),
    [
        (formatdate(NOW, usegmt=True).encode(), Verdict.OK, "as GitHub's"),
        (formatdate(NOW + 59, usegmt=True).encode(), Verdict.OK, "as GitHub's"),
        (formatdate(NOW - 90, usegmt=True).encode(), Verdict.WARN, "90 seconds ahead of GitHub's."),
        (formatdate(NOW + 7200, usegmt=True).encode(), Verdict.WARN, "7200 seconds behind GitHub's."),
        (b"yesterday", Verdict.WARN, "GitHub did not say what time it is."),
        (None, Verdict.WARN, "GitHub did not say what time it is."),
    ],
)
def test_clocks_are_compared(date, verdict, said) -> None:
    """A minute is nothing; more is told with its direction."""
    finding = clock(date, NOW)
    assert (finding.verdict, finding.text) == (verdict, said)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "fault", "check", "verdict", "said"),
    [
        ("/robots.txt", Fault(status=503), "github", Verdict.WARN, " ms, with status 503."),
        ("/", Fault(status=407), "github api", Verdict.WARN, " ms, with status 407."),
        ("/copilot_internal/v2/token", FAULTS["exchange_no_access"], "token", Verdict.FAIL, ""),
        ("/models", FAULTS["policy_403"], "models", Verdict.FAIL, "GitHub Copilot answered with status 403."),
    ],
)
async def test_what_github_refuses_is_told(path, fault, check, verdict, said) -> None:
    """A refusal is the finding of its check; the others are not disturbed."""
    findings: list[Finding] = []
    async with stand() as site:
        site.simulator.fail(path, fault)
        await network(site.app.upstream, findings.append)
    told = {finding.check: finding for finding in findings}
    assert told[check].verdict is verdict
    assert told[check].text.endswith(said)
    bad = {finding.check for finding in findings if finding.verdict is not Verdict.OK} - {"clock"}
    assert bad == {check}


@pytest.mark.anyio
async def test_an_empty_catalog_is_told() -> None:
    """No models is no failure of ours, but nothing works without one."""
    findings: list[Finding] = []
    async with stand(SimulatorSettings(catalog=())) as site:
        await network(site.app.upstream, findings.append)
    assert findings[-1] == Finding("models", Verdict.WARN, "Copilot offers none to this account.")


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_the_data_directory_must_be_ours_alone(signed_in, home: Path, capsys) -> None:
    """The line has the command that mends it."""
    (home / "data").chmod(0o755)
    shown = examined(OFFLINE, capsys, status=1)
    assert shown["data"].startswith("fail  ")
    assert f"chmod 700 {home / 'data'}" in shown["data"]


def test_the_data_directory_must_be_writable(signed_in, home: Path, monkeypatch, capsys) -> None:
    """A read-only volume is found before the first login fails."""
    monkeypatch.setattr(local_checks.os, "access", lambda path, mode: False)
    shown = examined(OFFLINE, capsys, status=1)
    assert shown["data"] == f"fail  {home / 'data'} cannot be written. Set data_dir to a directory of your own."


@pytest.mark.parametrize(
    ("arguments", "check", "line"),
    [
        (("--host", "0.0.0.0"), "exposure", "fail  api_keys: serving beyond this machine (0.0.0.0) needs keys."),
        (("--workers", "2", "--approval", "queue"), "workers", "fail  workers: with approval = queue a request waits"),
        (("--workers", "2", "--cache", "true"), "workers", "warn  2; each counts for itself: cache."),
        (("--workers", "2"), "workers", "ok    2"),
        (("--host", "no.such.host.invalid"), "port", "fail  host: no.such.host.invalid is no address"),
        (("--engine", "httpx"), "engine", "ok    httpx, as set"),
    ],
)
def test_what_serve_would_refuse_is_told(arguments, check, line, signed_in, capsys) -> None:
    """The same rules as when it starts, without starting it."""
    shown = examined((*OFFLINE, *arguments), capsys, status=int(line.startswith("fail")))
    assert shown[check].startswith(line)


def test_a_taken_port_may_be_serve_itself(signed_in, capsys) -> None:
    """It is no failure: whoever asks while the server runs would get one each time."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        shown = examined(("--offline", "--port", str(port)), capsys)
    assert shown["port"].startswith(f"warn  Cannot listen on 127.0.0.1 port {port}: ")
    assert shown["port"].endswith("If it is serve that listens there, all is well.")


@pytest.mark.parametrize(
    ("missing", "platform", "expected"),
    [
        ({"uvloop"}, "linux", {"event loop": "warn  asyncio; uvloop is faster."}),
        ({"uvloop"}, "win32", {"event loop": "ok    asyncio (there is no uvloop for Windows)"}),
        ({"uvicorn", "granian", "hypercorn"}, "linux", {"server": "warn  none; an app mounted in yours needs none."}),
        (
            {"httptools"}, "linux",
            {"server": "uvicorn is faster with httptools", "engine": "warn  httpx, because httptools is not installed"},
        ),
    ],
)  # fmt: skip
def test_what_is_not_installed_is_told(missing, platform, expected, signed_in, monkeypatch, capsys) -> None:
    """A slower way is a warning, with what to install."""
    for module in (local_checks, _transport):
        monkeypatch.setattr(module, "find_spec", lambda name: None if name in missing else object())
    monkeypatch.setattr(local_checks.sys, "platform", platform)
    shown = examined(OFFLINE, capsys)
    for check, text in expected.items():
        assert text in shown[check]
        assert shown[check].startswith("ok") or "pip install" in shown[check]


def test_an_engine_that_cannot_be_used_fails(signed_in, monkeypatch, capsys) -> None:
    """Asked for by name, it is not replaced without a word."""
    monkeypatch.setattr(_transport, "find_spec", lambda name: None)
    shown = examined((*OFFLINE, "--engine", "h1"), capsys, status=1)
    assert shown["engine"].startswith("fail  engine: h1 needs asyncio and httptools.")
