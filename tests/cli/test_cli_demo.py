"""Tests of the simulation as a command, and of the demonstration."""

import signal
from pathlib import Path

import httpx
import pytest
from cli_environment import clean_environment, pointing_at
from cli_processes import Process, finished, running

from copilot_asgi.cli import demo as demo_module
from copilot_asgi.cli import demo_conversation, simulate
from copilot_asgi.cli.commands import run
from copilot_asgi.errors import CopilotASGIError
from copilot_asgi.simulator import Simulator, Violation


@pytest.mark.servers
def test_the_simulation_prints_what_to_paste(simulator: Process) -> None:
    """Three settings, then the line that says where it listens, then nothing; that it is none is said on stderr."""
    url = simulator.url()
    settings = [f"export {name}={value}" for name, value in pointing_at(url).items()]
    assert simulator.stdout.splitlines() == [*settings, f"listening on {url}"]
    assert "simulation" in simulator.stderr


@pytest.mark.parametrize(
    ("platform", "line"),
    [("linux", "export COPILOT_ASGI_GITHUB_URL=http://h:1"), ("win32", '$env:COPILOT_ASGI_GITHUB_URL = "http://h:1"')],
)
def test_settings_are_written_for_the_shell_of_the_system(platform, line, monkeypatch) -> None:
    """Windows people paste into PowerShell."""
    monkeypatch.setattr("sys.platform", platform)
    assert simulate.settings_lines("http://h:1")[0] == line


@pytest.mark.servers
def test_the_simulation_has_the_plan_and_the_person_asked_for(home: Path, tmp_path: Path) -> None:
    """Plan and login are what GitHub says; SIGINT ends it with 0."""
    arguments = ("simulate", "--port", "0", "--plan", "business", "--login", "hubot")
    with running(*arguments, env=clean_environment(), cwd=tmp_path) as process:
        url = process.url()
        token = httpx.post(f"{url}/_simulator/sign_in", json={"login": "hubot"}).json()["token"]
        user = httpx.get(f"{url}/copilot_internal/user", headers={"authorization": f"token {token}"}).json()
        assert (user["login"], user["copilot_plan"], user["endpoints"]["api"]) == ("hubot", "business", url)
        process.signal(signal.SIGINT)
        assert process.wait() == 0


def test_the_simulation_stays_on_this_machine(capsys) -> None:
    """It trusts everybody, so nobody else may reach it."""
    assert run(["simulate", "--host", "0.0.0.0"]) == 2
    assert "loopback only" in capsys.readouterr().err


@pytest.mark.servers
def test_one_conversation_and_out(home: Path) -> None:
    """Sign-in, stream, tool call, embedding and models work over TCP, and nothing is left in the person's home."""
    env = {**clean_environment(), "HOME": str(home), "COPILOT_ASGI_DATA_DIR": str(home / "data"), "TMPDIR": str(home)}
    done = finished("demo", "--once", env=env, cwd=home)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("This is a simulation")
    assert [line[:11].strip() for line in lines[1:]] == [
        "simulator", "sign-in", "signed in", "listening o", "models", "you", "model", "you", "tool call", "embedding",
    ]  # fmt: skip
    assert "You said: Hello! Is anybody there?" in done.stdout
    assert 'get_weather({"city":"Paris"})' in done.stdout
    assert done.stderr == ""
    assert list(home.iterdir()) == []


@pytest.mark.servers
def test_the_demonstration_stays_until_it_is_ended(home: Path) -> None:
    """It prints lines to paste; its endpoints answer; SIGTERM ends it with 0."""
    with running("demo", env={**clean_environment(), "TMPDIR": str(home)}, cwd=home) as process:
        process.wait_for("Ctrl-C ends it")
        url = process.url()
        assert f"curl -N {url}/v1/chat/completions" in process.stdout
        assert f"OPENAI_BASE_URL={url}/v1" in process.stdout
        assert f"ANTHROPIC_BASE_URL={url} " in process.stdout
        assert len(httpx.get(f"{url}/v1/models").json()["data"]) > 5
        process.signal(signal.SIGTERM)
        assert process.wait() == 0


