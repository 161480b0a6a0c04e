"""A conversation as the request that Copilot's Responses endpoint takes.

Rule: nothing is stored, ``strict`` is always spelled out (its default differs from the other dialects'), ids are made
from the place in the history alone, and what the endpoint cannot say is named.
"""

from collections.abc import Iterator, Mapping

import msgspec

from copilot_asgi.errors import TranslationError
from copilot_asgi.translate.assistant_media import shown_by_user
from copilot_asgi.translate.conversation import (
    Conversation,
    Effort,
    Format,
    Loss,
    Reasoning,
    Text,
    Tool,
    ToolChoice,
    ToolChoiceMode,
)
from copilot_asgi.translate.effort import level_of_budget, nearest
from copilot_asgi.translate.ids import ToolNames
from copilot_asgi.translate.pairing import paired
from copilot_asgi.translate.rendered import Rendered
from copilot_asgi.translate.responses_history import items_of
from copilot_asgi.translate.responses_parts import input_part
from copilot_asgi.translate.schema import for_openai, qualifies_for_strict
from copilot_asgi.wire.models import Model
from copilot_asgi.wire.shallow import read_object

__all__ = ["render_request"]

_LEAST_OUTPUT = 16  # below that the endpoint refuses the limit
_DEFAULT_CHOICE = 1.0  # of temperature and of top_p
_DEFAULT_FORMAT_NAME = "output"
_SAME_NAME = frozenset(
    {
        "metadata",
        "moderation",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
    }
)
_HOSTED = "web_search"  # the one tool that Copilot runs itself
# Said in another place of the request. ``top_logprobs`` is in no table: no answer carries the probabilities back.
_ELSEWHERE = frozenset({"verbosity", "web_search", "web_search_options"})
# Without effect on what the model answers.
_BOOKKEEPING = frozenset(
    {"prediction", "safety_identifier", "seed", "service_tier", "store", "stream_options", "user", "user_id"}
)
_INCLUDED = ("reasoning.encrypted_content",)
_CONTINUE = "Go on exactly where your last message ended, and repeat nothing of it."
_EMPTY_SCHEMA = b'{"type":"object","properties":{}}'

_Fields = dict[str, object]


def render_request(conversation: Conversation, model: Model) -> Rendered:
    """``conversation`` for ``model``. Raises ``TranslationError`` when a tool is demanded that is not there."""
    losses: list[Loss] = []
    names = ToolNames(tool.name for tool in conversation.tools)
    turns, mended = paired(tuple(shown_by_user(conversation.turns)), complete=False)
    losses += mended
    items = items_of(turns, names)
    if items and items[-1].get("role") == "assistant":
        # The endpoint begins a new message; it does not complete one.
        losses.append(Loss("input.prefill", matters=True))
        items.append({"type": "message", "role": "user", "content": [input_part(Text(_CONTINUE))]})
    fields: _Fields = {
        "model": model.id,
        "instructions": "\n\n".join(text.text for text in conversation.system),
        "input": items,
        "max_output_tokens": _limit(conversation, model, losses),
        "reasoning": _reasoning(conversation.reasoning, model, losses),
        "text": _text(conversation, losses),
        **_sampling(conversation, model, losses),
        **_tool_fields(conversation, names, losses),
        **{name: msgspec.Raw(value) for name, value in conversation.extra.items() if name in _SAME_NAME},
    }
    losses += [
        Loss(name, matters=name not in _BOOKKEEPING)
        for name in conversation.extra
        if name not in _SAME_NAME | _ELSEWHERE
    ]
    body: _Fields = {name: value for name, value in fields.items() if value not in (None, "", {})}
    body |= {"input": items, "include": list(_INCLUDED), "stream": conversation.stream, "store": False}
    return Rendered(msgspec.json.encode(body), tuple(dict.fromkeys(losses)), names)


def _limit(conversation: Conversation, model: Model, losses: list[Loss]) -> int | None:
    asked, most = conversation.max_tokens, model.limits.max_output_tokens
    if asked is None:
        return None
    if most is not None and asked > most:
        losses.append(Loss("max_output_tokens", matters=True))
        return most
    return max(asked, _LEAST_OUTPUT)


def _sampling(conversation: Conversation, model: Model, losses: list[Loss]) -> _Fields:
    """Models that reason refuse to be told how to choose words."""
    sampling = conversation.sampling
    given: _Fields = {"temperature": sampling.temperature, "top_p": sampling.top_p}
    losses += [Loss("stop", matters=True)] if sampling.stop else []
    if not model.supports.efforts:
        return given
    losses += [Loss(name, matters=True) for name, value in given.items() if value not in {None, _DEFAULT_CHOICE}]
    return {}


def _reasoning(asked: Reasoning | None, model: Model, losses: list[Loss]) -> _Fields:
    if asked is None:
        return {}
    wanted = _effort(asked)
    effort = nearest(wanted, model.supports.efforts) if wanted else None
    if wanted not in {None, Effort.NONE, effort}:
        losses.append(Loss("reasoning.effort", matters=True))
    shown: _Fields = {"summary": "auto"} if _is_shown(asked) else {}
    return ({"effort": effort.value} if effort else {}) | shown


def _effort(asked: Reasoning) -> Effort | None:
    if asked.disabled:
        return Effort.NONE
    if asked.effort or asked.budget is None:
        return asked.effort
    return level_of_budget(asked.budget)


def _is_shown(asked: Reasoning) -> bool:
    """A client that turned thinking on wants to see some, unless it says otherwise."""
    thinks = asked.budget is not None or asked.adaptive
    return not asked.disabled and (thinks if asked.show is None else asked.show)


def _text(conversation: Conversation, losses: list[Loss]) -> _Fields:
    text: _Fields = {}
    if conversation.format is not None:
        text["format"] = _format(conversation.format, losses)
    if "verbosity" in conversation.extra:
        text["verbosity"] = msgspec.Raw(conversation.extra["verbosity"])
    return text


def _format(asked: Format, losses: list[Loss]) -> _Fields:
    if not asked.schema:
        return {"type": "json_object"}
    strict = asked.strict is not False and qualifies_for_strict(asked.schema)
    losses += [Loss("text.format.strict", matters=True)] if asked.strict and not strict else []
    form: _Fields = {
        "type": "json_schema",
        "name": asked.name or _DEFAULT_FORMAT_NAME,
        "schema": msgspec.Raw(asked.schema),
        "strict": strict,
    }
    return form | ({"description": asked.description} if asked.description else {})


def _tool_fields(conversation: Conversation, names: ToolNames, losses: list[Loss]) -> _Fields:
    """Tools and what hangs on them: without tools the endpoint refuses the rest."""
    hosted = list(_hosted_tools(conversation.extra))
    tools = [_tool(tool, names, losses) for tool in conversation.tools] + hosted
    choice = conversation.tool_choice
    if not tools:
        if choice is not None and choice.mode is ToolChoiceMode.REQUIRED:
            raise TranslationError("A tool is demanded, but this model has none of them.", param="tool_choice")
        return {}
    # A function of the client's that has the name of the hosted tool comes first.
    kinds = {_HOSTED: _HOSTED} if hosted else {}
    kinds |= {tool.name: "custom" if tool.freeform else "function" for tool in conversation.tools}
    return {
        "tools": tools,
        "tool_choice": None if choice is None else _choice(choice, names, kinds),
        "parallel_tool_calls": conversation.parallel,
    }


def _tool(tool: Tool, names: ToolNames, losses: list[Loss]) -> _Fields:
    fields: _Fields = {"name": names.to_upstream(tool.name)}
    if tool.description:
        fields["description"] = tool.description
    if tool.freeform:
        return {"type": "custom", **fields, **({"format": _grammar(tool.grammar)} if tool.grammar else {})}
    strict = tool.strict is True and qualifies_for_strict(tool.schema)
    losses += [Loss("tools.strict", matters=True)] if tool.strict and not strict else []
    schema = for_openai(tool.schema) if tool.schema else _EMPTY_SCHEMA
    return {"type": "function", **fields, "parameters": msgspec.Raw(schema), "strict": strict}


def _grammar(grammar: bytes) -> _Fields:
    """Flat here, under a key of its own in chat completions."""
    fields = read_object(grammar)
    return {"type": "grammar", **(read_object(fields["grammar"]) if "grammar" in fields else fields)}


def _hosted_tools(extra: Mapping[str, bytes]) -> Iterator[_Fields]:
    if "web_search" in extra:
        yield {**read_object(extra["web_search"]), "type": "web_search"}
    elif "web_search_options" in extra:
        yield {"type": "web_search", **_search_options(extra["web_search_options"])}


def _search_options(options: bytes) -> _Fields:
    """Chat's options, where the place of the user stands one level deeper."""
    fields = read_object(options)
    kept: _Fields = {name: fields[name] for name in ("search_context_size",) if name in fields}
    if "user_location" in fields:
        location = read_object(fields["user_location"])
        inner = read_object(location["approximate"]) if "approximate" in location else location
        place = {name: value for name, value in inner.items() if name != "type"}
        kept |= {"user_location": {**place, "type": "approximate"}} if place else {}
    return kept


def _choice(choice: ToolChoice, names: ToolNames, kinds: Mapping[str, str]) -> str | _Fields:
    """The choice, where ``kinds`` are the types of the tools by their names."""
    if choice.name:
        return _named(choice.name, names, kinds)
    if choice.allowed:
        allowed = [_named(name, names, kinds) for name in choice.allowed]
        return {"type": "allowed_tools", "mode": choice.mode.value, "tools": allowed}
    return choice.mode.value


def _named(name: str, names: ToolNames, kinds: Mapping[str, str]) -> _Fields:
    kind = kinds.get(name)
    if kind is None:
        raise TranslationError("A tool is chosen that is not among the tools.", param="tool_choice")
    return {"type": kind} if kind == _HOSTED else {"type": kind, "name": names.to_upstream(name)}
