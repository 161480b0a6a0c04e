"""What whole and streamed chat answers have in common: ids, usage, finish reasons, reasoning fields.

Rule: the same answer tells the same in both modes.
"""

from copilot_asgi.simulator.access import Object
from copilot_asgi.simulator.catalog import Family
from copilot_asgi.simulator.completion import Completion
from copilot_asgi.simulator.script import Finish, Quirk

__all__ = [
    "PROMPT_FILTER",
    "SAFE",
    "call_ids",
    "finish_reason",
    "response_id",
    "sealed_thought",
    "thought",
    "usage_fields",
]

SAFE: Object = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
PROMPT_FILTER: list[Object] = [{"prompt_index": 0, "content_filter_results": SAFE}]
FINISH = {
    Finish.STOP: "stop",
    Finish.LENGTH: "length",
    Finish.TOOL_CALLS: "tool_calls",
    Finish.CONTENT_FILTER: "content_filter",
    Finish.REFUSAL: "stop",
    Finish.PAUSE: "stop",
    Finish.ERROR: "error",
}


def response_id(answer: Completion) -> str:
    """An id as the family of the model makes them."""
    match answer.model.family:
        case Family.GPT:
            return "chatcmpl-" + answer.issued.letters(29)
        case Family.CLAUDE:
            return "msg_vrtx_" + answer.issued.letters(20)
        case _:
            return answer.issued.letters(22)


def finish_reason(answer: Completion) -> str:
    """The finish reason; a tool that was named in ``tool_choice`` ends as ``stop``, as the service has it."""
    if answer.has(Quirk.FUNCTION_CALL) and answer.reply.calls:
        return "function_call"
    if answer.reply.finish is None and answer.reply.calls and answer.prompt.forced:
        return "stop"
    return FINISH[answer.reply.ending]


def usage_fields(answer: Completion) -> Object:
    """The ``usage`` object."""
    usage = answer.usage
    apart = answer.model.family is Family.GEMINI  # thoughts are not part of its completion tokens
    spoken = usage.output - usage.reasoning if apart else usage.output
    counted: Object = {
        "completion_tokens": spoken,
        "prompt_tokens": usage.prompt,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
        "total_tokens": usage.total,
    }
    details: Object = {"reasoning_tokens": usage.reasoning} if usage.reasoning else {}
    if answer.model.family is Family.GPT:
        details = {
            "accepted_prediction_tokens": 0,
            "audio_tokens": 0,
            "reasoning_tokens": usage.reasoning,
            "rejected_prediction_tokens": 0,
        }
        counted["prompt_tokens_details"] = {"audio_tokens": 0, "cached_tokens": usage.cache_read}
    return counted | {"completion_tokens_details": details} if details else counted


def thought(answer: Completion, text: str) -> Object:
    """Readable reasoning, in the field the quirks ask for."""
    if answer.has(Quirk.COT_FIELDS):
        return {"cot_summary": text}
    return {"thinking": text} if answer.has(Quirk.THINKING_FIELDS) else {"reasoning_text": text}


def sealed_thought(answer: Completion) -> Object:
    """Sealed reasoning, in the field the quirks ask for."""
    blob = answer.issued.blob(answer.login, answer.issued.new_item())
    if answer.has(Quirk.COT_FIELDS):
        return {"cot_id": blob}
    return {"signature": blob} if answer.has(Quirk.THINKING_FIELDS) else {"reasoning_opaque": blob}


def call_ids(answer: Completion) -> list[str]:
    """A new id for each call; when there was reasoning, it belongs to them."""
    prefix = "toolu_vrtx_" if answer.model.family is Family.CLAUDE else "call_"
    made = [answer.issued.call_id(prefix) for _ in answer.reply.calls]
    if answer.reply.reasoning:
        for call_id in made:
            answer.issued.seal_call(call_id)
    return made
