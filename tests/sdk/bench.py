"""What the checks share: the client that is looked at, questions to ask it, and what makes an answer a valid one.

Rule: an answer is valid when the SDK's own models take it, strictly; the SDK itself does not look that closely.
"""

import json
import urllib.request
from collections.abc import Callable, Iterator

import openai
from openai import OpenAI
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


class Bench:
    """Clients and addresses of the servers that are looked at."""

    def __init__(self, url: str, keyed_url: str, key: str) -> None:
        self.url = url
        self.keyed_url = keyed_url
        self.key = key
        self.client = OpenAI(base_url=f"{url}/v1", api_key="anything", max_retries=0, timeout=20)


def user(text: str) -> list[dict[str, object]]:
    return [{"role": "user", "content": text}]


def function(name: str) -> dict[str, object]:
    return {"type": "function", "function": {"name": name, "description": "A tool.", "parameters": CITY}}


def strict(kind: type[BaseModel], data: str | bytes) -> None:
    """Raises unless ``data`` is what the SDK promises to its users."""
    kind.model_validate_json(data, strict=True)


def valid(answer: openai.BaseModel) -> None:
    """``strict`` for an object that the SDK made without looking closely."""
    strict(type(answer), json.dumps(answer.to_dict(mode="json")))


def streamed(bench: Bench, **body: object) -> list[ChatCompletionChunk]:
    """The chunks of a stream, each of them valid; the stream has an end."""
    chunks = list(bench.client.chat.completions.create(stream=True, **body))
    for chunk in chunks:
        valid(chunk)
    reasons = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert len(reasons) == 1, reasons
    assert len({chunk.id for chunk in chunks}) == 1, [chunk.id for chunk in chunks]
    assert {choice.index for chunk in chunks for choice in chunk.choices} == {0}
    return chunks


def said(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def adds_up(usage: CompletionUsage | None) -> None:
    """Raises unless the total is the sum of its parts; Gemini counts its thoughts beside the answer, not within."""
    assert usage
    details = usage.completion_tokens_details
    thoughts = (details and details.reasoning_tokens) or 0
    spoken = usage.prompt_tokens + usage.completion_tokens
    assert usage.total_tokens in {spoken, spoken + thoughts}
    assert spoken > 0


def raw_lines(url: str, body: dict[str, object]) -> Iterator[bytes]:
    """The data of each event, as it is on the wire."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as response:
        yield from (line[6:].strip() for line in response if line.startswith(b"data: "))


def refused(kind: type[openai.APIStatusError], call: Callable[[], object]) -> openai.APIStatusError:
    """The error of that very kind, with everything that the SDK reads from it."""
    error: openai.APIStatusError | None = None
    try:
        call()
    except openai.APIStatusError as raised:
        error = raised
    assert type(error) is kind, repr(error)
    assert error.request_id
    assert isinstance(error.body, dict)
    assert error.body["message"]
    return error
