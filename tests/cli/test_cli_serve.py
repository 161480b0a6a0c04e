"""Tests of the server: real processes, real sockets, against the simulation."""

import json
import re
import signal
import sys
import time
from pathlib import Path

import httpx
import pytest
from cli_processes import on_terminal, running

from copilot_asgi.cli import servers
from copilot_asgi.cli.commands import run
from copilot_asgi.cli.serve import usage_lines
from copilot_asgi.cli.serve_checks import check_exposure
from copilot_asgi.config_sources import load
from copilot_asgi.errors import ConfigError

SERVERS = tuple(servers.SERVERS)
QUIET = ("--log-level", "warning")


def chat(text: str, *, stream: bool = False) -> dict[str, object]:
    return {"model": "gpt-5-mini", "stream": stream, "messages": [{"role": "user", "content": text}]}


@pytest.mark.servers
@pytest.mark.parametrize("server", SERVERS)
def test_each_server_answers_and_ends_in_order(server, signed_in, home: Path) -> None:
    """It says where it listens, answers, drains on SIGTERM, tells open streams that they end, and exits with 0."""
    arguments = ("serve", "--port", "0", "--server", server, "--drain-timeout", "0.4")
    with running(*arguments, env=signed_in, cwd=home) as process:
        url = process.url()
        with httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
            answer = client.post("/v1/chat/completions", json=chat("Hello"))
            assert "You said: Hello" in answer.text
            assert len(answer.headers.get_list("date")) == 1
            with client.stream("POST", "/v1/chat/completions", json=chat(LONG, stream=True)) as response:
                lines = response.iter_lines()
                assert next(lines).startswith("data: ")
                process.signal(signal.SIGTERM)
                rest = list(lines)
        assert process.wait() == 0, process.stderr
        assert process.stdout == f"listening on {url}\n"
    events = [json.loads(line[6:]) for line in rest if line.startswith("data: {")]
    assert events[-1]["error"]["code"] == "shutting_down"
    assert "data: [DONE]" not in rest
    assert "Traceback" not in process.stderr
    assert f"OPENAI_BASE_URL={url}/v1" in process.stderr
    assert f"ANTHROPIC_BASE_URL={url} " in process.stderr
    assert "warning: identity = editor" in process.stderr


LONG = "[sim chunks=200 delay=0.05] Tell me more"


@pytest.mark.servers
@pytest.mark.parametrize("server", SERVERS)
def test_while_it_drains_new_requests_are_told_to_come_back(server, signed_in, home: Path) -> None:
    """503 with retry-after on new connections, as long as an answer is under way; that one may finish."""
    short = "[sim chunks=20 delay=0.05] Tell me more"
    arguments = ("serve", "--port", "0", "--server", server, *QUIET)
    with running(*arguments, env=signed_in, cwd=home) as process:
        url = process.url()
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=chat(short, stream=True), timeout=10) as response:
            lines = response.iter_lines()
            next(lines)
            process.signal(signal.SIGTERM)
            refused = until_refused(url)
            rest = list(lines)
        assert process.wait() == 0, process.stderr
    assert refused.json()["error"]["code"] == "shutting_down"
    assert refused.headers["retry-after"] == "1"
    assert [line for line in rest if line][-1] == "data: [DONE]"


def until_refused(url: str) -> httpx.Response:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        assert httpx.get(f"{url}/healthz").status_code == 200  # alive: a probe must not end it
        answer = httpx.get(f"{url}/readyz")
        if answer.status_code == 503:
            return answer
    raise AssertionError("never refused")


@pytest.mark.servers
def test_the_second_signal_ends_it_at_once(signed_in, home: Path) -> None:
    """Somebody who presses Ctrl-C twice does not wait for streams."""
    with running("serve", "--port", "0", "--drain-timeout", "60", env=signed_in, cwd=home) as process:
        url = process.url()
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=chat(LONG, stream=True), timeout=10) as response:
            lines = response.iter_lines()
            next(lines)
            process.signal(signal.SIGTERM)
            until_refused(url)
            process.signal(signal.SIGINT)
            assert process.wait() == -signal.SIGINT


