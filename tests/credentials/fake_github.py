"""A GitHub driven by a table, and clocks that stand still until they are told not to."""

import json
from collections.abc import Sequence

import anyio
import msgspec

from copilot_asgi.credentials.accounts import Account
from copilot_asgi.secret import Secret

NOW = 1_795_000_000.0
GITHUB_TOKEN = "ghu_sentinelLOGIN0001"
COPILOT_TOKEN = "tid=sentinelCOPILOT;exp=1;sku=x:mac"


class Answer(msgspec.Struct, frozen=True):
    """A response, or an error in the place of one."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    error: Exception | None = None


class Call(msgspec.Struct, frozen=True):
    """What was asked."""

    method: str
    url: str
    headers: dict[bytes, bytes]
    content: bytes


class FakeGitHub:
    """Answers by path, in the order given; the last answer of a path is repeated. ``gate`` holds answers back."""

    def __init__(self, answers: dict[str, list[Answer]] | None = None) -> None:
        self.answers = answers or {}
        self.calls: list[Call] = []
        self.gate: anyio.Event | None = None

    async def __call__(
        self, method: str, url: str, *, headers: Sequence[tuple[bytes, bytes]], content: bytes = b""
    ) -> Answer:
        self.calls.append(Call(method, url, dict(headers), content))
        await anyio.lowlevel.checkpoint()
        if self.gate is not None:
            await self.gate.wait()
        path = "/" + url.split("/", 3)[3]
        answers = self.answers[path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer.error is not None:
            raise answer.error
        return answer

    def count(self, path: str) -> int:
        return sum(call.url.endswith(path) for call in self.calls)


class Clock:
    """Seconds that pass on command."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def json_answer(fields: object, *, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    return Answer(status, json.dumps(fields).encode(), headers)


def token_answer(token: str = COPILOT_TOKEN, **fields: object) -> Answer:
    return json_answer(
        {
            "token": token,
            "expires_at": NOW + 1800,
            "refresh_in": 1500,
            "sku": "monthly_subscriber",
            "endpoints": {"api": "https://api.individual.githubcopilot.com"},
            **fields,
        }
    )


def account(token: str = GITHUB_TOKEN, login: str = "octocat") -> Account:
    return Account(login=login, github_token=Secret(token))
