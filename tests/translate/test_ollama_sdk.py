"""Ollama's own library against what we write."""

import json

import httpx
import ollama
import pytest

from copilot_asgi.errors import StreamInterrupted
from copilot_asgi.translate.conversation import Conversation, Role, Text, ToolCall, ToolResult, Turn
from copilot_asgi.translate.events import (
    Event,
    Finish,
    Finished,
    Kind,
    PartDelta,
    PartFinished,
    PartStarted,
    Started,
    Usage,
    fold,
)
from copilot_asgi.translate.ollama_embed import ollama_embed
from copilot_asgi.translate.ollama_models import ollama_running, ollama_show, ollama_tags
from copilot_asgi.translate.ollama_request import parse_request
from copilot_asgi.translate.ollama_stream import (
    OllamaEncoder,
    OllamaGenerateEncoder,
    render_generate_reply,
    render_loaded,
    render_reply,
)
from copilot_asgi.wire.dialect import Dialect, error_event
from copilot_asgi.wire.models import Model
from copilot_asgi.wire.shallow import read_object

ASKED = Conversation(model="gpt-4.1", stream=True, turns=(Turn(Role.USER, (Text("hello"),)),))
EVENTS: list[Event] = [
    Started(),
    PartStarted(0, Kind.THINKING),
    PartDelta(0, "hm"),
    PartFinished(0),
    PartStarted(1, Kind.TEXT),
    PartDelta(1, "line"),
    PartDelta(1, " end"),
    PartFinished(1),
    PartStarted(2, Kind.TOOL_CALL, id="c1", name="f"),
    PartDelta(2, '{"a": 1}'),
    PartFinished(2),
    Finished(Finish.TOOL_CALLS, Usage(input=20, output=30)),
]


def stream(kind: type[OllamaEncoder], events: list[Event] = EVENTS) -> bytes:
    encoder = kind(ASKED, id="r", created=0, prompt_tokens=0)
    return b"".join(encoder.ping + encoder.encode(event) for event in events)


class Served:
    """The library's client, answered with one body; ``asked`` is the last request."""

    def __init__(self, body: bytes) -> None:
        self.asked: dict = {}

        def answer(request: httpx.Request) -> httpx.Response:
            self.asked = json.loads(request.content or b"{}")
            return httpx.Response(200, content=body)

        self.client = ollama.Client(host="http://test", transport=httpx.MockTransport(answer))


def test_the_library_reads_the_chat() -> None:
    """Every line is of its type, a ping too."""
    parts = list(Served(stream(OllamaEncoder)).client.chat(model="m", messages=[], stream=True))
    assert "".join(part.message.content for part in parts) == "line end"
    assert "".join(part.message.thinking or "" for part in parts) == "hm"
    [call] = [call for part in parts for call in part.message.tool_calls or ()]
    assert (call.function.name, call.function.arguments) == ("f", {"a": 1})
    assert (parts[-1].done_reason, parts[-1].prompt_eval_count, parts[-1].eval_count) == ("stop", 20, 30)
    whole = Served(render_reply(fold(EVENTS), ASKED, id="r", created=0)).client.chat(model="m", messages=[])
    assert (whole.message.content, whole.done) == ("line end", True)
    assert Served(render_loaded("m", created=0)).client.chat(model="m").done_reason == "load"


def test_the_library_reads_what_was_generated() -> None:
    """The older way to ask has its own types."""
    parts = list(Served(stream(OllamaGenerateEncoder)).client.generate(model="m", prompt="hello", stream=True))
    assert "".join(part.response for part in parts) == "line end"
    whole = Served(render_generate_reply(fold(EVENTS), ASKED, id="r", created=0)).client.generate(model="m", prompt="x")
    assert (whole.response, whole.thinking) == ("line end", "hm")


def test_the_library_raises_the_error_of_a_stream() -> None:
    """An answer that broke off is an exception with our words."""
    broken = stream(OllamaEncoder, EVENTS[:6]) + error_event(StreamInterrupted("Cut."), Dialect.OLLAMA, request_id="r")
    with pytest.raises(ollama.ResponseError, match="Cut"):
        list(Served(broken).client.chat(model="m", messages=[], stream=True))


def test_a_conversation_of_the_library_comes_back() -> None:
    """It drops the ids of calls; results belong to them by name."""
    served = Served(render_reply(fold(EVENTS), ASKED, id="r", created=0))
    said = served.client.chat(model="m", messages=[{"role": "user", "content": "hello"}]).message
    history = [{"role": "user", "content": "hello"}, said, {"role": "tool", "content": "ok", "tool_name": "f"}]
    served.client.chat(model="m", messages=history, think="low", options={"num_ctx": 5}, format="json")
    conversation = parse_request(read_object(json.dumps(served.asked).encode()), stream=False)
    _, model, results = conversation.turns
    assert model.parts[:1] == (Text("line end"),)
    [call] = [part for part in model.parts if isinstance(part, ToolCall)]
    assert results.parts == (ToolResult(call.id, (Text("ok"),)),)
    assert conversation.format
    assert conversation.reasoning
    assert {loss.field for loss in conversation.losses} <= {"messages.thinking", "options.num_ctx"}


def test_models_and_embeddings() -> None:
    """Lists, details and vectors are of the library's types."""
    model = Model(id="gpt-4.1")
    assert [each.model for each in Served(ollama_tags([model])).client.list().models] == ["gpt-4.1"]
    assert Served(ollama_show(model)).client.show("gpt-4.1").capabilities == ["completion"]
    assert Served(ollama_running()).client.ps().models == []
    vectors = Served(ollama_embed(b'{"data":[{"embedding":[1,2]}]}', model="e")).client.embed(model="e", input="a")
    assert vectors.embeddings == [[1, 2]]
