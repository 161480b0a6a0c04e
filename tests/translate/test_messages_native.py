"""A native Messages request keeps every byte that Copilot takes, and loses only what it would refuse."""

import json

import msgspec
import pytest

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.conversation import Seal, SealOrigin
from copilot_asgi.translate.messages_native import prepare_native
from copilot_asgi.translate.seals import wrap
from copilot_asgi.wire.models import Model
from copilot_asgi.wire.shallow import read_object

MARK = {"type": "ephemeral"}
RICH_MARK = {"type": "ephemeral", "ttl": "1h", "scope": "global"}
HELLO = {"role": "user", "content": "hello"}
SCHEMA = {"type": "object", "properties": {}}
ENVELOPE = wrap(Seal(SealOrigin.RESPONSES, "gAAA", id="rs_1"))
EFFORTS = ["low", "medium", "high"]
ADAPTS = {
    "adaptive_thinking": True,
    "reasoning_effort": EFFORTS,
    "min_thinking_budget": 1024,
    "max_thinking_budget": 32000,
}
BUDGETS = {"min_thinking_budget": 1024, "max_thinking_budget": 32000}
SYSTEM_BETA = "mid-conversation-system-2026-04-07"


def model(**supports: object) -> Model:
    able = {"structured_outputs": True, **supports}
    return msgspec.convert({"id": "claude-y", "capabilities": {"supports": able}}, Model)


def prepare(*messages: object, on: Model | None = None, betas: tuple[str, ...] = (), **fields: object) -> dict:
    body = {"model": "m", "max_tokens": 32_000, "messages": list(messages) or [HELLO], **fields}
    changes = prepare_native(read_object(json.dumps(body).encode()), on or model(**ADAPTS), betas=betas)
    return {name: value and json.loads(value) for name, value in changes.items()}


def user(*blocks: object) -> dict:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: object) -> dict:
    return {"role": "assistant", "content": list(blocks)}


def text(words: str, **fields: object) -> dict:
    return {"type": "text", "text": words, **fields}


def result(content: object, **fields: object) -> dict:
    return {"type": "tool_result", "tool_use_id": "t", "content": content, **fields}


UNTOUCHED = [
    {},
    {"something_new": {"a": 1}},
    {"system": "be brief", "temperature": 0.5, "stop_sequences": ["x"]},
    {"system": [text("be brief", cache_control=MARK)]},
    {"tools": [{"name": "f", "input_schema": SCHEMA, "strict": True, "cache_control": MARK}]},
    {"messages": [user(text('says "system" and \\"cache_control\\"'))]},
    {"messages": [user(text("a", cache_control=MARK)), assistant(text("b", cache_control=MARK)), user(text("c"))]},
    {"messages": [HELLO, assistant({"type": "thinking", "thinking": "", "signature": "sig"}), HELLO]},
    {"messages": [HELLO, assistant({"type": "redacted_thinking", "data": "r"}), HELLO]},
    {
        "messages": [
            HELLO,
            assistant({"type": "tool_use", "id": "t", "name": "f", "input": {"system": "thinking"}}),
            user(result("r")),
        ]
    },
    {"messages": [user(result([text("a")], cache_control=MARK))]},
    {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "high"}},
    {"thinking": {"type": "disabled"}},
    {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    {"thinking": {"type": "brand_new"}, "output_config": {"effort": "brand_new"}},
]


@pytest.mark.parametrize("fields", UNTOUCHED)
def test_untouched(fields):
    """A request that Copilot takes goes on as the bytes that came, also keys that nobody here knows."""
    assert prepare(**fields) == {}


REFUSED_KEYS = ["container", "diagnostics", "inference_geo", "mcp_servers", "service_tier", "speed", "fallbacks"]


@pytest.mark.parametrize("name", REFUSED_KEYS)
def test_refused_keys(name):
    """Keys that Copilot takes for extra inputs are left out."""
    assert prepare(**{name: {"a": 1}}) == {name: None}


def test_null_is_absent():
    """A key whose value is ``null`` is left out."""
    assert prepare(tools=None, tool_choice=None, cache_control=None) == dict.fromkeys(
        ("tools", "tool_choice", "cache_control")
    )


def test_keys_of_a_beta():
    """A key of a beta goes where the beta goes."""
    assert prepare(context_management={"edits": []}) == {"context_management": None}
    assert prepare(context_management={"edits": []}, betas=("context-management-2025-06-27",)) == {}


def test_tools():
    """Keys of tools that Copilot refuses go, as does ``$schema``; the schema is otherwise the client's."""
    schema = {"$schema": "x", **SCHEMA}
    extras = {"eager_input_streaming": True, "allowed_callers": ["direct"], "defer_loading": True}
    tools = [{"name": "f", "input_schema": schema, "cache_control": RICH_MARK, **extras}, {"type": "bash_20250124"}]
    told = prepare(tools=tools)
    assert told == {"tools": [{"name": "f", "input_schema": SCHEMA, "cache_control": MARK}, {"type": "bash_20250124"}]}
    deferred = prepare(tools=tools, betas=("advanced-tool-use-2025-11-20",))["tools"][0]
    assert deferred["defer_loading"] is True


