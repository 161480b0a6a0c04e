"""A conversation becomes a request that Copilot's Messages endpoint takes, and what it cannot say is named."""

import json

import msgspec
import pytest
import sdk_models

from copilot_asgi.errors import BadRequest, TranslationError
from copilot_asgi.translate.conversation import (
    Audio,
    Conversation,
    Document,
    Effort,
    Format,
    Image,
    Loss,
    Part,
    Reasoning,
    Refusal,
    Role,
    Sampling,
    Seal,
    SealOrigin,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolChoiceMode,
    ToolResult,
    Turn,
)
from copilot_asgi.translate.messages_request import render_request
from copilot_asgi.wire.models import Model

PNG = "iVBORw0KGgo="
HELLO = Turn(Role.USER, (Text("hello"),))
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SCHEMA_TEXT = json.dumps(SCHEMA).encode()
TOOL = Tool(name="f", description="d", schema=SCHEMA_TEXT)
OTHER = Tool(name="g")
SIGNED = Thinking("hm", Seal(SealOrigin.SIGNATURE, "sig"))
HIDDEN = Thinking(seal=Seal(SealOrigin.REDACTED, "r"))
EFFORTS = ["low", "medium", "high"]
ADAPTS = {
    "adaptive_thinking": True,
    "min_thinking_budget": 1024,
    "max_thinking_budget": 32000,
    "reasoning_effort": EFFORTS,
}
BUDGETS = {"min_thinking_budget": 1024, "max_thinking_budget": 32000}
REQUIRED, AUTO = ToolChoice(ToolChoiceMode.REQUIRED), ToolChoice(ToolChoiceMode.AUTO)
MARK = {"type": "ephemeral"}


def model(limit: int | None = 64_000, **supports: object) -> Model:
    able = {"structured_outputs": True, **supports}
    entry = {"id": "claude-y", "capabilities": {"limits": {"max_output_tokens": limit}, "supports": able}}
    return msgspec.convert(entry, Model)


def conversation(*turns: Turn, **fields: object) -> Conversation:
    return Conversation(model="asked", turns=turns or (HELLO,), **{"stream": False, **fields})


def user(*parts: Part) -> Turn:
    return Turn(Role.USER, parts)


def assistant(*parts: Part) -> Turn:
    return Turn(Role.ASSISTANT, parts)


def render(*turns: Turn, on: Model | None = None, **fields: object) -> tuple[dict, tuple[Loss, ...]]:
    rendered = render_request(conversation(*turns, **fields), on or model())
    body = json.loads(rendered.body)
    sdk_models.check_request("messages", body)
    return body, rendered.losses


def body(*turns: Turn, on: Model | None = None, **fields: object) -> dict:
    return render(*turns, on=on, **fields)[0]


def plain(value: object) -> object:
    """Without the marks for caching."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items() if key != "cache_control"}
    return [plain(each) for each in value] if isinstance(value, list) else value


def messages(*turns: Turn) -> object:
    return plain(body(*turns)["messages"])


def blocks(part: Part) -> list[dict]:
    """What a part is, said by the user."""
    ((_, said),) = [message.values() for message in messages(user(part))]
    return said


def test_least_request():
    """The model is upstream's, its limit is required, and empty keys are left out."""
    told = {
        "model": "claude-y",
        "max_tokens": 64_000,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
    }
    assert plain(body()) == told
    assert body(stream=True)["stream"] is True


USER_PARTS = [
    (Text("a"), {"type": "text", "text": "a"}),
    (
        Image(media_type="image/jpg", data=PNG),
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
    ),
    (Image(url="https://x"), {"type": "image", "source": {"type": "url", "url": "https://x"}}),
    (
        Document("application/pdf", data="JVBE", name="t"),
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
            "title": "t",
        },
    ),
    (Document(url="https://x"), {"type": "document", "source": {"type": "url", "url": "https://x"}}),
]


@pytest.mark.parametrize(("part", "block"), USER_PARTS)
def test_user_parts(part, block):
    """What a user shows has its block; an image's type is what its bytes say."""
    assert blocks(part) == [block]


