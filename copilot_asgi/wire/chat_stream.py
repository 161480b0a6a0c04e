"""Chat completion streams on the native route: Copilot's chunks as the OpenAI libraries want them.

Rule: a chunk that is right leaves as it came; only keys that are wrong are written anew. Decoding a chunk into a few
typed fields costs less than looking for its keys in the bytes (half a microsecond against three), and it also shows
that the chunk is whole JSON.
"""

import msgspec

from copilot_asgi.errors import StreamInterrupted
from copilot_asgi.wire.chat_shapes import (
    DROP,
    Changes,
    Choice,
    Chunk,
    Message,
    ToolCall,
    changed,
    finish_reason,
    text_of,
    usage_changes,
    winning_reason,
)
from copilot_asgi.wire.chat_tools import OpenCalls
from copilot_asgi.wire.error_body import parse_error_body
from copilot_asgi.wire.shallow import NOT_JSON, NULL, is_null, read_array, read_object, starts_with
from copilot_asgi.wire.sse import BOM, encode, parse_block
from copilot_asgi.wire.stream import DONE, EventStream, redacted

__all__ = ["ChatStream"]

OBJECT = "chat.completion.chunk"
_OBJECT_FIRST = b'{"object":"chat.completion.chunk",'
_ROLES = frozenset({"developer", "system", "user", "assistant", "tool", None})

_decoder = msgspec.json.Decoder(Chunk)


class _Mend:
    """What is wrong with one choice of a chunk."""

    __slots__ = ("calls", "choice", "delta", "index", "reason")

    def __init__(self, index: int, reason: str | None) -> None:
        self.index = index
        self.reason = reason
        self.choice: Changes = {}
        self.delta: Changes = {}
        self.calls: list[Changes] = []

    def __bool__(self) -> bool:
        return bool(self.choice or self.delta or any(self.calls))


