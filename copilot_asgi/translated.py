"""The plan for a translated route: the client speaks one dialect, the model another.

Pure. A dialect is a row of functions; a pair of dialects is two rows, so no pair has code of its own. Upstream is asked
for a stream whatever the client wants, unless the model cannot; a client that did not ask for one gets the events
folded into one reply.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Protocol

import msgspec

from copilot_asgi.errors import ResponseTooLarge
from copilot_asgi.exchange import Request
from copilot_asgi.plan import ANSWER_LIMIT, EVENT_STREAM, JSON, Plan
from copilot_asgi.routing import Route
from copilot_asgi.translate import (
    chat_request,
    chat_stream,
    gemini_request,
    gemini_stream,
    messages_request,
    messages_stream,
    ollama_request,
    ollama_stream,
    responses_request,
    responses_stream,
)
from copilot_asgi.translate.conversation import Conversation, Image, Role, ToolResult
from copilot_asgi.translate.events import Event, Finished, Reply, fold
from copilot_asgi.translate.ids import ToolNames
from copilot_asgi.translate.rendered import Rendered
from copilot_asgi.translate.tokens import estimate
from copilot_asgi.wire.dialect import Dialect, ResponseProgress
from copilot_asgi.wire.models import Model
from copilot_asgi.wire.shallow import Fields
from copilot_asgi.wire.sse import parse_block
from copilot_asgi.wire.stream import StreamMender
from copilot_asgi.wire.turn import TurnFacts

__all__ = ["CLIENTS", "plan_translated"]

NDJSON = b"application/x-ndjson"


class Decoder(Protocol):
    """Upstream's stream as events."""

    done: bool

    def feed(self, chunk: bytes) -> list[Event]:
        """What ``chunk`` brought."""

    def finish(self) -> list[Event]:
        """What was left; raises ``StreamInterrupted`` when the answer is not complete."""


class Encoder(Protocol):
    """Events as the client's stream."""

    @property
    def progress(self) -> ResponseProgress | None:
        """What an error event must fit to."""

    def encode(self, event: Event) -> bytes:
        """The bytes for one event, perhaps none."""


class ParseRequest(Protocol):
    """A client's request as a conversation."""

    def __call__(self, fields: Fields, *, stream: bool) -> Conversation:
        """Raises ``BadRequest``."""


class RenderReply(Protocol):
    """A whole reply as a client's answer."""

    def __call__(self, reply: Reply, conversation: Conversation, *, id: str, created: int) -> bytes:
        """The JSON body."""


class MakeEncoder(Protocol):
    """Makes an encoder for one answer."""

    def __call__(self, conversation: Conversation, *, id: str, created: int, prompt_tokens: int) -> Encoder:
        """``id`` and ``created`` (unix seconds) name the answer; ``prompt_tokens`` is an estimate."""


class ClientSide(msgspec.Struct, frozen=True):
    """What is needed to serve clients of a dialect. Answers' ids begin with ``id_prefix``, unless the items' do too.

    ``stream_type`` is the content type of a stream; ``closing`` turns an error event into what ends it.
    """

    parse: ParseRequest
    encoder: MakeEncoder
    reply: RenderReply
    id_prefix: str = ""
    stream_type: bytes = EVENT_STREAM
    closing: Callable[[Encoder, bytes], bytes] = lambda _, event: event


class UpstreamSide(msgspec.Struct, frozen=True):
    """What is needed to ask models in a dialect."""

    render: Callable[[Conversation, Model], Rendered]
    decoder: Callable[..., Decoder]
    decode: Callable[..., list[Event]]


def _end_array(encoder: Encoder, event: bytes) -> bytes:
    assert isinstance(encoder, gemini_stream.GeminiArrayEncoder)
    return encoder.fail(parse_block(event)[1])


CLIENTS: Mapping[tuple[Dialect, str], ClientSide] = MappingProxyType(
    {
        (Dialect.CHAT, ""): ClientSide(
            chat_request.parse_request, chat_stream.ChatEncoder, chat_stream.render_reply, "chatcmpl-"
        ),
        (Dialect.MESSAGES, ""): ClientSide(
            messages_request.parse_request, messages_stream.MessagesEncoder, messages_stream.render_reply
        ),
        (Dialect.RESPONSES, ""): ClientSide(
            responses_request.parse_request, responses_stream.ResponsesEncoder, responses_stream.render_reply
        ),
        (Dialect.GEMINI, ""): ClientSide(
            gemini_request.parse_request, gemini_stream.GeminiEncoder, gemini_stream.render_reply
        ),
        (Dialect.GEMINI, "array"): ClientSide(
            gemini_request.parse_request,
            gemini_stream.GeminiArrayEncoder,
            gemini_stream.render_reply,
            stream_type=JSON,
            closing=_end_array,
        ),
        (Dialect.OLLAMA, ""): ClientSide(
            ollama_request.parse_request,
            ollama_stream.OllamaEncoder,
            ollama_stream.render_reply,
            stream_type=NDJSON,
        ),
        (Dialect.OLLAMA, "generate"): ClientSide(
            ollama_request.parse_generate_request,
            ollama_stream.OllamaGenerateEncoder,
            ollama_stream.render_generate_reply,
            stream_type=NDJSON,
        ),
    }
)
UPSTREAMS: Mapping[Dialect, UpstreamSide] = MappingProxyType(
    {
        Dialect.CHAT: UpstreamSide(chat_request.render_request, chat_stream.ChatDecoder, chat_stream.decode_answer),
        Dialect.MESSAGES: UpstreamSide(
            messages_request.render_request, messages_stream.MessagesDecoder, messages_stream.decode_answer
        ),
        Dialect.RESPONSES: UpstreamSide(
            responses_request.render_request, responses_stream.ResponsesDecoder, responses_stream.decode_answer
        ),
    }
)


