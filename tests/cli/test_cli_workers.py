"""Tests of several processes behind one socket: real processes against the simulation, and the rules between them."""

import json
import multiprocessing
import os
import pickle
import signal
import sys
import time
from pathlib import Path
from typing import get_type_hints

import httpx
import pytest
from cli_processes import is_gone, on_terminal, running, until, workers_of

from copilot_asgi.callers.key_record import make_key
from copilot_asgi.cli.commands import run
from copilot_asgi.cli.serve_checks import check_workers, counted_apart
from copilot_asgi.cli.signals import StopSignals
from copilot_asgi.cli.worker import DRAIN, obey
from copilot_asgi.cli.workers import MOST_RESTARTS, RESTART_WINDOW, Handover, Restarts, Workers
from copilot_asgi.config import ApprovalKind, Settings
from copilot_asgi.errors import ConfigError, CopilotASGIError
from copilot_asgi.secret import MASK, Secret

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")

SERVE = ("serve", "--port", "0", "--workers", "2")
LONG = "[sim chunks=200 delay=0.05] Tell me more"


def chat(text: str, *, stream: bool = False) -> dict[str, object]:
    return {"model": "gpt-5-mini", "stream": stream, "messages": [{"role": "user", "content": text}]}


def refuses(url: str) -> bool:
    """Whether it drains. A worker with nothing under way has ended then, perhaps with our connection in its hands."""
    try:
        return httpx.get(f"{url}/readyz").status_code == 503
    except httpx.TransportError:
        return False


def answer(url: str) -> str:
    return httpx.post(f"{url}/v1/chat/completions", json=chat("Hello"), timeout=10).text


@pytest.mark.servers
@needs_proc
def test_a_worker_that_ends_is_replaced(signed_in, home: Path) -> None:
    """One line says where it listens, once all accept; a killed worker leaves a log line, and the service goes on."""
    with running(*SERVE, env=signed_in, cwd=home) as process:
        url = process.url()
        first = workers_of(process.pid)
        assert len(first) == 2
        assert "You said: Hello" in answer(url)
        killed = min(first)
        os.kill(killed, signal.SIGKILL)
        process.wait_for(f"worker {killed} ended with status -9; another one takes its place")
        until(lambda: len(workers_of(process.pid) - {killed}) == 2)
        assert "You said: Hello" in answer(url)
        process.signal(signal.SIGTERM)
        assert process.wait() == 0, process.stderr
    assert process.stdout == f"listening on {url}\n"
    assert process.stderr.count("warning: identity = editor") == 1
    assert "Traceback" not in process.stderr


@pytest.mark.servers
@needs_proc
def test_all_workers_drain(signed_in, home: Path) -> None:
    """After SIGTERM new requests get 503, a stream gets its deadline and an error event, and nobody is left."""
    with running(*SERVE, "--drain-timeout", "0.6", env=signed_in, cwd=home) as process:
        url = process.url()
        workers = workers_of(process.pid)
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=chat(LONG, stream=True), timeout=10) as response:
            lines = response.iter_lines()
            next(lines)
            process.signal(signal.SIGTERM)
            until(lambda: refuses(url))
            rest = [line for line in lines if line.startswith("data: ")]
        assert process.wait() == 0, process.stderr
    assert json.loads(rest[-1][6:])["error"]["code"] == "shutting_down"
    assert all(map(is_gone, workers))


@pytest.mark.servers
@needs_proc
@pytest.mark.parametrize("ending", [(signal.SIGTERM, signal.SIGINT), (signal.SIGKILL,)])
def test_workers_end_with_their_parent(ending, signed_in, home: Path) -> None:
    """A second signal, and the parent's death, end every worker at once, streams or not."""
    with running(*SERVE, "--drain-timeout", "60", env=signed_in, cwd=home) as process:
        url = process.url()
        workers = workers_of(process.pid)
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=chat(LONG, stream=True), timeout=10) as response:
            lines = response.iter_lines()
            next(lines)
            for number in ending:
                process.signal(number)
                if number != ending[-1]:
                    until(lambda: refuses(url))
            assert process.wait() == -ending[-1]
            until(lambda: all(map(is_gone, workers)))


@pytest.mark.servers
@needs_proc
def test_a_worker_that_is_told_to_end_drains(signed_in, home: Path) -> None:
    """SIGTERM to one worker is no crash of it: its stream ends in order, and another worker comes."""
    with running(*SERVE, "--drain-timeout", "0.2", env=signed_in, cwd=home) as process:
        url = process.url()
        workers = workers_of(process.pid)
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=chat(LONG, stream=True), timeout=10) as response:
            lines = response.iter_lines()
            next(lines)
            for worker in workers:
                os.kill(worker, signal.SIGTERM)
            rest = [line for line in lines if line.startswith("data: ")]
        process.wait_for(r"ended with status 0; another one takes its place(.|\n)*ended with status 0")
        until(lambda: len(workers_of(process.pid) - workers) == 2)
        assert "You said: Hello" in answer(url)
    assert json.loads(rest[-1][6:])["error"]["code"] == "shutting_down"


