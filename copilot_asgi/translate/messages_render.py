"""A neutral conversation as a request for ``/v1/messages`` of Copilot, which takes Anthropic's keys and not one more.

Rule: only what the endpoint knows is written; order, ids, names, images and limits are made fit; what cannot be said is
named, or refused where leaving it out would give a wrong answer.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.translate.assistant_media import shown_by_user
from copilot_asgi.translate.conversation import (
    Conversation,
    Loss,
    Role,
    Sampling,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from copilot_asgi.translate.ids import ToolNames
from copilot_asgi.translate.messages_blocks import block_of, is_sayable
from copilot_asgi.translate.messages_cache import Block, blocks_of, mark_automatically, trim
from copilot_asgi.translate.messages_choice import is_forced, rendered_choice, rendered_tools
from copilot_asgi.translate.messages_reading import is_object
from copilot_asgi.translate.messages_thinking import Plan, plan, wants_to_think
from copilot_asgi.translate.pairing import paired
from copilot_asgi.translate.rendered import Rendered
from copilot_asgi.translate.schema import closed
from copilot_asgi.wire.models import Model, Supports

__all__ = ["CONTINUE", "render_request"]

CONTINUE = Text("Continue exactly where your previous message ended, without repeating any of it.")
_BEGIN = Text(".")  # a conversation must begin with its user, and whitespace is refused
_USUAL_LIMIT = 8192
_HIGHEST_TEMPERATURE = 1.0
_TOP_P_WITH_THINKING = 0.95
_NO_ARGUMENTS = frozenset({"", "null"})

# Whether an answer without the field may be another one; of fields that are not here nobody knows.
_EXTRA_LOST: Mapping[str, bool] = MappingProxyType(
    {
        "metadata": False,
        "prediction": False,
        "prompt_cache_key": False,
        "prompt_cache_options": False,
        "prompt_cache_retention": False,
        "safety_identifier": False,
        "seed": False,
        "service_tier": False,
        "store": False,
        "stream_options": False,
        "user": False,
        "verbosity": False,
    }
)


def render_request(conversation: Conversation, model: Model) -> Rendered:
    """The request that asks ``model`` to continue ``conversation``.

    Raises ``TranslationError`` for what Claude models cannot be asked, ``BadRequest`` for broken histories.
    """
    names = ToolNames()
    losses = [Loss(name, _EXTRA_LOST.get(name, True)) for name in conversation.extra]
    system, spoken = _lift_system(conversation, losses)
    turns, mended = paired(tuple(_sayable(spoken)), complete=True)
    losses += [*mended, *_wrapped_arguments(turns)]
    turns = _framed(turns, losses)
    limit = _limit(conversation, model, losses)
    tools = rendered_tools(conversation, model.supports, names)
    choice = rendered_choice(conversation, tools, names)
    thought = _thought(conversation, model.supports, turns, limit=limit, losses=losses)
    messages = [_message(turn, names) for turn in turns]
    instructions = [block for text in system if is_sayable(text) for block in block_of(text, names)]
    mark_automatically(tools, instructions, messages)
    trim([*tools, *instructions], [block for message in messages for block in blocks_of(message)])
    body: Block = {
        "model": model.id,
        "max_tokens": limit,
        "system": instructions,
        "messages": messages,
        "tools": tools,
        "tool_choice": choice,
        "thinking": thought.thinking,
        "output_config": _output_config(conversation, model.supports, thought, losses),
        **_sampling(conversation.sampling, losses, thinks=thought.thinking is not None),
        "stream": conversation.stream or None,
    }
    present = {name: value for name, value in body.items() if value not in (None, [], {})}
    return Rendered(msgspec.json.encode(present), tuple(dict.fromkeys(losses)), names)


def _lift_system(conversation: Conversation, losses: list[Loss]) -> tuple[list[Text], list[Turn]]:
    """All instructions, and the turns between which some of them stood: Copilot takes none there."""
    system, turns = list(conversation.system), []
    for turn in conversation.turns:
        if turn.role is Role.SYSTEM:
            system += [part for part in turn.parts if isinstance(part, Text)]
            losses.append(Loss("messages.system", matters=True))
        else:
            turns.append(turn)
    return system, turns


def _sayable(turns: Iterable[Turn]) -> Iterator[Turn]:
    """The turns without what the endpoint refuses; media of the assistant's are shown by the user."""
    for turn in shown_by_user(turns):
        yield Turn(turn.role, tuple(part for part in turn.parts if is_sayable(part)))