class ChatStream(EventStream):
    """Mend one stream.

    ``choices`` is the client's ``n``. While it is 1, Copilot's further choices are pieces of the one answer: they are
    folded into it, and a finish reason is held back until what follows shows that it was the last.
    Chunks without choices and usage are dropped: clients have no use for filter results and references, and the first
    of them has no id yet, so that an id of ours would be contradicted by the next chunk.
    Complete with ``[DONE]`` after a finish reason; an end without ``[DONE]`` is given one.
    """

    def __init__(self, model: str, *, include_usage: bool, choices: int = 1, created: int, id: str) -> None:
        super().__init__()
        self._identity: dict[str, str | int] = {"id": id, "created": created, "model": model}
        self._is_known = False
        self._include_usage = include_usage
        self._folds = choices == 1
        self._calls: dict[int, OpenCalls] = {}
        self._finished: dict[int, bool] = {}
        self._held: bytes | None = None
        self._reasons: list[str] = []
        self._has_content = False

    def _event(self, name: str, data: bytes, block: bytes) -> list[bytes]:
        if data.strip() == b"[DONE]":
            return self._close(block if data == b"[DONE]" else DONE)
        if name == "error":
            return self._fail(data, _error_block(data, block))
        chunk = _decoder.decode(data)
        if chunk.error is not NULL and not is_null(chunk.error):
            return self._fail(data, _error_block(data, block))
        if not chunk.choices:
            return [] if is_null(chunk.usage) else self._with_usage(chunk, data, block)
        self._answered = True
        if self._held is None and self._is_plain(chunk, chunk.choices):
            return [block if chunk.object is not msgspec.UNSET else encode(_OBJECT_FIRST + data.lstrip()[1:])]
        return self._with_choices(chunk, chunk.choices, data, block)

    def _end(self) -> list[bytes]:
        if self.done:
            return []
        out = self._release()
        if not self._finished or not all(self._finished.values()):
            return super()._end()
        self.done = self.complete = True
        return [*out, DONE]

    def _close(self, done: bytes) -> list[bytes]:
        """The end that upstream announced; a finish reason that it forgot is inferred from a whole answer only."""
        out = self._release()
        missing = [index for index, finished in self._finished.items() if not finished]
        if not self._finished or (missing and not self._is_whole()):
            raise StreamInterrupted("GitHub Copilot ended the stream without an answer.")
        out += [self._finish_chunk(index, "tool_calls" if self._calls.get(index) else "stop") for index in missing]
        self.done = self.complete = True
        return [*out, done]

    def _is_whole(self) -> bool:
        return self._has_content and all(calls.are_whole() for calls in self._calls.values())

    def _with_usage(self, chunk: Chunk, data: bytes, block: bytes) -> list[bytes]:
        out = self._release()
        if not self._include_usage:
            return out
        changes = self._top_changes(chunk)
        if chunk.choices is None:
            changes["choices"] = []
        return [*out, encode(msgspec.json.encode(changed(read_object(data), changes))) if changes else block]

    def _with_choices(self, chunk: Chunk, choices: list[Choice], data: bytes, block: bytes) -> list[bytes]:
        top = self._top_changes(chunk)
        mends = [self._mend(choice, position) for position, choice in enumerate(choices)]
        if not self._folds:
            return [_rewritten(data, top, mends) if top or any(mends) else block]
        if len(choices) == 1:
            return self._hold_back(mends[0].reason, _rewritten(data, top, mends) if top or mends[0] else block)
        out = []
        for position, mend in enumerate(mends):
            usage: Changes = {} if position == len(mends) - 1 else {"usage": DROP}
            out += self._hold_back(mend.reason, _rewritten(data, {**top, **usage}, [mend], first=position))
        return out

    def _is_plain(self, chunk: Chunk, choices: list[Choice]) -> bool:
        """Whether a chunk that is right goes on with a stream that is right so far: 0.2 microseconds instead of 2.5.

        Text, thinking and arguments of tool calls mostly do, and are done with here. That ``object`` is not there, as
        in what some of Copilot's backends send, is no hindrance: it is put in front of the rest.
        """
        choice = choices[0]
        delta = choice.delta
        if delta is None or delta.role not in _ROLES or isinstance(delta.content, list):
            return False
        is_one = len(choices) == 1 and choice.index == 0 and choice.finish_reason is None
        if not (is_one and self._is_known and self._folds and 0 in self._finished and _has_identity(chunk)):
            return False
        if chunk.object != OBJECT and chunk.object is not msgspec.UNSET:
            return False
        has_usage = chunk.usage is not NULL and not is_null(chunk.usage)
        if has_usage or (delta.tool_calls and not self._go_on(delta.tool_calls)):
            return False
        self._has_content = self._has_content or bool(delta.content or delta.refusal or delta.tool_calls)
        return True

    def _go_on(self, fragments: list[ToolCall]) -> bool:
        calls = self._calls.get(0)
        return calls is not None and len(fragments) == 1 and calls.goes_on(fragments[0], choice=0)

    def _hold_back(self, reason: str | None, block: bytes) -> list[bytes]:
        """Pass ``block`` on, unless it ends the answer: another piece may follow, and then it did not."""
        out = [] if self._held is None else [_finishing(self._held, None)]
        self._held = None
        if reason is None:
            return [*out, block]
        self._held = block
        self._reasons.append(reason)
        return out

    def _release(self) -> list[bytes]:
        """The finish reason that was held back, now that nothing follows it."""
        if not self._reasons or self._finished.get(0):
            return []
        reason = winning_reason(self._reasons)
        held, self._held = self._held, None
        self._finished[0] = True
        if held is None:
            return [self._finish_chunk(0, reason)]
        return [held if reason == self._reasons[-1] else _finishing(held, reason)]

    def _finish_chunk(self, index: int, reason: str) -> bytes:
        choice = {"index": index, "delta": {}, "finish_reason": reason}
        return encode(msgspec.json.encode({**self._identity, "object": OBJECT, "choices": [choice]}))

    def _top_changes(self, chunk: Chunk) -> Changes:
        if self._is_known and chunk.object == OBJECT and _has_identity(chunk):
            return usage_changes(chunk.usage)
        changes = usage_changes(chunk.usage)
        if chunk.object != OBJECT:
            changes["object"] = OBJECT
        created = int(chunk.created or 0)
        for name, value in (("id", chunk.id), ("created", created), ("model", chunk.model)):
            if not value:
                changes[name] = self._identity[name]
            elif not self._is_known:
                self._identity[name] = value
        self._is_known = self._is_known or bool(chunk.id and created and chunk.model)
        if created and isinstance(chunk.created, float):
            changes["created"] = created
        return changes

    def _mend(self, choice: Choice, position: int) -> _Mend:
        given = position if choice.index is None else choice.index
        index = 0 if self._folds else given
        mend = _Mend(index, self._reason(choice, index))
        if choice.index != index:
            mend.choice["index"] = index
        if choice.finish_reason != mend.reason:
            mend.choice["finish_reason"] = mend.reason
        self._finished.setdefault(index, False)
        if mend.reason and not self._folds:
            self._finished[index] = True
        self._mend_delta(mend, choice, given)
        return mend

    def _reason(self, choice: Choice, index: int) -> str | None:
        if choice.finish_reason == "error":
            raise StreamInterrupted("GitHub Copilot failed in the middle of the answer.")
        return None if self._finished.get(index) else finish_reason(choice.finish_reason)

    def _mend_delta(self, mend: _Mend, choice: Choice, given: int) -> None:
        delta = choice.delta or choice.message or Message()
        if choice.delta is None:
            mend.choice["message"] = DROP
        if delta.role not in _ROLES:
            mend.delta["role"] = "assistant"
        if isinstance(delta.content, list):
            mend.delta["content"] = text_of(delta.content)
        mend.calls = self._call_changes(delta, mend.index, given)
        self._has_content = self._has_content or bool(text_of(delta.content) or delta.refusal or delta.tool_calls)

    def _call_changes(self, delta: Message, index: int, given: int) -> list[Changes]:
        if not delta.tool_calls:
            return []
        calls = self._calls.setdefault(index, OpenCalls(f"{self._identity['created']}_{index}"))
        return [
            calls.changes(fragment, choice=given, position=position)
            for position, fragment in enumerate(delta.tool_calls)
        ]


