"""The device flow over HTTP and time."""

import logging
from urllib.parse import parse_qs

import anyio
import pytest
from fake_github import Answer, Clock, FakeGitHub, json_answer

from copilot_asgi.credentials.device_flow import DeviceCode
from copilot_asgi.credentials.hosts import GitHubHosts
from copilot_asgi.credentials.identity import editor
from copilot_asgi.credentials.sign_in import run_device_flow
from copilot_asgi.errors import (
    DeviceCodeFailed,
    DeviceFlowDenied,
    ResponseTooLarge,
    UpstreamTimeout,
    UpstreamUnavailable,
)

pytestmark = pytest.mark.anyio

HOSTS = GitHubHosts("http://127.0.0.1:9", "http://127.0.0.1:9")
CODE_PATH, TOKEN_PATH = "/login/device/code", "/login/oauth/access_token"
CODE = json_answer(
    {
        "device_code": "sentinelDEVICE",
        "user_code": "ABCD-EFGH",
        "verification_uri": "http://127.0.0.1:9/login/device",
        "expires_in": 900,
        "interval": 5,
    }
)
PENDING = json_answer({"error": "authorization_pending"})
GRANTED = json_answer({"access_token": "ghu_sentinelGRANTED"})


class Desk:
    """A person who looks at the code, and a clock that runs while we wait."""

    def __init__(self, *polls: Answer, code: Answer = CODE) -> None:
        self.github = FakeGitHub({CODE_PATH: [code], TOKEN_PATH: list(polls)})
        self.clock = Clock(0.0)
        self.shown: list[DeviceCode] = []

    async def show(self, code: DeviceCode) -> None:
        await anyio.lowlevel.checkpoint()
        self.shown.append(code)

    async def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await anyio.lowlevel.checkpoint()

    async def sign_in(self) -> str:
        secret = await run_device_flow(self.github, editor(), HOSTS, show=self.show, sleep=self.sleep, clock=self.clock)
        return secret.reveal()


async def test_a_person_signs_in(caplog: pytest.LogCaptureFixture) -> None:
    """Forms go to the configured host under our own name; the code is shown once; nothing secret is logged."""
    caplog.set_level(logging.DEBUG)
    desk = Desk(PENDING, GRANTED)
    assert await desk.sign_in() == "ghu_sentinelGRANTED"
    assert [code.user_code for code in desk.shown] == ["ABCD-EFGH"]
    assert desk.clock.now == 10
    assert [call.url.rpartition("9")[2] for call in desk.github.calls] == [CODE_PATH, TOKEN_PATH, TOKEN_PATH]
    for call in desk.github.calls:
        assert call.method == "POST"
        assert call.headers[b"accept"] == b"application/json"
        assert call.headers[b"content-type"] == b"application/x-www-form-urlencoded"
        assert call.headers[b"user-agent"].startswith(b"copilot-asgi/")
    assert parse_qs(desk.github.calls[1].content.decode())["device_code"] == ["sentinelDEVICE"]
    assert "sentinel" not in caplog.text


@pytest.mark.parametrize(
    "error", [UpstreamTimeout("late"), UpstreamUnavailable("reset", sent=True), ResponseTooLarge("big")]
)
async def test_a_lost_poll_costs_only_time(error: Exception) -> None:
    """Network trouble while polling is waited out."""
    desk = Desk(Answer(error=error), Answer(error=error), GRANTED)
    assert await desk.sign_in() == "ghu_sentinelGRANTED"
    assert desk.clock.now == 5 + 10 + 20


async def test_errors_come_out() -> None:
    """A refusal by the person, and a network that is down from the beginning, are told."""
    with pytest.raises(DeviceFlowDenied):
        await Desk(json_answer({"error": "access_denied"})).sign_in()
    with pytest.raises(DeviceCodeFailed):
        await Desk(code=Answer(error=UpstreamUnavailable("down", sent=False))).sign_in()


@pytest.mark.parametrize("strike", range(1, 8))
async def test_it_can_be_cancelled_at_every_wait(strike: int) -> None:
    """Cancellation at any await ends the sign-in there and then."""
    desk = Desk(PENDING, PENDING, GRANTED)
    steps = 0

    async def step() -> None:
        nonlocal steps
        steps += 1
        if steps == strike:
            scope.cancel()
        await anyio.lowlevel.checkpoint()

    async def show(code: DeviceCode) -> None:
        await step()

    async def sleep(seconds: float) -> None:
        await step()

    async def fetch(method: str, url: str, *, headers: object, content: bytes = b"") -> Answer:
        await step()
        return await desk.github(method, url, headers=(), content=content)

    with anyio.CancelScope() as scope:
        await run_device_flow(fetch, editor(), HOSTS, show=show, sleep=sleep, clock=desk.clock)
    assert scope.cancelled_caught
    assert steps == strike