def _wrapped_arguments(turns: tuple[Turn, ...]) -> Iterator[Loss]:
    """Calls whose arguments are no object, which the endpoint insists on: they go as the one field of another."""
    for part in (part for turn in turns for part in turn.parts):
        if not isinstance(part, ToolCall) or part.freeform or part.arguments.strip() in _NO_ARGUMENTS:
            continue
        if not is_object(part.arguments):
            yield Loss("messages.tool_calls.arguments", matters=True)


def _framed(turns: tuple[Turn, ...], losses: list[Loss]) -> tuple[Turn, ...]:
    """The user begins, and the user has the last word: Copilot refuses answers begun by the client."""
    if not turns or turns[0].role is Role.ASSISTANT:
        turns = (Turn(Role.USER, (_BEGIN,)), *turns)
    if turns[-1].role is Role.ASSISTANT:
        losses.append(Loss("messages.prefill", matters=True))
        turns = (*turns, Turn(Role.USER, (CONTINUE,)))
    return turns


def _message(turn: Turn, names: ToolNames) -> Block:
    content = [block for part in turn.parts for block in block_of(part, names)]
    return {"role": turn.role.value, "content": content}


def _limit(conversation: Conversation, model: Model, losses: list[Loss]) -> int:
    most = model.limits.max_output_tokens
    wanted = conversation.max_tokens or most or _USUAL_LIMIT
    if most is not None and wanted > most:
        losses.append(Loss("max_tokens", matters=True))
        return most
    return wanted


def _thought(
    conversation: Conversation, supports: Supports, turns: tuple[Turn, ...], *, limit: int, losses: list[Loss]
) -> Plan:
    """How to think. Forced calls forbid it; so does a budget where the client did not keep the thinking of the loop."""
    reasoning = conversation.reasoning
    if reasoning is None:
        return Plan()
    wanted = plan(reasoning, supports, max_tokens=limit)
    manual = wanted.thinking is not None and "budget_tokens" in wanted.thinking
    forbidden = is_forced(conversation.tool_choice) or (manual and _lost_thread(turns))
    allowed = Plan(None if forbidden else wanted.thinking, wanted.effort)
    if wants_to_think(reasoning) and allowed.thinking is None:
        losses.append(Loss("thinking", matters=True))
    return allowed


def _lost_thread(turns: tuple[Turn, ...]) -> bool:
    """Whether tools are at work for an answer that does not begin with its thinking."""
    if not isinstance(turns[-1].parts[0], ToolResult):
        return False
    return not isinstance(turns[-2].parts[0], Thinking)


def _output_config(conversation: Conversation, supports: Supports, thought: Plan, losses: list[Loss]) -> Block:
    config: Block = {"effort": thought.effort.value} if thought.effort else {}
    wanted = conversation.format
    if wanted is None:
        return config
    if not wanted.schema or not supports.structured_outputs:
        losses.append(Loss("response_format", matters=True))
        return config
    schema = closed(wanted.schema)
    if schema != wanted.schema:
        losses.append(Loss("response_format.additionalProperties", matters=False))
    return {**config, "format": {"type": "json_schema", "schema": msgspec.Raw(schema)}}


def _sampling(sampling: Sampling, losses: list[Loss], *, thinks: bool) -> Block:
    """Some Claude models refuse ``temperature`` and ``top_p`` together, and all of them most of it while thinking."""
    temperature, top_p = sampling.temperature, sampling.top_p
    kept_temperature = None if thinks or temperature is None else min(temperature, _HIGHEST_TEMPERATURE)
    possible = kept_temperature is None and not (thinks and top_p is not None and top_p < _TOP_P_WITH_THINKING)
    kept_top_p = top_p if possible else None
    if kept_temperature != temperature:
        losses.append(Loss("temperature", matters=True))
    if kept_top_p != top_p:
        losses.append(Loss("top_p", matters=True))
    words = [word for word in sampling.stop if word.strip()]
    return {"temperature": kept_temperature, "top_p": kept_top_p, "stop_sequences": words}
