"""What real clients were seen to send, over the whole path: Copilot takes it, and the answers are the SDKs' own."""

import json
from pathlib import Path
from typing import Any

import anthropic.types
import openai.types.chat
import openai.types.responses
import pytest
from pydantic import TypeAdapter

from copilot_asgi.wire.sse import EventParser
from tests.stand import Stand, stand

pytestmark = pytest.mark.anyio

FILES = sorted((Path(__file__).parent / "translate" / "captures").glob("*.jsonl"))
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
# For each client dialect: a model that speaks it, and models that force the two translations.
MODELS = {
    "chat": ("gpt-4.1", "gpt-5.4", "claude-sonnet-4.6"),
    "messages": ("claude-sonnet-4.6", "gpt-5.4", "gpt-4.1"),
    "responses": ("gpt-5.4", "claude-sonnet-4.6", "gpt-4.1"),
}
WHOLE: dict[str, TypeAdapter[Any]] = {
    "chat": TypeAdapter(openai.types.chat.ChatCompletion),
    "messages": TypeAdapter(anthropic.types.Message),
    "responses": TypeAdapter(openai.types.responses.Response),
}
EVENTS: dict[str, TypeAdapter[Any]] = {
    "chat": TypeAdapter(openai.types.chat.ChatCompletionChunk),
    "messages": TypeAdapter(anthropic.types.RawMessageStreamEvent),
    "responses": TypeAdapter(openai.types.responses.ResponseStreamEvent),
}


def captured(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def sealed_elsewhere(capture: dict[str, Any]) -> bool:
    """Whether a request replays reasoning that the service it was captured from had sealed."""
    text = json.dumps(capture["body"])
    return '"signature": "' in text or '"encrypted_content": "' in text


async def replay(it: Stand, capture: dict[str, Any], model: str) -> None:
    """Send one request with another model's name and judge what comes back."""
    dialect = capture["dialect"]
    response = await it.client.post(PATHS[dialect], json={**capture["body"], "model": model})
    if sealed_elsewhere(capture) and model == MODELS[dialect][0]:
        # Another service sealed that reasoning: only upstream can tell, and the client gets its word for it.
        assert response.status_code == 400
        assert "signature" in response.text or "Encrypted content" in response.text
        it.simulator.reset()
        return
    assert response.status_code == 200, f"{capture['name']} on {model}: {response.text[:500]}"
    if not response.headers["content-type"].startswith("text/event-stream"):
        WHOLE[dialect].validate_json(response.content)
        return
    for event in EventParser().feed(response.content):
        if event.event != "ping" and event.data != b"[DONE]":
            EVENTS[dialect].validate_json(event.data)


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
async def test_every_captured_request_is_served(file: Path) -> None:
    """Natively and translated both ways, without one violation."""
    async with stand(max_body=64 * 1024 * 1024) as it:
        for capture in captured(file):
            for model in MODELS[capture["dialect"]]:
                it.simulator.reset()
                await replay(it, capture, model)
                assert it.simulator.violations == [], f"{capture['name']} on {model}"
