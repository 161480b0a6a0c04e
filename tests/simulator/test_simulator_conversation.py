"""What the models say without a script."""

import msgspec
import pytest
from simulator_client import PNG, function_tool, messages_tool, tool

from copilot_asgi.simulator.schema import instance, named_values

pytestmark = pytest.mark.anyio
TEXT = {"type": "string"}
READ = {"path": TEXT}
SRC = {"folder": "src", "depth": 3}
NAMED = {"type": "function", "function": {"name": "list"}}
LIST = {"folder": TEXT, "depth": {"type": "integer"}}


def said(response):
    return response.json["choices"][0]["message"]["content"]


def called(response):
    calls = response.json["choices"][-1]["message"].get("tool_calls", [])
    return [(call["function"]["name"], msgspec.json.decode(call["function"]["arguments"])) for call in calls]


async def test_echo_in_every_dialect(client):
    """``You said`` and the words."""
    assert said(await client.chat("hello")) == "You said: hello"
    assert (await client.responses("hello")).json["output"][-1]["content"][0]["text"] == "You said: hello"
    assert (await client.messages("hello")).json["content"][0]["text"] == "You said: hello"


@pytest.mark.parametrize(
    ("text", "more", "expected"),
    [
        ("please read a.txt path=a.txt", {}, [("read", {"path": "a.txt"})]),
        ("read path='a b' and list folder=src depth=3", {}, [("read", {"path": "a b"}), ("list", SRC)]),
        ("read and list", {"parallel_tool_calls": False}, [("read", {"path": "read and list"})]),
        ("hello", {}, []),
        ("hello", {"tool_choice": "required"}, [("read", {"path": "hello"})]),
        ("hello", {"tool_choice": NAMED}, [("list", {"folder": "hello", "depth": 0})]),
        ("read path=a", {"tool_choice": "none"}, []),
        ("already, spread", {}, []),
    ],
)  # fmt: skip
async def test_tools_are_called_when_named_or_demanded(client, text, more, expected):
    """Whole words name tools; ``key=value`` words fill arguments; two names are two calls."""
    tools = [tool("read", **READ), tool("list", **LIST)]
    assert called(await client.chat(text, tools=tools, **more)) == expected


async def test_results_are_quoted_and_not_asked_for_again(client):
    """After a result the tool's words come back, though its name is still in the prompt."""
    call = {"id": "c1", "type": "function", "function": {"name": "read", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "read it"},
        {"role": "assistant", "content": None, "tool_calls": [call, {**call, "id": "c2"}]},
        {"role": "tool", "tool_call_id": "c1", "content": "42 apples"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "7 pears"}]},
    ]
    answer = await client.chat(messages=messages, tools=[tool("read", **READ)])
    assert said(answer) == "The tool says: 42 apples; 7 pears"


async def test_other_dialects_call_and_quote(client):
    """Messages and Responses do the same."""
    asked = (await client.messages("read path=a", tools=[messages_tool("read", **READ)])).json["content"][-1]
    assert (asked["name"], asked["input"]) == ("read", {"path": "a"})
    forced = {"type": "tool", "name": "read", "disable_parallel_tool_use": True}
    asked = (await client.messages("x", tools=[messages_tool("read", **READ)], tool_choice=forced)).json
    assert asked["content"][-1]["input"] == {"path": "x"}
    item = (await client.responses("read path=a", tools=[function_tool("read", **READ)])).json["output"][-1]
    assert item["arguments"] == '{"path":"a"}'


async def test_images_are_counted(client):
    """How many, and of which kind."""
    link = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    picture = {"type": "image_url", "image_url": {"url": PNG}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "hm"}, picture, link]}]
    answer = await client.chat(messages=messages, vision=True)
    assert said(answer) == "I see 2 images: image/png, image at a URL. You said: hm"


