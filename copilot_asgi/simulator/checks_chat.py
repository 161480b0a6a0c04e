"""What ``/chat/completions`` refuses.

Rule: one function a rule; they look at the request alone and say what is wrong with it, or nothing.
"""

import re
from collections.abc import Iterator
from itertools import takewhile

from copilot_asgi.simulator.access import Object, object_of, objects, string
from copilot_asgi.simulator.catalog import Family
from copilot_asgi.simulator.rules import Call, Rule, coded

__all__ = ["RULES"]

MAX_TOOLS = 128
NAME = re.compile(r"^[a-zA-Z0-9_-]+$")
REASONING_GENERATION = (5, 0)
NO_EFFORT_WITH_TOOLS = (5, 4)
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_CHOICES = frozenset({"auto", "none", "required"})
_FINISHED_SAMPLING = {"temperature": 1, "top_p": 1}


def _messages(call: Call) -> list[Object]:
    return objects(call.fields.get("messages"))


def _bad_messages(call: Call) -> str | None:
    given = call.fields.get("messages")
    if not isinstance(given, list) or not given:
        return "messages: a list with at least one message is required"
    roles = [string(object_of(message).get("role")) for message in given]
    unknown = [role for role in roles if role not in _ROLES]
    return f"messages: unknown role {unknown[0]!r}" if unknown else None


def _max_tokens(call: Call) -> str | None:
    if call.model.generation < REASONING_GENERATION or call.fields.get("max_tokens") is None:
        return None
    return "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."


def _stop(call: Call) -> str | None:
    if call.model.generation < REASONING_GENERATION or call.fields.get("stop") is None:
        return None
    return "Unsupported parameter: 'stop' is not supported with this model."


def _sampling(call: Call) -> str | None:
    if call.model.generation < REASONING_GENERATION:
        return None
    for name, default in _FINISHED_SAMPLING.items():
        given = call.fields.get(name)
        if given is not None and given != default:
            return f"Unsupported value: '{name}' does not support {given} with this model."
    return None


def _service_tier(call: Call) -> str | None:
    return "service_tier is not supported" if call.fields.get("service_tier") is not None else None


def _tool_choice(call: Call) -> str | None:
    choice = call.fields.get("tool_choice")
    if choice is None or string(choice) in _CHOICES:
        return None
    name = string(object_of(object_of(choice).get("function")).get("name"))
    if object_of(choice).get("type") != "function" or not name:
        return "tool_choice: expected auto, none, required or a function"
    known = {tool.name for tool in call.prompt.tools}
    return None if name in known else f"tool_choice: function {name!r} is not among the tools"


def _tool_count(call: Call) -> str | None:
    count = len(objects(call.fields.get("tools")))
    return f"tools: {count} tools given, at most {MAX_TOOLS} are allowed" if count > MAX_TOOLS else None


def _tool_shape(call: Call) -> str | None:
    for tool in objects(call.fields.get("tools")):
        name = string(object_of(tool.get("function")).get("name"))
        if tool.get("type") != "function" or not NAME.match(name):
            return f"tools: {name!r} is no function whose name matches ^[a-zA-Z0-9_-]+$"
    return None


def _calls_of(message: Object) -> list[Object]:
    return objects(message.get("tool_calls"))


def _tool_pairs(call: Call) -> str | None:
    """Each call needs a result right behind it, and each result a call."""
    messages = _messages(call)
    for index, message in enumerate(messages):
        behind = takewhile(lambda item: item.get("role") == "tool", messages[index + 1 :])
        answered = {string(item.get("tool_call_id")) for item in behind}
        missing = {string(item.get("id")) for item in _calls_of(message)} - answered
        if missing:
            return f"tool_use ids were found without tool_result blocks immediately after: {', '.join(sorted(missing))}"
    asked = {string(item.get("id")) for message in messages for item in _calls_of(message)}
    orphans = [m for m in messages if m.get("role") == "tool" and string(m.get("tool_call_id")) not in asked]
    return "messages with role 'tool' must be a response to a preceding message with 'tool_calls'" if orphans else None