@pytest.mark.servers
def test_uvicorn_sends_no_name_and_json_logs_are_json(signed_in, home: Path) -> None:
    """No Server header; with keys, a key is needed also here; every log line is an object without the key."""
    env = {**signed_in, "COPILOT_ASGI_API_KEYS": "a-secret-key"}
    with running("serve", "--port", "0", "--log-format", "json", "--log-level", "debug", env=env, cwd=home) as process:
        url = process.url()
        assert httpx.get(f"{url}/v1/models").status_code == 401
        answer = httpx.get(f"{url}/v1/models", headers={"authorization": "Bearer a-secret-key"})
        assert answer.status_code == 200
        assert "server" not in answer.headers
        process.signal(signal.SIGINT)
        assert process.wait() == 0
    logged = [json.loads(line) for line in process.stderr.splitlines() if line.startswith("{")]
    assert {line["logger"] for line in logged} == {"copilot_asgi.visit"}
    assert "a-secret-key" not in process.stderr
    assert "tid=" not in process.stderr
    assert "OPENAI_API_KEY=one of your keys" in process.stderr


@pytest.mark.servers
def test_without_the_fast_packages_it_serves_all_the_same(signed_in, home: Path) -> None:
    """On asyncio's own loop, with h11 and httpx."""
    code = (
        "import sys; sys.modules['uvloop'] = sys.modules['httptools'] = None\n"
        "from copilot_asgi.cli.commands import run; status = run()\n"
        "print(*sorted({'h11', 'httpx', 'copilot_asgi._h1'} & set(sys.modules)), file=sys.stderr); sys.exit(status)"
    )
    command = (sys.executable, "-c", code)
    with running("serve", "--port", "0", env=signed_in, cwd=home, command=command) as process:
        answer = httpx.post(f"{process.url()}/v1/chat/completions", json=chat("Hello"))
        assert "You said: Hello" in answer.text
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    assert process.stderr.endswith("h11 httpx\n")


# None of these is needed to listen, and together they take longer to import than all the rest.
NOT_BEFORE_LISTENING = {
    "attr", "certifi", "copilot_asgi._h1", "copilot_asgi._http", "copilot_asgi._transport", "copilot_asgi.cli.demo",
    "copilot_asgi.cli.doctor", "copilot_asgi.cli.login", "copilot_asgi.cli.status", "copilot_asgi.cli.workers",
    "copilot_asgi.simulator", "cryptography", "django", "h11", "h2", "httpcore", "httpx", "httpx2", "redis",
    "rich.table", "sqlite3", "starlette", "trio",
}  # fmt: skip


@pytest.mark.servers
def test_what_is_not_needed_to_listen_is_not_loaded_before(signed_in, home: Path) -> None:
    """It listens in a third of a second because these wait; right after that they come without being asked for."""
    code = (
        "import sys; at_first = set(sys.modules)\n"
        "from copilot_asgi.cli import commands, terminal\n"
        "from copilot_asgi.upstream.client import Upstream\n"
        "said, opened = terminal.say, Upstream.opened\n"
        "def say(text):\n print('BEFORE', *set(sys.modules) - at_first, file=sys.stderr); said(text)\n"
        "async def open_(self):\n await opened(self); print('AFTER', *sys.modules, file=sys.stderr)\n"
        "terminal.say, Upstream.opened = say, open_; sys.exit(commands.run())"
    )
    command = (sys.executable, "-c", code)
    with running("serve", "--port", "0", env=signed_in, cwd=home, command=command) as process:
        process.url()
        before = set(process.wait_for(r"BEFORE (.*)\n")[1].split())
        after = set(process.wait_for(r"AFTER (.*)\n")[1].split())
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    assert before & NOT_BEFORE_LISTENING == set()
    assert "uvicorn" in before
    assert "copilot_asgi._http" in after


@pytest.mark.servers
def test_without_a_login_and_a_terminal_it_starts_and_answers_401(env, home: Path) -> None:
    """A container can sign in later; until then each answer says how."""
    with running("serve", "--port", "0", *QUIET, env=env, cwd=home) as process:
        url = process.url()
        assert "nobody is signed in; requests get 401 until you run: copilot-asgi login" in process.stderr
        answer = httpx.post(f"{url}/v1/chat/completions", json=chat("Hello"))
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "login_required")