@pytest.mark.servers
@needs_proc
def test_secrets_reach_the_workers_by_no_other_way_than_the_pipe(signed_in, home: Path) -> None:
    """A key from the file is asked for by each worker; no command line and no environment holds it, nor any log."""
    (home / "copilot-asgi.toml").write_text('api_keys = ["a-secret-key"]\nlog_format = "json"\nlog_level = "debug"\n')
    with running(*SERVE, env=signed_in, cwd=home) as process:
        url = process.url()
        for headers, status in [({}, 401), ({"authorization": "Bearer a-secret-key"}, 200)] * 4:
            with httpx.Client(base_url=url) as client:  # another connection, perhaps another worker
                assert client.get("/v1/models", headers=headers).status_code == status
        for worker in workers_of(process.pid):
            for name in ("cmdline", "environ"):
                assert b"a-secret-key" not in Path(f"/proc/{worker}/{name}").read_bytes()
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    logged = [json.loads(line) for line in process.stderr.splitlines() if line.startswith("{")]
    assert {line["logger"] for line in logged} == {"copilot_asgi.visit"}
    assert "a-secret-key" not in process.stderr


@pytest.mark.servers
def test_ctrl_c_on_a_terminal_is_silent(signed_in, home: Path) -> None:
    """It reaches the workers, too, which leave it to their parent."""
    with on_terminal(*SERVE, env=signed_in, cwd=home) as terminal:
        terminal.wait_for(r"listening on http://\S+")
        terminal.type("\x03")
        assert terminal.wait() == 0
    assert "Traceback" not in terminal.text


@pytest.mark.servers
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("COPILOT_ASGI_AUDIT_FILE", "/nowhere/at/all", "error: audit_file: the directory /nowhere/at does not exist"),
        ("SSL_CERT_FILE", "/nowhere/at/all", "error: SSL_CERT_FILE does not name a readable file"),
    ],
)
def test_what_cannot_be_opened_ends_it(workers, variable, value, said, signed_in, home: Path) -> None:
    """A wrong setting that shows late is one clear line and status 2, not a row of restarts."""
    arguments = ("serve", "--port", "0", "--workers", workers)
    with running(*arguments, env={**signed_in, variable: value}, cwd=home) as process:
        assert process.wait() == 2, process.stderr
        assert said in process.stderr
        assert "Traceback" not in process.stderr
        assert "another one" not in process.stderr


class Made:
    """A worker that is what a test says: ``accepts``, and its exit status once ``ends`` looks have been taken at it."""

    def __init__(self, status: int, *, accepts: bool = True, ends: int = 0) -> None:
        self.accepts = accepts
        self.told = ""
        self._status = status
        self._looks = ends
        reader, writer = multiprocessing.Pipe()
        writer.close()
        self.sources = (reader,)  # always something to hear, so that nobody waits

    @property
    def status(self) -> int | None:
        return self._status if self._looks <= 0 else None

    def listen(self) -> None:
        self._looks -= 1

    def drain(self) -> None:
        self.told += "drain "

    def join(self) -> None:
        self._looks = 0
        self.sources[0].close()
        self.told += "join"

    def __str__(self) -> str:
        return "worker 7"


@pytest.mark.parametrize(
    ("first", "kind", "said"),
    [
        (Made(1, accepts=False), CopilotASGIError, "worker 7 ended with status 1 before it could serve; what it said"),
        (Made(2, accepts=False), ConfigError, "A worker cannot serve with these settings"),
        (Made(2), ConfigError, "A worker cannot serve with these settings"),
    ],
)
def test_a_worker_that_cannot_serve_ends_all(first, kind, said) -> None:
    """There is no second try; the other workers are drained."""
    made = iter([first, other := Made(0, ends=99)])
    with pytest.raises(CopilotASGIError, match=said) as error:
        Workers(made.__next__, 2, stop=StopSignals(), ready=list).run()
    assert type(error.value) is kind
    assert other.told == "drain join"


def test_workers_that_end_again_and_again_end_all() -> None:
    """After so many restarts within a minute the parent gives up, instead of starting processes for ever."""
    made = []

    def start() -> Made:
        made.append(Made(-11))
        return made[-1]

    with pytest.raises(CopilotASGIError, match=r"more than 5 within 60 seconds.* ended with status -11"):
        Workers(start, 1, stop=StopSignals(), ready=list).run()
    assert len(made) == 1 + MOST_RESTARTS


