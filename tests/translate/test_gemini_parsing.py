"""A Gemini client's request becomes a conversation: all of it is kept, named as lost, or refused by its place."""

import json
from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_asgi.errors import BadRequest
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
    Role,
    Sampling,
    Seal,
    SealOrigin,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolChoiceMode,
    ToolResult,
    Turn,
)
from copilot_asgi.translate.gemini_media import signature_of
from copilot_asgi.translate.gemini_request import parse_count_request, parse_request, plain_model
from copilot_asgi.translate.pairing import paired
from copilot_asgi.wire.shallow import read_object

HELLO = {"role": "user", "parts": [{"text": "hello"}]}
# Bytes whose base64 differs between the two alphabets.
PNG_BYTES = b"\x89PNG\r\n\x1a\n\xff\xfe\xfb"
PNG = b64encode(PNG_BYTES).decode()
SEAL = Seal(SealOrigin.CHAT, "OPAQUE")
SIGNATURE = signature_of(SEAL, text="why")


def parse(*contents: object, stream: bool = False, **fields: object) -> Conversation:
    body = {"model": "gpt-4.1", "contents": list(contents) or [HELLO], **fields}
    return parse_request(read_object(json.dumps(body).encode()), stream=stream)


def user(**part: object) -> dict:
    return {"role": "user", "parts": [part]}


def model(*parts: dict) -> dict:
    return {"role": "model", "parts": list(parts)}


def call(name: str = "f", **fields: object) -> dict:
    return {"functionCall": {"name": name, **fields}}


def answer(name: str = "f", **fields: object) -> dict:
    return {"functionResponse": {"name": name, **fields}}


def config(**fields: object) -> Conversation:
    return parse(generationConfig=fields)


USER_PARTS: list[tuple[dict, Part]] = [
    ({"text": "a"}, Text("a")),
    ({"text": ""}, Text("")),
    ({}, Text("")),
    ({"inlineData": {"mimeType": "image/png", "data": PNG}}, Image(media_type="image/png", data=PNG)),
    (
        {"inline_data": {"mime_type": "image/png", "data": urlsafe_b64encode(PNG_BYTES).decode().rstrip("=")}},
        Image(media_type="image/png", data=PNG),
    ),
    ({"inlineData": {"mimeType": "audio/wav", "data": "AA=="}}, Audio("AA==", "wav")),
    ({"inlineData": {"mimeType": "audio/mpeg", "data": "AA=="}}, Audio("AA==", "mp3")),
    (
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBE", "displayName": "a.pdf"}},
        Document(media_type="application/pdf", data="JVBE", name="a.pdf"),
    ),
    ({"inlineData": {"mimeType": "text/plain; charset=utf-8", "data": "aGk="}}, Text("hi")),
    ({"inlineData": {"mimeType": "text/csv", "data": "aGk=", "displayName": "a.csv"}}, Text("a.csv\nhi")),
    ({"fileData": {"mimeType": "image/png", "fileUri": "https://x.test/a"}}, Image(url="https://x.test/a")),
    ({"file_data": {"mime_type": "image/png", "file_uri": "http://x.test/a"}}, Image(url="http://x.test/a")),
]


@pytest.mark.parametrize(("given_part", "expected"), USER_PARTS)
def test_user_parts(given_part: dict, expected: Part) -> None:
    """Each kind of part is read, in either spelling of the keys and either alphabet of base64."""
    assert parse(user(**given_part)).turns == (Turn(Role.USER, (expected,)),)


@pytest.mark.parametrize(
    ("role", "expected"), [(None, Role.USER), ("user", Role.USER), ("function", Role.USER), ("model", Role.ASSISTANT)]
)
def test_roles(role: str | None, expected: Role) -> None:
    """Results are the user's, and who says nothing is the user."""
    assert parse({"role": role, "parts": [{"text": "a"}]}).turns == (Turn(expected, (Text("a"),)),)


def test_a_model_that_said_nothing_has_no_turn() -> None:
    """An empty turn of the model says nothing; an empty one of the user still asks."""
    turns = parse(HELLO, model({"text": ""}), {"role": "user"}).turns
    assert turns == (Turn(Role.USER, (Text("hello"),)), Turn(Role.USER, (Text(""),)))


