"""An Ollama client's request becomes a conversation: all of it is kept, named as lost, or refused by its place."""

import json
from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.conversation import (
    Conversation,
    Effort,
    Format,
    Image,
    Loss,
    Reasoning,
    Role,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from copilot_asgi.translate.ollama_request import (
    is_load_request,
    parse_generate_request,
    parse_request,
    plain_model,
    wants_stream,
)
from copilot_asgi.translate.pairing import paired
from copilot_asgi.wire.shallow import read_object

HELLO = {"role": "user", "content": "hello"}
PNG = b64encode(b"\x89PNG\r\n\x1a\n\0\0").decode()
JPEG = b64encode(b"\xff\xd8\xff\xe0\0\0").decode()
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def fields(body: dict) -> dict:
    return read_object(json.dumps(body).encode())


def parse(*messages: object, stream: bool = True, **given_fields: object) -> Conversation:
    body = {"model": "gpt-4.1:latest", "messages": list(messages) or [HELLO], **given_fields}
    return parse_request(fields(body), stream=stream)


def generate(**given_fields: object) -> Conversation:
    return parse_generate_request(fields({"model": "gpt-4.1", "prompt": "hello", **given_fields}), stream=True)


def assistant(*names: str, **given_fields: object) -> dict:
    calls = [{"function": {"name": name, "arguments": {"n": number}}} for number, name in enumerate(names)]
    return {"role": "assistant", "content": "", "tool_calls": calls, **given_fields}


def tool(content: str, **given_fields: object) -> dict:
    return {"role": "tool", "content": content, **given_fields}


def test_a_chat() -> None:
    """Roles and texts; instructions in front are the system's, later ones stay where they are."""
    conversation = parse(
        {"role": "system", "content": "a"},
        HELLO,
        {"role": "assistant", "content": "b"},
        {"role": "system", "content": "c"},
        {"role": "user", "content": ""},
    )
    assert conversation.model == "gpt-4.1"
    assert conversation.stream
    assert conversation.system == (Text("a"),)
    assert conversation.turns == (
        Turn(Role.USER, (Text("hello"),)),
        Turn(Role.ASSISTANT, (Text("b"),)),
        Turn(Role.SYSTEM, (Text("c"),)),
        Turn(Role.USER, (Text(""),)),
    )


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (PNG, Image(media_type="image/png", data=PNG)),
        (JPEG, Image(media_type="image/jpeg", data=JPEG)),
        (f"data:image/jpg;base64,{JPEG}", Image(media_type="image/jpeg", data=JPEG)),
    ],
)
def test_images(image: str, expected: Image) -> None:
    """Bare base64 tells its type by its bytes; data URLs are read as well."""
    assert parse({**HELLO, "images": [image]}).turns == (Turn(Role.USER, (Text("hello"), expected)),)


def results(conversation: Conversation) -> list[tuple[str, str]]:
    found = [part for turn in conversation.turns for part in turn.parts if isinstance(part, ToolResult)]
    return [(part.call_id, "".join(each.text for each in part.parts if isinstance(each, Text))) for part in found]


def test_calls_get_ids() -> None:
    """They have none in most clients; the same history gets the same ones, and arguments stay as they came."""
    conversation = parse(HELLO, assistant("f", "g"), tool("1"), tool("2"))
    assert conversation.turns[1].parts == (
        ToolCall("call_f_1", "f", '{"n": 0}'),
        ToolCall("call_g_2", "g", '{"n": 1}'),
    )
    assert parse(HELLO, assistant("f", "g"), tool("1"), tool("2")) == conversation


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([tool("1"), tool("2")], [("call_f_1", "1"), ("call_g_2", "2")]),
        ([tool("1", tool_name="g"), tool("2", tool_name="f")], [("call_g_2", "1"), ("call_f_1", "2")]),
        ([tool("1", name="g"), tool("2")], [("call_g_2", "1"), ("call_f_1", "2")]),
        ([tool("1", tool_name="h"), tool("2")], [("call_f_1", "1"), ("call_g_2", "2")]),
    ],
)
def test_results_belong_to_calls_by_name_then_by_order(answers: list[dict], expected: list[tuple[str, str]]) -> None:
    """A name that fits decides, else the first call that waits."""
    assert results(parse(HELLO, assistant("f", "g"), *answers)) == expected


