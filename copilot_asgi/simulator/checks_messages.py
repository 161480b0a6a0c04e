"""What ``/v1/messages`` refuses: it takes Anthropic's fields and not one more.

Rule: which keys are allowed where is a table; messages of refusal name the place as Anthropic does.
"""

import re
from collections.abc import Iterator

from copilot_asgi.simulator.access import Object, number, object_of, objects, string
from copilot_asgi.simulator.checks_messages_history import HISTORY_RULES
from copilot_asgi.simulator.rules import Call, Rule, anthropic_error, bare_error

__all__ = ["RULES"]

MAX_BREAKPOINTS = 4
MIN_BUDGET = 1024
EXTRA = "Extra inputs are not permitted"
NAME = re.compile(r"^[a-zA-Z0-9_-]{1,128}$")
TOP_LEVEL = frozenset(
    {
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "output_config",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    }
)
TOOL_KEYS = frozenset({"name", "description", "input_schema", "type", "cache_control", "input_examples", "strict"})
OUTPUT_KEYS = frozenset({"effort", "format"})
FORMAT_KEYS = frozenset({"type", "schema"})
THINKING_KEYS = {
    "enabled": frozenset({"type", "budget_tokens", "display"}),
    "adaptive": frozenset({"type", "display"}),
    "disabled": frozenset({"type"}),
}
# Keys that need their beta header.
BETA_FIELDS = {"context_management": "context-management-2025-06-27"}
BETA_TOOL_KEYS = {"defer_loading": "advanced-tool-use-2025-11-20"}
TOOL_SEARCH = "tool_search_tool_"
ROOT_COMBINERS = ("anyOf", "oneOf", "allOf", "$ref")


def _betas(call: Call) -> set[str]:
    return {flag.strip() for flag in call.request.header("anthropic-beta").split(",")}


def _required(call: Call) -> str | None:
    if not objects(call.fields.get("messages")):
        return "messages: at least one message is required"
    limit = call.fields.get("max_tokens")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        return "max_tokens: Field required" if limit is None else "max_tokens: Input should be a valid integer"
    return None


def _unknown_field(call: Call) -> str | None:
    betas = _betas(call)
    allowed = TOP_LEVEL | {name for name, beta in BETA_FIELDS.items() if beta in betas}
    extra = sorted(set(call.fields) - allowed)
    return f"{extra[0]}: {EXTRA}" if extra else None


def _unknown_nested(call: Call) -> str | None:
    config = object_of(call.fields.get("output_config"))
    thinking = object_of(call.fields.get("thinking"))
    places = (
        ("output_config", config, OUTPUT_KEYS),
        ("output_config.format", object_of(config.get("format")), FORMAT_KEYS),
        ("thinking", thinking, THINKING_KEYS.get(string(thinking.get("type")), frozenset(thinking))),
    )
    extra = (f"{place}.{key}: {EXTRA}" for place, given, allowed in places for key in sorted(set(given) - allowed))
    return next(extra, None)


def _tools(call: Call) -> str | None:
    betas = _betas(call)
    allowed = TOOL_KEYS | {name for name, beta in BETA_TOOL_KEYS.items() if beta in betas}
    for index, tool in enumerate(objects(call.fields.get("tools"))):
        kind = tool.get("type", "custom")
        if kind != "custom":
            if string(kind).startswith(TOOL_SEARCH):
                continue
            return f"tools.{index}: type {kind!r} is not supported"
        extra = sorted(set(tool) - allowed)
        if extra:
            return f"tools.{index}.custom.{extra[0]}: {EXTRA}"
        if not NAME.match(string(tool.get("name"))):
            return f"tools.{index}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
    return None


def _schemas(call: Call) -> str | None:
    for index, tool in enumerate(objects(call.fields.get("tools"))):
        if string(tool.get("type", "custom")) != "custom":
            continue
        schema = object_of(tool.get("input_schema"))
        if schema.get("type") != "object" or any(name in schema for name in ROOT_COMBINERS):
            return f"tools.{index}.custom.input_schema.type: Input should be 'object'"
    return None


def _strict(call: Call) -> str | None:
    strict = any(tool.get("strict") is not None for tool in objects(call.fields.get("tools")))
    formatted = "format" in object_of(call.fields.get("output_config"))
    if not (strict or formatted) or call.model.supports.get("structured_outputs") is True:
        return None
    return "FAILED_PRECONDITION: structured outputs are not supported by this model"


