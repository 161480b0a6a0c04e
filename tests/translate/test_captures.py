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
from copilot_asgi.wire.turn import turn_facts

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
        turn = turn_facts(Dialect(upstream), fields)
        headers = {"x-initiator": "user" if turn.by_user else "agent"}
        headers |= {"copilot-vision-request": "true"} if turn.has_image else {}
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


@pytest.mark.parametrize("client", CAPTURES)
@pytest.mark.parametrize("upstream", dialects.NAMES)
def test_no_text_of_a_captured_request_is_lost(client: str, upstream: str) -> None:
    """Everything that was said, by whomever, and every tool's description stands in the translated request too."""
    for capture in CAPTURES[client]:
        if capture["dialect"] != upstream:
            body = dialects.request(capture["dialect"], upstream, capture["body"])
            written = "\n".join(strings(body))
            assert [text for text in texts(said(capture["body"])) if text not in written] == [], capture["name"]


def said(body: dict) -> list[object]:
    """The parts of a request that hold what was said, without thinking; and the functions."""
    turns = [turn for turn in [*body.get("messages", []), *body.get("input", [])] if isinstance(turn, dict)]
    spoken = [turn.get("content", turn.get("output", "")) for turn in turns if turn.get("type") != "reasoning"]
    # A search for tools that are not there yet has no counterpart, and is reported.
    tools = [tool.get("function", tool) for tool in body.get("tools", []) if tool.get("type") != "tool_search"]
    described = [tool.get("description") for tool in tools if "parameters" in tool or "input_schema" in tool]
    return [spoken, described, body.get("system"), body.get("instructions")]


def texts(value: object) -> list[str]:
    """All prose in it, by where prose stands."""
    match value:
        case str():
            return [value.strip()]
        case {"type": "thinking" | "image" | "image_url" | "input_image"}:
            return []
        case {"type": _, "text": str(text)}:
            return [text.strip()]
        case {"type": "tool_result", "content": content}:
            return texts(content)
        case dict():
            return [each for key, inner in value.items() if key not in SKIPPED for each in texts(inner)]
        case list():
            return [each for inner in value for each in texts(inner)]
    return []


SKIPPED = {"type", "id", "cache_control", "tool_use_id", "input", "signature", "data"}


def strings(value: object) -> list[str]:
    """Every text, wherever it stands."""
    match value:
        case str():
            return [value]
        case dict():
            return [each for inner in value.values() for each in strings(inner)]
        case list():
            return [each for inner in value for each in strings(inner)]
    return []
