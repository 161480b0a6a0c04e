"""A short conversation with the endpoints over real TCP, as any client would have it: the demo's proof.

Rule: whatever is not as it should be raises; a demo that only looks good proves nothing.
"""

import sys
from typing import TypeVar

import httpx
import msgspec

from copilot_asgi.cli import terminal
from copilot_asgi.errors import CopilotASGIError
from copilot_asgi.wire.sse import EventParser

__all__ = ["converse"]

T = TypeVar("T")

MODEL = "gpt-5-mini"
EMBEDDING_MODEL = "text-embedding-3-small"
PATIENCE = 30.0  # seconds for each answer
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class _Function(msgspec.Struct):
    name: str
    arguments: str


class _ToolCall(msgspec.Struct):
    function: _Function


class _Message(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_ToolCall] = []


class _Choice(msgspec.Struct):
    delta: _Message = msgspec.field(default_factory=_Message)
    message: _Message = msgspec.field(default_factory=_Message)
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]


class _Embedding(msgspec.Struct):
    embedding: list[float]


class _Embeddings(msgspec.Struct):
    data: list[_Embedding]


class _Models(msgspec.Struct):
    data: list[msgspec.Raw]


async def converse(url: str) -> None:
    """Four calls, told on stdout. Raises ``CopilotASGIError`` for the first one that goes wrong."""
    try:
        async with httpx.AsyncClient(base_url=f"{url}/v1", timeout=PATIENCE, trust_env=False) as client:
            listed = _decoded(await client.get("/models"), _Models)
            terminal.say(f"models     {len(listed.data)}")
            await _stream(client)
            await _call_tool(client)
            await _embed(client)
    except httpx.HTTPError as error:
        raise CopilotASGIError(f"The demo's server did not answer properly: {error}") from error


async def _stream(client: httpx.AsyncClient) -> None:
    question = {"role": "user", "content": "Hello! Is anybody there?"}
    body = {"model": MODEL, "stream": True, "messages": [question]}
    terminal.say(f"you        {question['content']}")
    sys.stdout.write("model      ")
    text, parser, finished, done = "", EventParser(), False, False
    async with client.stream("POST", "/chat/completions", json=body) as response:
        _check(response, await _body_of_error(response))
        async for piece in response.aiter_bytes():
            for event in parser.feed(piece):
                if event.data == b"[DONE]":
                    done = True
                    continue
                for choice in _json(event.data, _Completion).choices:
                    finished = finished or choice.finish_reason == "stop"
                    text += choice.delta.content or ""
                    sys.stdout.write(terminal.plain(choice.delta.content or ""))
                    sys.stdout.flush()
    sys.stdout.write("\n")
    if not (text and finished and done):
        raise CopilotASGIError("The streamed answer has no end.")


async def _call_tool(client: httpx.AsyncClient) -> None:
    question = {"role": "user", "content": "Use get_weather with city=Paris"}
    body = {"model": MODEL, "messages": [question], "tools": [WEATHER], "tool_choice": "required"}
    answer = _decoded(await client.post("/chat/completions", json=body), _Completion)
    calls = [call.function for choice in answer.choices for call in choice.message.tool_calls]
    if not calls:
        raise CopilotASGIError("The model called no tool.")
    terminal.say(f"you        {question['content']}")
    terminal.say(f"tool call  {calls[0].name}({calls[0].arguments})")


async def _embed(client: httpx.AsyncClient) -> None:
    body = {"model": EMBEDDING_MODEL, "input": "Hello!"}
    vectors = _decoded(await client.post("/embeddings", json=body), _Embeddings).data
    if not vectors or not vectors[0].embedding:
        raise CopilotASGIError("The embedding is empty.")
    terminal.say(f"embedding  {len(vectors[0].embedding)} numbers")


async def _body_of_error(response: httpx.Response) -> bytes:
    return await response.aread() if response.status_code != 200 else b""


def _decoded(response: httpx.Response, kind: type[T]) -> T:
    _check(response, response.content)
    return _json(response.content, kind)


def _check(response: httpx.Response, body: bytes) -> None:
    if response.status_code != 200:
        raise CopilotASGIError(
            f"{response.request.url.path} answered with status {response.status_code}: "
            f"{body[:300].decode('utf-8', 'replace')}"
        )


def _json(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise CopilotASGIError(f"An answer has the wrong shape: {error}") from error
