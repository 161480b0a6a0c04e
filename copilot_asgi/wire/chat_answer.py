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
from copilot_asgi.wire.shallow import NOT_JSON, NULL, is_null, read_array, read_object, starts_with

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
    wanted: Changes = {**identity, "object": OBJECT}
    changes = usage_changes(answer.usage)
    changes |= {name: value for name, value in wanted.items() if value != getattr(answer, name)}
    if not answer.choices:
        return msgspec.json.encode(changed(read_object(body), {**changes, "choices": [_spent(answer)]}))
    mends = [_mend_choice(choice, position) for position, choice in enumerate(answer.choices)]
    fold = fold and len(mends) > 1
    if not changes and not fold and not any(any(mend) for mend in mends):
        return body
    fields = read_object(body)
    raws = read_array(fields["choices"])
    whole = [_mended(raw, *mend) for raw, mend in zip(raws, mends, strict=True)]
    choices = [_folded(whole, answer.choices)] if fold else whole
    return msgspec.json.encode(changed(fields, {**changes, "choices": choices}))


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


def _mend_choice(choice: Choice, position: int) -> tuple[Changes, Changes, list[Changes]]:
    """What is to be changed in the choice, in its message, and in each tool call, if any is."""
    if choice.message is None or choice.finish_reason == "error":
        raise MalformedResponse("GitHub Copilot sent an answer without a message.")
    reason = _reason(choice)
    changes: Changes = {}
    if choice.index != position:
        changes["index"] = position
    if choice.finish_reason != reason:
        changes["finish_reason"] = reason
    tool_calls = choice.message.tool_calls or ()
    calls = [_call_changes(call, f"call_{position}_{number}") for number, call in enumerate(tool_calls)]
    return changes, _message_changes(choice.message), calls if any(calls) else []


def _message_changes(message: Message) -> Changes:
    changes: Changes = {}
    if message.padding is not NULL:
        changes["padding"] = DROP
    if message.annotations is not NULL and not starts_with(message.annotations, b"["):
        changes["annotations"] = DROP  # Copilot's own, an object where the API has a list
    if message.role != "assistant":
        changes["role"] = "assistant"
    if not isinstance(message.content, str) and message.content is not None:
        changes["content"] = text_of(message.content)
    return changes


def _mended(choice: msgspec.Raw, changes: Changes, message_changes: Changes, calls: list[Changes]) -> Changes:
    fields = read_object(choice)
    if not message_changes and not calls:
        return changed(fields, changes)
    message = read_object(fields["message"])
    if calls:
        raws = zip(read_array(message["tool_calls"]), calls, strict=True)
        message_changes = {**message_changes, "tool_calls": [changed(read_object(raw), call) for raw, call in raws]}
    return changed(fields, {**changes, "message": changed(message, message_changes)})


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
