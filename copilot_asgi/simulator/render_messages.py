"""An answer as ``/v1/messages`` writes it: Anthropic's format, with what Copilot adds.

Rule: the events are Anthropic's, in Anthropic's order; what Copilot adds sits in keys of its own and a last ``[DONE]``.
"""

import msgspec

from copilot_asgi.simulator.access import Object, decode_object
from copilot_asgi.simulator.completion import Completion, pieces
from copilot_asgi.simulator.script import Finish, Quirk

__all__ = ["FAMILY_QUIRKS", "error_event", "render_body", "render_stream"]

FAMILY_QUIRKS: frozenset[Quirk] = frozenset({Quirk.DONE_LINE, Quirk.PING})
FINISH = {
    Finish.STOP: "end_turn",
    Finish.LENGTH: "max_tokens",
    Finish.TOOL_CALLS: "tool_use",
    Finish.CONTENT_FILTER: "refusal",
    Finish.REFUSAL: "refusal",
    Finish.PAUSE: "pause_turn",
    Finish.ERROR: "model_context_window_exceeded",
}
FLOOD = "\n\t" * 400
_CITATION: Object = {"IPCodeCitations": [{"id": 1, "start_offset": 0, "end_offset": 5}]}


def render_body(answer: Completion) -> bytes:
    """The body of an answer that is not streamed."""
    message = _message(answer)
    message["content"] = [block for block, _ in _blocks(answer)]
    message |= {"stop_reason": FINISH[answer.reply.ending], "usage": _usage(answer)}
    return msgspec.json.encode(message | _extras(answer))


def render_stream(answer: Completion) -> list[bytes]:
    """The events of a streamed answer."""
    start = _message(answer) | {"usage": _usage(answer) | {"output_tokens": 1}}
    events: list[Object] = [{"type": "message_start", "message": start}]
    if answer.has(Quirk.PING):
        events.append({"type": "ping"})
    for index, (block, deltas) in enumerate(_blocks(answer)):
        events.append({"type": "content_block_start", "index": index, "content_block": _opened(block)})
        events += [{"type": "content_block_delta", "index": index, **delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    delta: Object = {"stop_reason": FINISH[answer.reply.ending], "stop_sequence": None}
    usage: Object = {"output_tokens": answer.usage.output}
    events.append({"type": "message_delta", "delta": delta, "usage": usage, **_extras(answer)})
    stop: Object = {"type": "message_stop"}
    if answer.has(Quirk.BEDROCK_METRICS):
        stop["amazon-bedrock-invocationMetrics"] = {"inputTokenCount": answer.usage.fresh, "firstByteLatency": 12}
    lines = [_event(event) for event in [*events, stop]]
    return [*lines, b"data: [DONE]\n\n"] if answer.has(Quirk.DONE_LINE) else lines


def error_event(error: Object | None) -> bytes:
    """An error in the middle of a stream."""
    given = error or {"type": "overloaded_error", "message": "Overloaded"}
    return _event({"type": "error", "error": given})


def _event(event: Object) -> bytes:
    return f"event: {event['type']}\n".encode() + b"data: " + msgspec.json.encode(event) + b"\n\n"


def _message(answer: Completion) -> Object:
    host = "vrtx" if answer.has(Quirk.VERTEX_IDS) else "bdrk"
    return {
        "id": f"msg_{host}_{answer.issued.letters(22)}",
        "type": "message",
        "role": "assistant",
        "model": answer.model.backend.replace(".", "-"),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _usage(answer: Completion) -> Object:
    usage = answer.usage
    return {
        "input_tokens": usage.fresh,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
    }


def _extras(answer: Completion) -> Object:
    return {"copilot_usage": answer.copilot_usage, "context_management": {"applied_edits": []}}


def _blocks(answer: Completion) -> list[tuple[Object, list[Object]]]:
    """Each block as it is in the end, and the deltas that make it."""
    reply = answer.reply
    blocks: list[tuple[Object, list[Object]]] = []
    if reply.reasoning and answer.has(Quirk.REDACTED):
        blocks.append(({"type": "redacted_thinking", "data": answer.issued.signature()}, []))
    if reply.reasoning:
        blocks.append(_thinking(answer))
    if reply.text:
        text: Object = {"type": "text", "text": reply.text}
        deltas = [{"delta": {"type": "text_delta", "text": piece}} for piece in pieces(reply.text, reply.size)]
        extra: Object = {"copilot_annotations": _CITATION} if answer.has(Quirk.CITATIONS) else {}
        blocks.append((text, [delta | extra for delta in deltas]))
    return [*blocks, *(_tool_use(answer, name, arguments) for name, arguments in reply.calls)]


def _thinking(answer: Completion) -> tuple[Object, list[Object]]:
    shown = answer.reply.reasoning if answer.prompt.summary else ""
    signature = answer.issued.signature()
    deltas: list[Object] = [
        {"delta": {"type": "thinking_delta", "thinking": piece}} for piece in pieces(shown, answer.reply.size)
    ]
    deltas.append({"delta": {"type": "signature_delta", "signature": signature}})
    return {"type": "thinking", "thinking": shown, "signature": signature}, deltas


def _tool_use(answer: Completion, name: str, arguments: str) -> tuple[Object, list[Object]]:
    host = "vrtx" if answer.has(Quirk.VERTEX_IDS) else "bdrk"
    call_id = answer.issued.call_id(f"toolu_{host}_")
    text = arguments[:-1] + FLOOD if answer.has(Quirk.WHITESPACE_FLOOD) else arguments
    fragments = ["", *pieces(text, answer.reply.size)]
    deltas: list[Object] = [{"delta": {"type": "input_json_delta", "partial_json": fragment}} for fragment in fragments]
    given = decode_object(arguments.encode()) or {}
    return {"type": "tool_use", "id": call_id, "name": name, "input": given}, deltas


def _opened(block: Object) -> Object:
    """``block`` as it is when it starts: empty, but for its identity."""
    empty: Object = {"text": "", "thinking": "", "signature": "", "input": {}}
    return {name: empty.get(name, value) for name, value in block.items()}