def test_ids_count_where_there_are_some() -> None:
    """Newer clients send the id of the call."""
    calls = [{"id": name, "function": {"name": "f", "arguments": {}}} for name in ("x", "y")]
    conversation = parse(
        HELLO,
        {"role": "assistant", "tool_calls": calls},
        tool("1", tool_call_id="y"),
        tool("2", tool_call_id="x", images=[PNG]),
    )
    assert results(conversation) == [("y", "1"), ("x", "2")]
    assert conversation.turns[-1].parts == (ToolResult("x", (Text("2"), Image(media_type="image/png", data=PNG))),)


@pytest.mark.parametrize(
    ("given_fields", "named"), [({"tool_call_id": "x"}, "x"), ({"tool_name": "f"}, "f"), ({}, "unknown")]
)
def test_a_result_without_a_call_is_refused_later(given_fields: dict, named: str) -> None:
    """Pairing refuses it by what it called itself."""
    with pytest.raises(BadRequest, match=f"'{named}'"):
        paired(parse(HELLO, tool("1", **given_fields)).turns, complete=True)


@pytest.mark.parametrize(("arguments", "expected"), [(None, "{}"), ('{"a": 1}', '{"a": 1}'), ({"a": 1}, '{"a": 1}')])
def test_arguments(arguments: object, expected: str) -> None:
    """An object, a string of one as OpenAI has it, or nothing."""
    message = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}
    assert parse(HELLO, message).turns[1].parts == (ToolCall("call_f_1", "f", expected),)


def test_thinking_in_history_is_dropped() -> None:
    """It has no seal, and no upstream takes it back without one."""
    conversation = parse(HELLO, {"role": "assistant", "content": "a", "thinking": "hm"})
    assert conversation.turns[1].parts == (Text("a"),)
    assert conversation.losses == (Loss("messages.thinking", matters=False),)


def test_a_message_that_says_nothing_is_no_turn() -> None:
    """An empty answer of before is left out."""
    assert len(parse(HELLO, {"role": "assistant", "content": None}).turns) == 1


def test_tools() -> None:
    """They have the shape of OpenAI's."""
    given_tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}
    assert parse(tools=[given_tool]).tools == (Tool(name="f", description="d", schema=json.dumps(SCHEMA).encode()),)


FORMATS = [("", None), (None, None), ("json", Format()), (SCHEMA, Format(schema=json.dumps(SCHEMA).encode()))]


@pytest.mark.parametrize(("given_format", "expected"), FORMATS)
def test_formats(given_format: object, expected: Format | None) -> None:
    """Nothing, any JSON, or a schema."""
    assert parse(format=given_format).format == expected
    assert generate(format=given_format).format == expected


REASONING = [
    (None, None),
    (True, Reasoning(adaptive=True, show=True)),
    (False, Reasoning(disabled=True, show=False)),
    ("high", Reasoning(effort=Effort.HIGH, show=True)),
    ("none", Reasoning(effort=Effort.NONE, disabled=True, show=False)),
]


@pytest.mark.parametrize(("think", "expected"), REASONING)
def test_thinking(think: object, expected: Reasoning | None) -> None:
    """Yes, no, or how hard."""
    assert parse(think=think).reasoning == expected


def test_options() -> None:
    """Sampling, limit, and what only some upstreams know are kept."""
    conversation = parse(
        options={
            "temperature": 0.5,
            "top_p": 0.9,
            "stop": ["END"],
            "num_predict": 100,
            "presence_penalty": 0.1,
            "frequency_penalty": 0.2,
            "seed": 7,
            "top_k": None,
        }
    )
    assert conversation.sampling == Sampling(temperature=0.5, top_p=0.9, stop=("END",))
    assert conversation.max_tokens == 100
    assert conversation.extra == {"presence_penalty": b"0.1", "frequency_penalty": b"0.2", "seed": b"7"}
    assert conversation.losses == ()


@pytest.mark.parametrize("limit", [-1, -2, None])
def test_no_limit(limit: int | None) -> None:
    """Ollama has numbers for "no limit"."""
    assert parse(options={"num_predict": limit, "stop": "END"}).max_tokens is None


def test_losses() -> None:
    """What cannot be said is named, with whether it matters; values that say nothing are not."""
    conversation = parse(
        options={"top_k": 40, "num_ctx": 8192, "mirostat": 2},
        keep_alive="5m",
        logprobs=True,
        truncate=False,
        novel=1,
    )
    assert conversation.losses == (
        Loss("options.top_k", matters=True),
        Loss("options.num_ctx", matters=False),
        Loss("options.mirostat", matters=True),
        Loss("keep_alive", matters=False),
        Loss("logprobs", matters=True),
        Loss("novel", matters=True),
    )