def _sampling(call: Call) -> str | None:
    both = call.fields.get("temperature") is not None and call.fields.get("top_p") is not None
    return "`temperature` and `top_p` cannot both be specified for this model." if both else None


def _thinking(call: Call) -> str | None:
    thinking = object_of(call.fields.get("thinking"))
    match thinking.get("type"):
        case "enabled" if call.model.adaptive_only:
            return "thinking.type: 'enabled' is not supported for this model; use 'adaptive'"
        case "adaptive" if call.model.supports.get("adaptive_thinking") is not True:
            return "adaptive thinking is not supported on this model"
        case "enabled":
            return _budget(number(thinking.get("budget_tokens")), number(call.fields.get("max_tokens")))
        case "adaptive" | "disabled" | None:
            return None
        case other:
            return f"thinking.type: unexpected value {other!r}"


def _budget(budget: float, limit: float) -> str | None:
    if budget < MIN_BUDGET:
        return f"thinking.enabled.budget_tokens: Input should be greater than or equal to {MIN_BUDGET}"
    return "`max_tokens` must be greater than `thinking.budget_tokens`." if budget >= limit else None


def _effort(call: Call) -> str | None:
    config = object_of(call.fields.get("output_config"))
    effort = config.get("effort")
    if effort is not None and not call.model.efforts:
        return "output_config: This model does not support the effort parameter."
    if effort is None or effort in call.model.efforts:
        return None
    return f"output_config.effort: {effort!r} is not supported by this model"


def _forced_thinking(call: Call) -> str | None:
    forced = string(object_of(call.fields.get("tool_choice")).get("type")) in {"any", "tool"}
    return "Thinking may not be enabled when tool_choice forces tool use." if forced and call.prompt.thinking else None


def _cache_controls(value: object, path: str = "") -> Iterator[tuple[str, Object, Object]]:
    """Where each ``cache_control`` is, what it says, and what it is on; schemas are not looked into."""
    if isinstance(value, dict):
        if isinstance(value.get("cache_control"), dict):
            yield f"{path}.cache_control".lstrip("."), value["cache_control"], value
        for key in ("system", "tools", "messages", "content"):
            yield from _cache_controls(value.get(key), f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _cache_controls(item, f"{path}.{index}")


def _breakpoints(call: Call) -> str | None:
    count = sum(1 for _ in _cache_controls(call.fields))
    if count <= MAX_BREAKPOINTS:
        return None
    return f"A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided. Found {count}."


def _cache_scope(call: Call) -> str | None:
    for path, control, _ in _cache_controls(call.fields):
        extra = sorted(set(control) - {"type"})
        if extra:
            return f"{path}.ephemeral.{extra[0]}: {EXTRA}"
    return None


def _cache_place(call: Call) -> str | None:
    for path, _, block in _cache_controls(call.fields):
        if string(block.get("type")) in {"thinking", "redacted_thinking"}:
            return f"{path}: cache_control cannot be set on thinking blocks"
    return None


def _cache_in_result(call: Call) -> str | None:
    nested = re.compile(r"^messages\.\d+\.content\.\d+\.content\.\d+\.cache_control$")
    found = next((path for path, _, _ in _cache_controls(call.fields) if nested.match(path)), None)
    return f"{found}: put cache_control on the tool_result block itself" if found else None


RULES: tuple[Rule[Call], ...] = (
    Rule("required-field", _required, anthropic_error),
    Rule("unknown-field", _unknown_field, anthropic_error),
    Rule("unknown-field", _unknown_nested, anthropic_error),
    Rule("tool-shape", _tools, anthropic_error),
    Rule("tool-schema", _schemas, anthropic_error),
    Rule("structured-output", _strict, anthropic_error),
    Rule("temperature-top-p", _sampling, anthropic_error),
    Rule("thinking", _thinking, anthropic_error),
    Rule("effort", _effort, anthropic_error),
    Rule("forced-thinking", _forced_thinking, anthropic_error),
    Rule("cache-breakpoints", _breakpoints, anthropic_error),
    Rule("cache-control-keys", _cache_scope, anthropic_error),
    Rule("cache-control-thinking", _cache_place, anthropic_error),
    Rule("cache-control-result", _cache_in_result, bare_error),
    *HISTORY_RULES,
)