def test_instructions() -> None:
    """All texts of the system instruction are kept, empty ones are not, and either spelling is read."""
    content = {"parts": [{"text": "a"}, {"text": ""}, {"text": "b"}]}
    assert parse(systemInstruction=content).system == (Text("a"), Text("b"))
    assert parse(system_instruction=content).system == (Text("a"), Text("b"))
    assert parse(systemInstruction={"parts": []}).system == ()


def test_calls_and_results_without_ids_pair_by_name_and_order() -> None:
    """Two calls of one name get two ids, which stay the same each time, and the results find them in order."""
    contents = [
        HELLO,
        model(call(args={"a": 1}), call("g"), call(args={"a": 2})),
        {
            "role": "function",
            "parts": [
                answer(response={"output": "one"}),
                answer(response={"output": "two"}),
                answer("g", response={"result": 3}),
            ],
        },
    ]
    turns = parse(*contents).turns
    assert turns[1].parts == (
        ToolCall("call_f_1", "f", '{"a": 1}'),
        ToolCall("call_g_2", "g", "{}"),
        ToolCall("call_f_3", "f", '{"a": 2}'),
    )
    assert turns[2].parts == (
        ToolResult("call_f_1", (Text("one"),)),
        ToolResult("call_f_3", (Text("two"),)),
        ToolResult("call_g_2", (Text("3"),)),
    )
    assert parse(*contents).turns == turns


def test_given_ids_count() -> None:
    """An id that the client gives is kept, and finds its call out of order; a later result for it counts as well."""
    turns = parse(
        HELLO,
        model(call(id="x"), call(id="y")),
        {"parts": [answer(id="y"), answer(id="x"), answer(id="x")]},
    ).turns
    assert [part.id for part in turns[1].parts if isinstance(part, ToolCall)] == ["x", "y"]
    assert [part.call_id for part in turns[2].parts if isinstance(part, ToolResult)] == ["y", "x", "x"]


def test_an_unknown_id_falls_back_to_the_name() -> None:
    """Some clients put ids on results only."""
    turns = parse(HELLO, model(call()), user(**answer(id="made-up"))).turns
    assert turns[2].parts == (ToolResult("call_f_1"),)


@pytest.mark.parametrize(("fields", "named"), [({"id": "x"}, "x"), ({}, "g")])
def test_a_result_without_a_call_is_refused_later(fields: dict, named: str) -> None:
    """No id is made up for it; pairing refuses it by what it called itself."""
    turns = parse(HELLO, model(call()), user(**answer()), user(**answer("g", **fields))).turns
    with pytest.raises(BadRequest, match=f"'{named}'"):
        paired(turns, complete=True)


RESPONSES = [
    ({"output": "a"}, "a", False),
    ({"result": "a"}, "a", False),
    ({"result": {"b": 1}}, '{"b": 1}', False),
    ({"output": "a", "more": 1}, '{"output": "a", "more": 1}', False),
    ({"error": "broke"}, "broke", True),
    ({"anything": 1}, '{"anything": 1}', False),
    ({}, "{}", False),
]


@pytest.mark.parametrize(("response", "text", "is_error"), RESPONSES)
def test_results(response: dict, text: str, is_error: bool) -> None:
    """A lone output, result or error is told as it is, everything else as the JSON it came as."""
    [_, _, turn] = parse(HELLO, model(call()), user(**answer(response=response))).turns
    assert turn.parts == (ToolResult("call_f_1", (Text(text),), is_error=is_error),)