REFUSED_PARTS = [
    (Audio("AAAA", "wav"), TranslationError),
    (Document("text/csv", data="AAAA"), TranslationError),
    (Image(media_type="image/tiff", data="AAAA"), BadRequest),
    (ToolResult("nobody", (Text("a"),)), BadRequest),
]


@pytest.mark.parametrize(("part", "error"), REFUSED_PARTS)
def test_refused_parts(part, error):
    """What no block can hold is refused: leaving it out would give a wrong answer."""
    with pytest.raises(error):
        render(user(part))


def test_blank_texts():
    """Blank texts are refused upstream, so none is written; a user who says nothing else says a full stop."""
    assert messages(user(Text(" \n"), Text("a"))) == [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
    assert messages(user(Text(""))) == [{"role": "user", "content": [{"type": "text", "text": "."}]}]
    assert "system" not in body(system=(Text(" "),))


def test_assistant_parts():
    """Thinking that Anthropic sealed goes back as it was, all other thinking stays here; a refusal is text."""
    foreign = Thinking("x", Seal(SealOrigin.RESPONSES, "o"))
    turn = assistant(SIGNED, HIDDEN, foreign, Thinking("unsigned"), Text("a"), Refusal("no"))
    assert messages(HELLO, turn, HELLO)[1]["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "r"},
        {"type": "text", "text": "a"},
        {"type": "text", "text": "no"},
    ]


def test_turn_without_anything_to_say():
    """A turn of which nothing is left does not part its neighbours."""
    told = messages(HELLO, assistant(Thinking("unsigned")), HELLO)
    assert [message["role"] for message in told] == ["user"]


ARGUMENTS = [
    ("{}", {}),
    ("", {}),
    ('{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
    ("[1]", {"value": [1]}),
    ("null", {}),
    (" null\n", {}),
    ('{"a":', {"raw": '{"a":'}),
    ('{"a": "\ud800"}', {"raw": '{"a": "?"}'}),
]


@pytest.mark.parametrize(("arguments", "expected"), ARGUMENTS)
def test_arguments(arguments, expected):
    """The input of a call is an object, whatever the history holds, and its result is never orphaned."""
    told = messages(HELLO, assistant(ToolCall("t", "f", arguments)), user(ToolResult("t", (Text("r"),))))
    assert told[1]["content"] == [{"type": "tool_use", "id": "t", "name": "f", "input": expected}]


@pytest.mark.parametrize(
    ("arguments", "freeform", "lost"),
    [
        ("{}", False, False),
        (" ", False, False),
        ("null", False, False),
        ("[1]", False, True),
        ('{"a":', False, True),
        ("raw", True, False),
    ],
)
def test_arguments_that_are_no_object_are_named(arguments, freeform, lost):
    """The model sees them in a wrapping that it did not write."""
    call = ToolCall("t", "f", arguments, freeform=freeform)
    _, losses = render(HELLO, assistant(call), user(ToolResult("t", (Text("r"),))))
    assert losses == ((Loss("messages.tool_calls.arguments", matters=True),) if lost else ())


def test_freeform_calls():
    """A freeform tool is a function with one text, in its declaration and in the history."""
    tool = Tool(name="patch", description="d", freeform=True)
    told = body(HELLO, assistant(ToolCall("t", "patch", "raw", freeform=True)), user(ToolResult("t")), tools=(tool,))
    assert told["messages"][1]["content"][0]["input"] == {"input": "raw"}
    assert told["tools"][0]["input_schema"]["required"] == ["input"]
    assert told["tools"][0]["description"].startswith("d\n\n")


RESULTS = [
    (ToolResult("t"), {}),
    (ToolResult("t", (Text(" "),)), {}),
    (ToolResult("t", (Text("r"),)), {"content": [{"type": "text", "text": "r"}]}),
    (ToolResult("t", (Text("r"),), is_error=True), {"content": [{"type": "text", "text": "r"}], "is_error": True}),
    (ToolResult("t", (Text("[tool error] r"),)), {"content": [{"type": "text", "text": "r"}], "is_error": True}),
    (
        ToolResult("t", (Image(url="https://x"),)),
        {"content": [{"type": "image", "source": {"type": "url", "url": "https://x"}}]},
    ),
]


@pytest.mark.parametrize(("result", "expected"), RESULTS)
def test_results(result, expected):
    """Results keep their images, and the marker of the other dialects is the flag again."""
    told = messages(HELLO, assistant(ToolCall("t", "f", "{}")), user(result))
    assert told[2]["content"] == [{"type": "tool_result", "tool_use_id": "t", **expected}]


def test_media_of_the_assistant():
    """What the assistant showed is shown by the user, behind the results that come first."""
    image = Image(url="https://x")
    told = messages(HELLO, assistant(image, ToolCall("t", "f", "{}")), user(ToolResult("t"), Text("so?")))
    assert [block["type"] for block in told[1]["content"]] == ["tool_use"]
    assert [block["type"] for block in told[2]["content"]] == ["tool_result", "image", "text"]


def test_ids_and_names():
    """Ids and names out of upstream's alphabet are fitted, the same everywhere, and names find back."""
    turns = (HELLO, assistant(ToolCall("a:b", "ns.f", "{}")), user(ToolResult("a:b")))
    rendered = render_request(
        conversation(*turns, tools=(Tool(name="ns.f"),), tool_choice=ToolChoice(ToolChoiceMode.REQUIRED, "ns.f")),
        model(),
    )
    told = json.loads(rendered.body)
    name = told["tools"][0]["name"]
    assert name == told["tool_choice"]["name"] == told["messages"][1]["content"][0]["name"] != "ns.f"
    assert rendered.names.to_client(name) == "ns.f"
    assert told["messages"][1]["content"][0]["id"] == told["messages"][2]["content"][0]["tool_use_id"] != "a:b"


def test_instructions_in_the_middle():
    """Copilot takes no instructions among the messages: they join the others, and the lost place is named."""
    told, losses = render(HELLO, Turn(Role.SYSTEM, (Text("two"),)), HELLO, system=(Text("one"),))
    assert [block["text"] for block in told["system"]] == ["one", "two"]
    assert [message["role"] for message in told["messages"]] == ["user"]
    assert losses == (Loss("messages.system", matters=True),)


def test_frame():
    """The user begins and ends; an answer begun by the client is asked to be continued."""
    told, losses = render(assistant(Text("a")))
    assert [message["role"] for message in told["messages"]] == ["user", "assistant", "user"]
    assert losses == (Loss("messages.prefill", matters=True),)
    assert [message["role"] for message in body(Turn(Role.SYSTEM, ()))["messages"]] == ["user"]


def test_open_call_gets_a_result():
    """A call without a result would be refused: it gets one that says so."""
    told, losses = render(HELLO, assistant(ToolCall("t", "f", "{}")))
    assert told["messages"][2]["content"][0]["is_error"] is True
    assert losses == (Loss("tool_call", matters=True),)


LIMITS = [
    (None, 64_000, 64_000, ()),
    (None, None, 8192, ()),
    (100, 64_000, 100, ()),
    (100_000, 64_000, 64_000, (Loss("max_tokens", matters=True),)),
    (100_000, None, 100_000, ()),
]


@pytest.mark.parametrize(("wanted", "most", "expected", "lost"), LIMITS)
def test_limit(wanted, most, expected, lost):
    """The limit is the client's, the model's, or a usual one, and never above the model's."""
    told, losses = render(on=model(most), max_tokens=wanted)
    assert (told["max_tokens"], losses) == (expected, lost)


SAMPLING = [
    (Sampling(temperature=0.5), {"temperature": 0.5}, set()),
    (Sampling(temperature=1.7), {"temperature": 1}, {"temperature"}),
    (Sampling(top_p=0.3), {"top_p": 0.3}, set()),
    (Sampling(temperature=0.5, top_p=0.3), {"temperature": 0.5}, {"top_p"}),
    (Sampling(stop=("END", " ")), {"stop_sequences": ["END"]}, set()),
]
KEYS = ("temperature", "top_p", "stop_sequences")


@pytest.mark.parametrize(("sampling", "expected", "lost"), SAMPLING)
def test_sampling(sampling, expected, lost):
    """Claude's temperature ends at 1, and it is that or ``top_p``."""
    told, losses = render(sampling=sampling)
    assert {key: told[key] for key in KEYS if key in told} == expected
    assert {loss.field for loss in losses} == lost


@pytest.mark.parametrize(
    ("sampling", "expected", "lost"),
    [
        (Sampling(temperature=0.5), {}, {"temperature"}),
        (Sampling(top_p=0.3), {}, {"top_p"}),
        (Sampling(top_p=0.97), {"top_p": 0.97}, set()),
        (Sampling(temperature=0.5, top_p=0.97), {"top_p": 0.97}, {"temperature"}),
    ],
)
def test_sampling_while_thinking(sampling, expected, lost):
    """While thinking, Claude takes no temperature and only a high ``top_p``."""
    told, losses = render(sampling=sampling, reasoning=Reasoning(effort=Effort.LOW), on=model(**ADAPTS))
    assert {key: told[key] for key in KEYS if key in told} == expected
    assert {loss.field for loss in losses} == lost


TOOLS = [
    (TOOL, {"name": "f", "description": "d", "input_schema": SCHEMA}),
    (OTHER, {"name": "g", "input_schema": {"type": "object", "properties": {}}}),
    (Tool(name="f", schema=SCHEMA_TEXT, strict=True), {"name": "f", "input_schema": SCHEMA, "strict": True}),
    (Tool(name="f", schema=SCHEMA_TEXT, strict=False), {"name": "f", "input_schema": SCHEMA}),
]


@pytest.mark.parametrize(("tool", "expected"), TOOLS)
def test_tools(tool, expected):
    """A tool has a name and a schema of an object; ``strict`` only where it was asked for."""
    assert plain(body(tools=(tool,))["tools"]) == [expected]


def test_strict_needs_structured_outputs():
    """A model that does not list structured outputs is not asked to be strict."""
    told = body(tools=(Tool(name="f", strict=True),), on=model(structured_outputs=None))
    assert "strict" not in told["tools"][0]


def test_c2m_req_schema_fixups():
    """Schemas without parameters, with ``$schema``, and with branches at the root are mended."""
    branches = {"anyOf": [{"type": "object", "properties": {name: {}}, "required": [name]} for name in "ab"]}
    dialect = {"$schema": "x", "type": "object", "properties": {"a": {}}}
    schemas = [b"", *(json.dumps(schema).encode() for schema in (dialect, branches))]
    told = body(tools=tuple(Tool(name=f"t{number}", schema=schema) for number, schema in enumerate(schemas)))
    empty, plain_one, merged = (tool["input_schema"] for tool in told["tools"])
    assert empty == {"type": "object", "properties": {}}
    assert plain_one == {"type": "object", "properties": {"a": {}}}
    assert (merged["type"], merged["properties"].keys(), merged.get("required")) == ("object", {"a", "b"}, None)


CHOICES = [
    (AUTO, None, {"type": "auto"}),
    (AUTO, True, {"type": "auto"}),
    (REQUIRED, None, {"type": "any"}),
    (REQUIRED, False, {"type": "any", "disable_parallel_tool_use": True}),
    (ToolChoice(ToolChoiceMode.REQUIRED, "f"), None, {"type": "tool", "name": "f"}),
    (ToolChoice(ToolChoiceMode.NONE), False, {"type": "none"}),
    (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
    (None, True, None),
    (None, None, None),
]


@pytest.mark.parametrize(("choice", "parallel", "expected"), CHOICES)
def test_tool_choice(choice, parallel, expected):
    """Each choice has its word, and one call at a time is said within it."""
    assert body(tools=(TOOL,), tool_choice=choice, parallel=parallel).get("tool_choice") == expected


def test_choice_without_tools():
    """Without tools there is nothing to choose, and nothing that can be forced."""
    assert "tool_choice" not in body(tool_choice=AUTO, parallel=False)
    for choice in (REQUIRED, ToolChoice(ToolChoiceMode.REQUIRED, "f")):
        with pytest.raises(TranslationError) as caught:
            render(tool_choice=choice)
        assert caught.value.param == "tool_choice"
    with pytest.raises(TranslationError):
        render(tools=(TOOL,), tool_choice=ToolChoice(ToolChoiceMode.REQUIRED, "g"))


def test_allowed_tools():
    """Of limited tools only those go, and those that the history calls."""
    tools = tuple(Tool(name=name) for name in "fghi")
    history = (HELLO, assistant(ToolCall("t", "g", "{}")), user(ToolResult("t")))
    limited = ToolChoice(ToolChoiceMode.REQUIRED, allowed=("f",))
    told = body(*history, tools=tools, tool_choice=limited)
    assert ([tool["name"] for tool in told["tools"]], told["tool_choice"]) == (["f", "g"], {"type": "any"})


FORMATS = [
    (Format(schema=b'{"type":"object","properties":{},"additionalProperties":false}'), {}, set()),
    (Format(schema=b'{"type":"object","properties":{}}'), {}, {"response_format.additionalProperties"}),
]


@pytest.mark.parametrize(("wanted", "supports", "lost"), FORMATS)
def test_format(wanted, supports, lost):
    """A schema for the answer has only closed objects; closing one is named."""
    told, losses = render(format=wanted, on=model(**supports))
    closed = {"type": "object", "properties": {}, "additionalProperties": False}
    assert told["output_config"] == {"format": {"type": "json_schema", "schema": closed}}
    assert {loss.field for loss in losses} == lost


@pytest.mark.parametrize(("wanted", "able"), [(Format(), True), (Format(schema=b"{}"), None)])
def test_format_that_cannot_be_said(wanted, able):
    """No schema is invented, and none is sent to a model that lists no structured outputs."""
    told, losses = render(format=wanted, on=model(structured_outputs=able))
    assert "output_config" not in told
    assert losses == (Loss("response_format", matters=True),)


THINKING = [
    (Reasoning(disabled=True), ADAPTS, None, None),
    (Reasoning(effort=Effort.NONE), ADAPTS, None, None),
    (Reasoning(show=True), ADAPTS, None, None),
    (Reasoning(budget=0), ADAPTS, None, None),
    (Reasoning(effort=Effort.LOW, disabled=True), ADAPTS, None, "low"),
    (Reasoning(effort=Effort.MEDIUM), ADAPTS, {"type": "adaptive"}, "medium"),
    (Reasoning(effort=Effort.MAX, show=True), ADAPTS, {"type": "adaptive", "display": "summarized"}, "high"),
    (Reasoning(effort=Effort.MINIMAL, show=False), ADAPTS, {"type": "adaptive", "display": "omitted"}, "low"),
    (Reasoning(budget=20_000), ADAPTS, {"type": "adaptive"}, "high"),
    (Reasoning(adaptive=True), ADAPTS, {"type": "adaptive"}, None),
    (Reasoning(adaptive=True), {"adaptive_thinking": True}, {"type": "adaptive"}, None),
    (Reasoning(effort=Effort.LOW), BUDGETS, {"type": "enabled", "budget_tokens": 1024}, None),
    (Reasoning(effort=Effort.MAX, show=True), BUDGETS, {"type": "enabled", "budget_tokens": 32_000}, None),
    (Reasoning(effort=Effort.LOW, budget=20_000), BUDGETS, {"type": "enabled", "budget_tokens": 1024}, None),
    (Reasoning(budget=5000), BUDGETS, {"type": "enabled", "budget_tokens": 5000}, None),
    (Reasoning(adaptive=True), BUDGETS, {"type": "enabled", "budget_tokens": 24_576}, None),
    (Reasoning(budget=5000), {"thinking": True}, {"type": "enabled", "budget_tokens": 5000}, None),
    (Reasoning(budget=5000), {}, None, None),
]


@pytest.mark.parametrize(("reasoning", "supports", "thinking", "effort"), THINKING)
def test_thinking(reasoning, supports, thinking, effort):
    """Models that adapt get an effort they list, the others a budget within their bounds."""
    told = body(reasoning=reasoning, on=model(**supports))
    assert (told.get("thinking"), told.get("output_config", {}).get("effort")) == (thinking, effort)


@pytest.mark.parametrize(("reasoning", "lost"), [(Reasoning(budget=5000), True), (Reasoning(disabled=True), False)])
def test_model_that_does_not_think(reasoning, lost):
    """That a model cannot think is named when it was asked to."""
    assert render(reasoning=reasoning)[1] == ((Loss("thinking", matters=True),) if lost else ())


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (1024, None),
        (1025, {"type": "enabled", "budget_tokens": 1024}),
        (4000, {"type": "enabled", "budget_tokens": 3999}),
    ],
)
def test_budget_stays_below_the_limit(limit, expected):
    """A budget leaves room for an answer, and the client's limit is not raised for it."""
    told = body(reasoning=Reasoning(budget=8192), max_tokens=limit, on=model(**BUDGETS))
    assert (told.get("thinking"), told["max_tokens"]) == (expected, limit)


def test_no_thinking_when_a_tool_is_forced():
    """A forced call and thinking are refused together: thinking is left out, and named."""
    told, losses = render(
        tools=(TOOL,), tool_choice=REQUIRED, reasoning=Reasoning(effort=Effort.LOW), on=model(**ADAPTS)
    )
    assert "thinking" not in told
    assert told["output_config"] == {"effort": "low"}
    assert losses == (Loss("thinking", matters=True),)


LOOP = (assistant(ToolCall("t", "f", "{}")), user(ToolResult("t")))
KEPT_LOOP = (assistant(SIGNED, ToolCall("t", "f", "{}")), user(ToolResult("t")))
LOOPS = [
    (LOOP, BUDGETS, False),
    (LOOP, ADAPTS, True),
    (KEPT_LOOP, BUDGETS, True),
    ((*LOOP, assistant(Text("a")), HELLO), BUDGETS, True),
]


@pytest.mark.parametrize(("turns", "supports", "thinks"), LOOPS)
def test_thinking_in_a_running_loop(turns, supports, thinks):
    """A budget demands the thinking of the running loop: where it is gone, there is none."""
    told, losses = render(HELLO, *turns, tools=(TOOL,), reasoning=Reasoning(effort=Effort.LOW), on=model(**supports))
    assert ("thinking" in told) is thinks
    assert losses == (() if thinks else (Loss("thinking", matters=True),))


def marks(told: dict) -> list[tuple[str, int]]:
    """Where the marks are: the list, and the place in it."""
    content = [block for message in told["messages"] for block in message["content"]]
    lists = {"tools": told.get("tools", []), "system": told.get("system", []), "messages": content}
    return [(name, at) for name, list_ in lists.items() for at, block in enumerate(list_) if "cache_control" in block]


def test_automatic_marks():
    """A client that cannot mark gets marks on the last tool, the last instruction and its last two turns."""
    turns = [turn for number in range(3) for turn in (user(Text(f"q{number}")), assistant(Text("a")))]
    told = body(*turns, HELLO, tools=(TOOL, OTHER), system=(Text("one"), Text("two")))
    assert marks(told) == [("tools", 1), ("system", 1), ("messages", 4), ("messages", 6)]
    assert told["tools"][1]["cache_control"] == MARK


def test_the_clients_own_marks():
    """Where the client marked anything, nothing is added; a mark in a result is the result's."""
    call, result = ToolCall("t", "f", "{}", cached=True), ToolResult("t", (Text("a", cached=True),), cached=True)
    told = body(HELLO, assistant(call), user(result), tools=(TOOL, msgspec.structs.replace(OTHER, cached=True)))
    assert marks(told) == [("tools", 1), ("messages", 1), ("messages", 2)]
    assert "cache_control" not in told["messages"][2]["content"][0]["content"][0]


def test_at_most_four_marks():
    """Of too many marks the earliest of the conversation go first."""
    cached = tuple(user(Text(f"q{number}", cached=True)) for number in range(4))
    turns = [turn for each in cached for turn in (each, assistant(Text("a")))]
    told = body(*turns, HELLO, tools=(msgspec.structs.replace(TOOL, cached=True),), system=(Text("s", cached=True),))
    assert marks(told) == [("tools", 0), ("system", 0), ("messages", 4), ("messages", 6)]
    many = tuple(Text(f"s{number}", cached=True) for number in range(6))
    assert marks(body(system=many)) == [("system", at) for at in range(2, 6)]


def test_extra_fields():
    """Fields of the other dialects are named, and whether they could matter."""
    _, losses = render(extra={"verbosity": b'"low"', "top_logprobs": b"2", "metadata": b"{}"})
    assert losses == (
        Loss("verbosity", matters=False),
        Loss("top_logprobs", matters=True),
        Loss("metadata", matters=False),
    )
