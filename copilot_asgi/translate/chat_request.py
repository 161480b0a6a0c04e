"""Chat requests: a client's as a neutral conversation, and a neutral conversation as upstream's.

Rule: every field is kept, named as lost, or refused; which of the three stands in a table. Refused is what no answer
could make good: several answers, an answer in audio.

Source: OpenAI API reference, "Create chat completion"; Copilot's own keys as its editors send them.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Literal

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.chat_history import read_messages
from copilot_asgi.translate.chat_render import render_request
from copilot_asgi.translate.chat_tools import read_tools
from copilot_asgi.translate.conversation import Conversation, Effort, Format, Loss, Reasoning, Sampling
from copilot_asgi.translate.typed_fields import read_fields
from copilot_asgi.wire.shallow import NOT_JSON, NULL, Fields, is_null

__all__ = ["parse_request", "render_request"]

_LARGEST = 2**53 - 1
_Count = Annotated[int, msgspec.Meta(ge=1, le=_LARGEST)]


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class _Schema(msgspec.Struct):
    name: str | None = None
    description: str | None = None
    schema: msgspec.Raw = NULL
    strict: bool | None = None


class _Format(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


class _Area(msgspec.Struct, omit_defaults=True):
    city: str | None = None
    country: str | None = None
    region: str | None = None
    timezone: str | None = None


class _Location(_Area, omit_defaults=True):
    """Where the user is: in the words of chat, or flat as some clients write it."""

    type: str | None = None
    approximate: _Area | None = None


class _Search(msgspec.Struct, omit_defaults=True):
    search_context_size: str | None = None
    user_location: _Location | None = None


class _Options(msgspec.Struct):
    """What is looked into, beside the messages and the tools."""

    model: str = ""
    max_tokens: _Count | None = None
    max_completion_tokens: _Count | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Format | None = None
    reasoning_effort: Effort | None = None
    thinking_budget: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)] | None = None
    stream_options: _StreamOptions | None = None
    modalities: list[str] | None = None
    audio: msgspec.Raw = NULL
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    web_search_options: _Search | None = None


_READ = frozenset({"messages", "tools", "tool_choice", "functions", "function_call", "stream"})
_LOOKED_INTO = frozenset(_Options.__struct_fields__)
# Fields that another dialect may know; they go on as the JSON texts they are.
_KEPT = frozenset(
    {"metadata", "moderation", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "verbosity"}
)
_SERVED = _READ | _LOOKED_INTO | _KEPT
# Whether an answer without the field may be another one; of fields that are not here nobody knows.
_LOST: Mapping[str, bool] = MappingProxyType(
    {
        "frequency_penalty": True,
        "intent": False,
        "intent_content": False,
        "intent_model": False,
        "intent_threshold": False,
        "intent_tokenizer": False,
        "logit_bias": True,
        "prediction": False,
        "presence_penalty": True,
        "safety_identifier": False,
        "seed": False,
        "service_tier": False,
        "snippy": False,
        "store": False,
        "user": False,
    }
)
# Values that say what would be the case anyway.
_IDLE = frozenset({b"0", b"0.0", b"{}", b"[]", b"false"})

_decoder = msgspec.json.Decoder(_Options)


def parse_request(fields: Fields, *, stream: bool) -> Conversation:
    """The conversation that a client asks to go on with.

    Raises ``BadRequest`` naming the field that cannot be read, or that nothing but OpenAI's own servers could serve.
    """
    present = {name: value for name, value in fields.items() if not is_null(value)}
    if "messages" not in present:
        raise BadRequest("The field 'messages' is missing.", code="missing_field", param="messages")
    options = read_fields(_decoder, present, code="invalid_value")
    _refuse_unservable(options)
    history = read_messages(present["messages"])
    toolbox = read_tools(present)
    return Conversation(
        model=options.model,
        stream=stream,
        system=history.system,
        turns=history.turns,
        tools=toolbox.tools,
        tool_choice=toolbox.choice,
        parallel=False if toolbox.legacy else options.parallel_tool_calls,
        max_tokens=options.max_completion_tokens or options.max_tokens,
        sampling=Sampling(temperature=options.temperature, top_p=options.top_p, stop=_stops(options)),
        format=_format(options.response_format),
        reasoning=_reasoning(options),
        extra=dict(_extra(present, options)),
        include_usage=bool(options.stream_options and options.stream_options.include_usage),
        legacy_functions=toolbox.legacy,
        losses=(*history.losses, *toolbox.losses, *_losses(present)),
    )


def _refuse_unservable(options: _Options) -> None:
    if options.n is not None and options.n != 1:
        raise BadRequest("This model gives one answer only; leave 'n' out.", code="unsupported_value", param="n")
    if "audio" in (options.modalities or ()) or not is_null(options.audio):
        raise BadRequest("This model answers in text only.", code="unsupported_value", param="modalities")


def _stops(options: _Options) -> tuple[str, ...]:
    return (options.stop,) if isinstance(options.stop, str) else tuple(options.stop or ())


def _format(given: _Format | None) -> Format | None:
    if given is None or given.type == "text":
        return None
    if given.type == "json_object":
        return Format()
    named = given.json_schema
    if named is None or is_null(named.schema):
        raise BadRequest("The format has no schema.", code="missing_field", param="response_format")
    try:
        msgspec.json.decode(named.schema)
    except NOT_JSON:
        raise BadRequest("The schema cannot be read.", code="invalid_value", param="response_format") from None
    return Format(
        schema=bytes(named.schema), name=named.name or "", description=named.description or "", strict=named.strict
    )


def _reasoning(options: _Options) -> Reasoning | None:
    effort, budget = options.reasoning_effort, options.thinking_budget
    if effort is None and budget is None:
        return None
    return Reasoning(
        effort=effort, budget=budget or None, disabled=effort is Effort.NONE or (not effort and not budget)
    )


def _extra(fields: Fields, options: _Options) -> Iterator[tuple[str, bytes]]:
    for name, value in fields.items():
        if name in _KEPT:
            yield name, _sound(name, value)
    if options.web_search_options is not None:
        yield "web_search_options", msgspec.json.encode(options.web_search_options)
    if options.logprobs or options.top_logprobs:
        yield "top_logprobs", str(options.top_logprobs or 0).encode()
    obfuscation = options.stream_options and options.stream_options.include_obfuscation
    if obfuscation is not None:
        yield "stream_options", msgspec.json.encode({"include_obfuscation": obfuscation})


def _sound(name: str, value: msgspec.Raw) -> bytes:
    try:
        msgspec.json.decode(value)
    except NOT_JSON:
        raise BadRequest(f"The field '{name}' cannot be read.", code="invalid_value", param=name) from None
    return bytes(value)


def _losses(fields: Fields) -> Iterator[Loss]:
    for name, value in fields.items():
        if name not in _SERVED and bytes(value) not in _IDLE:
            yield Loss(name, matters=_LOST.get(name, True))