def test_results_may_hold_images_and_files() -> None:
    """What stands beside the response belongs to it."""
    shown = [
        {"inlineData": {"mimeType": "image/png", "data": PNG}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBE"}},
    ]
    [_, _, turn] = parse(HELLO, model(call()), user(**answer(response={"output": ""}, parts=shown))).turns
    image, document = Image(media_type="image/png", data=PNG), Document(media_type="application/pdf", data="JVBE")
    assert turn.parts == (ToolResult("call_f_1", (image, document)),)


def test_signed_thinking_comes_back() -> None:
    """The envelope in a signature holds seal and text; it may stand on any part of the model."""
    [_, turn] = parse(HELLO, model({**call(), "thoughtSignature": SIGNATURE})).turns
    assert turn.parts == (Thinking("why", SEAL), ToolCall("call_f_1", "f", "{}"))
    [_, turn] = parse(HELLO, model({"text": "", "thought": True, "thought_signature": SIGNATURE})).turns
    assert turn.parts == (Thinking("why", SEAL),)


@pytest.mark.parametrize("foreign", ["QUJD", "skip_thought_signature_validator", "!", "_-8="])
def test_google_s_own_signatures_are_dropped(foreign: str) -> None:
    """No upstream of ours can read them."""
    conversation = parse(HELLO, model({"text": "a", "thoughtSignature": foreign}))
    assert conversation.turns[1].parts == (Text("a"),)
    assert conversation.losses == (Loss("contents.thoughtSignature", matters=False),)


def test_thoughts_without_a_signature_are_dropped() -> None:
    """They were shown to a person; no upstream takes them back."""
    conversation = parse(HELLO, model({"text": "hm", "thought": True}, {"text": "a"}))
    assert conversation.turns[1].parts == (Text("a"),)
    assert conversation.losses == (Loss("contents.thought", matters=False),)


@pytest.mark.parametrize("name", ["executableCode", "codeExecutionResult", "toolCall", "toolResponse"])
def test_what_google_s_servers_ran_is_lost(name: str) -> None:
    """It is named, and the rest of the turn stays."""
    conversation = parse(HELLO, model({name: {}}, {"text": "a"}))
    assert conversation.turns[1].parts == (Text("a"),)
    assert conversation.losses == (Loss(f"contents.{name}", matters=True),)


def declared(**fields: object) -> bytes:
    [tool] = parse(tools=[{"functionDeclarations": [{"name": "f", **fields}]}]).tools
    return tool.schema


def test_tools() -> None:
    """Functions of all tools are kept, in either spelling."""
    conversation = parse(
        tools=[
            {"functionDeclarations": [{"name": "f", "description": "d"}, {"name": "ns.g:h"}]},
            {"function_declarations": [{"name": "i", "parameters_json_schema": {"type": "object"}}]},
        ]
    )
    assert [(tool.name, tool.description, tool.schema) for tool in conversation.tools] == [
        ("f", "d", b""),
        ("ns.g:h", "", b""),
        ("i", "", b'{"type": "object"}'),
    ]
    assert conversation.losses == ()


def test_json_schemas_stay_to_the_byte() -> None:
    """A schema that is JSON schema already needs nothing done to it."""
    schema = {"type": "object", "properties": {"type": {"type": "STRING"}}, "nullable": True}
    assert declared(parametersJsonSchema=schema, parameters={"type": "OBJECT"}) == json.dumps(schema).encode()


SCHEMAS: list[tuple[object, object]] = [
    (
        {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}},
        {"type": "object", "properties": {"a": {"type": "string"}}},
    ),
    ({"type": "STRING", "nullable": True}, {"type": ["string", "null"]}),
    ({"type": "STRING", "nullable": False}, {"type": "string"}),
    ({"type": "STRING", "enum": ["A"], "format": "enum"}, {"type": "string", "enum": ["A"], "format": "enum"}),
    ({"type": "STRING", "enum": ["A"], "nullable": True}, {"type": ["string", "null"], "enum": ["A", None]}),
    (
        {"anyOf": [{"type": "STRING"}], "nullable": True},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
    ),
    ({"any_of": [{"type": "STRING"}]}, {"anyOf": [{"type": "string"}]}),
    ({"type": "TYPE_UNSPECIFIED", "title": "t"}, {"title": "t"}),
    ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
    (
        {"type": "ARRAY", "items": {"type": "INTEGER"}, "minItems": "1"},
        {"type": "array", "items": {"type": "integer"}, "minItems": 1},
    ),
    ({"type": "STRING", "max_length": "many"}, {"type": "string", "maxLength": "many"}),
    ({"type": "OBJECT", "propertyOrdering": ["a"]}, {"type": "object"}),
    (
        {"defs": {"A": {"type": "NULL"}}, "ref": "#/defs/A"},
        {"$defs": {"A": {"type": "null"}}, "$ref": "#/$defs/A"},
    ),
    ({"$ref": 5, "properties": 5, "anyOf": 5}, {"$ref": 5, "properties": 5, "anyOf": 5}),
    ({"additional_properties": False}, {"additionalProperties": False}),
    (
        {"type": "OBJECT", "properties": {"min_items": {"default": "STRING"}}},
        {"type": "object", "properties": {"min_items": {"default": "STRING"}}},
    ),
]