def plan_translated(request: Request, route: Route, *, answer_id: str, now: int) -> Plan:
    """The plan for ``request``; ``answer_id`` and ``now`` (unix seconds) name the answer.

    Raises ``BadRequest`` or ``TranslationError`` for what cannot be said to that model.
    """
    client, upstream = CLIENTS[request.dialect, request.form], UPSTREAMS[route.dialect]
    conversation = client.parse(request.fields, stream=request.stream)
    answer_id = client.id_prefix + answer_id
    streams = route.model.supports.streaming is not False
    rendered = upstream.render(msgspec.structs.replace(conversation, stream=streams), route.model)
    whole = partial(client.reply, conversation=conversation, id=answer_id, created=now)
    decoder = upstream.decoder(names=rendered.names)
    stream: StreamMender = Collected(decoder, whole)
    encode = None
    if request.stream:
        tokens = estimate(conversation, model_id=route.model.id)
        encoder = client.encoder(conversation, id=answer_id, created=now, prompt_tokens=tokens)
        stream, encode = Relay(decoder, encoder, client.closing), encoder.encode
    return Plan(
        request=Request.decode(route.dialect, request.headers, rendered.body),
        turn=_turn(conversation),
        stream=stream,
        answer=partial(_answer, upstream, rendered.names, encode, whole),
        content_type=client.stream_type if request.stream else JSON,
        native=False,
        losses=(*conversation.losses, *rendered.losses),
    )


def _answer(
    upstream: UpstreamSide,
    names: ToolNames,
    encode: Callable[[Event], bytes] | None,
    whole: Callable[[Reply], bytes],
    body: bytes,
) -> bytes:
    events = upstream.decode(body, names=names)
    return whole(fold(events)) if encode is None else b"".join(map(encode, events))


def _turn(conversation: Conversation) -> TurnFacts:
    """Taken from the client's own turns: rendering may lift an image out of a tool's result into a turn of its own."""
    spoken = [turn for turn in conversation.turns if turn.role is not Role.SYSTEM]
    last = spoken[-1] if spoken else None
    by_tools = last is not None and all(isinstance(part, ToolResult) for part in last.parts)
    by_user = last is None or (last.role is Role.USER and not (by_tools and last.parts))
    return TurnFacts(by_user=by_user, has_image=any(_holds_image(turn.parts) for turn in conversation.turns))


def _holds_image(parts: Iterable[object]) -> bool:
    return any(isinstance(part, Image) or (isinstance(part, ToolResult) and _holds_image(part.parts)) for part in parts)


class Relay:
    """Upstream's stream in, the client's stream out."""

    def __init__(self, decoder: Decoder, encoder: Encoder, closing: Callable[[Encoder, bytes], bytes]) -> None:
        self._decoder = decoder
        self._encoder = encoder
        self._closing = closing
        self.done = False
        self.complete = False
        self.events = 0

    @property
    def progress(self) -> ResponseProgress | None:
        """What an error event of ours must fit to."""
        return self._encoder.progress

    def closing(self, event: bytes) -> bytes:
        """What ends the client's stream with an error ``event``."""
        return self._closing(self._encoder, event)

    def feed(self, chunk: bytes) -> bytes:
        """What to pass on now. Raises what the decoder raises."""
        return self._encoded(self._decoder.feed(chunk))

    def finish(self) -> bytes:
        """What to pass on at the end; raises ``StreamInterrupted`` when the answer is not complete."""
        return b"" if self.complete else self._encoded(self._decoder.finish())

    def _encoded(self, events: list[Event]) -> bytes:
        self.events += len(events)
        self.complete = self.complete or _is_complete(events)
        self.done = self.complete or self._decoder.done
        return b"".join([self._encoder.encode(event) for event in events])


class Collected:
    """Upstream's stream in, one whole answer out at its end."""

    progress = None

    def __init__(self, decoder: Decoder, whole: Callable[[Reply], bytes]) -> None:
        self._decoder = decoder
        self._whole = whole
        self._collected: list[Event] = []
        self._size = 0
        self.done = False
        self.complete = False
        self.events = 0

    def closing(self, event: bytes) -> bytes:
        """The error itself: nothing was sent before it."""
        return event

    def feed(self, chunk: bytes) -> bytes:
        """Nothing yet. Raises what the decoder raises, and ``ResponseTooLarge``."""
        self._size += len(chunk)
        if self._size > ANSWER_LIMIT:
            raise ResponseTooLarge(f"GitHub Copilot sent an answer of more than {ANSWER_LIMIT} bytes.")
        self._collect(self._decoder.feed(chunk))
        return b""

    def finish(self) -> bytes:
        """The answer; raises ``StreamInterrupted`` when it is not complete."""
        if not self.complete:
            self._collect(self._decoder.finish())
        return self._whole(fold(self._collected))

    def _collect(self, events: list[Event]) -> None:
        self._collected += events
        self.events += len(events)
        self.complete = self.complete or _is_complete(events)
        self.done = self.complete or self._decoder.done


def _is_complete(events: list[Event]) -> bool:
    """Whether these are the last events of an answer: nothing follows its end."""
    return bool(events) and isinstance(events[-1], Finished)
