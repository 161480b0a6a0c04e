"""Whole chat completions on the native route: Copilot's answers as the OpenAI libraries want them.

Rule: an answer that is right leaves as the same object; what is not an answer is an error, never an empty success.
"""

import msgspec

from copilot_asgi.errors import MalformedResponse
from copilot_asgi.wire.chat_native import chat_from_native
from copilot_asgi.wire.chat_shapes import (
    DROP,
    Changes,
    Choice,
    Chunk,
    Message,
    ToolCall,
    changed,
    completion_tokens,
    finish_reason,
    text_of,
    usage_changes,
    winning_reason,
)
from copilot_asgi.wire.error_body import error_under_success
from copilot_asgi.wire.shallow import NOT_JSON, Fields, is_null, read_array, read_object, starts_with

__all__ = ["mend_answer"]

OBJECT = "chat.completion"

_decoder = msgspec.json.Decoder(Chunk)
_NO_CALLS = msgspec.Raw(b"null")
_calls_decoder = msgspec.json.Decoder(list[msgspec.Raw] | None)
_id_decoder = msgspec.json.Decoder(ToolCall)
_text_decoder = msgspec.json.Decoder(str)
# Texts that a further piece of the answer continues.
_CONTINUED = frozenset({"content", "reasoning_text", "refusal"})


def mend_answer(body: bytes, *, model: str, created: int, id: str, choices: int = 1) -> bytes:
    """The answer with every field that clients insist on; ``choices`` is the client's ``n``, 1 folds all into one.

    Raises ``MalformedResponse`` when it is no answer, and ``UpstreamStatus`` for an error under a status of 200.
    """
    try:
        answer = _decoder.decode(body)
        body.decode()  # what is passed over must be text all the same (RFC 8259, section 8.1)
        if not is_null(answer.error):
            raise error_under_success(body)
        identity = {"id": answer.id or id, "created": int(answer.created or created), "model": answer.model or model}
        if answer.choices is None and answer.type == "message":
            return msgspec.json.encode({**identity, "object": OBJECT, **chat_from_native(body)})
        return _mend(body, answer, identity, fold=choices == 1)
    except NOT_JSON:
        raise MalformedResponse("GitHub Copilot sent an answer that cannot be read.") from None


def _mend(body: bytes, answer: Chunk, identity: Changes, *, fold: bool) -> bytes:
    fields = read_object(body)
    wanted: Changes = {**identity, "object": OBJECT}
    changes = usage_changes(answer.usage)
    changes |= {name: value for name, value in wanted.items() if value != getattr(answer, name)}
    if not answer.choices:
        return msgspec.json.encode(changed(fields, {**changes, "choices": [_spent(answer)]}))
    raws = [read_object(raw) for raw in read_array(fields["choices"])]
    whole = [_whole_choice(raw, choice, at) for at, (raw, choice) in enumerate(zip(raws, answer.choices, strict=True))]
    if fold and len(whole) > 1:
        whole = [_folded(whole, answer.choices)]
    if not changes and whole == raws:
        return body
    return msgspec.json.encode(changed(fields, {**changes, "choices": whole}))


def _spent(answer: Chunk) -> Changes:
    """What stands for no choice at all: a model that thought until its tokens were used up."""
    if answer.choices is None or not completion_tokens(answer.usage):
        raise MalformedResponse("GitHub Copilot sent an answer without any choice.")
    return {"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": "length"}


def _reason(choice: Choice) -> str:
    calls = choice.message and choice.message.tool_calls
    return finish_reason(choice.finish_reason) or ("tool_calls" if calls else "stop")


def _folded(whole: list[Changes], choices: list[Choice]) -> Changes:
    """Copilot's pieces of one answer as one choice: texts joined, calls in their order, each call once."""
    message: dict[str, object] = {}
    calls: dict[str, msgspec.Raw] = {}
    for piece in whole:
        given = read_object(msgspec.json.encode(piece["message"]))
        for raw in _calls_decoder.decode(given.pop("tool_calls", _NO_CALLS)) or ():
            calls.setdefault(_id_decoder.decode(raw).id or "", raw)
        for name, value in given.items():
            message[name] = _continued(name, message.get(name), value)
    if calls:
        message["tool_calls"] = list(calls.values())
    return {**whole[0], "message": message, "finish_reason": winning_reason([_reason(choice) for choice in choices])}


def _continued(name: str, before: object, value: msgspec.Raw) -> object:
    """One key of two pieces: texts are joined, of other things the first counts."""
    if before is None or (isinstance(before, msgspec.Raw) and is_null(before)):
        return value
    if name not in _CONTINUED or is_null(value) or not isinstance(before, msgspec.Raw):
        return before
    return msgspec.Raw(msgspec.json.encode(_text_decoder.decode(before) + _text_decoder.decode(value)))


def _whole_choice(raw: dict[str, msgspec.Raw], choice: Choice, position: int) -> Changes:
    if choice.message is None or choice.finish_reason == "error":
        raise MalformedResponse("GitHub Copilot sent an answer without a message.")
    reason = _reason(choice)
    changes: Changes = {}
    if choice.index != position:
        changes["index"] = position
    if choice.finish_reason != reason:
        changes["finish_reason"] = reason
    given = read_object(raw["message"])
    message = changed(given, _message_changes(given, choice.message, position))
    if message != given:
        changes["message"] = message
    return changed(raw, changes)


def _message_changes(given: Fields, message: Message, choice: int) -> Changes:
    changes: Changes = {}
    if "padding" in given:
        changes["padding"] = DROP
    if "annotations" in given and not starts_with(given["annotations"], b"["):
        changes["annotations"] = DROP  # Copilot's own, an object where the API has a list
    if message.role != "assistant":
        changes["role"] = "assistant"
    if not isinstance(message.content, str) and ("content" not in given or message.content is not None):
        changes["content"] = text_of(message.content)
    calls = [_call_changes(call, f"call_{choice}_{position}") for position, call in enumerate(message.tool_calls or ())]
    if any(calls):
        raws = read_array(given["tool_calls"])
        changes["tool_calls"] = [changed(read_object(raw), call) for raw, call in zip(raws, calls, strict=True)]
    return changes


def _call_changes(call: ToolCall, name: str) -> Changes:
    changes: Changes = {}
    if not call.id:
        changes["id"] = name
    if not call.type:
        changes["type"] = "function"
    function = call.function
    if function is not None and (function.name is None or function.arguments is None):
        changes["function"] = {"name": function.name or "", "arguments": function.arguments or ""}
    return changes