def test_structured_outputs():
    """Without structured outputs in the catalog neither ``strict`` nor a schema for the answer is sent."""
    config = {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}
    told = prepare(
        tools=[{"name": "f", "strict": True}], output_config=config, on=model(**ADAPTS, structured_outputs=None)
    )
    assert told == {"tools": [{"name": "f"}], "output_config": {"effort": "low"}}


def test_format_of_the_beta():
    """The beta's name of the schema becomes today's."""
    wanted = {"type": "json_schema", "schema": SCHEMA}
    assert prepare(output_format=wanted) == {"output_format": None, "output_config": {"format": wanted}}


MARKS = [
    (text("a", cache_control=RICH_MARK), text("a", cache_control=MARK)),
    (text("a", cache_control=None), text("a")),
    (result([text("a", cache_control=RICH_MARK)]), result([text("a")], cache_control=MARK)),
    (result([text("a", cache_control=MARK)], cache_control=MARK), result([text("a")], cache_control=MARK)),
    (
        {"type": "thinking", "thinking": "a", "signature": "s", "cache_control": MARK},
        {"type": "thinking", "thinking": "a", "signature": "s"},
    ),
]


@pytest.mark.parametrize(("block", "expected"), MARKS)
def test_marks(block, expected):
    """A mark is plain, on the block itself, and not on thinking."""
    told = prepare(user(block, text("end", cache_control=RICH_MARK)))
    assert told == {"messages": [user(expected, text("end", cache_control=MARK))]}


def test_at_most_four_marks():
    """Of more than four marks the earliest of the conversation go."""
    tools, system = [{"name": "f", "cache_control": MARK}], [text("s", cache_control=MARK)]
    told = prepare(*(user(text(f"q{at}", cache_control=MARK)) for at in range(4)), tools=tools, system=system)
    assert list(told) == ["messages"]
    assert ["cache_control" in message["content"][0] for message in told["messages"]] == [False, False, True, True]


MARKED_AT_THE_TOP = [
    ([HELLO], [user(text("hello", cache_control=MARK))]),
    ([user(text("a"), text("b"))], [user(text("a"), text("b", cache_control=MARK))]),
    ([user(text("a", cache_control=MARK))], None),
    (
        [user(text("a")), assistant({"type": "thinking", "thinking": "a", "signature": "s"}), user()],
        [
            user(text("a", cache_control=MARK)),
            assistant({"type": "thinking", "thinking": "a", "signature": "s"}),
            user(),
        ],
    ),
    ([{"role": "user"}], None),
]


@pytest.mark.parametrize(("messages", "expected"), MARKED_AT_THE_TOP)
def test_mark_at_the_top(messages, expected):
    """The automatic mark is put where Anthropic would: on the last block that takes one."""
    told = prepare(*messages, cache_control=RICH_MARK)
    assert told == {"cache_control": None, **({"messages": expected} if expected else {})}


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "a"},
        {"type": "thinking", "thinking": "a", "signature": ""},
        {"type": "thinking", "thinking": "a", "signature": ENVELOPE},
        {"type": "redacted_thinking", "data": ENVELOPE},
    ],
)
def test_foreign_thinking(block):
    """Thinking that Anthropic did not sign is left out, and a turn of nothing else with it."""
    assert prepare(HELLO, assistant(block, text("a")), HELLO) == {"messages": [HELLO, assistant(text("a")), HELLO]}
    assert prepare(HELLO, assistant(block), HELLO) == {"messages": [HELLO, HELLO]}


INSTRUCTION = {"role": "system", "content": [text("two", cache_control=MARK)], "output_config": {"effort": "low"}}
LIFTED = text("two", cache_control=MARK)


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ({}, [LIFTED]),
        ({"system": "one"}, [text("one"), LIFTED]),
        ({"system": " "}, [LIFTED]),
        ({"system": [text("one")]}, [text("one"), LIFTED]),
        ({"system": [text("one", cache_control=MARK)]}, [text("one", cache_control=MARK), LIFTED]),
    ],
)
def test_instructions_in_the_middle(system, expected):
    """Instructions among the messages join the others, for Copilot refuses them there without the beta."""
    assert prepare(HELLO, INSTRUCTION, HELLO, **system) == {"messages": [HELLO, HELLO], "system": expected}


def test_instructions_as_text():
    """An instruction that is a plain string is lifted like any other."""
    told = prepare(HELLO, {"role": "system", "content": "two"}, system="one")
    assert told == {"messages": [HELLO], "system": [text("one"), text("two")]}


