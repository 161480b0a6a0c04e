"""A small ASGI client for the simulator's tests: whole answers, streams, and leaving in the middle."""

from collections.abc import Callable, Mapping
from typing import Any

import anyio
import msgspec

from copilot_asgi.simulator import ConnectionDropped, Simulator

EDITOR = {
    "editor-version": "vscode/1.110.1",
    "editor-plugin-version": "copilot-chat/0.38.2",
    "user-agent": "GitHubCopilotChat/0.38.2",
    "copilot-integration-id": "vscode-chat",
    "openai-intent": "conversation-panel",
    "x-github-api-version": "2025-05-01",
    "x-initiator": "user",
}
AUTH = {"user-agent": "octo-client/1.0", "accept": "application/json"}
CLIENT_ID = "Iv1.b507a08c87ecfe98"
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
PNG_BYTES = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PNG = f"data:image/png;base64,{PNG_BYTES}"


class Response:
    """A response as far as it came; ``messages`` are the pieces of body as they were sent."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.messages: list[bytes] = []
        self.complete = False
        self.dropped = False

    @property
    def body(self) -> bytes:
        return b"".join(self.messages)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        return self.json["error"]["code"]

    @property
    def events(self) -> list[Any]:
        """The ``data:`` of each event, decoded; ``[DONE]`` as a string; what is not JSON as text."""
        blocks = self.text.replace("\r\n", "\n").split("\n\n")
        return [_data(line[6:]) for block in blocks for line in block.split("\n") if line.startswith("data: ")]

    @property
    def names(self) -> list[str]:
        """The ``event:`` names."""
        return [line[7:] for line in self.text.split("\n") if line.startswith("event: ")]


def _data(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


class Clock:
    """A clock that stands still until told; its ``sleep`` moves it and comes back at once."""

    def __init__(self, now: float = 1_795_000_000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await anyio.lowlevel.checkpoint()


class Client:
    """Talks to one simulator; ``leave_after`` pieces of body, the client is gone."""

    def __init__(self, simulator: Simulator, *, host: str = "api.individual.githubcopilot.com") -> None:
        self.simulator = simulator
        self.host = host

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        host: str | None = None,
        scheme: str = "https",
        leave_after: int | None = None,
    ) -> Response:
        body = content if content is not None else b"" if json is None else msgspec.json.encode(json)
        given = {"host": host or self.host, **AUTH, **(headers or {})}
        if json is not None:
            given.setdefault("content-type", "application/json")
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "scheme": scheme,
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        }
        response = Response()
        gone = anyio.Event()
        if leave_after == 0:
            gone.set()
        sent = [False]

        async def receive() -> dict[str, Any]:
            if not sent[0]:
                sent[0] = True
                return {"type": "http.request", "body": body, "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                response.status = message["status"]
                response.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                if message["body"]:
                    response.messages.append(message["body"])
                response.complete = not message["more_body"]
            if response.complete or (leave_after is not None and len(response.messages) >= leave_after):
                gone.set()

        try:
            await self.simulator(scope, receive, send)
        except ConnectionDropped:
            response.dropped = True
        return response

    async def get(self, path: str, **more: Any) -> Response:
        return await self.request("GET", path, **more)

    async def post(self, path: str, json: object = None, **more: Any) -> Response:
        return await self.request("POST", path, json=json, **more)

    async def exchange(self, github_token: str | None = None) -> str:
        """A Copilot token for a signed-in account."""
        token = github_token or self.simulator.sign_in()
        answer = await self.get(
            "/copilot_internal/v2/token", headers={"authorization": f"token {token}"}, host="api.github.com"
        )
        return answer.json["token"]

    async def call(self, path: str, body: object, *, token: str | None = None, **headers: str) -> Response:
        """A model call as an editor makes it."""
        token = token or await self.exchange()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        leave_after = int(named.pop("leave-after", "-1"))
        given = {**EDITOR, "authorization": f"Bearer {token}", **named}
        return await self.post(
            path,
            body,
            headers={name: value for name, value in given.items() if value},
            leave_after=None if leave_after < 0 else leave_after,
        )

    async def chat(self, text: str = "hello", *, model: str = "gpt-4.1", **body: object) -> Response:
        extra = {"copilot_vision_request": "true"} if body.pop("vision", False) else {}
        messages = body.pop("messages", [{"role": "user", "content": text}])
        return await self.call("/chat/completions", {"model": model, "messages": messages, **body}, **extra)

    async def responses(self, said: object = "hello", *, model: str = "gpt-5.4", **body: object) -> Response:
        return await self.call("/responses", {"model": model, "input": said, **body})

    async def messages(
        self, text: str = "hello", *, model: str = "claude-sonnet-4.6", beta: str = "", **body: object
    ) -> Response:
        messages = body.pop("messages", [{"role": "user", "content": text}])
        fields = {"model": model, "max_tokens": 1000, "messages": messages, **body}
        return await self.call("/v1/messages", {k: v for k, v in fields.items() if v is not None}, anthropic_beta=beta)


def rules(simulator: Simulator) -> list[str]:
    return [violation.rule for violation in simulator.violations]


def tool(name: str, **properties: Any) -> dict[str, Any]:
    """A function in chat's form; every property is required."""
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def messages_tool(name: str, **properties: Any) -> dict[str, Any]:
    return {"name": name, "input_schema": {"type": "object", "properties": properties, "required": list(properties)}}


def function_tool(name: str, **properties: Any) -> dict[str, Any]:
    return {"type": "function", **tool(name, **properties)["function"]}


Make = Callable[..., Client]
