"""What ``/v1/messages`` refuses in the conversation itself: order, pairs, signatures, pictures.

Rule: blocks are judged where they stand; each message of refusal names that place.
"""

import re
from collections.abc import Iterator

from copilot_asgi.simulator.access import Object, object_of, objects, string
from copilot_asgi.simulator.rules import Call, Rule, anthropic_error, bare_error

__all__ = ["HISTORY_RULES"]

SYSTEM_BETA = "mid-conversation-system-2026-04-07"
IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
TOOL_ID = re.compile(r"^[a-zA-Z0-9_-]+$")


def _messages(call: Call) -> list[Object]:
    return objects(call.fields.get("messages"))


def _blocks(call: Call) -> Iterator[tuple[str, Object]]:
    """Every content block and its place, those inside tool results too."""
    for index, message in enumerate(_messages(call)):
        for number, block in enumerate(objects(message.get("content"))):
            place = f"messages.{index}.content.{number}"
            yield place, block
            if block.get("type") == "tool_result":
                for inner, part in enumerate(objects(block.get("content"))):
                    yield f"{place}.content.{inner}", part


def _of_type(call: Call, *kinds: str) -> Iterator[tuple[str, Object]]:
    return ((place, block) for place, block in _blocks(call) if block.get("type") in kinds)


def _roles(call: Call) -> str | None:
    allowed = {"user", "assistant"}
    if SYSTEM_BETA in call.request.header("anthropic-beta"):
        allowed.add("system")
    for index, message in enumerate(_messages(call)):
        if string(message.get("role")) not in allowed:
            return f"messages.{index}.role: Input should be 'user' or 'assistant'"
    return None


def _first(call: Call) -> str | None:
    spoken = [message for message in _messages(call) if message.get("role") != "system"]
    assistant = bool(spoken) and spoken[0].get("role") == "assistant"
    return 'messages: first message must use the "user" role' if assistant else None


def _prefill(call: Call) -> str | None:
    messages = _messages(call)
    if not messages or messages[-1].get("role") != "assistant":
        return None
    return "This model does not support assistant message prefill. The conversation must end with a user message."


def _empty_text(call: Call) -> str | None:
    places = [place for place, block in _of_type(call, "text") if not string(block.get("text")).strip()]
    bare = [index for index, message in enumerate(_messages(call)) if message.get("content") == ""]
    if places:
        return f"{places[0]}: text content blocks must contain non-whitespace text"
    return f"messages.{bare[0]}: messages must have non-empty content" if bare else None


def _signatures(call: Call) -> str | None:
    for place, block in _of_type(call, "thinking", "redacted_thinking"):
        key = "signature" if block.get("type") == "thinking" else "data"
        if not call.issued.is_signature(string(block.get(key))):
            return f"{place}: Invalid `{key}` in `{block.get('type')}` block"
    return None


def _image_url(call: Call) -> str | None:
    for place, block in _of_type(call, "image"):
        source = object_of(block.get("source"))
        if source.get("type") != "base64":
            return f"{place}.image.source: only base64 images are supported"
        if string(source.get("media_type")) not in IMAGE_TYPES:
            return f"{place}.image.source.base64.media_type: unexpected value {source.get('media_type')!r}"
    return None


def _documents(call: Call) -> str | None:
    refused = [
        place
        for place, block in _of_type(call, "document")
        if string(object_of(block.get("source")).get("type")) in {"file", "url"}
    ]
    return f"{refused[0]}.document.source: this source is not supported" if refused else None


def _tool_ids(call: Call) -> str | None:
    for place, block in _of_type(call, "tool_use"):
        if not TOOL_ID.match(string(block.get("id"))):
            return f"{place}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
    return None


def _ids(message: Object, kind: str, key: str) -> list[str]:
    return [string(block.get(key)) for block in objects(message.get("content")) if block.get("type") == kind]


def _pairs(call: Call) -> str | None:
    """The message after a call holds its results; a result follows its call."""
    messages = _messages(call)
    for index, message in enumerate(messages):
        asked = _ids(message, "tool_use", "id")
        following = messages[index + 1] if index + 1 < len(messages) else {}
        missing = [given for given in asked if given not in _ids(following, "tool_result", "tool_use_id")]
        if missing:
            return (
                f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(missing)}."
            )
    return _orphans(messages)


def _orphans(messages: list[Object]) -> str | None:
    for index, message in enumerate(messages):
        before = _ids(messages[index - 1], "tool_use", "id") if index else []
        lost = [given for given in _ids(message, "tool_result", "tool_use_id") if given not in before]
        if lost:
            return f"messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks: {lost[0]}."
    return None


def _tool_references(call: Call) -> str | None:
    known = {string(tool.get("name")) for tool in objects(call.fields.get("tools"))}
    for _, block in _of_type(call, "tool_reference"):
        name = string(block.get("tool_name"))
        if name not in known:
            return f"Tool reference '{name}' not found in available tools"
    return None


HISTORY_RULES: tuple[Rule[Call], ...] = (
    Rule("role", _roles, anthropic_error),
    Rule("first-turn", _first, anthropic_error),
    Rule("prefill", _prefill, anthropic_error),
    Rule("empty-text", _empty_text, anthropic_error),
    Rule("thinking-signature", _signatures, anthropic_error),
    Rule("image-source", _image_url, anthropic_error),
    Rule("document-source", _documents, anthropic_error),
    Rule("tool-id", _tool_ids, anthropic_error),
    Rule("tool-pairs", _pairs, bare_error),
    Rule("tool-reference", _tool_references, anthropic_error),
)
