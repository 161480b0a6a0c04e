"""A Responses request as a conversation; the way back is in ``responses_render``.

Rule: what OpenAI's servers would have to remember is refused, for nobody remembers it here: an answer without the
history would be a wrong one. What cannot be said elsewhere is named.
"""

from collections.abc import Mapping, Sequence
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
)
from copilot_asgi.translate.responses_fields import decoded, optional, sound
from copilot_asgi.translate.responses_items import History, read_items
from copilot_asgi.translate.responses_render import render_request
from copilot_asgi.translate.responses_tools import parse_tool_choice, parse_tools
from copilot_asgi.wire.shallow import NULL, Fields, is_null, starts_with

__all__ = ["parse_request", "render_request"]

_SEALS = "reasoning.encrypted_content"
_LOGPROBS = "message.output_text.logprobs"

# Fields that only OpenAI's servers can serve: the code of the refusal, and what to do instead.
_REFUSED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "previous_response_id": ("previous_response_not_found", "Nothing is stored here: send the whole conversation."),
        "conversation": ("unsupported_parameter", "Nothing is stored here: send the whole conversation."),
        "prompt": ("unsupported_parameter", "Prompt templates are kept by OpenAI: send the text itself."),
        "background": ("unsupported_parameter", "Nothing runs in the background here: leave it out."),
    }
)
_READ = frozenset(
    {
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "model",
        "parallel_tool_calls",
        "reasoning",
        "stream",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_p",
    }
)
# Kept as they are, for dialects that know them.
_EXTRA = frozenset({"moderation", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "top_logprobs"})
# Without effect on the answer: storage, billing, tracing.
_BOOKKEEPING = frozenset(
    {
        "access_programs",
        "client_metadata",
        "image",
        "max_tool_calls",  # counts calls of hosted tools, whose loss is named where they are declared
        "metadata",
        "safety_identifier",
        "service_tier",
        "store",
        "stream_options",
        "user",
    }
)
# Fields with a value that says what would be done anyway.
_HARMLESS: Mapping[str, bytes] = MappingProxyType(
    {"background": b"false", "store": b"false", "truncation": b'"disabled"'}
)
_ECHOED = (
    "instructions",
    "max_output_tokens",
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "truncation",
    "user",
)


class _ReasoningField(msgspec.Struct):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None
    context: msgspec.Raw = NULL
    mode: msgspec.Raw = NULL


class _Format(msgspec.Struct):
    type: str = "text"
    name: str | None = None
    description: str | None = None
    schema: msgspec.Raw = NULL
    strict: bool | None = None


class _TextField(msgspec.Struct):
    format: _Format | None = None
    verbosity: msgspec.Raw = NULL


class _Update(msgspec.Struct):
    reasoning: _ReasoningField | None = None
    text: _TextField | None = None


def parse_request(fields: Fields, *, stream: bool) -> Conversation:
    """The conversation that ``fields`` ask for.

    Raises ``BadRequest`` or ``TranslationError``, with the field, for what cannot be read and for what no model of
    another dialect can serve.
    """
    _refuse(fields)
    history = _history(fields)
    tools, tool_losses = parse_tools([*(optional(fields, "tools", list[msgspec.Raw]) or ()), *history.tools])
    reasoning, form, verbosity = _settings(fields, history)
    include = optional(fields, "include", list[str]) or []
    choice = fields.get("tool_choice", NULL)
    chosen, choice_losses = (None, ()) if is_null(choice) else parse_tool_choice(choice, tools)
    losses = [*_field_losses(fields), *_reasoning_losses(reasoning), *tool_losses, *choice_losses, *history.losses]
    return Conversation(
        model=optional(fields, "model", str) or "",
        stream=stream,
        system=_instructions(fields) + tuple(history.system),
        turns=history.turns,
        tools=tools,
        tool_choice=chosen,
        parallel=optional(fields, "parallel_tool_calls", bool),
        max_tokens=optional(fields, "max_output_tokens", int),
        sampling=Sampling(temperature=optional(fields, "temperature", float), top_p=optional(fields, "top_p", float)),
        format=_format(form),
        reasoning=_reasoning(reasoning),
        extra=_extra(fields, verbosity, include),
        include_seals=_SEALS in include,
        echo={name: sound(fields[name], param=name) for name in _ECHOED if not is_null(fields.get(name, NULL))},
        losses=tuple(dict.fromkeys(losses)),
    )


