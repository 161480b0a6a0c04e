"""Both SDKs over ``app.client()``: app and simulator in the test's own loop, without any socket."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from copilot_asgi import CopilotApp, Secret, Settings, Upstream
from copilot_asgi.in_process import in_process_transport
from copilot_asgi.simulator import Fault, Simulator

pytestmark = pytest.mark.anyio

HELLO = [{"role": "user", "content": "Hello"}]
ENDLESS = [{"role": "user", "content": "[sim chunks=9 size=4 hang=6]"}]
URL = "http://localhost"


class CountingApp(CopilotApp):
    """An app that knows how many calls are under way."""

    running = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.running += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.running -= 1


class Bench:
    """An app whose upstream is a simulator, and both SDKs over the app."""

    def __init__(self, app: CountingApp, simulator: Simulator, client: httpx.AsyncClient) -> None:
        self.app = app
        self.simulator = simulator
        self.openai = AsyncOpenAI(base_url=f"{URL}/v1", api_key="unused", http_client=client, max_retries=0)
        self.anthropic = AsyncAnthropic(base_url=URL, api_key="unused", http_client=client, max_retries=0)

    def is_idle(self) -> bool:
        """Whether neither the app nor its upstream has anything under way."""
        return self.simulator.open_streams == 0 and self.app.running == 0


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    simulator = Simulator()
    url = "http://127.0.0.1:1"
    settings = Settings(
        github_url=url,
        github_api_url=url,
        copilot_url=url,
        data_dir=tmp_path,
        github_token=Secret(simulator.sign_in()),
    )
    app = CountingApp(settings, upstream=Upstream(settings, transport=in_process_transport(simulator)))
    async with app, app.client() as client:
        yield Bench(app, simulator, client)
    assert simulator.violations == []


async def test_openai_chats(bench: Bench) -> None:
    """The OpenAI SDK gets its answer."""
    answer = await bench.openai.chat.completions.create(model="gpt-4.1", messages=HELLO)

    assert answer.choices[0].message.content == "You said: Hello"
    assert bench.is_idle()


async def test_openai_leaves_a_stream(bench: Bench) -> None:
    """Pieces arrive while the model is speaking; closing the stream ends the app and its upstream before it returns."""
    stream = await bench.openai.chat.completions.create(model="gpt-4.1", messages=ENDLESS, stream=True)
    text = ""
    while "0" not in text:
        text += (await anext(stream)).choices[0].delta.content or ""
    assert not bench.is_idle()
    await stream.close()

    assert bench.is_idle()
    assert len(bench.simulator.disconnects) == 1


async def test_anthropic_answers(bench: Bench) -> None:
    """The Anthropic SDK gets its answer."""
    answer = await bench.anthropic.messages.create(model="claude-sonnet-4.6", max_tokens=100, messages=HELLO)

    assert answer.content[0].text == "You said: Hello"
    assert bench.is_idle()


async def test_anthropic_leaves_a_stream(bench: Bench) -> None:
    """Pieces arrive while the model is speaking; leaving the block ends the app and its upstream before it returns."""
    create = bench.anthropic.messages.stream
    async with create(model="claude-sonnet-4.6", max_tokens=100, messages=ENDLESS) as stream:
        async for text in stream.text_stream:
            if "0" in text:
                break
        assert not bench.is_idle()

    assert bench.is_idle()
    assert len(bench.simulator.disconnects) == 1


async def test_a_cancelled_call_ends_the_app(bench: Bench) -> None:
    """Cancelling a call that waits for its answer ends the app and its upstream."""
    bench.simulator.enqueue(Fault(delay=600))

    with anyio.move_on_after(5) as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(_ask, bench)
            while bench.simulator.open_streams == 0:
                await anyio.sleep(0.001)
            group.cancel_scope.cancel()

    assert not scope.cancelled_caught
    assert bench.is_idle()
    assert len(bench.simulator.disconnects) == 1


async def _ask(bench: Bench) -> None:
    await bench.openai.chat.completions.create(model="gpt-4.1", messages=HELLO)
