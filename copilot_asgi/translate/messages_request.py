"""A Messages request as a neutral conversation.

Rule: every key is carried over, refused, or named as lost; tables say which. What Anthropic's servers would have to
remember for us is refused, for nobody here does.

Source: https://docs.anthropic.com/en/api/messages.
"""

import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from itertools import groupby
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.conversation import (
    Conversation,
    Effort,
    Format,
    Loss,
    Reasoning,
    Role,
    Sampling,
    Text,
    ToolCall,
    ToolChoice,
    Turn,
)
from copilot_asgi.translate.messages_parts import read_content, read_texts
from copilot_asgi.translate.messages_reading import Count, Place
from copilot_asgi.translate.messages_render import CONTINUE, render_request
from copilot_asgi.translate.messages_tools import WEB_SEARCH, read_tool_choice, read_tools, read_web_search
from copilot_asgi.wire.shallow import NULL, Fields, is_null

__all__ = ["parse_request", "read_reasoning", "render_request"]

_READ = frozenset(
    {
        "max_tokens",
        "messages",
        "model",
        "output_config",
        "output_format",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_p",
    }
)
# Bookkeeping, billing, caching: the answer is the same without.
_WITHOUT_EFFECT = frozenset(
    {
        "betas",
        "billing_policy",
        "cache_control",
        "container",
        "diagnostics",
        "fallback_credit_token",
        "fallbacks",
        "inference_geo",
        "metadata",
        "service_tier",
        "speed",
        "thread",
        "user_profile_id",
        "workspace_id",
    }
)
_FIELD_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FULL_STOP = Text(".")
_EMPTY_LIST = msgspec.Raw(b"[]")


class _Container(msgspec.Struct):
    id: str | None = None
    skills: list[msgspec.Raw] | None = None


class _Thread(msgspec.Struct):
    type: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: msgspec.Raw = NULL
    output_config: msgspec.Raw = NULL  # settings for one turn, a beta


class _ThinkingConfig(msgspec.Struct):
    type: str
    budget_tokens: Count | None = None
    display: str | None = None


class _FormatConfig(msgspec.Struct):
    type: str
    schema: msgspec.Raw = NULL


class OutputConfig(msgspec.Struct):
    """``output_config``; the rest of it is lost."""

    effort: str | None = None
    format: _FormatConfig | None = None
    task_budget: msgspec.Raw = NULL


_model = msgspec.json.Decoder(str)
_max_tokens = msgspec.json.Decoder(Count)
_number = msgspec.json.Decoder(float)
_words = msgspec.json.Decoder(list[str])
_messages = msgspec.json.Decoder(list[msgspec.Raw])
_message = msgspec.json.Decoder(_Message)
_container = msgspec.json.Decoder(str | _Container)
_thread = msgspec.json.Decoder(_Thread)
_thinking = msgspec.json.Decoder(_ThinkingConfig)
_output_config = msgspec.json.Decoder(OutputConfig)
_format = msgspec.json.Decoder(_FormatConfig)

_ROLES: Mapping[str, Role] = MappingProxyType({role.value: role for role in Role})


def parse_request(fields: Fields, *, stream: bool) -> Conversation:
    """The conversation that ``fields`` ask to continue.

    Raises ``BadRequest`` naming the field that cannot be read, or cannot be served by any other API.
    """
    place = Place("", [])
    given = {name: value for name, value in fields.items() if not is_null(value)}
    _refuse_server_state(given, place)
    _name_losses(given, place)
    tools = read_tools(given.get("tools", _EMPTY_LIST), place.at("tools"))
    search = read_web_search(given.get("tools", _EMPTY_LIST), place.at("tools"))
    hosted = () if search is None else (WEB_SEARCH,)
    choice, parallel = _tool_choice(given, {*(tool.name for tool in tools), *hosted}, place)
    leading, turns = _split_system(_turns(given, place))
    return Conversation(
        model=place.at("model").read(_model, _required(given, "model")),
        stream=stream,
        system=(*_system(given, place), *leading),
        turns=_without_prefill(turns, place),
        tools=tools,
        tool_choice=choice,
        parallel=parallel,
        max_tokens=_limit(given, place),
        sampling=_sampling(given, place),
        format=_read_format(given, place),
        reasoning=read_reasoning(given, place),
        extra={} if search is None else {"web_search": search},
        losses=tuple(place.losses),
    )


def read_reasoning(given: Fields, place: Place) -> Reasoning | None:
    """What ``thinking`` and ``output_config`` say of thinking; ``None`` when they say nothing."""
    config = _config(given, place)
    effort = _effort(config, place)
    if "thinking" not in given:
        return None if effort is None else Reasoning(effort=effort)
    thinking = place.at("thinking").read(_thinking, given["thinking"])
    show = thinking.display != "omitted"
    match thinking.type:
        case "enabled":
            return Reasoning(effort=effort, budget=thinking.budget_tokens or 0, show=show)
        case "adaptive" | "between_tools":
            return Reasoning(effort=effort, adaptive=True, show=show)
        case "disabled":
            return Reasoning(effort=effort, disabled=True)
    raise place.at("thinking.type").refusal("Input should be 'adaptive', 'between_tools', 'disabled' or 'enabled'.")