def _tool_ids(call: Call) -> str | None:
    if call.model.family is not Family.CLAUDE:
        return None
    ids = [string(item.get("id")) for message in _messages(call) for item in _calls_of(message)]
    bad = [given for given in ids if not NAME.match(given)]
    return f"tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$', got {bad[0]!r}" if bad else None


def _call_type(call: Call) -> str | None:
    kinds = [item.get("type") for message in _messages(call) for item in _calls_of(message)]
    return "tool_calls: type must be 'function'" if any(kind != "function" for kind in kinds) else None


def _assistant_content(call: Call) -> str | None:
    if call.model.family is not Family.CLAUDE:
        return None
    parts = [m for m in _messages(call) if m.get("role") == "assistant" and isinstance(m.get("content"), list)]
    return "assistant content must be a string for this model" if parts else None


def _image_urls(call: Call) -> Iterator[str]:
    for message in _messages(call):
        for part in objects(message.get("content")):
            if part.get("type") == "image_url":
                yield string(object_of(part.get("image_url")).get("url"))


def _tool_image(call: Call) -> str | None:
    inside = [
        part
        for message in _messages(call)
        if message.get("role") == "tool"
        for part in objects(message.get("content"))
        if part.get("type") != "text"
    ]
    return "messages with role 'tool' may hold text only" if inside else None


def _image_type(call: Call) -> str | None:
    bad = [url for url in _image_urls(call) if not url.startswith(("data:image/", "https://", "http://"))]
    return "image_url: a data URL with a media type is required" if bad else None


def _reasoning_effort(call: Call) -> str | None:
    effort = call.fields.get("reasoning_effort")
    if effort is None:
        return None
    if call.model.generation >= NO_EFFORT_WITH_TOOLS and call.prompt.tools:
        return "Function tools with reasoning_effort are not supported for this model on /chat/completions."
    allowed = call.model.efforts or (("low", "medium", "high") if call.model.generation >= REASONING_GENERATION else ())
    return None if effort in allowed else f"reasoning_effort {effort!r} is not supported by this model"


def _thought_signature(call: Call) -> str | None:
    """Gemini wants the sealed thoughts back that came with its calls."""
    if call.model.family is not Family.GEMINI:
        return None
    for message in _messages(call):
        sealed = [item for item in _calls_of(message) if call.issued.is_sealed_call(string(item.get("id")))]
        if sealed and not message.get("reasoning_opaque"):
            return "Function call is missing a thought_signature: reasoning_opaque did not come back"
    return None


RULES: tuple[Rule[Call], ...] = (
    Rule("messages", _bad_messages, coded("invalid_request_body")),
    Rule("max-tokens-gpt5", _max_tokens, coded("invalid_request_body", param="max_tokens")),
    Rule("stop-gpt5", _stop, coded("invalid_request_body", param="stop")),
    Rule("sampling-gpt5", _sampling, coded("invalid_request_body")),
    Rule("service-tier", _service_tier, coded("invalid_request_body", param="service_tier")),
    Rule("tool-choice", _tool_choice, coded("invalid_request_body", param="tool_choice")),
    Rule("tool-count", _tool_count, coded("invalid_request_body", param="tools")),
    Rule("tool-shape", _tool_shape, coded("invalid_request_body", param="tools")),
    Rule("tool-pairs", _tool_pairs, coded("invalid_request_body")),
    Rule("tool-id", _tool_ids, coded("invalid_request_body")),
    Rule("tool-call-type", _call_type, coded("invalid_request_body")),
    Rule("assistant-content", _assistant_content, coded("invalid_request_body")),
    Rule("tool-image", _tool_image, coded("invalid_request_body")),
    Rule("image-type", _image_type, coded("invalid_request_body")),
    Rule("reasoning-effort", _reasoning_effort, coded("invalid_reasoning_effort", param="reasoning_effort")),
    Rule("thought-signature", _thought_signature, coded("invalid_request_body")),
)