@pytest.mark.servers
def test_on_a_terminal_it_signs_in_first(env, home: Path) -> None:
    """One command from nothing to serving; Ctrl-C ends it with 0."""
    with on_terminal("serve", "--port", "0", env=env, cwd=home) as terminal:
        terminal.wait_for("Nobody is signed in yet")
        terminal.wait_for(r"yourself on this machine\? \[y/N\]: ")
        terminal.type("y\n")
        terminal.wait_for(r"browser here\? \[y/N\]: ")
        terminal.type("\n")
        terminal.wait_for("Signed in as octocat")
        url = terminal.wait_for(r"listening on (http://\S+)")[1]
        assert "You said" in httpx.post(f"{url}/v1/chat/completions", json=chat("Hello")).text
        terminal.type("\x03")
        assert terminal.wait() == 0


@pytest.mark.servers
@pytest.mark.parametrize("server", SERVERS)
def test_a_taken_port_is_one_clear_line(server, signed_in, home: Path, simulator, capsys) -> None:
    """Whatever the server, the error names the port and the way out."""
    port = simulator.url().rpartition(":")[2]
    assert run(["serve", "--server", server, "--port", port]) == 1
    assert f"error: Cannot listen on 127.0.0.1 port {port}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("server", "install"),
    [("uvicorn", 'pip install "copilot-asgi[serve]"'), ("granian", "pip install granian"),
     ("hypercorn", "pip install hypercorn")],
)  # fmt: skip
def test_a_missing_server_says_what_to_install(server, install, home, monkeypatch, capsys) -> None:
    """The choice of server is not an import error."""
    monkeypatch.setattr(servers, "find_spec", lambda name: None)
    assert run(["serve", "--server", server]) == 2
    assert capsys.readouterr().err == f"error: The server {server} is not installed: {install}\n"


OWN_APP = {"identity": "own_app", "client_id": "Iv23x", "user_agent": "mine/1"}


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({}, None),
        ({"host": "::1"}, None),
        ({"host": "0.0.0.0"}, "api_keys: "),
        ({"allowed_hosts": "ai.example"}, "api_keys: serving beyond this machine (ai.example)"),
        ({"host": "192.0.2.1", **OWN_APP}, "api_keys: "),
        ({"host": "0.0.0.0", "api_keys": "k"}, "identity: "),
        ({"allowed_hosts": "ai.example", "api_keys": "k"}, "identity: "),
        ({"host": "0.0.0.0", "api_keys": "k", "identity": "editor"}, None),
        ({"host": "0.0.0.0", "api_keys": "k", **OWN_APP}, None),
    ],
)
def test_beyond_this_machine_it_needs_keys_and_a_chosen_identity(arguments, fault, home) -> None:
    """The safe default is refused nowhere, the unsafe one everywhere, and the message names the setting."""
    loaded = load(arguments)
    if fault is None:
        return check_exposure(loaded)
    with pytest.raises(ConfigError, match="^" + re.escape(fault)):
        check_exposure(loaded)
    return None


def test_exposure_is_checked_before_anything_starts(home, capsys) -> None:
    """The command refuses with status 2."""
    assert run(["serve", "--host", "0.0.0.0"]) == 2
    assert "error: api_keys: serving beyond this machine (0.0.0.0)" in capsys.readouterr().err


def test_what_to_paste_depends_on_keys() -> None:
    """Without keys any text will do, as SDKs insist on one."""
    assert usage_lines("http://h:1", needs_key=False) == (
        "OpenAI clients:     OPENAI_BASE_URL=http://h:1/v1  OPENAI_API_KEY=anything",
        "Anthropic clients:  ANTHROPIC_BASE_URL=http://h:1  ANTHROPIC_AUTH_TOKEN=anything",
    )


@pytest.mark.servers
def test_an_own_app_is_not_warned_about(env, home: Path) -> None:
    """The warning belongs to the editor identity."""
    options = [part for name, value in OWN_APP.items() for part in ("--" + name.replace("_", "-"), value)]
    with running("serve", "--port", "0", *options, *QUIET, env=env, cwd=home) as process:
        process.url()
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert "identity = editor" not in process.stderr