def _config(given: Fields, place: Place) -> OutputConfig:
    if "output_config" not in given:
        return OutputConfig()
    return place.at("output_config").read(_output_config, given["output_config"])


def _effort(config: OutputConfig, place: Place) -> Effort | None:
    if config.effort is None:
        return None
    try:
        return Effort(config.effort)
    except ValueError:
        raise place.at("output_config.effort").refusal("That effort is not known.") from None


def _read_format(given: Fields, place: Place) -> Format | None:
    config = _config(given, place)
    if not is_null(config.task_budget):
        place.lose("output_config.task_budget", matters=True)
    wanted = config.format
    if wanted is None and "output_format" in given:  # what the key was called while it was a beta
        wanted = place.at("output_format").read(_format, given["output_format"])
    if wanted is None:
        return None
    if wanted.type != "json_schema" or is_null(wanted.schema):
        raise place.at("output_config.format").refusal("Input should be a 'json_schema' with its schema.")
    return Format(schema=place.at("output_config.format.schema").text(wanted.schema))


def _required(given: Fields, name: str) -> msgspec.Raw:
    if name not in given:
        raise BadRequest("Field required", code="missing_field", param=name)
    return given[name]


def _refuse_server_state(given: Fields, place: Place) -> None:
    if "container" in given:
        container = place.at("container").read(_container, given["container"])
        if isinstance(container, str) or container.id or container.skills:
            raise place.at("container").refusal("Containers and skills are not available to this model.")
    if "thread" in given and place.at("thread").read(_thread, given["thread"]).type == "continue":
        raise place.at("thread").refusal("No thread is kept here. Send the whole conversation.")


def _name_losses(given: Fields, place: Place) -> None:
    for name in given:
        if name not in _READ:
            told = name if _FIELD_NAME.fullmatch(name) else "unknown"
            place.lose(told, matters=name not in _WITHOUT_EFFECT)


def _tool_choice(given: Fields, names: AbstractSet[str], place: Place) -> tuple[ToolChoice | None, bool | None]:
    if "tool_choice" not in given:
        return None, None
    return read_tool_choice(given["tool_choice"], names, place.at("tool_choice"))


def _system(given: Fields, place: Place) -> tuple[Text, ...]:
    return read_texts(given["system"], place.at("system")) if "system" in given else ()


def _limit(given: Fields, place: Place) -> int:
    at = place.at("max_tokens")
    limit = at.read(_max_tokens, _required(given, "max_tokens"))
    if limit < 1:
        raise at.refusal("Input should be greater than or equal to 1 for this model.")
    return limit


def _sampling(given: Fields, place: Place) -> Sampling:
    def number(name: str) -> float | None:
        return place.at(name).read(_number, given[name]) if name in given else None

    words = place.at("stop_sequences").read(_words, given.get("stop_sequences", _EMPTY_LIST))
    return Sampling(
        temperature=number("temperature"), top_p=number("top_p"), stop=tuple(word for word in words if word.strip())
    )


def _turns(given: Fields, place: Place) -> list[Turn]:
    at = place.at("messages")
    messages = at.read(_messages, _required(given, "messages"))
    return [turn for number, raw in enumerate(messages) for turn in _read_message(raw, at.at(number))]


def _read_message(raw: msgspec.Raw, place: Place) -> Iterator[Turn]:
    message = place.read(_message, raw)
    role, content = _ROLES.get(message.role), place.at("content")
    if role is None:
        raise place.at("role").refusal("Input should be 'user', 'assistant' or 'system'.")
    if not is_null(message.output_config):
        place.lose("messages.output_config", matters=False)
    if role is Role.SYSTEM:
        yield Turn(role, read_texts(message.content, content))
        return
    parts = list(read_content(role, message.content, content))
    if not parts and role is Role.USER:
        parts = [(role, _FULL_STOP)]
    for speaker, said in groupby(parts, key=lambda part: part[0]):
        yield Turn(speaker, tuple(part for _, part in said))


def _split_system(turns: list[Turn]) -> tuple[list[Text], list[Turn]]:
    """The instructions that stand first, and the conversation behind them."""
    start = next((number for number, turn in enumerate(turns) if turn.role is not Role.SYSTEM), len(turns))
    leading = [part for turn in turns[:start] for part in turn.parts if isinstance(part, Text)]
    return leading, turns[start:]


def _without_prefill(turns: list[Turn], place: Place) -> tuple[Turn, ...]:
    """An answer begun by the client cannot be continued elsewhere: the model is asked to."""
    spoken = [turn for turn in turns if turn.role is not Role.SYSTEM]
    if not spoken or spoken[-1].role is not Role.ASSISTANT:
        return tuple(turns)
    if any(isinstance(part, ToolCall) for part in spoken[-1].parts):
        return tuple(turns)
    place.losses.append(Loss("messages.prefill", matters=True))
    return (*turns, Turn(Role.USER, (CONTINUE,)))
