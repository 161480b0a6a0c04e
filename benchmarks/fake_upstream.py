"""Just enough of GitHub and Copilot to measure against: a token, a catalog, chat answers whole and streamed.

Run it:  python benchmarks/fake_upstream.py PORT
The prompt says what a stream looks like (``scenarios.shape``), so that this passes through any proxy. Each chunk is a
write of its own, and its text holds its number and the time it was sent at, on the clock that all processes share.
"""

import asyncio
import re
import sys
import time
from importlib.util import find_spec
from typing import cast

import anyio
import httptools
import msgspec

SHAPE = re.compile(rb"bench:chunks=(\d+),pause=(\d+);")
STREAM = re.compile(rb'"stream": ?true')
SAFE = b'{"filtered":false,"severity":"safe"}'
COMMON = (
    b'"created":1758000000,"id":"chatcmpl-CHnZqW0rTfE4pYxMaVbKd","model":"gpt-4o-2024-11-20",'
    b'"object":"chat.completion.chunk","system_fingerprint":"fp_ee1d74bde0"'
)
OPENING = (
    b'data: {"choices":[{"content_filter_results":{},"delta":{"content":"","refusal":null,"role":"assistant"},'
    b'"finish_reason":null,"index":0,"logprobs":null}],' + COMMON + b',"usage":null}\n\n'
)
# What a usual event of an answer looks like; the text is to be filled in.
DELTA = (
    b'data: {"choices":[{"content_filter_results":{"hate":' + SAFE + b',"self_harm":' + SAFE + b',"sexual":' + SAFE +
    b',"violence":' + SAFE + b'},"delta":{"content":"%b"},"finish_reason":null,"index":0,"logprobs":null}],' + COMMON +
    b',"usage":null}\n\n'
)  # fmt: skip
CHUNK = DELTA.replace(b"%b", b" @%04x:%016x")
LAST = (
    b'data: {"choices":[{"content_filter_results":{},"delta":{},"finish_reason":"stop","index":0,"logprobs":null}],'
    + COMMON + b',"usage":null}\n\ndata: {"choices":[],' + COMMON + b',"usage":{"prompt_tokens":24,'
    b'"completion_tokens":81,"total_tokens":105}}\n\ndata: [DONE]\n\n'
)  # fmt: skip
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nx-request-id: bench\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
HEAD = b"HTTP/1.1 %d OK\r\ncontent-type: application/json\r\nx-request-id: bench\r\ncontent-length: %d\r\n\r\n"
SENTENCE = "For a streamed answer it hands on each piece as soon as it arrives, and keeps no more than it needs. "
MODEL = {
    "id": "gpt-4o",
    "name": "GPT-4o",
    "object": "model",
    "vendor": "Azure OpenAI",
    "version": "gpt-4o-2024-11-20",
    "model_picker_enabled": True,
    "capabilities": {
        "family": "gpt-4o",
        "type": "chat",
        "tokenizer": "o200k_base",
        "limits": {"max_context_window_tokens": 128_000, "max_output_tokens": 4096, "max_prompt_tokens": 64_000},
        "supports": {"streaming": True, "tool_calls": True, "vision": True},
    },
    "supported_endpoints": ["/chat/completions"],
}
COMPLETION = {
    "id": "chatcmpl-CHnZqW0rTfE4pYxMaVbKd",
    "object": "chat.completion",
    "created": 1758000000,
    "model": "gpt-4o-2024-11-20",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": SENTENCE * 7}}],
    "usage": {"prompt_tokens": 24, "completion_tokens": 81, "total_tokens": 105},
}


class Connection(asyncio.Protocol):
    """One connection, on which one request after another is answered."""

    def __init__(self, answers: dict[bytes, bytes]) -> None:
        self._answers = answers
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._timer: asyncio.Handle | None = None
        self._begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the shape of a protocol
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        path, body = self._url.partition(b"?")[0], b"".join(self._body)
        self._begin()
        if path.endswith(b"/chat/completions") and STREAM.search(body):
            self._stream(body)
        else:
            found = next((answer for end, answer in self._answers.items() if path.endswith(end)), None)
            answer = found or b'{"error":{"message":"not found"}}'
            self._transport.write(HEAD % (200 if found else 404, len(answer)) + answer)

    def _begin(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body: list[bytes] = []

    def _stream(self, body: bytes) -> None:
        shape = SHAPE.search(body)
        chunks, pause = map(int, shape.groups()) if shape else (20, 0)
        self._transport.write(STREAM_HEAD + framed(OPENING))
        self._step(0, chunks, pause / 1e6, self._loop.time())

    def _step(self, number: int, chunks: int, pause: float, due: float) -> None:
        """Write the chunk that is due, and arrange for the next one; a pause that came late is not made longer."""
        if number == chunks:
            self._transport.write(framed(LAST) + b"0\r\n\r\n")
            return
        self._transport.write(framed(CHUNK % (number & 0xFFFF, time.monotonic_ns())))
        due += pause
        following = (number + 1, chunks, pause, due)
        # Also without a pause the loop turns between two chunks, or they would leave as one.
        self._timer = (
            self._loop.call_at(due, self._step, *following) if pause else self._loop.call_soon(self._step, *following)
        )


def framed(piece: bytes) -> bytes:
    """A piece of a body in chunked coding."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def answers(base: str) -> dict[bytes, bytes]:
    """The JSON answers, by how their paths end."""
    expires = int(time.time()) + 86_400
    token = {
        "token": f"tid=bench;exp={expires};sku=bench",
        "expires_at": expires,
        "refresh_in": 80_000,
        "chat_enabled": True,
        "sku": "bench",
        "endpoints": {"api": base},
    }
    bodies = {
        b"/copilot_internal/v2/token": token,
        b"/copilot_internal/user": {"login": "bench", "copilot_plan": "individual", "endpoints": {"api": base}},
        b"/user": {"login": "bench", "id": 1},
        b"/models": {"object": "list", "data": [MODEL]},
        b"/chat/completions": COMPLETION,
    }
    return {path: msgspec.json.encode(body) for path, body in bodies.items()}


async def serve(port: int) -> None:
    """Listen until the process is ended."""
    prepared = answers(f"http://127.0.0.1:{port}")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(prepared), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    anyio.run(serve, int(sys.argv[1]), backend_options={"use_uvloop": find_spec("uvloop") is not None})
