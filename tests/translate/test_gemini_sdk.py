"""Google's own library against what we write."""

import json

import httpx
import pytest
from google import genai
from google.genai import types

from copilot_asgi.errors import StreamInterrupted
from copilot_asgi.translate.conversation import (
    Conversation,
    Reasoning,
    Role,
    Seal,
    SealOrigin,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
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
from copilot_asgi.translate.gemini_models import gemini_count, gemini_model, gemini_models
from copilot_asgi.translate.gemini_request import parse_request
from copilot_asgi.translate.gemini_stream import GeminiEncoder, render_reply
from copilot_asgi.wire.dialect import Dialect, error_event
from copilot_asgi.wire.models import Model
from copilot_asgi.wire.shallow import read_object

ASKED = Conversation(
    model="gpt-4.1",
    stream=True,
    turns=(Turn(Role.USER, (Text("hello"),)),),
    reasoning=Reasoning(show=True),
)
EVENTS: list[Event] = [
    Started(),
    PartStarted(0, Kind.THINKING),
    PartDelta(0, "hm"),
    PartFinished(0, Seal(SealOrigin.CHAT, "OPAQUE")),
    PartStarted(1, Kind.TEXT),
    PartDelta(1, "line\u2028"),
    PartDelta(1, "end"),
    PartFinished(1),
    PartStarted(2, Kind.TOOL_CALL, id="c1", name="f"),
    PartDelta(2, '{"a": 1}'),
    PartFinished(2),
    Finished(Finish.TOOL_CALLS, Usage(input=20, output=30, reasoning=12, cache_read=8)),
]


def stream(events: list[Event] = EVENTS) -> bytes:
    encoder = GeminiEncoder(ASKED, id="r", created=0, prompt_tokens=0)
    return b"".join(encoder.ping + encoder.encode(event) for event in events)


class Server:
    """Answers each request of the library with the next body, and keeps what it was asked."""

    def __init__(self, *bodies: bytes) -> None:
        self._bodies = list(bodies)
        self.asked: list[dict] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(json.loads(request.content or b"{}"))
        kind = "text/event-stream" if "alt=sse" in str(request.url) else "application/json"
        return httpx.Response(200, headers={"content-type": kind}, content=self._bodies.pop(0))


@pytest.fixture
def serve():
    clients = []

    def client(*bodies: bytes):
        server = Server(*bodies)
        http = httpx.Client(transport=httpx.MockTransport(server))
        clients.append(http)
        options = types.HttpOptions(base_url="http://test", httpx_client=http)
        return server, genai.Client(api_key="k", http_options=options)

    yield client
    for each in clients:
        each.close()


def test_the_library_reads_the_stream(serve) -> None:
    """Every piece is a response of its type, pings between them say nothing."""
    _, client = serve(stream())
    chunks = list(client.models.generate_content_stream(model="gpt-4.1", contents="hello"))
    parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts]
    assert "".join(part.text for part in parts if part.text and not part.thought) == "line\u2028end"
    assert [part.text for part in parts if part.thought] == ["hm"]
    [call] = [part.function_call for part in parts if part.function_call]
    assert (call.id, call.name, call.args) == ("c1", "f", {"a": 1})
    assert chunks[-1].candidates[0].finish_reason is types.FinishReason.STOP
    assert chunks[-1].usage_metadata.thoughts_token_count == 12


def test_the_library_raises_the_error_of_a_stream(serve) -> None:
    """An answer that broke off is an exception with the status word."""
    broken = stream(EVENTS[:6]) + error_event(StreamInterrupted("Cut."), Dialect.GEMINI, request_id="r")
    _, client = serve(broken)
    with pytest.raises(genai.errors.APIError, match="Cut") as caught:
        list(client.models.generate_content_stream(model="gpt-4.1", contents="hello"))
    assert (caught.value.code, caught.value.status) == (502, "INTERNAL")


def test_a_chat_of_the_library_comes_back(serve) -> None:
    """What it keeps of our answer, and how it writes base64 and keys, is read by us."""
    whole = render_reply(fold(EVENTS), ASKED, id="r", created=0)
    server, client = serve(whole, whole)
    schema = types.Schema(type="OBJECT", properties={"a": types.Schema(type="INTEGER", nullable=True)})
    functions = types.Tool(function_declarations=[types.FunctionDeclaration(name="f", parameters=schema)])
    config = types.GenerateContentConfig(
        tools=[functions],
        system_instruction="be brief",
        thinking_config=types.ThinkingConfig(include_thoughts=True),
        response_mime_type="application/json",
        max_output_tokens=100,
    )
    chat = client.chats.create(model="gpt-4.1", config=config)
    image = types.Part.from_bytes(data=b"\x89PNG\r\n\x1a\n\xff\xfe\xfb", mime_type="image/png")
    chat.send_message(["hello", image])
    chat.send_message(types.Part.from_function_response(name="f", response={"result": "ok"}))
    conversation = parse_request(read_object(json.dumps(server.asked[1]).encode()), stream=False)
    user, model, results = conversation.turns
    assert user.parts[1].data == "iVBORw0KGgr//vs="  # type: ignore[union-attr]
    assert Thinking("hm", Seal(SealOrigin.CHAT, "OPAQUE")) in model.parts
    assert ToolCall("c1", "f", '{"a": 1}') in model.parts
    assert results.parts == (ToolResult("c1", (Text("ok"),)),)
    assert json.loads(conversation.tools[0].schema)["properties"] == {"a": {"type": ["integer", "null"]}}
    assert (conversation.system, conversation.max_tokens) == ((Text("be brief"),), 100)
    assert {loss.field for loss in conversation.losses} == {"contents.thought"}


def test_models_and_counts(serve) -> None:
    """Lists, single models and token counts are of the library's types."""
    model = Model(id="gpt-4.1", name="GPT-4.1")
    _, client = serve(gemini_models([model]), gemini_model(model), gemini_count(5))
    assert [each.name for each in client.models.list()] == ["models/gpt-4.1"]
    assert client.models.get(model="gpt-4.1").display_name == "GPT-4.1"
    assert client.models.count_tokens(model="gpt-4.1", contents="hello").total_tokens == 5