@pytest.mark.parametrize(("given_schema", "expected"), SCHEMAS)
def test_schemas(given_schema: object, expected: object) -> None:
    """Google's schemas become JSON schemas, and names of properties stay."""
    assert json.loads(declared(parameters=given_schema)) == expected


def test_hosted_tools_are_lost() -> None:
    """What Google would run is named; what nobody knows is not repeated to the client."""
    conversation = parse(tools=[{"googleSearch": {}, "url_context": {}}, {"newest": {}}])
    assert conversation.tools == ()
    assert conversation.losses == (
        Loss("tools.googleSearch", matters=True),
        Loss("tools.urlContext", matters=True),
        Loss("tools", matters=True),
    )


CHOICES = [
    (None, None),
    ({}, None),
    ({"mode": "MODE_UNSPECIFIED"}, None),
    ({"mode": "AUTO"}, ToolChoice(ToolChoiceMode.AUTO)),
    ({"mode": "auto", "allowedFunctionNames": ["f"]}, ToolChoice(ToolChoiceMode.AUTO)),
    ({"mode": "VALIDATED"}, ToolChoice(ToolChoiceMode.AUTO)),
    ({"mode": "VALIDATED", "allowedFunctionNames": ["f"]}, ToolChoice(ToolChoiceMode.AUTO, allowed=("f",))),
    ({"mode": "NONE"}, ToolChoice(ToolChoiceMode.NONE)),
    ({"mode": "ANY"}, ToolChoice(ToolChoiceMode.REQUIRED)),
    ({"mode": "ANY", "allowedFunctionNames": ["f"]}, ToolChoice(ToolChoiceMode.REQUIRED, name="f")),
    ({"mode": "ANY", "allowed_function_names": ["f", "g"]}, ToolChoice(ToolChoiceMode.REQUIRED, allowed=("f", "g"))),
]


@pytest.mark.parametrize(("calling", "expected"), CHOICES)
def test_tool_choice(calling: object, expected: ToolChoice | None) -> None:
    """Google's modes are ours; one allowed name forces that function."""
    assert parse(toolConfig={"functionCallingConfig": calling}).tool_choice == expected
    assert parse(tool_config={"function_calling_config": calling}).tool_choice == expected


def test_sampling_and_limits() -> None:
    """Sampling, limit, and what only some upstreams know are kept."""
    conversation = config(
        temperature=0.5,
        topP=0.9,
        stop_sequences=["END"],
        maxOutputTokens=100,
        presencePenalty=0.1,
        frequency_penalty=0.2,
        seed=7,
        candidateCount=1,
        responseModalities=["TEXT"],
        responseLogprobs=False,
    )
    assert conversation.sampling == Sampling(temperature=0.5, top_p=0.9, stop=("END",))
    assert conversation.max_tokens == 100
    assert conversation.extra == {"presence_penalty": b"0.1", "frequency_penalty": b"0.2", "seed": b"7"}
    assert conversation.losses == ()


FORMATS = [
    ({}, None),
    ({"responseMimeType": "text/plain"}, None),
    ({"responseMimeType": "application/json"}, Format()),
    (
        {"responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"}},
        Format(schema=b'{"type":"object"}'),
    ),
    ({"response_json_schema": {"type": "object"}}, Format(schema=b'{"type": "object"}')),
    ({"_responseJsonSchema": {"type": "object"}}, Format(schema=b'{"type": "object"}')),
]


