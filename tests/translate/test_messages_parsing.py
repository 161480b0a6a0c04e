"""An Anthropic client's request becomes a conversation: everything is kept, named as lost, or refused by its place."""

import json

import pytest

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.conversation import (
    Conversation,
    Document,
    Effort,
    Format,
    Image,
    Loss,
    Reasoning,
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
from copilot_asgi.translate.messages_request import parse_request
from copilot_asgi.translate.seals import wrap
from copilot_asgi.wire.shallow import read_object

PNG = "iVBORw0KGgo="
HELLO = {"role": "user", "content": "hello"}
MARK = {"type": "ephemeral", "ttl": "1h"}
SCHEMA = {"type": "object", "properties": {"type": {"type": "string"}}}
SCHEMA_TEXT = json.dumps(SCHEMA).encode()
TOOL = {"name": "f", "description": "d", "input_schema": SCHEMA}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
FETCH = {"type": "web_fetch_20250910", "name": "web_fetch"}
OPAQUE = Seal(SealOrigin.CHAT, "opaque")


def parse(*messages: object, stream: bool = False, **fields: object) -> Conversation:
    body = {"model": "claude-x", "max_tokens": 100, "messages": list(messages) or [HELLO], **fields}
    return parse_request(read_object(json.dumps(body).encode()), stream=stream)


def user(*blocks: object) -> dict:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: object) -> dict:
    return {"role": "assistant", "content": list(blocks)}


def image(**source: object) -> dict:
    return {"type": "image", "source": source}


def document(source: object, **fields: object) -> dict:
    return {"type": "document", "source": source, **fields}


def result(content: object = None, **fields: object) -> dict:
    return {"type": "tool_result", "tool_use_id": "t1", "content": content, **fields}


BASE64 = {"type": "base64", "media_type": "image/png", "data": PNG}
PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}
USER_BLOCKS = [
    ({"type": "text", "text": "a"}, [Text("a")]),
    ({"type": "text", "text": "a", "cache_control": MARK}, [Text("a", cached=True)]),
    (image(**BASE64), [Image(media_type="image/png", data=PNG)]),
    (image(type="base64"), [Image()]),
    (image(type="url", url="https://x/y.png"), [Image(url="https://x/y.png")]),
    (image(type="url"), [Image()]),
    ({**image(**BASE64), "cache_control": MARK}, [Image(media_type="image/png", data=PNG, cached=True)]),
    (document(PDF, title="t"), [Document("application/pdf", data="JVBE", name="t")]),
    (document({"type": "base64"}), [Document("application/pdf")]),
    (document({"type": "url", "url": "https://x"}, cache_control=MARK), [Document(url="https://x", cached=True)]),
    (document({"type": "url"}), [Document()]),
    (document({"type": "text", "data": "body"}, title="t", context="c"), [Text("t\nc\nbody")]),
    (document({"type": "text", "data": "body"}), [Text("body")]),
    (
        document({"type": "content", "content": [{"type": "text", "text": "a"}, image(**BASE64)]}, title="t"),
        [Text("t"), Text("a"), Image(media_type="image/png", data=PNG)],
    ),
    (document({"type": "content", "content": "a"}), [Text("a")]),
    (
        {"type": "search_result", "title": "t", "source": "s", "content": [{"type": "text", "text": "a"}]},
        [Text("t\ns\na")],
    ),
    (result(), [ToolResult("t1")]),
    (result(""), [ToolResult("t1")]),
    (result("a", is_error=True), [ToolResult("t1", (Text("a"),), is_error=True)]),
    (result("a", cache_control=MARK), [ToolResult("t1", (Text("a"),), cached=True)]),
    (
        result([{"type": "text", "text": "a", "cache_control": MARK}, image(**BASE64)]),
        [ToolResult("t1", (Text("a"), Image(media_type="image/png", data=PNG)), cached=True)],
    ),
    (result([{"type": "tool_reference", "tool_name": "f"}]), [ToolResult("t1", (Text("f"),))]),
    (result([{"type": "browser_state", "tabs": []}]), [ToolResult("t1")]),
    ({"type": "tool_result"}, [ToolResult("")]),
]