def _refuse(fields: Fields) -> None:
    for name, (code, advice) in _REFUSED.items():
        value = fields.get(name, NULL)
        if not is_null(value) and bytes(value) != _HARMLESS.get(name):
            raise BadRequest(f"The field '{name}' cannot be served. {advice}", code=code, param=name)


def _history(fields: Fields) -> History:
    value = fields.get("input", NULL)
    if not starts_with(value, b'"'):
        return read_items(optional(fields, "input", list[msgspec.Raw]) or ())
    history = History()
    text = decoded(value, str, param="input")
    history.say(Role.USER, [Text(text)] if text else [])
    return history


def _instructions(fields: Fields) -> tuple[Text, ...]:
    text = optional(fields, "instructions", str)
    return (Text(text),) if text else ()


def _settings(fields: Fields, history: History) -> tuple[_ReasoningField | None, _Format | None, msgspec.Raw]:
    """Reasoning, format and verbosity, as the last update in the input left them."""
    reasoning = optional(fields, "reasoning", _ReasoningField)
    text = optional(fields, "text", _TextField) or _TextField()
    form = text.format
    for value in history.updates:
        update = decoded(value, _Update, param="input")
        if update.reasoning is not None:
            before = reasoning or _ReasoningField()
            reasoning = msgspec.structs.replace(before, effort=update.reasoning.effort or before.effort)
        if update.text is not None:
            form = update.text.format or form
    return reasoning, form, text.verbosity


def _reasoning(found: _ReasoningField | None) -> Reasoning | None:
    if found is None:
        return None
    try:
        effort = None if found.effort is None else Effort(found.effort)
    except ValueError:
        message = f"The field 'reasoning.effort' must be one of: {', '.join(each.value for each in Effort)}."
        raise BadRequest(message, code="invalid_value", param="reasoning.effort") from None
    return Reasoning(effort=effort, show=bool(found.summary or found.generate_summary))


def _format(found: _Format | None) -> Format | None:
    match found:
        case None | _Format(type="text"):
            return None
        case _Format(type="json_object"):
            return Format()
        case _Format(type="json_schema") if not is_null(found.schema):
            return Format(
                schema=sound(found.schema, param="text.format"),
                name=found.name or "",
                description=found.description or "",
                strict=found.strict,
            )
    raise BadRequest(
        f"The format '{found.type}' is unknown or has no schema.", code="invalid_value", param="text.format"
    )


def _extra(fields: Fields, verbosity: msgspec.Raw, include: Sequence[str]) -> dict[str, bytes]:
    extra = {name: sound(value, param=name) for name, value in fields.items() if name in _EXTRA and not is_null(value)}
    if not is_null(verbosity):
        extra["verbosity"] = sound(verbosity, param="text.verbosity")
    if _LOGPROBS in include:
        extra.setdefault("top_logprobs", b"0")
    return extra


def _field_losses(fields: Fields) -> list[Loss]:
    served = _READ | _EXTRA | {name for name, value in _HARMLESS.items() if bytes(fields.get(name, NULL)) == value}
    lost = [name for name, value in fields.items() if not is_null(value) and name not in served]
    return [Loss(name, matters=name not in _BOOKKEEPING) for name in lost]


def _reasoning_losses(found: _ReasoningField | None) -> list[Loss]:
    dropped = () if found is None else (("context", found.context), ("mode", found.mode))
    return [Loss(f"reasoning.{name}", matters=False) for name, value in dropped if not is_null(value)]
