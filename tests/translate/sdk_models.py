"""The vendors' own libraries as judges: their parameter types, their models, their accumulators."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import anthropic
import openai
from anthropic.lib.streaming import _messages as anthropic_streams
from anthropic.types import Message, MessageCreateParams, RawMessageStreamEvent
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import CompletionCreateParams
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_create_params import ResponseCreateParams
from pydantic import TypeAdapter

PARAMS = {"chat": CompletionCreateParams, "messages": MessageCreateParams, "responses": ResponseCreateParams}
ANSWERS = {"chat": ChatCompletion, "messages": Message, "responses": Response}
EVENTS = {"chat": ChatCompletionChunk, "messages": RawMessageStreamEvent, "responses": ResponseStreamEvent}


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


# What Copilot takes beyond the vendors' current types: keys of its own, and Anthropic's earlier sampling keys.
BEYOND = {
    "chat": {"thinking_budget", "copilot_cache_control", "reasoning_text", "reasoning_opaque"},
    "messages": {"temperature", "top_p"},
    "responses": set[str](),
}


def check_request(name: str, body: dict) -> None:
    """Raises unless the library's parameter types take the body, and know every key in it."""
    known = without(body, BEYOND[name] | {"stream"})
    taken = consumed(adapter(PARAMS[name]).validate_python({**known, "stream": bool(body.get("stream"))}))
    taken.pop("stream")
    assert taken == known


def without(body: dict, private: set[str]) -> dict:
    """The request without private keys, in it and in its messages."""
    kept = {key: value for key, value in body.items() if key not in private}
    turns = [{key: value for key, value in turn.items() if key not in private} for turn in body.get("messages", ())]
    return kept | ({"messages": turns} if "messages" in body else {})


def consumed(value: Any) -> Any:
    """Iterators of validated elements as lists: only that validates them."""
    if isinstance(value, dict):
        return {key: consumed(each) for key, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [consumed(each) for each in value]
    return value


def check_answer(name: str, body: dict) -> None:
    """Raises unless the library's model takes the body."""
    adapter(ANSWERS[name]).validate_python(body, strict=True)


def check_event(name: str, data: dict) -> None:
    """Raises unless the library's model takes the event."""
    adapter(EVENTS[name]).validate_python(data, strict=True)


def accumulated(name: str, events: list[dict]) -> dict:
    """What the library makes of a stream, as a body."""
    return ACCUMULATORS[name]([event["data"] for event in events])


def chat(events: list[Any]) -> dict:
    assert events.pop() == "[DONE]"
    state = ChatCompletionStreamState()
    for data in events:
        state.handle_chunk(openai._models.construct_type(type_=ChatCompletionChunk, value=data))
    return state.current_completion_snapshot.to_dict()


def messages(events: list[Any]) -> dict:
    snapshot, buffers = None, dict[int, bytes]()
    for data in events:
        event = anthropic._models.construct_type(type_=RawMessageStreamEvent, value=data)
        snapshot = anthropic_streams.accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    return snapshot.to_dict()


def responses(events: list[Any]) -> dict:
    state = ResponseStreamState(input_tools=openai.omit, text_format=openai.omit)
    for data in events:
        state.handle_event(openai._models.construct_type(type_=ResponseStreamEvent, value=data))
    # The library keeps the answer of a complete stream only; of a cut one it hands on the last event.
    return state._completed_response.to_dict() if state._completed_response else events[-1]["response"]


ACCUMULATORS = {"chat": chat, "messages": messages, "responses": responses}