@pytest.mark.parametrize(("block", "expected"), USER_BLOCKS)
def test_user_blocks(block, expected):
    """What a user shows is kept, documents of text as the text they are, marks where they can stand."""
    assert parse(user(block)).turns == (Turn(Role.USER, tuple(expected)),)


ASSISTANT_BLOCKS = [
    ({"type": "text", "text": "a"}, [Text("a")]),
    (
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        [Thinking("hm", Seal(SealOrigin.SIGNATURE, "sig"))],
    ),
    ({"type": "thinking", "thinking": "hm", "signature": wrap(OPAQUE)}, [Thinking("hm", OPAQUE)]),
    ({"type": "thinking", "thinking": "hm", "signature": ""}, [Thinking("hm")]),
    ({"type": "thinking"}, [Thinking()]),
    ({"type": "redacted_thinking", "data": "r"}, [Thinking(seal=Seal(SealOrigin.REDACTED, "r"))]),
    ({"type": "redacted_thinking", "data": wrap(OPAQUE)}, [Thinking(seal=OPAQUE)]),
    (
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": [1, "é"]}, "caller": {"type": "direct"}},
        [ToolCall("t1", "f", '{"a":[1,"\\u00e9"]}')],
    ),
    ({"type": "tool_use", "name": "f", "cache_control": MARK}, [ToolCall("", "f", "{}", cached=True)]),
    ({"type": "tool_use", "id": "t1", "name": "f", "input": None}, [ToolCall("t1", "f", "{}")]),
    (
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
        [Text('[web_search was called with {"query":"q"}]')],
    ),
    (
        {
            "type": "web_search_tool_result",
            "tool_use_id": "s",
            "content": [{"title": "T", "url": "https://x"}, {"title": 1}, "odd"],
        },
        [Text("[Its result: T https://x]")],
    ),
    ({"type": "code_execution_tool_result", "content": {"stdout": "1"}}, [Text("[Its result: not kept]")]),
    ({"type": "mcp_tool_result", "content": [{"type": "text"}]}, [Text("[Its result: not kept]")]),
]


@pytest.mark.parametrize(("block", "expected"), ASSISTANT_BLOCKS)
def test_assistant_blocks(block, expected):
    """What the model said is kept; what a server did for it becomes a note and never a call."""
    assert parse(assistant(block), HELLO).turns[0] == Turn(Role.ASSISTANT, tuple(expected))


@pytest.mark.parametrize("kind", ["fallback", "mcp_tool_listing"])
def test_blocks_without_meaning_elsewhere(kind):
    """A block that says nothing leaves no turn behind, and is named."""
    told = parse(HELLO, assistant({"type": kind}), HELLO)
    assert [turn.role for turn in told.turns] == [Role.USER, Role.USER]
    assert told.losses == (Loss("messages.content", matters=False),)


def test_compaction_is_an_instruction():
    """What a compaction kept of the history is said by the system, where it stood."""
    block = {"type": "compaction", "content": "so far"}
    told = parse(HELLO, assistant({"type": "text", "text": "a"}, block, {"type": "text", "text": "b"}), HELLO)
    assert [turn.role for turn in told.turns[1:4]] == [Role.ASSISTANT, Role.SYSTEM, Role.ASSISTANT]
    assert told.turns[2].parts == (Text("so far"),)
    assert parse(assistant({**block, "content": None}, {"type": "text", "text": "b"}), HELLO).system == (Text(""),)


def test_roles():
    """Instructions in the middle stay there; those in front are the system's."""
    first = {"role": "system", "content": [{"type": "text", "text": "one"}], "output_config": {"effort": "low"}}
    told = parse(first, HELLO, {"role": "system", "content": "two"}, HELLO, system="zero")
    assert told.system == (Text("zero"), Text("one"))
    assert told.turns[1] == Turn(Role.SYSTEM, (Text("two"),))
    assert told.losses == (Loss("messages.output_config", matters=False),)


def test_empty_turns():
    """A user who says nothing says a full stop, an assistant who does leaves no turn."""
    assert parse(user(), assistant(), HELLO).turns == (Turn(Role.USER, (Text("."),)), Turn(Role.USER, (Text("hello"),)))
    assert parse({"role": "system", "content": "alone"}).turns == ()