@pytest.mark.parametrize(("fields", "expected"), FORMATS)
def test_formats(fields: dict, expected: Format | None) -> None:
    """JSON with and without a schema."""
    assert config(**fields).format == expected


REASONING = [
    ({"thinkingLevel": "HIGH"}, Reasoning(effort=Effort.HIGH)),
    ({"thinking_level": "minimal"}, Reasoning(effort=Effort.MINIMAL)),
    ({"thinkingLevel": "XHIGH", "includeThoughts": True}, Reasoning(effort=Effort.XHIGH, show=True)),
    ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, Reasoning()),
    ({"thinkingBudget": 5000}, Reasoning(budget=5000)),
    ({"thinkingBudget": 0}, Reasoning(disabled=True)),
    ({"thinkingBudget": -1}, Reasoning(adaptive=True)),
    ({"includeThoughts": True}, Reasoning(adaptive=True, show=True)),
    ({"include_thoughts": False}, Reasoning(show=False)),
    (None, None),
]


@pytest.mark.parametrize(("thinking", "expected"), REASONING)
def test_thinking(thinking: object, expected: Reasoning | None) -> None:
    """Level, budget, and whether to show thoughts."""
    assert config(thinkingConfig=thinking).reasoning == expected


def test_losses() -> None:
    """What cannot be said is named, with whether it matters; what is without effect does not."""
    conversation = parse(
        generationConfig={
            "topK": 40,
            "mediaResolution": "LOW",
            "responseLogprobs": True,
            "novel": 1,
            "responseMimeType": "text/x.enum",
        },
        safetySettings=[],
        labels={"a": "b"},
        novel=1,
    )
    assert set(conversation.losses) == {
        Loss("generationConfig.topK", matters=True),
        Loss("generationConfig.mediaResolution", matters=False),
        Loss("generationConfig.responseLogprobs", matters=True),
        Loss("generationConfig.novel", matters=True),
        Loss("generationConfig.responseMimeType", matters=True),
        Loss("safetySettings", matters=False),
        Loss("labels", matters=False),
        Loss("novel", matters=True),
    }


