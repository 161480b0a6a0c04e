"""An answer as ``/chat/completions`` writes it in one piece, with the habits of each family of models.

Rule: the plain form is what the vendor documents; every departure is a ``Quirk`` that one line here looks at.
"""

import msgspec

from copilot_asgi.simulator.access import Object
from copilot_asgi.simulator.catalog import Family, Model
from copilot_asgi.simulator.chat_parts import (
    PROMPT_FILTER,
    SAFE,
    call_ids,
    finish_reason,
    response_id,
    sealed_thought,
    thought,
    usage_fields,
)
from copilot_asgi.simulator.completion import Completion
from copilot_asgi.simulator.render_messages import render_body as render_messages_body
from copilot_asgi.simulator.script import Quirk

__all__ = ["quirks_of", "render_body"]

FAMILY_QUIRKS: dict[Family, frozenset[Quirk]] = {
    Family.GPT: frozenset({Quirk.NO_OBJECT, Quirk.PADDING, Quirk.FILTER_FIRST, Quirk.USAGE_NULL}),
    Family.CLAUDE: frozenset({Quirk.NO_OBJECT, Quirk.SPLIT_CHOICES, Quirk.NO_CHOICE_INDEX, Quirk.WHOLE_ARGUMENTS}),
    Family.GEMINI: frozenset({Quirk.NO_OBJECT, Quirk.ZERO_USAGE}),
    Family.OTHER: frozenset(),
}


def quirks_of(model: Model) -> frozenset[Quirk]:
    """How ``model`` departs from the plain form; the newest Claude answers in Anthropic's own."""
    usual = FAMILY_QUIRKS[model.family]
    return usual | {Quirk.ANTHROPIC_BODY} if model.adaptive_only else usual


def render_body(answer: Completion) -> bytes:
    """The body of an answer that is not streamed."""
    if answer.has(Quirk.ANTHROPIC_BODY):
        return render_messages_body(answer)
    body: Object = {
        "id": response_id(answer),
        "model": answer.model.backend,
        "created": answer.created,
        "choices": [] if answer.has(Quirk.EMPTY_CHOICES) else _choices(answer),
        "usage": usage_fields(answer),
        "copilot_usage": answer.copilot_usage,
    }
    if not answer.has(Quirk.NO_OBJECT):
        body["object"] = "chat.completion"
    elif answer.model.family is Family.GPT:
        del body["created"]
    if answer.model.family is Family.GPT:
        body |= {"prompt_filter_results": PROMPT_FILTER, "system_fingerprint": "fp_0a1b2c3d4e"}
    return msgspec.json.encode(body)


def _calls(answer: Completion) -> list[Object]:
    """The tool calls of a whole answer."""
    calls: list[Object] = []
    for call_id, (name, arguments) in zip(call_ids(answer), answer.reply.calls, strict=True):
        call: Object = {"function": {"arguments": arguments, "name": name}, "id": call_id, "type": "function"}
        if answer.has(Quirk.NO_CALL_TYPE):
            del call["type"]
        calls.append(call)
    return calls


def _choices(answer: Completion) -> list[Object]:
    reply = answer.reply
    message: Object = {"role": "assistant"}
    if reply.text or not reply.calls:
        message["content"] = reply.text
    if reply.reasoning:
        message |= thought(answer, reply.reasoning) | sealed_thought(answer)
    messages = [message]
    if reply.calls and answer.has(Quirk.FUNCTION_CALL):
        name, arguments = reply.calls[0]
        message["function_call"] = {"name": name, "arguments": arguments}
    elif reply.calls:
        messages = _with_calls(answer, message)
    choices = [_choice(answer, index, part) for index, part in enumerate(messages)]
    if answer.has(Quirk.NO_FINISH):
        del choices[0]["finish_reason"]
    return choices


def _with_calls(answer: Completion, message: Object) -> list[Object]:
    calls = _calls(answer)
    if not answer.has(Quirk.SPLIT_CHOICES) or len(message) == 1:
        return [message | {"tool_calls": calls}]
    if answer.has(Quirk.CHOICE_PER_CALL):
        apart: list[Object] = [{"role": "assistant", "tool_calls": [call]} for call in calls]
        return [message, *apart]
    return [message, {"role": "assistant", "tool_calls": calls}]


def _choice(answer: Completion, index: int, message: Object) -> Object:
    choice: Object = {"finish_reason": finish_reason(answer), "message": message}
    if not answer.has(Quirk.NO_CHOICE_INDEX):
        choice["index"] = index
    if answer.has(Quirk.NO_ROLE):
        del message["role"]
    if answer.has(Quirk.PADDING):
        message["padding"] = "abcdefghijklmnopqrstuvwxyz"[: 1 + len(answer.reply.text) % 26]
    if answer.model.family is Family.GPT:
        choice["content_filter_results"] = {} if answer.reply.calls else SAFE
    return choice