def _has_identity(chunk: Chunk) -> bool:
    """Whether a chunk has what all chunks of an answer have in common."""
    return bool(chunk.id and chunk.model) and isinstance(chunk.created, int) and chunk.created != 0


def _rewritten(data: bytes, top: Changes, mends: list[_Mend], *, first: int = 0) -> bytes:
    """The chunk with its mended choices, those from ``first`` on that ``mends`` is about."""
    fields = read_object(data)
    raws = read_array(fields["choices"])[first : first + len(mends)]
    choices = [_mended(raw, mend) for raw, mend in zip(raws, mends, strict=True)]
    return encode(msgspec.json.encode(changed(fields, {**top, "choices": choices})))


def _mended(raw: msgspec.Raw, mend: _Mend) -> Changes:
    fields = read_object(raw)
    text = next((fields[name] for name in ("delta", "message") if name in fields and not is_null(fields[name])), None)
    delta = {} if text is None else read_object(text)
    changes = dict(mend.delta)
    if any(mend.calls):
        calls = zip(read_array(delta["tool_calls"]), mend.calls, strict=True)
        changes["tool_calls"] = [changed(read_object(call), mended) for call, mended in calls]
    return changed(fields, {**mend.choice, "delta": changed(delta, changes)})


def _finishing(block: bytes, reason: str | None) -> bytes:
    """A chunk of one choice with another finish reason."""
    fields = read_object(parse_block(block.removeprefix(BOM))[1])
    choice = read_object(read_array(fields["choices"])[0])
    return encode(msgspec.json.encode({**fields, "choices": [{**choice, "finish_reason": reason}]}))


def _error_block(data: bytes, block: bytes) -> bytes:
    """An error event as the OpenAI libraries recognise it: by an object under the key ``error``."""
    try:
        if starts_with(read_object(data).get("error", NULL), b"{"):
            return redacted(None, data, block)
    except NOT_JSON:
        pass
    error = parse_error_body(data)
    told = {
        "message": error.message or "GitHub Copilot ended the stream with an error.",
        "type": error.type or "server_error",
        "param": error.param,
        "code": error.code,
    }
    return encode(msgspec.json.encode({"error": told}))