def test_prefill_is_asked_to_be_continued():
    """An answer begun by the client is kept, the model is asked to go on, and that is named."""
    told = parse(HELLO, {"role": "assistant", "content": "{"})
    assert told.turns[1] == Turn(Role.ASSISTANT, (Text("{"),))
    assert told.turns[2].role is Role.USER
    assert Loss("messages.prefill", matters=True) in told.losses


def test_open_call_is_no_prefill():
    """A call without its result is for the pairing to mend."""
    told = parse(HELLO, assistant({"type": "tool_use", "id": "t", "name": "f", "input": {}}))
    assert told.turns[-1].role is Role.ASSISTANT


CLIENT_TOOLS = [
    ("bash_20250124", "bash", {"command", "restart"}),
    ("text_editor_20241022", "str_replace_editor", {"command", "path", "view_range"}),
    ("text_editor_20250124", "str_replace_editor", {"command", "path", "insert_line"}),
    ("text_editor_20250728", "str_replace_based_edit_tool", {"old_str", "new_str", "insert_text"}),
    ("memory_20250818", "memory", {"command", "old_path", "new_path"}),
]


@pytest.mark.parametrize(("kind", "name", "properties"), CLIENT_TOOLS)
def test_tools_that_only_claude_knows(kind, name, properties):
    """A tool that the client runs gets the schema that Anthropic's models know by heart."""
    (tool,) = parse(tools=[{"type": kind, "cache_control": MARK}]).tools
    assert (tool.name, tool.cached) == (name, True)
    assert properties <= json.loads(tool.schema)["properties"].keys()


def test_custom_tools():
    """The schema is the client's to the byte; keys for Anthropic's servers are named, and never part of it."""
    extras = {
        "eager_input_streaming": True,
        "input_examples": [{}],
        "allowed_callers": ["direct"],
        "defer_loading": True,
    }
    told = parse(tools=[{"type": "custom", **TOOL, "strict": True, "cache_control": MARK, **extras}, {"name": "g"}])
    assert told.tools == (
        Tool(name="f", description="d", schema=SCHEMA_TEXT, strict=True, cached=True),
        Tool(name="g"),
    )
    assert set(told.losses) == {Loss(f"tools.{name}", matters=False) for name in extras}


@pytest.mark.parametrize(
    ("kind", "field"),
    [("web_fetch_20250910", "tools.web_fetch"), ("mcp_toolset", "tools.mcp_toolset"), ("a\r\nb", "tools.unknown")],
)
def test_server_tools_are_named(kind, field):
    """What Anthropic's servers would run is lost by name, and no text of the client's gets into that name."""
    told = parse(tools=[TOOL, {"type": kind, "name": "x"}])
    assert [tool.name for tool in told.tools] == ["f"]
    assert told.losses == (Loss(field, matters=True),)


def test_web_search():
    """The search of the web goes on as OpenAI's tool for it; what that cannot say is named."""
    place = {"type": "approximate", "city": "Oslo"}
    told = parse(tools=[TOOL, {**SEARCH, "allowed_domains": ["x.org"], "user_location": place, "max_uses": 3}])
    assert json.loads(told.extra["web_search"]) == {
        "type": "web_search",
        "filters": {"allowed_domains": ["x.org"]},
        "user_location": place,
    }
    assert told.losses == (Loss("tools.max_uses", matters=True),)
    assert json.loads(parse(tools=[SEARCH]).extra["web_search"]) == {"type": "web_search"}
    assert parse(tools=[TOOL]).extra == {}


CHOICES = [
    ({"type": "auto"}, ToolChoice(ToolChoiceMode.AUTO), None),
    ({"type": "any"}, ToolChoice(ToolChoiceMode.REQUIRED), None),
    ({"type": "none"}, ToolChoice(ToolChoiceMode.NONE), None),
    ({"type": "tool", "name": "f"}, ToolChoice(ToolChoiceMode.REQUIRED, "f"), None),
    ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice(ToolChoiceMode.REQUIRED), False),
    ({"type": "auto", "disable_parallel_tool_use": False}, ToolChoice(ToolChoiceMode.AUTO), None),
]


@pytest.mark.parametrize(("given", "choice", "parallel"), CHOICES)
def test_tool_choice(given, choice, parallel):
    """Each choice has its neutral form; one call at a time is said apart from it."""
    told = parse(tools=[TOOL], tool_choice=given)
    assert (told.tool_choice, told.parallel) == (choice, parallel)