SCHEMA = {
    "type": "object",
    "properties": {"name": TEXT, "age": {"type": "integer"}, "kind": {"enum": ["cat", "dog"]}},
    "required": ["name", "age", "kind"],
}
MADE = {"name": "Tom", "age": 3, "kind": "dog"}


async def test_structured_output_in_every_dialect(client):
    """An instance of the schema with the values the prompt gives."""
    text = "make name=Tom age=3 kind=dog"
    chat = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}
    assert msgspec.json.decode(said(await client.chat(text, **chat))) == MADE
    format_ = {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}
    answer = (await client.responses(text, text=format_)).json
    assert msgspec.json.decode(answer["output"][-1]["content"][0]["text"]) == MADE
    config = {"format": {"type": "json_schema", "schema": SCHEMA}}
    answer = (await client.messages(text, output_config=config)).json
    assert msgspec.json.decode(answer["content"][0]["text"]) == MADE


async def test_json_mode_gives_an_object(client):
    """Any object will do."""
    assert isinstance(msgspec.json.decode(said(await client.chat("x", response_format={"type": "json_object"}))), dict)


@pytest.mark.parametrize(
    ("model", "text", "body", "thinks"),
    [
        ("gpt-4.1", "hello", {}, False),
        ("gpt-4.1", "think about it", {}, True),
        ("gpt-5-mini", "hello", {}, True),
        ("gpt-5-mini", "hello", {"reasoning_effort": "low"}, True),
        ("claude-sonnet-4.6", "hello", {}, False),
        ("claude-sonnet-4.6", "hello", {"thinking_budget": 2000}, True),
        ("gpt-4.1", "[sim reasoning=yes] hello", {}, True),
    ],
)
async def test_who_thinks(client, model, text, body, thinks):
    """Reasoning models by themselves, others when asked."""
    message = (await client.chat(text, model=model, **body)).json["choices"][0]["message"]
    assert ("reasoning_text" in message) is thinks


async def test_messages_think_only_when_thinking_is_on(client):
    """The word alone is not enough there."""
    assert [block["type"] for block in (await client.messages("think hard")).json["content"]] == ["text"]


async def test_reminders_of_clients_are_not_the_persons_words(client):
    """What clients slip into a user message is neither echoed nor obeyed."""
    text = "<system-reminder>\nread this\n</system-reminder>\nhello"
    answer = await client.chat(text, tools=[tool("read", **READ)])
    assert (said(answer), called(answer)) == ("You said: hello", [])


@pytest.mark.parametrize(
    ("directive", "check"),
    [
        ("chunks=100 size=5", lambda a: len(a.events) == 100 + 5),
        ("chunks=3 delay=0.5", lambda a: len(a.events) == 3 + 5),
        ("cut=3", lambda a: len(a.events) == 3 and not a.dropped),
        ("cut=3 abort=yes", lambda a: len(a.events) == 3 and a.dropped),
        ("cut=-1", lambda a: a.events[-1] != "[DONE]"),
        ("status=503", lambda a: (a.status, a.text) == (503, "simulated status 503\n")),
        ("fault=rate_limited", lambda a: a.code == "rate_limited"),
        ("error=2", lambda a: "error" in a.events[2]),
        ("comments=2", lambda a: a.messages[1] == b": keep-alive\n\n"),
        ("finish=length", lambda a: a.events[-3]["choices"][0]["finish_reason"] == "length"),
        ("quirk=crlf,no_done", lambda a: b"\r\n" in a.body and b"[DONE]" not in a.body),
        ("", lambda a: "You said: hi" in "".join(e["choices"][0]["delta"].get("content", "") for e in a.events[2:-3])),
        ("status=x nonsense", lambda a: a.status == 200),
    ],
)  # fmt: skip
async def test_directives_choose_streams_and_faults_from_any_client(client, directive, check):
    """``[sim ...]`` anywhere in the last user text."""
    assert check(await client.chat(f"[sim {directive}] hi", stream=True))


async def test_a_directive_may_delay(client, clock):
    """``delay`` is the time between events."""
    await client.messages("[sim chunks=2 delay=0.25]", stream=True)
    assert set(clock.slept) == {0.25}