@pytest.mark.servers
def test_a_taken_port_ends_the_demonstration_in_order(home: Path, simulator: Process, capsys) -> None:
    """The error is one line, although a server was already running behind it."""
    port = simulator.url().rpartition(":")[2]
    assert run(["demo", "--once", "--port", port]) == 1
    assert f"error: Cannot listen on 127.0.0.1 port {port}" in capsys.readouterr().err


@pytest.mark.anyio
async def test_a_request_that_copilot_would_refuse_fails_the_demonstration(monkeypatch) -> None:
    """The simulation's complaints count."""
    simulator = Simulator()
    simulator.violations.append(Violation("some-rule", "message", 0))

    async def fine(url: str) -> None:
        assert url == "http://h:1"

    monkeypatch.setattr(demo_conversation, "converse", fine)
    with pytest.raises(CopilotASGIError, match="would not take: some-rule"):
        await demo_module._talk("http://h:1", simulator)


STREAM = (
    b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\ndata: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
)
GOOD: dict[str, object] = {
    "/v1/models": {"data": [{}]},
    "stream": STREAM + b"data: [DONE]\n\n",
    "/v1/chat/completions": {
        "choices": [{"message": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}]
    },
    "/v1/embeddings": {"data": [{"embedding": [0.5]}]},
}


def answering(changes: dict[str, object]) -> type[httpx.AsyncClient]:
    """A client whose server gives these answers."""
    answers = GOOD | changes

    def answer(request: httpx.Request) -> httpx.Response:
        found = answers["stream" if b'"stream":true' in request.content.replace(b" ", b"") else request.url.path]
        if isinstance(found, Exception):
            raise found
        if isinstance(found, int):
            return httpx.Response(found, text="not \x1b today")
        return httpx.Response(200, content=found) if isinstance(found, bytes) else httpx.Response(200, json=found)

    class Client(httpx.AsyncClient):
        def __init__(self, **options: object) -> None:
            super().__init__(**options, transport=httpx.MockTransport(answer))

    return Client


@pytest.mark.anyio
async def test_a_good_conversation_is_told(monkeypatch, capsys) -> None:
    """What the faults below depart from."""
    monkeypatch.setattr(httpx, "AsyncClient", answering({}))
    await demo_conversation.converse("http://h:1")
    assert capsys.readouterr().out.splitlines()[2] == "model      Hi"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"/v1/models": 500}, "/v1/models answered with status 500: not"),
        ({"/v1/models": {"data": 1}}, "wrong shape"),
        ({"/v1/models": b"<html>"}, "wrong shape"),
        ({"/v1/models": httpx.ConnectError("nobody there")}, "did not answer properly: nobody there"),
        ({"stream": 429}, "/v1/chat/completions answered with status 429"),
        ({"stream": STREAM}, "has no end"),
        ({"stream": b"data: [DONE]\n\n"}, "has no end"),
        ({"stream": STREAM.replace(b'"stop"', b"null") + b"data: [DONE]\n\n"}, "has no end"),
        ({"/v1/chat/completions": {"choices": [{"message": {"content": "no"}}]}}, "called no tool"),
        ({"/v1/embeddings": {"data": [{"embedding": []}]}}, "embedding is empty"),
        ({"/v1/embeddings": {"data": []}}, "embedding is empty"),
    ],
)
async def test_whatever_is_wrong_fails_the_conversation(changes, fault, monkeypatch) -> None:
    """A demonstration that only looks good proves nothing."""
    monkeypatch.setattr(httpx, "AsyncClient", answering(changes))
    with pytest.raises(CopilotASGIError, match=fault):
        await demo_conversation.converse("http://h:1")


@pytest.mark.servers
@pytest.mark.parametrize("line", ["simulator", "sign-in", "signed in"])
def test_a_signal_at_any_time_ends_it(line: str, home: Path) -> None:
    """Also while it signs in: it does not go on asking a server that has gone."""
    with running("demo", env={**clean_environment(), "TMPDIR": str(home)}, cwd=home) as process:
        process.wait_for(line)
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    assert list(home.iterdir()) == []