def test_choice_without_tools():
    """Where all tools are gone there is nothing to choose."""
    assert parse(tools=[FETCH], tool_choice={"type": "auto"}).tool_choice is None


@pytest.mark.parametrize("tools", [[SEARCH], [TOOL, SEARCH]])
@pytest.mark.parametrize(
    ("given", "choice"),
    [
        ({"type": "tool", "name": "web_search"}, ToolChoice(ToolChoiceMode.REQUIRED, "web_search")),
        ({"type": "any"}, ToolChoice(ToolChoiceMode.REQUIRED)),
        ({"type": "auto"}, ToolChoice(ToolChoiceMode.AUTO)),
        ({"type": "none"}, ToolChoice(ToolChoiceMode.NONE)),
    ],
)
def test_choosing_the_search(tools, given, choice):
    """The search of the web can be chosen, forced and forbidden: only the writer knows whether the model has it."""
    told = parse(tools=tools, tool_choice=given)
    assert (told.tool_choice, told.losses) == (choice, ())


THINKING = [
    ({}, None),
    ({"thinking": {"type": "disabled"}}, Reasoning(disabled=True)),
    ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, Reasoning(budget=2000, show=True)),
    ({"thinking": {"type": "enabled"}}, Reasoning(budget=0, show=True)),
    ({"thinking": {"type": "adaptive", "display": "omitted"}}, Reasoning(adaptive=True, show=False)),
    ({"thinking": {"type": "between_tools"}}, Reasoning(adaptive=True, show=True)),
    ({"output_config": {"effort": "max"}}, Reasoning(effort=Effort.MAX)),
    (
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}},
        Reasoning(effort=Effort.XHIGH, adaptive=True, show=True),
    ),
    (
        {"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}},
        Reasoning(effort=Effort.LOW, disabled=True),
    ),
]


@pytest.mark.parametrize(("fields", "expected"), THINKING)
def test_thinking(fields, expected):
    """How hard to think, and whether to show it."""
    assert parse(**fields).reasoning == expected


@pytest.mark.parametrize("key", ["output_format", "output_config"])
def test_format(key):
    """A schema for the answer, under its name of today or of the beta."""
    wanted = {"type": "json_schema", "schema": SCHEMA}
    told = parse(**{key: {"format": wanted} if key == "output_config" else wanted})
    assert told.format == Format(schema=SCHEMA_TEXT)


def test_simple_fields():
    """Limits, sampling and stop words; blank stop words would be refused everywhere."""
    told = parse(stream=True, temperature=0.5, top_p=0.9, stop_sequences=["END", "", " \n"])
    assert (told.model, told.stream, told.max_tokens) == ("claude-x", True, 100)
    assert told.sampling == Sampling(temperature=0.5, top_p=0.9, stop=("END",))


def test_null_is_absent():
    """``null`` is the same as no key."""
    empty = dict.fromkeys(("system", "tools", "tool_choice", "thinking", "output_config", "container", "top_k"))
    assert parse(**empty) == parse()


LOSSES = [
    ({"top_k": 5}, "top_k", True),
    ({"context_management": {}}, "context_management", True),
    ({"mcp_servers": []}, "mcp_servers", True),
    ({"output_config": {"task_budget": {}}}, "output_config.task_budget", True),
    ({"something_new": 1}, "something_new", True),
    ({"x\r\ny": 1}, "unknown", True),
    ({"metadata": {"user_id": "u"}}, "metadata", False),
    ({"service_tier": "auto"}, "service_tier", False),
    ({"cache_control": MARK}, "cache_control", False),
    ({"container": {}}, "container", False),
    ({"thread": {"type": "new"}}, "thread", False),
]


@pytest.mark.parametrize(("fields", "name", "matters"), LOSSES)
def test_losses(fields, name, matters):
    """Every key that is not carried over is named, and whether it could matter."""
    assert parse(**fields).losses == (Loss(name, matters=matters),)