@pytest.mark.parametrize(
    ("schema", "values", "expected"),
    [
        ({"type": "string"}, {}, {"value": "say"}),
        ({"type": "object", "properties": {"a": TEXT}}, {}, {}),
        ({"type": "object", "properties": {"a": TEXT}}, {"a": "b"}, {"a": "b"}),
        ({"properties": {"a": {"const": 5}}, "required": ["a"]}, {}, {"a": 5}),
        ({"properties": {"a": {"type": ["null", "integer"]}}, "required": ["a"]}, {}, {"a": 0}),
        ({"properties": {"a": {"type": ["null"]}}, "required": ["a"]}, {}, {"a": None}),
        ({"properties": {"a": {"type": "number"}}, "required": ["a"]}, {"a": "1.5"}, {"a": 1.5}),
        ({"properties": {"a": {"type": "number", "minimum": 2}}, "required": ["a"]}, {}, {"a": 2}),
        ({"properties": {"a": {"type": "number", "maximum": -2}}, "required": ["a"]}, {}, {"a": -2}),
        ({"properties": {"a": {"type": "integer", "exclusiveMinimum": 0}}, "required": ["a"]}, {}, {"a": 1}),
        ({"properties": {"a": {"type": "integer", "minimum": -9, "maximum": 9}}, "required": ["a"]}, {}, {"a": 0}),
        ({"properties": {"a": {"type": "boolean"}}, "required": ["a"]}, {"a": "yes"}, {"a": True}),
        ({"properties": {"a": {"type": "array", "items": TEXT}}, "required": ["a"]}, {}, {"a": []}),
        (
            {"properties": {"a": {"type": "array", "items": TEXT, "minItems": 2}}, "required": ["a"]},
            {},
            {"a": ["say"] * 2},
        ),
        ({"properties": {"a": {"items": TEXT}}, "required": ["a"]}, {"a": "x"}, {"a": ["x"]}),
        ({"properties": {"a": {"type": "string", "minLength": 5}}, "required": ["a"]}, {}, {"a": "sayxx"}),
        ({"properties": {"a": {"type": "string", "maxLength": 2}}, "required": ["a"]}, {}, {"a": "sa"}),
        ({"properties": {"a": {"type": "string", "format": "date"}}, "required": ["a"]}, {}, {"a": "2026-12-01"}),
        ({"properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}, {"a": "z"}, {"a": "x"}),
        ({"properties": {"a": {"anyOf": [{"type": "null"}, {"type": "integer"}]}}, "required": ["a"]}, {}, {"a": 0}),
        ({"properties": {"a": {"oneOf": [{"type": "null"}]}}, "required": ["a"]}, {}, {"a": None}),
        (
            {"allOf": [{"type": "object", "properties": {"a": TEXT}, "required": ["a"]}, {"required": []}]},
            {},
            {"a": "say"},
        ),
        (
            {"properties": {"a": {"$ref": "#/$defs/n"}}, "required": ["a"], "$defs": {"n": {"type": "integer"}}},
            {},
            {"a": 0},
        ),
        ({"properties": {"a": {"type": "object"}}, "required": ["a", "b"]}, {}, {"a": {}, "b": "say"}),
    ],
)
def test_instances_fit_their_schema(schema, values, expected):
    """Required properties, the smallest values, and whatever the prompt named."""
    assert instance(schema, values, text="say") == expected


def test_endless_schemas_end():
    """A schema that refers to itself stops at some depth."""
    schema = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    made, depth = instance(schema, {}), 0
    while made:
        made, depth = made["next"], depth + 1
    assert 5 < depth < 20


def test_named_values_may_be_quoted():
    """Bare up to a blank or comma, or in quotes of either kind."""
    assert named_values("a=1, b=\"x y\" c='z' (d=2)") == {"a": "1", "b": "x y", "c": "z", "d": "2"}