def test_generate() -> None:
    """One prompt is a conversation of one turn."""
    conversation = generate(model="gpt-4.1:latest", system="s", images=[PNG], raw=True, template="t", context=[])
    assert conversation.model == "gpt-4.1"
    assert conversation.system == (Text("s"),)
    assert conversation.turns == (Turn(Role.USER, (Text("hello"), Image(media_type="image/png", data=PNG))),)
    assert conversation.losses == (Loss("raw", matters=True), Loss("template", matters=True))
    assert generate(system="", options={"seed": 1}).system == ()


@pytest.mark.parametrize(
    ("body", "expected"),
    [({}, True), ({"stream": None}, True), ({"stream": True}, True), ({"stream": False}, False)],
)
def test_streams_unless_told_otherwise(body: dict, expected: bool) -> None:
    """Ollama's default is not that of everybody else."""
    assert wants_stream(fields(body)) is expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, True),
        ({"messages": []}, True),
        ({"prompt": ""}, True),
        ({"messages": [HELLO]}, False),
        ({"prompt": "hello"}, False),
    ],
)
def test_load_requests(body: dict, expected: bool) -> None:
    """Who asks nothing wants the model loaded."""
    assert is_load_request(fields(body)) is expected


@pytest.mark.parametrize(
    ("name", "expected"), [("gpt-4.1", "gpt-4.1"), ("gpt-4.1:latest", "gpt-4.1"), ("a:8b", "a:8b")]
)
def test_model_names(name: str, expected: str) -> None:
    """The usual tag says nothing."""
    assert plain_model(name) == expected


REFUSED: list[tuple[dict, str]] = [
    ({"messages": None}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": ["hi"]}, "messages[0]"),
    ({"messages": [HELLO, {"role": "wizard"}]}, "messages[1]"),
    ({"messages": [{**HELLO, "images": ["AAAA"]}]}, "messages[0]"),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": [1]}}]}]},
        "messages[0]",
    ),
    ({"format": "yaml"}, "format"),
    ({"format": 5}, "format"),
    ({"think": "lots"}, "think"),
    ({"think": 5}, "think"),
    ({"options": 5}, "options"),
    ({"options": {"temperature": 9}}, "options"),
    ({"tools": 5}, "tools"),
    ({"model": 5}, "model"),
]


@pytest.mark.parametrize(("given_fields", "param"), REFUSED)
def test_refused(given_fields: dict, param: str) -> None:
    """What would give a wrong answer is refused, and the message says where it stands."""
    with pytest.raises(BadRequest) as caught:
        parse(**{"messages": [HELLO], **given_fields})
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("given_fields", "param"),
    [
        ({"context": [1, 2]}, "context"),
        ({"suffix": "x"}, "suffix"),
        ({"prompt": 5}, "prompt"),
        ({"images": 5}, "images"),
    ],
)
def test_refused_generate(given_fields: dict, param: str) -> None:
    """Tokens of an earlier answer, and a text on both sides of a gap, nobody could put back."""
    with pytest.raises(BadRequest) as caught:
        generate(**given_fields)
    assert caught.value.param == param


def test_broken_json_inside_is_refused() -> None:
    """Values that nobody looks into are checked all the same."""
    with pytest.raises(BadRequest):
        parse_request(read_object(b'{"messages":[{"role":"user"}],"format":{"a":"\xff"}}'), stream=False)
    call = b'{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"a":1e999}}}]}]}'
    with pytest.raises(BadRequest):
        parse_request(read_object(call), stream=False)


KEYS = st.sampled_from(
    ["messages", "role", "content", "images", "tool_calls", "function", "name", "arguments", "tool_name", "tools"]
    + ["options", "stop", "num_predict", "format", "think", "prompt", "system", "model", "context"]
)
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["user", "tool", "f", "json", "", "AA=="])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=14,
)


@pytest.mark.parametrize("read", [parse_request, parse_generate_request])
@given(body=st.dictionaries(KEYS, ANYTHING, max_size=5))
@settings(max_examples=150, deadline=None)
def test_any_json_is_a_request_or_a_refusal(read: object, body: dict) -> None:
    """Whatever a client sends, nothing but a refusal is raised."""
    try:
        read(fields(body), stream=False)  # type: ignore[operator]
    except BadRequest:
        return