BLOCK_LOSSES = [
    ({"type": "text", "text": "a", "citations": []}, "messages.content.citations", False),
    ({**image(**BASE64), "transformations": {}}, "messages.content.transformations", False),
    (document(PDF, citations={"enabled": True}), "messages.content.citations", False),
    (result([{"type": "browser_state", "tabs": []}]), "messages.content.browser_state", True),
]


@pytest.mark.parametrize(("block", "name", "matters"), BLOCK_LOSSES)
def test_losses_in_blocks(block, name, matters):
    """What a block loses is named once, however often."""
    assert parse(user(block, block)).losses == (Loss(name, matters=matters),)


REFUSED = [
    ({"max_tokens": None}, "max_tokens"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": "9"}, "max_tokens"),
    ({"max_tokens": 10**30}, "max_tokens"),
    ({"model": None}, "model"),
    ({"messages": None}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": [{"role": "developer", "content": "x"}]}, "messages.0.role"),
    ({"messages": [{"role": "user"}]}, "messages.0.content"),
    ({"messages": [{"role": "system", "content": [image(**BASE64)]}]}, "messages.0.content.0"),
    ({"messages": [user({"text": "no type"})]}, "messages.0.content.0"),
    ({"messages": [user({"type": "container_upload", "file_id": "f"})]}, "messages.0.content.0"),
    ({"messages": [user({"type": "tool_use", "id": "t", "name": "f"})]}, "messages.0.content.0"),
    ({"messages": [user(image(type="file", file_id="f"))]}, "messages.0.content.0.source"),
    ({"messages": [user(document({"type": "file", "file_id": "f"}))]}, "messages.0.content.0.source"),
    ({"messages": [user(result([{"type": "thinking"}]))]}, "messages.0.content.0.content.0"),
    ({"messages": [user(result([1]))]}, "messages.0.content.0"),
    ({"system": 1}, "system"),
    ({"system": [{"type": "text"}]}, "system.0"),
    ({"container": "c1"}, "container"),
    ({"container": {"skills": [{}]}}, "container"),
    ({"container": {"id": "c1"}}, "container"),
    ({"thread": {"type": "continue"}}, "thread"),
    ({"tools": [{"type": "computer_toolset_20260801"}]}, "tools.0"),
    ({"tools": [{"input_schema": SCHEMA}]}, "tools.0.name"),
    ({"tools": {}}, "tools"),
    ({"tools": [TOOL], "tool_choice": {"type": "sometimes"}}, "tool_choice.type"),
    ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}}, "tool_choice.name"),
    ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "web_search"}}, "tool_choice.name"),
    ({"tools": [FETCH], "tool_choice": {"type": "tool", "name": "web_fetch"}}, "tool_choice.name"),
    ({"tools": [SEARCH], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
    ({"tools": [FETCH], "tool_choice": {"type": "any"}}, "tool_choice"),
    ({"thinking": {"type": "deep"}}, "thinking.type"),
    ({"thinking": "yes"}, "thinking"),
    ({"output_config": {"effort": "huge"}}, "output_config.effort"),
    ({"output_config": {"format": {"type": "json_object"}}}, "output_config.format"),
    ({"output_format": {"type": "json_schema"}}, "output_config.format"),
    ({"stop_sequences": "END"}, "stop_sequences"),
    ({"temperature": "hot"}, "temperature"),
]


@pytest.mark.parametrize(("fields", "param"), REFUSED)
def test_refusals_name_the_field(fields, param):
    """What cannot be read, or would be lost, is refused by the name of its place."""
    with pytest.raises(BadRequest) as caught:
        parse(**fields)
    assert caught.value.param == param


def test_text_that_is_not_utf8():
    """Bytes that are no text are refused, also where nobody looks into the value."""
    call = b'{"type":"tool_use","id":"t","name":"f","input":{"a":"\xff"}}'
    body = b'{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[%s]}]}' % call
    with pytest.raises(BadRequest):
        parse_request(read_object(body), stream=False)


def test_parsing_changes_nothing_given():
    """The request that was given stays what it was."""
    body = json.dumps({"model": "m", "max_tokens": 5, "messages": [HELLO], "tools": [TOOL], "top_k": 1}).encode()
    fields = read_object(body)
    before = {name: bytes(value) for name, value in fields.items()}
    parse_request(fields, stream=False)
    assert {name: bytes(value) for name, value in fields.items()} == before
