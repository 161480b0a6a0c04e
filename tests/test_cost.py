"""The hot path stays as short as it is: what a request and a chunk cost, counted in function calls, not in time.

Calls are counted as the interpreter makes them, those into C among them, so that the figures are the same on every
machine. A limit is what was counted when it was written and ``MARGIN`` more; who needs to go over it has to say why,
by raising it.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pytest

from copilot_asgi import CopilotApp, Secret, Settings, Upstream

MARGIN = 1.15

# Calls a plain request, by the way it takes, and a chunk of a stream; counted with CPython 3.11.
REQUEST = {"/v1/chat/completions": 463, "/v1/messages": 814}
CHUNK = {"/v1/chat/completions": 38, "/v1/messages": 57}

HOST = "http://127.0.0.1:9"
MODELS = {
    "data": [
        {
            "id": "gpt-4o",
            "capabilities": {"type": "chat", "supports": {"streaming": True}},
            "supported_endpoints": ["/chat/completions"],
        }
    ]
}
TOKEN = {"token": "tid=1;exp=9999999999", "expires_at": int(time.time()) + 1800, "refresh_in": 1500}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello " * 150}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 150, "total_tokens": 159},
}
LAST = {**ANSWER, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
ANSWERS = {
    b"/chat/completions": json.dumps(ANSWER).encode(),
    b"/models": json.dumps(MODELS).encode(),
    b"/copilot_internal/v2/token": json.dumps(TOKEN).encode(),
}


def event(data: object) -> bytes:
    return b"data: %b\n\n" % json.dumps(data, separators=(",", ":")).encode()


def chunks(count: int) -> list[bytes]:
    """A stream of Copilot's: ``count`` chunks of text, and an end."""
    text = {**LAST, "choices": [{"index": 0, "delta": {"content": "hello", "role": "assistant"}}]}
    del text["usage"]
    return [event(text)] * count + [event(LAST) + b"data: [DONE]\n\n"]


class Answer:
    """A response of the engine's, whose pieces are all there."""

    status = 200

    def __init__(self, kind: bytes, pieces: Sequence[bytes]) -> None:
        self.headers = [(b"content-type", kind), (b"x-request-id", b"1")]
        self._pieces = iter(pieces)

    async def receive(self) -> bytes:
        return next(self._pieces, b"")

    async def aclose(self) -> None:
        pass


class Engine(httpx.AsyncBaseTransport):
    """Takes requests as bytes, as ``h1`` does, and answers from memory; a stream has ``length`` chunks of text."""

    length = 0

    async def exchange(self, origin: Any, head: bytes, body: bytes, **deadlines: float) -> Answer:
        if b'"stream":true' in body:
            return Answer(b"text/event-stream", chunks(self.length))
        return Answer(b"application/json", [ANSWERS[head.split()[1]]])


class Bench:
    """The app as ``serve`` runs it: a key, a rate limit and the ledger."""

    def __init__(self, directory: Path) -> None:
        self.engine = Engine()
        settings = Settings(
            github_api_url=HOST,
            copilot_url=HOST,
            github_token=Secret("ghu_0123456789"),
            api_keys=(Secret("key"),),
            rate_limit=("1000000/min",),
            ledger=True,
            data_dir=directory,
        )
        self.app = CopilotApp(settings, upstream=Upstream(settings, transport=self.engine))

    async def ask(self, path: str, *, stream: bool) -> None:
        """One request, answered whole."""
        asked = {"model": "gpt-4o", "stream": stream, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        body = json.dumps(asked, separators=(",", ":")).encode()
        headers = {"host": "localhost", "content-type": "application/json", "x-api-key": "key", "accept": "*/*"}
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
        }
        messages = [{"type": "http.request", "body": body}]
        statuses: list[int] = []

        async def receive() -> dict[str, Any]:
            if not messages:
                await asyncio.Event().wait()
            return messages.pop()

        async def send(message: dict[str, Any]) -> None:
            if "status" in message:
                statuses.append(message["status"])

        await self.app(scope, receive, send)
        assert statuses == [200]

    async def calls(self, path: str, *, length: int = 0) -> int:
        """How many calls one request makes, the least of some: now and then something else runs in between."""
        self.engine.length = length
        counts = []
        for _ in range(7):
            counter = Counter()
            sys.setprofile(counter)
            try:
                await self.ask(path, stream=bool(length))
            finally:
                sys.setprofile(None)
            counts.append(counter.calls)
        return min(counts)


class Counter:
    """A profile function that counts."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, frame: FrameType, event: str, arg: object) -> None:
        if event in {"call", "c_call"}:
            self.calls += 1


def counted(directory: Path, count: Callable[[Bench], Any]) -> Any:
    async def run() -> Any:
        bench = Bench(directory)
        async with bench.app:
            for path in REQUEST:
                await bench.ask(path, stream=False)  # what the first request opens
            return await count(bench)

    return asyncio.run(run())


@pytest.mark.parametrize("path", list(REQUEST))
def test_the_calls_of_a_request(path: str, tmp_path: Path) -> None:
    """A plain answer takes no more calls than it did."""
    calls = counted(tmp_path, lambda bench: bench.calls(path))
    print(f"{path}: {calls} calls a request")
    assert REQUEST[path] / 2 < calls < REQUEST[path] * MARGIN


@pytest.mark.parametrize("path", list(REQUEST))
@pytest.mark.parametrize("length", [0, 10])
def test_nothing_is_left_of_a_request(path: str, length: int, tmp_path: Path) -> None:
    """No cycle of references waits for the garbage collector, with a prompt in it."""

    async def count(bench: Bench) -> int:
        bench.engine.length = length
        await bench.ask(path, stream=bool(length))
        gc.collect()
        gc.disable()
        try:
            for _ in range(100):
                await bench.ask(path, stream=bool(length))
            return gc.collect()
        finally:
            gc.enable()

    assert counted(tmp_path, count) < 100


@pytest.mark.parametrize("path", list(CHUNK))
def test_the_calls_of_a_chunk(path: str, tmp_path: Path) -> None:
    """A chunk takes no more calls than it did, the thousandth as many as the tenth."""

    async def count(bench: Bench) -> list[int]:
        return [await bench.calls(path, length=length) for length in (10, 110, 1010)]

    short, middle, long = counted(tmp_path, count)
    early, late = (middle - short) / 100, (long - middle) / 900
    print(f"{path}: {early:.1f} calls a chunk, later {late:.1f}")
    assert CHUNK[path] / 2 < early < CHUNK[path] * MARGIN
    assert late < early * 1.02 + 0.5
