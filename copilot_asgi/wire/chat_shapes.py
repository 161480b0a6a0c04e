"""The parts of chat completions that are looked at, typed: decoding into them is also the proof that the JSON is sound.

Rule: what is not named here is never decoded; what upstream leaves out is ``None``. The garbage collector need not know
of shapes that hold no cycles, which makes decoding a chunk an eighth faster.
"""

from collections.abc import Mapping

import msgspec

from copilot_asgi.wire.shallow import NOT_JSON, NULL, is_null, read_object

__all__ = [
    "DROP",
    "FINISH_REASONS",
    "Changes",
    "Choice",
    "Chunk",
    "Message",
    "Part",
    "ToolCall",
    "ToolFunction",
    "changed",
    "completion_tokens",
    "finish_reason",
    "text_of",
    "usage_changes",
    "winning_reason",
]

Changes = dict[str, object]
"""New values by key; ``DROP`` takes the key out."""

DROP = msgspec.UNSET

FINISH_REASONS = ("length", "content_filter", "tool_calls", "function_call", "stop")
"""Those that clients know, the one that wins over the others first: half a tool call must not look like a whole one."""

_OTHER_NAMES = {
    "": None,
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
_LARGEST_COUNT = 2**53 - 1  # what a client in JavaScript can hold


class ToolFunction(msgspec.Struct, gc=False):
    """Name and a piece of the arguments."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct, gc=False):
    """A tool call, or a fragment of one."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: ToolFunction | None = None


class Part(msgspec.Struct, gc=False):
    """Content that some models send as a list of typed parts."""

    type: str = ""
    text: str = ""


class Message(msgspec.Struct, gc=False):
    """A whole message, or what one chunk adds to it."""

    role: str | None = None
    content: str | list[Part] | msgspec.UnsetType | None = msgspec.UNSET
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    padding: msgspec.Raw = NULL
    annotations: msgspec.Raw = NULL


class Choice(msgspec.Struct, gc=False):
    """One choice, of a whole answer (``message``) or of a chunk (``delta``)."""

    index: int | None = None
    finish_reason: str | None = None
    delta: Message | None = None
    message: Message | None = None


class Chunk(msgspec.Struct, gc=False):
    """A chunk or a whole answer; ``type`` is that of an Anthropic message in its place."""

    object: str | msgspec.UnsetType | None = msgspec.UNSET
    id: str | None = None
    created: int | float | None = None
    model: str | None = None
    choices: list[Choice] | None = None
    usage: msgspec.Raw = NULL
    error: msgspec.Raw = NULL
    type: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


_usage_decoder = msgspec.json.Decoder(_Usage)


def finish_reason(reason: str | None) -> str | None:
    """``reason`` as a client knows it; an unknown one is a natural end."""
    if reason is None or reason in FINISH_REASONS:
        return reason
    return _OTHER_NAMES.get(reason, "stop")


def winning_reason(reasons: list[str]) -> str:
    """The one reason for an answer whose pieces ended with several."""
    return min(reasons, key=FINISH_REASONS.index)


def changed(fields: Mapping[str, object], changes: Changes) -> Changes:
    """``fields`` with ``changes`` applied."""
    return {name: value for name, value in {**fields, **changes}.items() if value is not DROP}


def text_of(content: str | list[Part] | msgspec.UnsetType | None) -> str | None:
    """Content as one text, or ``None``."""
    if isinstance(content, list):
        return "".join(part.text for part in content)
    return content if isinstance(content, str) else None


def completion_tokens(usage: msgspec.Raw) -> int:
    """How many tokens the model wrote, thinking included; 0 when ``usage`` does not say."""
    try:
        found = _usage_decoder.decode(usage)
    except NOT_JSON:
        return 0
    return found.completion_tokens or 0


def usage_changes(usage: msgspec.Raw) -> Changes:
    """The change to a chunk or answer that gives ``usage`` the three counts clients insist on, none of them absurd.

    Empty when there is nothing to mend; a usage that cannot be read is dropped.
    """
    if is_null(usage):
        return {}
    try:
        found = _usage_decoder.decode(usage)
    except NOT_JSON:
        return {"usage": DROP}
    given = (found.prompt_tokens, found.completion_tokens, found.total_tokens)
    if all(count is not None and 0 <= count <= _LARGEST_COUNT for count in given):
        return {}
    counts = {name: min(max(getattr(found, name) or 0, 0), _LARGEST_COUNT) for name in _COUNTS}
    if found.total_tokens is None:
        counts["total_tokens"] = counts["prompt_tokens"] + counts["completion_tokens"]
    wrong = {name: count for name, count in counts.items() if count != getattr(found, name)}
    return {"usage": {**read_object(usage), **wrong}} if wrong else {}
