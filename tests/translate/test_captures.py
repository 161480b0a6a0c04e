"""What real clients send, for models that speak another dialect: the simulated service finds nothing wrong with it."""

import json
from pathlib import Path

import dialects
import httpx
import pytest

from copilot_asgi.errors import Refused
from copilot_asgi.in_process import in_process_transport
from copilot_asgi.simulator import Simulator
from copilot_asgi.wire.dialect import UPSTREAM_PATHS, Dialect
from copilot_asgi.wire.models import Model, parse_catalog
from copilot_asgi.wire.shallow import read_object
from copilot_asgi.wire.turn import has_image, last_turn_is_user

pytestmark = pytest.mark.anyio

FILES = sorted((Path(__file__).parent / "captures").glob("*.jsonl"))
CAPTURES = {path.stem: [json.loads(line) for line in path.read_text().splitlines()] for path in FILES}
TARGETS = [
    ("chat", "gpt-4.1"),
    ("chat", "gpt-5-mini"),
    ("chat", "claude-haiku-4.5"),
    ("chat", "gemini-3.1-pro-preview"),
    ("messages", "claude-sonnet-4.6"),
    ("messages", "claude-haiku-4.5"),
    ("responses", "gpt-5.4"),
    ("responses", "gpt-6-sol"),
]
API = "https://api.individual.githubcopilot.com"
EDITOR = {
    "editor-version": "vscode/1.110.1",
    "editor-plugin-version": "copilot-chat/0.38.2",
    "user-agent": "GitHubCopilotChat/0.38.2",
    "copilot-integration-id": "vscode-chat",
    "openai-intent": "conversation-panel",
    "x-github-api-version": "2025-05-01",
    "anthropic-version": "2023-06-01",
}


class Service:
    """The simulated service, signed in."""

    def __init__(self) -> None:
        self.simulator = Simulator()
        transport = in_process_transport(self.simulator, raise_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url=API)
        self._models: dict[str, Model] = {}

    async def open(self) -> None:
        headers = {"authorization": f"token {self.simulator.sign_in()}", "user-agent": "octo-client/1.0"}
        token = await self._client.get("https://api.github.com/copilot_internal/v2/token", headers=headers)
        self._client.headers = {**EDITOR, "authorization": f"Bearer {token.json()['token']}"}
        models = parse_catalog((await self._client.get("/models", headers={"x-initiator": "agent"})).content)
        self._models = {model.id: model for model in models}

    async def judged(self, capture: dict, upstream: str, model_id: str) -> object:
        """What the service says to the translated request, or the refusal."""
        try:
            conversation = dialects.parsed(capture["dialect"], capture["body"])
            body = dialects.rendered(upstream, conversation, self._models[model_id]).body
        except Refused as refusal:
            return refusal
        fields = read_object(body)
        headers = {"x-initiator": "user" if last_turn_is_user(Dialect(upstream), fields) else "agent"}
        headers |= {"copilot-vision-request": "true"} if has_image(Dialect(upstream), fields) else {}
        path = UPSTREAM_PATHS[Dialect(upstream)]
        headers["content-type"] = "application/json"
        answer = await self._client.post(path, content=body, headers=headers)
        text = await answer.aread()
        return answer.status_code, text if answer.status_code != 200 else b"", self.simulator.violations


@pytest.mark.parametrize("client", CAPTURES)
@pytest.mark.parametrize(("upstream", "model_id"), TARGETS)
async def test_a_captured_request_is_taken(client: str, upstream: str, model_id: str) -> None:
    """Translated it breaks no rule of the service and gets its answer; only what no dialect can say is refused."""
    service = Service()
    await service.open()
    for capture in CAPTURES[client]:
        if capture["dialect"] != upstream:
            assert await service.judged(capture, upstream, model_id) == (200, b"", []), capture["name"]
