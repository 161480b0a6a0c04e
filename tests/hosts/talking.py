"""A client that reads what is there as soon as it is there, and leaves when it is told to.

Rule: sockets and nothing clever; what it reports is what came over TCP.
"""

import http.client
import json
import time
from types import TracebackType
from typing import Any, Self

PATIENCE = 20.0
JSON = {"content-type": "application/json"}


class Answer:
    """A whole response."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Call:
    """A request that was sent; its response is read piece by piece, or never."""

    def __init__(self, url: str, path: str, body: object = None, *, method: str = "", **headers: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE)
        self._response: http.client.HTTPResponse | None = None
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body).encode()
        self._connection.request(method or ("GET" if body is None else "POST"), path, data, {**JSON, **named})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    @property
    def response(self) -> http.client.HTTPResponse:
        """The response, once its head is there."""
        if self._response is None:
            self._response = self._connection.getresponse()
        return self._response

    def event(self) -> str:
        """The data of the next event of the stream; empty at its end."""
        while line := self.response.readline():
            if line.startswith(b"data: "):
                return line.removeprefix(b"data: ").decode().strip()
        return ""

    def text(self) -> str:
        """The next piece of text of a chat stream; empty when there is none before ``[DONE]``."""
        while (data := self.event()) not in {"", "[DONE]"}:
            choices = json.loads(data)["choices"]
            if choices and choices[0]["delta"].get("content"):
                content: str = choices[0]["delta"]["content"]
                return content
        return ""

    def leave(self) -> float:
        """Close the connection; when that was, in unix seconds."""
        left_at = time.time()
        if self._response is not None:
            self._response.close()
        self._connection.close()
        return left_at


def ask(url: str, path: str, body: object = None, *, method: str = "", **headers: str) -> Answer:
    """One request and its whole response."""
    with Call(url, path, body, method=method, **headers) as call:
        response = call.response
        return Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, response.read())


def chat(text: str, **fields: object) -> dict[str, object]:
    """The body of a chat request that says ``text``."""
    return {"model": "gpt-4.1", "messages": [{"role": "user", "content": text}], **fields}
