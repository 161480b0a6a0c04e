"""Chat completions on the native route: what a request must not say to Copilot.

Rule: only the top level is looked at, as bytes; ``messages`` is never opened.
"""

import re

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.wire.chat_answer import mend_answer
from copilot_asgi.wire.chat_stream import ChatStream
from copilot_asgi.wire.models import Model
from copilot_asgi.wire.shallow import NOT_JSON, Fields, is_null, read_object

__all__ = ["ChatStream", "Prepared", "limit_field", "mend_answer", "prepare"]

# Names of reasoning models that know max_completion_tokens only: gpt-5 and later, o1 and later. Not gpt-4.1, nor its
# other spellings gpt-41 and gpt-35.
_NEW_LIMIT = re.compile(r"(?:gpt-(?:[5-9]|[12]\d)|o[1-9])(?!\d)")
_COUNT = re.compile(rb"[1-9]\d{0,2}")
_EMPTY_ARRAY = re.compile(rb"\[\s*\]")
_UNSUPPORTED = ("service_tier",)
_TOOL_OPTIONS = ("tools", "tool_choice", "parallel_tool_calls")


class Prepared(msgspec.Struct, frozen=True):
    """Changes to the request's top level, and what the client asked of the answer."""

    changes: dict[str, bytes | None]
    include_usage: bool
    choices: int


def prepare(fields: Fields, *, model: Model, stream: bool) -> Prepared:
    """What Copilot refuses is renamed or left out; a stream is asked for its usage, which we want even if nobody else.

    Raises ``BadRequest`` when ``stream_options`` is not an object.
    """
    changes: dict[str, bytes | None] = {name: None for name, value in fields.items() if is_null(value)}
    changes.update({name: None for name in _UNSUPPORTED if name in fields})
    present = {name: value for name, value in fields.items() if name not in changes}
    changes |= _limit_changes(present, model) | _tool_changes(fields, present)
    asked, options = _stream_options(present)
    if stream and not asked:
        changes["stream_options"] = options
    return Prepared(changes, include_usage=asked, choices=_choices(present))


def limit_field(model: Model) -> str:
    """The one name under which ``model`` takes the limit of its answer.

    Models that take ``max_completion_tokens`` are OpenAI's reasoning models.
    """
    is_new = _NEW_LIMIT.match(model.id) or _NEW_LIMIT.match(model.family)
    return "max_completion_tokens" if is_new else "max_tokens"


def _limit_changes(fields: Fields, model: Model) -> dict[str, bytes | None]:
    if "max_tokens" not in fields and "max_completion_tokens" not in fields:
        return {}
    right = limit_field(model)
    wrong = "max_tokens" if right == "max_completion_tokens" else "max_completion_tokens"
    if wrong not in fields:
        return {}
    if wrong == "max_tokens" and right in fields:
        return {wrong: None}
    return {wrong: None, right: bytes(fields[wrong])}


def _tool_changes(fields: Fields, present: Fields) -> dict[str, bytes | None]:
    """Without tools there is nothing to choose from, and Copilot refuses the choice."""
    tools = present.get("tools")
    if "tools" not in fields or (tools is not None and not _EMPTY_ARRAY.fullmatch(bytes(tools))):
        return {}
    return {name: None for name in _TOOL_OPTIONS if name in fields}


def _stream_options(fields: Fields) -> tuple[bool, bytes]:
    """Whether the client asked for usage, and its options with that asked for."""
    if "stream_options" not in fields:
        return False, b'{"include_usage":true}'
    try:
        options = read_object(fields["stream_options"])
    except NOT_JSON:
        raise BadRequest(
            "The field 'stream_options' must be an object.", code="invalid_type", param="stream_options"
        ) from None
    asked = bytes(options.get("include_usage", b"false")) == b"true"
    return asked, msgspec.json.encode({**options, "include_usage": True})


def _choices(fields: Fields) -> int:
    count = bytes(fields["n"]) if "n" in fields else b""
    return int(count) if _COUNT.fullmatch(count) else 1
