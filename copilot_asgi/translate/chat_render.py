"""A neutral conversation as a request to Copilot's chat endpoint.

Rule: only what the model takes is sent, by what the catalog says of it; what is left out is named.

Source: OpenAI API reference, "Create chat completion"; limits of reasoning models as Copilot enforces them.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.translate.chat_tools import render_tools
from copilot_asgi.translate.chat_turns import render_messages
from copilot_asgi.translate.conversation import Conversation, Effort, Format, Loss, Reasoning, ToolChoiceMode
from copilot_asgi.translate.effort import budget_of, fitted_budget, level_of_budget, nearest
from copilot_asgi.translate.ids import ToolNames
from copilot_asgi.translate.pairing import paired
from copilot_asgi.translate.rendered import Rendered
from copilot_asgi.translate.schema import qualifies_for_strict
from copilot_asgi.wire.chat import limit_field
from copilot_asgi.wire.models import Model

__all__ = ["render_request"]

_STOPS = 4
# From GPT-5.4 on, the chat endpoint refuses an effort beside tools.
_NO_EFFORT_WITH_TOOLS = re.compile(r"gpt-(?:5\.(?:[4-9]|\d\d)|[6-9]|[12]\d)(?!\d)")
# Whether an answer without the field may be another one; of fields that are not here nobody knows. ``top_logprobs``
# stays here too: no answer carries the probabilities back.
_EXTRA_LOST: Mapping[str, bool] = MappingProxyType(
    {
        "include_obfuscation": False,
        "metadata": False,
        "prompt_cache_key": False,
        "prompt_cache_options": False,
        "prompt_cache_retention": False,
        "safety_identifier": False,
        "stream_options": False,
        "user": False,
        "verbosity": False,
    }
)


class _Draft:
    """The request as it grows: fields, and what they could not say."""

    def __init__(self, conversation: Conversation, model: Model) -> None:
        self.conversation = conversation
        self.model = model
        self.names = ToolNames(tool.name for tool in conversation.tools)
        self.fields: dict[str, object] = {"model": model.id}
        self.losses: list[Loss] = []
        self.is_claude = model.id.startswith("claude") or model.family.startswith("claude")
        self.is_reasoner = limit_field(model) == "max_completion_tokens"
        self.resumes_thinking = True

    def lose(self, field: str, *, matters: bool) -> None:
        """Name a field that is left out."""
        self.losses.append(Loss(field, matters=matters))


def render_request(conversation: Conversation, model: Model) -> Rendered:
    """The request for ``model``.

    Raises ``TranslationError`` for what chat cannot say, ``BadRequest`` for tool results that belong to no call.
    """
    draft = _Draft(conversation, model)
    for add in _STEPS:
        add(draft)
    return Rendered(msgspec.json.encode(draft.fields), tuple(dict.fromkeys(draft.losses)), draft.names)


def _add_messages(draft: _Draft) -> None:
    turns, losses = paired(draft.conversation.turns, complete=True)
    messages = render_messages(
        draft.conversation, turns, names=draft.names, model=draft.model, is_claude=draft.is_claude
    )
    draft.fields["messages"] = messages.listed
    draft.losses += [*losses, *messages.losses]
    draft.resumes_thinking = messages.resumes_thinking


def _add_tools(draft: _Draft) -> None:
    fields, losses = render_tools(draft.conversation, draft.names)
    draft.fields |= fields
    draft.losses += losses


def _add_stream(draft: _Draft) -> None:
    if draft.conversation.stream:
        draft.fields |= {"stream": True, "stream_options": {"include_usage": True}}


def _add_limit(draft: _Draft) -> None:
    limit = _limit(draft)
    if limit is not None:
        draft.fields[limit_field(draft.model)] = limit
    if limit != draft.conversation.max_tokens:
        draft.lose("max_tokens", matters=True)


def _limit(draft: _Draft) -> int | None:
    asked, most = draft.conversation.max_tokens, draft.model.limits.max_output_tokens
    return min(asked, most) if asked is not None and most else asked


def _add_sampling(draft: _Draft) -> None:
    """Reasoning models refuse all of it."""
    sampling = draft.conversation.sampling
    stops = [stop for stop in sampling.stop if stop.strip()]
    wanted: dict[str, object] = {"temperature": sampling.temperature, "top_p": sampling.top_p, "stop": stops[:_STOPS]}
    for name, value in wanted.items():
        if value is None or value == [] or (draft.is_reasoner and value == 1):
            continue
        if draft.is_reasoner:
            draft.lose(name, matters=True)
        else:
            draft.fields[name] = value
    if len(stops) > _STOPS:
        draft.lose("stop", matters=True)


def _add_format(draft: _Draft) -> None:
    wanted = draft.conversation.format
    if wanted is None:
        return
    if not wanted.schema:
        draft.fields["response_format"] = {"type": "json_object"}
    elif draft.model.supports.structured_outputs:
        draft.fields["response_format"] = {"type": "json_schema", "json_schema": _schema(draft, wanted)}
    else:
        draft.lose("response_format", matters=True)


def _schema(draft: _Draft, wanted: Format) -> dict[str, object]:
    schema: dict[str, object] = {"name": wanted.name or "output", "schema": msgspec.Raw(wanted.schema)}
    if wanted.description:
        schema["description"] = wanted.description
    if wanted.strict is not False and qualifies_for_strict(wanted.schema):
        schema["strict"] = True
    elif wanted.strict:
        draft.lose("response_format.strict", matters=True)
    return schema


def _add_reasoning(draft: _Draft) -> None:
    """An effort where the model lists some; else Copilot's own key for Claude; else nothing."""
    wanted = draft.conversation.reasoning
    effort = _effort(wanted) if wanted else None
    if wanted is None or effort is None:
        return
    listed = draft.model.supports.efforts
    fitting = nearest(effort, listed)
    if effort is Effort.NONE:
        draft.fields |= {"reasoning_effort": effort.value} if effort.value in listed else {}
    elif fitting is not None and not _is_effort_refused(draft):
        draft.fields["reasoning_effort"] = fitting.value
    elif fitting is None and draft.is_claude:
        _add_budget(draft, wanted.budget or budget_of(effort))
    else:
        draft.lose("reasoning_effort", matters=True)