def test_instructions_with_the_beta():
    """With the beta instructions stay where they are; what they set for one turn needs another beta."""
    told = prepare(HELLO, INSTRUCTION, betas=(SYSTEM_BETA,))
    assert told == {"messages": [HELLO, {"role": "system", "content": INSTRUCTION["content"]}]}
    assert prepare(HELLO, INSTRUCTION, betas=(SYSTEM_BETA, "per-turn-control-2026-07-01")) == {}


@pytest.mark.parametrize("last", [assistant(text("a")), {"role": "assistant", "content": "{"}])
def test_prefill(last):
    """Copilot refuses an answer begun by the client: it is asked to be continued."""
    (*kept, asked) = prepare(HELLO, last)["messages"]
    assert kept == [HELLO, last]
    assert asked["role"] == "user"


def test_accounting_line():
    """Claude Code's accounting line, which changes with each request, does not spoil the cache."""
    line = "x-anthropic-billing-header: v=1; h=abc"
    assert prepare(system=[text(line), text("be brief")]) == {"system": [text("be brief")]}
    assert prepare(system=[text(f"{line}\nbe brief", cache_control=MARK)]) == {
        "system": [text("be brief", cache_control=MARK)]
    }
    assert prepare(system=[text(line)]) == {"system": None}
    told = prepare(HELLO, {"role": "system", "content": "two"}, system=[text(line)])
    assert told["system"] == [text("two")]


THINKING = [
    ({"type": "enabled", "budget_tokens": 20_000}, {}, ADAPTS, {"type": "adaptive"}, {"effort": "high"}),
    (
        {"type": "enabled", "budget_tokens": 20_000, "display": "omitted"},
        {"effort": "low"},
        ADAPTS,
        {"type": "adaptive", "display": "omitted"},
        {},
    ),
    ({"type": "between_tools"}, {}, ADAPTS, {"type": "adaptive"}, {}),
    ({"type": "adaptive", "budget_tokens": 2000}, {}, ADAPTS, {"type": "adaptive"}, {"effort": "medium"}),
    ({"type": "adaptive"}, {"effort": "low"}, BUDGETS, {"type": "enabled", "budget_tokens": 1024}, None),
    ({"type": "adaptive"}, {}, BUDGETS, {"type": "enabled", "budget_tokens": 24_576}, {}),
    ({"type": "adaptive"}, {}, {}, None, {}),
    ({"type": "enabled", "budget_tokens": 31_999}, {}, BUDGETS, {}, {}),
    ({"type": "enabled", "budget_tokens": 5000}, {"effort": "high"}, BUDGETS, {}, None),
    ({"type": "enabled", "budget_tokens": 64_000}, {}, BUDGETS, {"type": "enabled", "budget_tokens": 31_999}, {}),
    ({"type": "enabled"}, {}, BUDGETS, {"type": "enabled", "budget_tokens": 1024}, {}),
    ({"type": "enabled", "budget_tokens": 5000}, {}, {}, {}, {}),
    ({"type": "adaptive"}, {"effort": "max"}, ADAPTS, {}, {"effort": "high"}),
    ({"type": "adaptive"}, {"effort": None}, ADAPTS, {}, None),
    ({"type": "adaptive"}, {"effort": "low", "task_budget": {}}, ADAPTS, {}, {"effort": "low"}),
    ({"type": "disabled"}, {"effort": "high"}, BUDGETS, {}, None),
]


@pytest.mark.parametrize(("thinking", "config", "supports", "expected", "expected_config"), THINKING)
def test_thinking(thinking, config, supports, expected, expected_config):
    """Models that adapt refuse budgets, the others refuse to adapt, and efforts go to those that list them.

    An empty expectation means that the key stays as it is.
    """
    fields = {"thinking": thinking, **({"output_config": config} if config else {})}
    told = prepare(**fields, on=model(**supports))
    assert told.get("thinking", {}) == expected
    assert told.get("output_config", {}) == expected_config


def test_thinking_without_room():
    """Where the limit leaves no room for a budget there is no thinking."""
    enabled = {"type": "enabled", "budget_tokens": 5000}
    assert prepare(thinking=enabled, max_tokens=1000, on=model(**BUDGETS)) == {"thinking": None}
    assert prepare(thinking=enabled, max_tokens=None, on=model(**BUDGETS)) == {"max_tokens": None}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [1]}, "messages"),
        ({"messages": [{"role": "user", "content": [1], "cache_control": 1}]}, "messages"),
        ({"tools": ["cache_control"]}, "tools"),
        ({"thinking": 1}, "thinking"),
        ({"output_config": []}, "output_config"),
        ({"max_tokens": "x", "thinking": {"type": "adaptive"}}, "max_tokens"),
    ],
)
def test_what_cannot_be_read(fields, param):
    """A list that is none is refused by name."""
    with pytest.raises(BadRequest) as caught:
        prepare(**fields)
    assert caught.value.param == param


def test_only_what_changes_is_written():
    """Large lists in which nothing has to change are not written anew."""
    system = [text("s" * 1000, cache_control=MARK)]
    assert list(prepare(user(text("a", cache_control=RICH_MARK)), system=system)) == ["messages"]
