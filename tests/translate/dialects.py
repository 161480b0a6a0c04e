"""The three dialects as one table, and the ways through them: a request, an answer, a stream from one to another."""

import json
from collections.abc import Iterable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import msgspec

from copilot_asgi.errors import CopilotASGIError, Refused
from copilot_asgi.translate.conversation import Conversation, Role, Text, ToolChoiceMode, Turn
from copilot_asgi.translate.events import Event, check, fold
from copilot_asgi.translate.ids import ToolNames
from copilot_asgi.translate.rendered import Rendered
from copilot_asgi.wire.dialect import Dialect, error_event, render_error
from copilot_asgi.wire.models import Model
from copilot_asgi.wire.shallow import read_object
from copilot_asgi.wire.sse import EventParser

NAMES = ("chat", "messages", "responses")
PAIRS = tuple((client, upstream) for client in NAMES for upstream in NAMES)
CROSSED = tuple(pair for pair in PAIRS if pair[0] != pair[1])
AUTO = ToolChoiceMode.AUTO
ID, CREATED = "0123456789abcdef", 1_760_000_000

ASKED = Conversation(
    model="some-model",
    stream=True,
    turns=(Turn(Role.USER, (Text("go"),)),),
    include_usage=True,
    include_seals=True,
)


def requests(name: str) -> ModuleType:
    """The module that reads and writes requests."""
    return import_module(f"copilot_asgi.translate.{name}_request")


def answers(name: str) -> ModuleType:
    """The module that reads and writes answers."""
    return import_module(f"copilot_asgi.translate.{name}_stream")


def decoder(name: str, names: ToolNames | None = None) -> Any:
    """A new reader of upstream's stream."""
    return getattr(answers(name), f"{name.capitalize()}Decoder")(names=names or ToolNames())


def encoder(name: str, conversation: Conversation) -> Any:
    """A new writer of the client's stream."""
    kind = getattr(answers(name), f"{name.capitalize()}Encoder")
    return kind(conversation, id=ID, created=CREATED, prompt_tokens=0)


def rendered(name: str, conversation: Conversation, target: Model | None = None) -> Rendered:
    """Upstream's request. Raises ``Refused``."""
    told: Rendered = requests(name).render_request(conversation, target or model())
    return told


def model(**supports: object) -> Model:
    """A model that can do everything, unless told otherwise."""
    able = {"streaming": True, "tool_calls": True, "parallel_tool_calls": True, "vision": True}
    able |= {"structured_outputs": True, **supports}
    limits = {"max_output_tokens": 16_000}
    return msgspec.convert({"id": "some-model", "capabilities": {"limits": limits, "supports": able}}, Model)


def parsed(name: str, body: dict) -> Conversation:
    """A client's request in the neutral form. Raises ``Refused``."""
    told: Conversation = requests(name).parse_request(
        read_object(json.dumps(body).encode()), stream=bool(body.get("stream"))
    )
    return told


def request(client: str, upstream: str, body: dict, target: Model | None = None) -> dict:
    """The request for upstream, or the refusal as ``{"status", "body"}``."""
    try:
        body = json.loads(rendered(upstream, parsed(client, body), target).body)
    except Refused as error:
        told = render_error(error, Dialect(client), request_id="r", now=0.0)
        return {"status": told.status, "body": json.loads(told.body)}
    return body


def answer(upstream: str, client: str, body: dict, conversation: Conversation) -> dict:
    """The whole answer for the client."""
    events = answers(upstream).decode_answer(json.dumps(body).encode(), names=ToolNames())
    reply = answers(client).render_reply(fold(check(events)), conversation, id=ID, created=CREATED)
    told: dict = json.loads(reply)
    return told


def stream(upstream: str, client: str, chunks: Iterable[bytes], conversation: Conversation) -> list[dict]:
    """The events for the client; a stream that breaks off ends with the client's error event."""
    writer = encoder(client, conversation)
    out = bytearray()
    try:
        for event in decoded(upstream, chunks):
            out += writer.encode(event)
    except CopilotASGIError as error:
        out += error_event(error, Dialect(client), request_id="r", progress=writer.progress)
    return server_sent(client, bytes(out))


def decoded(upstream: str, chunks: Iterable[bytes]) -> Iterator[Event]:
    """The neutral events of an upstream stream."""
    reader = decoder(upstream)
    for chunk in chunks:
        yield from reader.feed(chunk)
    yield from reader.finish()


def sent(name: str, events: Iterable[Event]) -> bytes:
    """An answer as upstream of that dialect sends it."""
    writer = encoder(name, ASKED)
    return b"".join(writer.encode(event) for event in events)


def wire(events: Iterable[dict]) -> bytes:
    """Events ``{"event", "data"}`` as upstream sends them."""
    out = bytearray()
    for event in events:
        data = event["data"] if isinstance(event["data"], str) else json.dumps(event["data"], ensure_ascii=False)
        name = f"event: {event['event']}\n" if "event" in event else ""
        out += f"{name}data: {data}\n\n".encode()
    return bytes(out)


def server_sent(name: str, text: bytes) -> list[dict]:
    """Bytes of a stream as events ``{"event", "data"}``; Chat's have no names."""
    events = EventParser().feed(text)
    told = [{"event": event.event, "data": load(event.data)} for event in events]
    return [{"data": event["data"]} if name == "chat" and event["event"] == "message" else event for event in told]


def load(data: bytes) -> object:
    return "[DONE]" if data == b"[DONE]" else json.loads(data)
