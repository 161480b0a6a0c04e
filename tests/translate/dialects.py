"""The three dialects as one table, and the ways through them: a request, an answer, a stream from one to another."""

import json
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any, NamedTuple

import msgspec

from copilot_asgi.errors import CopilotASGIError, Refused
from copilot_asgi.translate.conversation import Conversation
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
ID, CREATED = "0123456789abcdef", 1_760_000_000


class Codec(NamedTuple):
    """What the modules of one dialect offer."""

    parse_request: Callable[..., Conversation]
    render_request: Callable[[Conversation, Model], Rendered]
    decode_answer: Callable[..., list[Event]]
    render_reply: Callable[..., bytes]
    decoder: Callable[..., Any]
    encoder: Callable[..., Any]


def codec(name: str) -> Codec:
    request = import_module(f"copilot_asgi.translate.{name}_request")
    stream = import_module(f"copilot_asgi.translate.{name}_stream")
    kind = name.capitalize()
    return Codec(
        request.parse_request,
        request.render_request,
        stream.decode_answer,
        stream.render_reply,
        getattr(stream, f"{kind}Decoder"),
        getattr(stream, f"{kind}Encoder"),
    )


def model(**supports: object) -> Model:
    """A model that can do everything, unless told otherwise."""
    able = {"streaming": True, "tool_calls": True, "parallel_tool_calls": True, "vision": True}
    able |= {"structured_outputs": True, **supports}
    limits = {"max_output_tokens": 16_000}
    return msgspec.convert({"id": "some-model", "capabilities": {"limits": limits, "supports": able}}, Model)


def parsed(name: str, body: dict) -> Conversation:
    """A client's request in the neutral form. Raises ``Refused``."""
    return codec(name).parse_request(read_object(json.dumps(body).encode()), stream=bool(body.get("stream")))


def request(client: str, upstream: str, body: dict, target: Model | None = None) -> dict:
    """The request for upstream, or the refusal as ``{"status", "body"}``."""
    try:
        rendered = codec(upstream).render_request(parsed(client, body), target or model())
    except Refused as error:
        told = render_error(error, Dialect(client), request_id="r", now=0.0)
        return {"status": told.status, "body": json.loads(told.body)}
    answer: dict = json.loads(rendered.body)
    return answer


def answer(upstream: str, client: str, body: dict, conversation: Conversation) -> dict:
    """The whole answer for the client."""
    events = codec(upstream).decode_answer(json.dumps(body).encode(), names=ToolNames())
    reply = codec(client).render_reply(fold(check(events)), conversation, id=ID, created=CREATED)
    told: dict = json.loads(reply)
    return told


def stream(upstream: str, client: str, chunks: Iterable[bytes], conversation: Conversation) -> list[dict]:
    """The events for the client; a stream that breaks off ends with the client's error event."""
    encoder = codec(client).encoder(conversation, id=ID, created=CREATED, prompt_tokens=0)
    out = bytearray()
    try:
        for event in decoded(upstream, chunks):
            out += encoder.encode(event)
    except CopilotASGIError as error:
        out += error_event(error, Dialect(client), request_id="r", progress=encoder.progress)
    return server_sent(client, bytes(out))


def decoded(upstream: str, chunks: Iterable[bytes]) -> Iterator[Event]:
    """The neutral events of an upstream stream."""
    decoder = codec(upstream).decoder(names=ToolNames())
    for chunk in chunks:
        yield from decoder.feed(chunk)
    yield from decoder.finish()


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
