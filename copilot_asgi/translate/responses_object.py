"""The response object: what a Responses answer says about itself and repeats of its request.

Rule: every key that the SDKs insist on is there, and nothing claims to be stored.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.translate.conversation import Conversation
from copilot_asgi.translate.events import Finish, Usage
from copilot_asgi.wire.shallow import NULL, read_array, read_object

__all__ = ["IN_PROGRESS", "Outcome", "outcome_of", "response_object"]


class Outcome(msgspec.Struct, frozen=True):
    """How an answer stands: its status, and why it is incomplete."""

    status: str
    reason: str = ""


IN_PROGRESS = Outcome("in_progress")
_CUT = Outcome("incomplete", "max_output_tokens")
_DEFAULTS: Mapping[str, bytes] = MappingProxyType(
    {
        "instructions": b"null",
        "max_output_tokens": b"null",
        "metadata": b"{}",
        "parallel_tool_calls": b"true",
        "reasoning": b'{"effort":null,"summary":null}',
        "temperature": b"null",
        "text": b'{"format":{"type":"text"}}',
        "tool_choice": b'"auto"',
        "tools": b"[]",
        "top_p": b"null",
        "truncation": b'"disabled"',
        "user": b"null",
    }
)


def outcome_of(reason: Finish, *, refused: bool) -> Outcome:
    """How an answer that ended for ``reason`` stands; ``refused``: the refusal is part of its output."""
    if reason in {Finish.LENGTH, Finish.CONTEXT_FULL}:
        return _CUT
    if reason is Finish.FILTER and not refused:
        return Outcome("incomplete", "content_filter")
    return Outcome("completed")


def response_object(
    conversation: Conversation,
    outcome: Outcome,
    *,
    id: str,
    created: int,
    output: list[object],
    usage: Usage | None,
) -> dict[str, object]:
    """The response as it is now; ``usage`` is known at its end only."""
    echo = {name: msgspec.Raw(value) for name, value in {**_DEFAULTS, **conversation.echo}.items()}
    return {
        "id": id,
        "object": "response",
        "created_at": created,
        "status": outcome.status,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": outcome.reason} if outcome.reason else None,
        "model": conversation.model,
        "output": output,
        **echo,
        "tools": [_echoed(tool) for tool in read_array(echo["tools"])],
        "previous_response_id": None,
        "store": False,
        "usage": None if usage is None else _usage(usage),
    }


def _echoed(tool: msgspec.Raw) -> object:
    """A function with the keys that it must have in an answer, though it may lack them in a request."""
    fields = read_object(tool)
    return {"parameters": NULL, "strict": NULL, **fields} if bytes(fields.get("type", NULL)) == b'"function"' else tool


def _usage(usage: Usage) -> dict[str, object]:
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }
