"""What ``/responses`` refuses.

Rule: the service keeps no state between calls; whatever points into earlier ones must come from this same account.
"""

from copilot_asgi.simulator.access import Object, number, object_of, objects, string
from copilot_asgi.simulator.issued import Pairing
from copilot_asgi.simulator.rules import Call, Rule, coded
from copilot_asgi.simulator.settings import ItemPairing

__all__ = ["RULES"]

MIN_OUTPUT_TOKENS = 16
# Parameters of other dialects, and what to use instead.
MISPLACED = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "functions": "tools",
    "stop": "nothing",
    "n": "nothing",
    "stream_options": "nothing",
}
TOOL_TYPES = frozenset(
    {"function", "custom", "namespace", "tool_search", "apply_patch", "web_search", "web_search_preview"}
)
# The prefix that short ids of each type of item must have.
ID_PREFIXES = {
    "message": "msg_",
    "function_call": "fc_",
    "custom_tool_call": "ctc_",
    "reasoning": "rs_",
    "function_call_output": "fco_",
    "custom_tool_call_output": "ctco_",
}
CALLS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}


def _items(call: Call) -> list[Object]:
    return objects(call.fields.get("input"))


def _of_type(call: Call, *kinds: str) -> list[Object]:
    return [item for item in _items(call) if item.get("type") in kinds]


def _input(call: Call) -> str | None:
    return None if isinstance(call.fields.get("input"), str | list) else "input: expected a string or an array"


def _misplaced(call: Call) -> str | None:
    wrong = [name for name in MISPLACED if name in call.fields]
    return f"Unsupported parameter: '{wrong[0]}'. Use {MISPLACED[wrong[0]]} instead." if wrong else None


def _store(call: Call) -> str | None:
    return "store: only false is supported" if call.fields.get("store") else None


def _background(call: Call) -> str | None:
    return "background responses are not supported" if call.fields.get("background") else None


def _previous(call: Call) -> str | None:
    given = call.fields.get("previous_response_id")
    return None if given is None else "Previous response was not found."


def _conversation(call: Call) -> str | None:
    given = call.fields.get("conversation")
    return None if given is None else "conversations are not supported"


def _service_tier(call: Call) -> str | None:
    return "service_tier is not supported" if call.fields.get("service_tier") is not None else None


def _temperature(call: Call) -> str | None:
    given = call.fields.get("temperature")
    fixed = bool(call.model.efforts) and given is not None and given != 1
    return "Unsupported parameter: 'temperature' is not supported with this model." if fixed else None


def _effort(call: Call) -> str | None:
    effort = object_of(call.fields.get("reasoning")).get("effort")
    if effort is None or string(effort) in {*call.model.efforts, "low", "medium", "high"} - {"minimal"}:
        return None
    return f"reasoning.effort {effort!r} is not supported by this model"


def _output_tokens(call: Call) -> str | None:
    given = call.fields.get("max_output_tokens")
    small = given is not None and number(given) < MIN_OUTPUT_TOKENS
    return f"max_output_tokens: expected a value >= {MIN_OUTPUT_TOKENS}, got {given}" if small else None


def _tools(call: Call) -> str | None:
    for tool in objects(call.fields.get("tools")):
        kind = string(tool.get("type"))
        if kind not in TOOL_TYPES:
            return f"tools: type {kind!r} is not supported"
        if kind in {"function", "custom", "namespace"} and not tool.get("name"):
            return f"tools: a {kind} needs a name"
        if kind == "namespace" and not (objects(tool.get("tools")) and tool.get("description")):
            return "tools: a namespace needs a description and at least one tool"
    return None


def _references(call: Call) -> str | None:
    return "" if _of_type(call, "item_reference") else None


def _foreign(call: Call) -> str | None:
    ids = [string(item.get("id")) for item in _items(call) if item.get("type") != "reasoning"]
    foreign = [given for given in ids if call.issued.is_opaque(given) and not call.issued.owns_id(call.login, given)]
    return "input item ID does not belong to this connection" if foreign else None


def _id_prefix(call: Call) -> str | None:
    for item in _items(call):
        kind, given = string(item.get("type", "message")), string(item.get("id"))
        prefix = ID_PREFIXES.get(kind, "")
        if given and not call.issued.is_opaque(given) and not given.startswith(prefix):
            return f"Invalid 'input.id': {given[:40]!r}. Expected an ID that begins with '{prefix}'."
    return None


def _sealed(call: Call) -> str | None:
    same_event = call.settings.item_pairing is ItemPairing.EVENT
    for item in _of_type(call, "reasoning"):
        blob, item_id = string(item.get("encrypted_content")), string(item.get("id"))
        if not blob:
            return "Encrypted content is missing: reasoning items need it when nothing is stored."
        match call.issued.pairing(call.login, item_id, blob, same_event=same_event):
            case Pairing.UNKNOWN_BLOB:
                return "Encrypted content could not be decrypted or parsed."
            case Pairing.DIFFERENT:
                return "Encrypted content item_id did not match the target item id."
            case Pairing.MATCHING:
                pass
    return None


def _pairs(call: Call) -> str | None:
    """Each call needs an output somewhere, and each output a call."""
    asked = {string(item.get("call_id")) for item in _of_type(call, *CALLS)}
    answered = {string(item.get("call_id")) for item in _of_type(call, *CALLS.values())}
    if asked - answered:
        return f"No tool output found for function call {min(asked - answered)}."
    orphans = answered - asked
    return f"No tool call found for function call output with call_id {min(orphans)}." if orphans else None


def _namespaces(call: Call) -> str | None:
    inside = {
        string(tool.get("name"))
        for group in objects(call.fields.get("tools"))
        if group.get("type") == "namespace"
        for tool in objects(group.get("tools"))
    }
    lost = [
        item
        for item in _of_type(call, "function_call")
        if string(item.get("name")) in inside and not item.get("namespace")
    ]
    return f"Missing namespace for function_call '{lost[0].get('name')}'" if lost else None


RULES: tuple[Rule[Call], ...] = (
    Rule("input", _input, coded("invalid_request_body", param="input")),
    Rule("misplaced-field", _misplaced, coded("unsupported_parameter")),
    Rule("store", _store, coded("unsupported_value", param="store")),
    Rule("background", _background, coded("unsupported_value", param="background")),
    Rule("previous-response", _previous, coded("previous_response_not_found", param="previous_response_id")),
    Rule("conversation", _conversation, coded("unsupported_parameter", param="conversation")),
    Rule("service-tier", _service_tier, coded("unsupported_value", param="service_tier")),
    Rule("sampling-reasoning", _temperature, coded("unsupported_parameter", param="temperature")),
    Rule("reasoning-effort", _effort, coded("unsupported_value", param="reasoning.effort")),
    Rule("output-tokens", _output_tokens, coded("integer_below_min_value", param="max_output_tokens")),
    Rule("tool-type", _tools, coded("unsupported_value", param="tools")),
    Rule("item-reference", _references, coded("not_found", status=404)),
    Rule("foreign-item", _foreign, coded("", status=401)),
    Rule("item-id", _id_prefix, coded("invalid_value", param="input")),
    Rule("encrypted-content", _sealed, coded("invalid_encrypted_content")),
    Rule("tool-pairs", _pairs, coded("invalid_request_body", param="input")),
    Rule("namespace", _namespaces, coded("invalid_request_body", param="input")),
)
