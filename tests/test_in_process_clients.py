"""The SDKs stream from an app in the same process, and closing a stream early ends the app at once."""

import gc
import json
import threading
from typing import Any

import anthropic
import anyio
import httpx
import httpx2
import openai
import pytest

from copilot_asgi.in_process import in_process_transport, sync_in_process_transport

pytestmark = pytest.mark.anyio

LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the SDKs leave generators open, which trio minds


def sse(event: dict[str, Any]) -> bytes:
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()


def chat_chunk(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return sse({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})


def messages_delta(text: str) -> bytes:
    return sse({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})


MESSAGE = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None}
OPENING = sse(
    {"type": "message_start", "message": {**MESSAGE, "usage": {"input_tokens": 1, "output_tokens": 0}}}
) + sse({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
CLOSING = sse({"type": "content_block_stop", "index": 0}) + sse({"type": "message_stop"})
SCRIPTS = {
    "/v1/chat/completions": [chat_chunk("one"), chat_chunk("two"), b"data: [DONE]\n\n"],
    "/v1/messages": [OPENING, messages_delta("one"), messages_delta("two"), CLOSING],
}


class App:
    """Sends the script of its path, with a long pause in the middle when ``slow``."""

    def __init__(self, *, slow: bool = False) -> None:
        self.slow = slow
        self.ended = 0
        self.threads: set[str] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.threads.add(threading.current_thread().name)
        while (await receive())["more_body"]:
            pass
        headers = [(b"content-type", b"text/event-stream")]
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            *first, last = SCRIPTS[scope["path"]]
            for piece in first:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            if self.slow:
                await anyio.sleep_forever()
            await send({"type": "http.response.body", "body": last})
        finally:
            self.ended += 1


CHAT: Any = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
MESSAGES: Any = {**CHAT, "max_tokens": 10}


@ASYNCIO
@LIBRARIES
@pytest.mark.parametrize("slow", [False, True])
async def test_openai(library, slow):
    """The OpenAI client streams with either library; leaving after the first chunk ends the app."""
    app = App(slow=slow)
    http = library.AsyncClient(transport=in_process_transport(app, library=library.__name__))
    texts: list[str | None] = []
    async with openai.AsyncOpenAI(api_key="key", base_url="http://app.test/v1", http_client=http) as client:
        with anyio.fail_after(2):
            async with await client.chat.completions.create(**CHAT) as stream:
                async for chunk in stream:
                    texts.append(chunk.choices[0].delta.content)
                    if slow and len(texts) == 2:
                        await stream.close()
                        assert app.ended == 1
                        break
    assert texts == ["one", "two"]
    assert app.ended == 1


@ASYNCIO
@pytest.mark.parametrize("slow", [False, True])
async def test_anthropic(slow):
    """The Anthropic client streams; leaving in the middle ends the app."""
    app = App(slow=slow)
    http = httpx2.AsyncClient(transport=in_process_transport(app, library="httpx2"))
    texts: list[str] = []
    async with anthropic.AsyncAnthropic(api_key="key", base_url="http://app.test", http_client=http) as client:
        with anyio.fail_after(2):
            async with await client.messages.create(**MESSAGES) as stream:
                async for event in stream:
                    if event.type == "content_block_delta":
                        texts.append(event.delta.text)
                    if slow and len(texts) == 2:
                        await stream.close()
                        assert app.ended == 1
                        break
    assert texts == ["one", "two"]
    assert app.ended == 1


@LIBRARIES
@pytest.mark.parametrize("slow", [False, True])
def test_openai_without_a_loop(library, slow):
    """The synchronous OpenAI client streams too, from a loop in one other thread, which ends with the client."""
    app = App(slow=slow)
    http = library.Client(transport=sync_in_process_transport(app, library=library.__name__))
    texts: list[str | None] = []
    with openai.OpenAI(api_key="key", base_url="http://app.test/v1", http_client=http) as client:
        for _ in range(2):
            with client.chat.completions.create(**CHAT) as stream:
                for chunk in stream:
                    texts.append(chunk.choices[0].delta.content)
                    if slow and len(texts) % 2 == 0:
                        break
    assert texts == ["one", "two"] * 2
    assert app.ended == 2
    [thread] = app.threads
    assert thread not in {thread.name for thread in threading.enumerate()}


def test_anthropic_without_a_loop():
    """The synchronous Anthropic client streams too."""
    app = App()
    http = httpx2.Client(transport=sync_in_process_transport(app, library="httpx2"))
    client = anthropic.Anthropic(api_key="key", base_url="http://app.test", http_client=http)
    hello: Any = {"role": "user", "content": "hi"}
    with client, client.messages.stream(model="m", max_tokens=10, messages=[hello]) as stream:
        assert "".join(stream.text_stream) == "onetwo"
    assert app.ended == 1


def test_errors_without_a_loop():
    """What the app raises reaches a synchronous client as well, and a body in pieces reaches the app."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        bodies.append((await receive())["body"])
        bodies.append((await receive())["body"])
        raise ValueError("mine")

    bodies: list[bytes] = []
    with httpx.Client(transport=sync_in_process_transport(app)) as client, pytest.raises(ValueError, match="mine"):
        client.post("http://app.test/", content=iter([b"one", b"two"]))
    assert bodies == [b"one", b"two"]


def test_a_client_that_nobody_closes():
    """A synchronous client that is dropped takes its thread with it."""
    client = httpx.Client(transport=sync_in_process_transport(App()))
    assert client.post("http://app.test/v1/messages").status_code == 200
    before = threading.active_count()
    del client
    gc.collect()
    assert threading.active_count() < before