def _effort(wanted: Reasoning) -> Effort | None:
    if wanted.disabled:
        return Effort.NONE
    if wanted.effort is None and wanted.budget is not None:
        return level_of_budget(wanted.budget)
    return wanted.effort


def _is_effort_refused(draft: _Draft) -> bool:
    names = (draft.model.id, draft.model.family)
    return "tools" in draft.fields and any(_NO_EFFORT_WITH_TOOLS.match(name) for name in names)


def _add_budget(draft: _Draft, budget: int) -> None:
    """Claude refuses to think when a tool is forced, and when its earlier thoughts of a running tool loop are gone."""
    choice = draft.conversation.tool_choice
    is_forced = choice is not None and choice.mode is ToolChoiceMode.REQUIRED and "tools" in draft.fields
    fitted = fitted_budget(budget, draft.model.supports, _limit(draft))
    if fitted is None or is_forced or not draft.resumes_thinking or not draft.model.supports.max_thinking_budget:
        draft.lose("thinking_budget", matters=True)
        return
    draft.fields["thinking_budget"] = fitted
    if draft.fields.pop("temperature", None) is not None:
        draft.lose("temperature", matters=True)


def _add_extra(draft: _Draft) -> None:
    for name, text in draft.conversation.extra.items():
        add = _EXTRA.get(name)
        if add is None or not add(draft, msgspec.Raw(text)):
            draft.lose(name, matters=_EXTRA_LOST.get(name, True))


def _add_verbosity(draft: _Draft, value: msgspec.Raw) -> bool:
    draft.fields |= {"verbosity": value} if draft.is_reasoner else {}
    return draft.is_reasoner


_EXTRA: Mapping[str, Callable[[_Draft, msgspec.Raw], bool]] = MappingProxyType({"verbosity": _add_verbosity})
_STEPS: tuple[Callable[[_Draft], None], ...] = (
    _add_messages,
    _add_tools,
    _add_stream,
    _add_limit,
    _add_sampling,
    _add_format,
    _add_reasoning,
    _add_extra,
)