@pytest.mark.parametrize(
    ("status", "said"), [(0, None), (-signal.SIGTERM, None), (1, "worker 7 ended with status 1; what it said")]
)
def test_how_workers_end_when_they_are_asked_to_is_told(status, said) -> None:
    """An error while draining is an error of the whole; SIGTERM from elsewhere is none."""
    stop = StopSignals()
    stop.request()
    workers = Workers(lambda: Made(status, ends=99), 2, stop=stop, ready=list)
    if said is None:
        return workers.run()
    with pytest.raises(CopilotASGIError, match=said):
        workers.run()
    return None


def test_restarts_are_counted_in_a_window() -> None:
    """So many at once, and again as many when the first of them are a minute old."""
    now = [0.0]
    restarts = Restarts(lambda: now[0])
    assert [restarts.allow() for _ in range(MOST_RESTARTS + 1)] == [True] * MOST_RESTARTS + [False]
    now[0] = RESTART_WINDOW - 1
    assert not restarts.allow()
    now[0] = RESTART_WINDOW
    assert restarts.allow()


@pytest.mark.parametrize(
    "settings",
    [Settings(), Settings(workers=2, api_keys=(Secret("one"), Secret("two")), github_token=Secret("three"))],
)
def test_settings_are_handed_over_whole(settings) -> None:
    """What comes out of the pickle equals what went in, secrets included."""
    received = pickle.loads(pickle.dumps(Handover(settings)))
    assert received == settings
    assert [key.reveal() for key in received.api_keys] == [key.reveal() for key in settings.api_keys]
    assert MASK not in {key.reveal() for key in received.api_keys}


def test_there_are_no_other_secrets_to_hand_over() -> None:
    """A setting that is a secret would arrive as a mask if nobody thought of it."""
    secret = {name for name, hint in get_type_hints(Settings).items() if "Secret" in str(hint)}
    assert secret == {"api_keys", "github_token"}


def test_a_worker_obeys_its_parent() -> None:
    """It drains when it is told to, and leaves when the parent is gone."""
    ours, theirs = multiprocessing.Pipe()
    stop, left = StopSignals(), []
    ours.send_bytes(DRAIN)
    ours.close()
    obey(theirs, stop, lambda: left.append("left"))
    theirs.close()
    assert (stop.requested, left) == (True, ["left"])


@pytest.mark.parametrize(
    ("settings", "server", "fault"),
    [
        ({"workers": 1, "approval": ApprovalKind.QUEUE}, "granian", None),
        ({"workers": 2}, "uvicorn", None),
        ({"workers": 2}, "granian", "workers: granian is run in one process here"),
        ({"workers": 2}, "hypercorn", "workers: hypercorn is run in one process here"),
        ({"workers": 2, "approval": ApprovalKind.QUEUE}, "uvicorn", "workers: with approval = queue a request waits"),
        ({"workers": 2, "approval": ApprovalKind.TERMINAL}, "uvicorn", "workers: with approval = terminal a request"),
    ],
)
def test_several_processes_cannot_do_everything(settings, server, fault) -> None:
    """What would go wrong without a word is refused; the message names the way out."""
    if fault is None:
        return check_workers(Settings(**settings), server)
    with pytest.raises(ConfigError, match=f"^{fault}"):
        check_workers(Settings(**settings), server)
    return None


@pytest.mark.parametrize(
    ("settings", "terms", "named"),
    [
        ({}, {}, []),
        ({"rate_limit": ("5/min",), "cache": True}, {}, ["rate_limit", "cache"]),
        ({"max_concurrent": 3}, {"rate_limits": ("5/min",)}, ["max_concurrent", "rate limits of keys"]),
        ({}, {"max_concurrent": 2}, ["max_concurrent of keys"]),
    ],
)
def test_what_each_worker_counts_alone_is_known(settings, terms, named) -> None:
    """Only what is in use is named."""
    _, key = make_key("someone", now=time.time(), **terms)
    assert counted_apart(Settings(**settings), [key]) == named


def test_it_is_refused_before_anything_starts(home, capsys) -> None:
    """The command ends with status 2."""
    assert run(["serve", "--workers", "2", "--approval", "queue"]) == 2
    assert "error: workers: with approval = queue" in capsys.readouterr().err
    assert run(["serve", "--workers", "0"]) == 2
    assert "error: workers: 0 is too small. Choose 1 or more." in capsys.readouterr().err


@pytest.mark.servers
def test_limits_that_are_multiplied_are_warned_about(signed_in, home: Path) -> None:
    """The warning comes at the start, and names the setting."""
    with running(*SERVE, "--rate-limit", "5/min", env=signed_in, cwd=home) as process:
        process.url()
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    assert "warning: workers = 2: each worker counts for itself" in process.stderr
    assert "2 times as much: rate_limit." in process.stderr