REFUSED: list[tuple[dict, str]] = [
    ({"contents": None}, "contents"),
    ({"contents": []}, "contents"),
    ({"contents": "hi"}, "contents"),
    ({"contents": ["hi"]}, "contents[0]"),
    ({"contents": [HELLO, {"role": "system", "parts": []}]}, "contents[1]"),
    ({"contents": [{"parts": [{"text": 5}]}]}, "contents[0].parts[0]"),
    ({"contents": [user(**call())]}, "contents[0].parts[0]"),
    ({"contents": [model(answer())]}, "contents[0].parts[0]"),
    ({"contents": [model(call(args=[1]))]}, "contents[0].parts[0]"),
    ({"contents": [model({"functionCall": {}})]}, "contents[0].parts[0]"),
    ({"contents": [user(**answer(parts=[{"text": "a"}, answer()]))]}, "contents[0].parts[0]"),
    ({"contents": [user(inlineData={"mimeType": "video/mp4", "data": "AA=="})]}, "contents[0].parts[0]"),
    ({"contents": [user(inlineData={"mimeType": "audio/flac", "data": "AA=="})]}, "contents[0].parts[0]"),
    ({"contents": [user(inlineData={"mimeType": "text/plain", "data": "!"})]}, "contents[0].parts[0]"),
    ({"contents": [user(fileData={"fileUri": "gs://b/a.png", "mimeType": "image/png"})]}, "contents[0].parts[0]"),
    ({"contents": [user(fileData={"fileUri": "https://x.test/a.mp4"})]}, "contents[0].parts[0]"),
    (
        {"contents": [model({"text": "a", "thoughtSignature": b64encode(b"capi1.cZZ").decode()})]},
        "contents[0].parts[0]",
    ),
    ({"systemInstruction": user(inlineData={"mimeType": "image/png", "data": PNG})}, "systemInstruction"),
    ({"systemInstruction": "be brief"}, "systemInstruction"),
    ({"tools": [{"functionDeclarations": [{}]}]}, "tools"),
    ({"toolConfig": {"functionCallingConfig": 5}}, "toolConfig"),
    ({"toolConfig": {"functionCallingConfig": {"mode": "MAYBE"}}}, "toolConfig"),
    ({"cachedContent": "cachedContents/x"}, "cachedContent"),
    ({"model": 5}, "model"),
    ({"generationConfig": 5}, "generationConfig"),
    ({"generationConfig": {"temperature": 5}}, "generationConfig"),
    ({"generationConfig": {"candidateCount": 2}}, "generationConfig.candidateCount"),
    ({"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}}, "generationConfig.responseModalities"),
    ({"generationConfig": {"speechConfig": {}}}, "generationConfig.speechConfig"),
    ({"generationConfig": {"image_config": {}}}, "generationConfig.imageConfig"),
    ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOTS"}}}, "generationConfig.thinkingConfig"),
]


@pytest.mark.parametrize(("fields", "param"), REFUSED)
def test_refused(fields: dict, param: str) -> None:
    """What would give a wrong answer is refused, and the message says where it stands."""
    with pytest.raises(BadRequest) as caught:
        parse(**{"contents": [HELLO], **fields})
    assert caught.value.param == param


def test_broken_json_inside_is_refused() -> None:
    """Values that nobody looks into are checked all the same."""
    for body in (
        b'{"contents":[{"parts":[{"functionCall":{"name":"f","args":{"a":"\xff"}}}],"role":"model"}]}',
        b'{"contents":[{}],"tools":[{"functionDeclarations":[{"name":"f","parametersJsonSchema":{"a":1e999}}]}]}',
    ):
        with pytest.raises(BadRequest):
            parse_request(read_object(body), stream=False)


def test_model_and_stream() -> None:
    """The model may be a resource name; whether to stream is the edge's word."""
    assert parse(model="models/gpt-4.1").model == plain_model("gpt-4.1") == "gpt-4.1"
    assert parse(stream=True).stream
    assert not parse().stream


def count(body: dict) -> Conversation:
    return parse_count_request(read_object(json.dumps(body).encode()))


def test_count_requests() -> None:
    """Tokens are asked for with contents alone, or with a whole request, whose model is the one of the path."""
    assert count({"model": "m", "contents": [HELLO]}) == parse(model="m")
    whole = {"model": "models/other", "contents": [HELLO], "systemInstruction": {"parts": [{"text": "s"}]}}
    expected = parse(model="m", systemInstruction=whole["systemInstruction"])
    assert count({"model": "m", "generateContentRequest": whole}) == expected
    assert count({"generate_content_request": whole}).model == "other"
    with pytest.raises(BadRequest) as caught:
        count({"generateContentRequest": 5})
    assert caught.value.param == "generateContentRequest"


KEYS = st.sampled_from(
    ["contents", "parts", "role", "text", "functionCall", "functionResponse", "name", "args", "response", "inlineData"]
    + ["mimeType", "data", "tools", "functionDeclarations", "parameters", "type", "properties", "generationConfig"]
    + ["thinkingConfig", "thinking_budget", "systemInstruction", "toolConfig", "functionCallingConfig", "mode", "id"]
)
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["user", "model", "f", "ANY", "", "AA=="])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=14,
)


@given(body=st.dictionaries(KEYS, ANYTHING, max_size=5))
@settings(max_examples=200, deadline=None)
def test_any_json_is_a_request_or_a_refusal(body: dict) -> None:
    """Whatever a client sends, nothing but a refusal is raised."""
    try:
        parse_request(read_object(json.dumps(body).encode()), stream=False)
    except BadRequest:
        return


def test_deep_nesting_is_refused() -> None:
    """A request nested without end is no request."""
    deep = b'{"items":' * 700 + b"{}" + b"}" * 700
    body = b'{"contents":[{"parts":[]}],"tools":[{"functionDeclarations":[{"name":"f","parameters":%b}]}]}'
    with pytest.raises(BadRequest):
        parse_request(read_object(body % deep), stream=False)
