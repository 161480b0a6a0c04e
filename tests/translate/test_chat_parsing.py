"""A chat client's request becomes a conversation: everything in it is kept, named as lost, or refused by its place."""

import json

import pytest

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.chat_request import parse_request
from copilot_asgi.translate.conversation import (
    Audio,
    Conversation,
    Document,
    Effort,
    Format,
    Image,
    Loss,
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
from copilot_asgi.translate.seals import wrap
from copilot_asgi.wire.shallow import read_object

PNG = "iVBORw0KGgo="
HELLO = {"role": "user", "content": "hello"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
FUNCTION = {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}
SCHEMA_TEXT = json.dumps(SCHEMA).encode()


def parse(*messages: object, stream: bool = False, **fields: object) -> Conversation:
    body = {"model": "gpt-4.1", "messages": list(messages) or [HELLO], **fields}
    return parse_request(read_object(json.dumps(body).encode()), stream=stream)


def turns(*messages: object) -> tuple[Turn, ...]:
    return parse(*messages).turns


def part(kind: str, **fields: object) -> dict:
    return {"role": "user", "content": [{"type": kind, **fields}]}


def call(id: str | None = "c1", name: str = "f", arguments: str = "{}") -> dict:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


USER_PARTS = [
    (part("text", text="a"), Text("a")),
    (part("text", text="a", prompt_cache_breakpoint={"mode": "explicit"}), Text("a", cached=True)),
    (part("text", text="a", cache_control={"type": "ephemeral"}), Text("a", cached=True)),
    (
        part("image_url", image_url={"url": f"data:image/png;base64,{PNG}", "detail": "low"}),
        Image(media_type="image/png", data=PNG, detail="low"),
    ),
    (part("image_url", image_url={"url": "https://x.test/a.png"}), Image(url="https://x.test/a.png")),
    (part("image_url", image_url="https://x.test/a.png"), Image(url="https://x.test/a.png")),
    (part("input_audio", input_audio={"data": "AA==", "format": "wav"}), Audio("AA==", "wav")),
    (
        part("input_audio", input_audio={"data": "AA==", "format": "wav"}, cache_control={"type": "ephemeral"}),
        Audio("AA==", "wav"),
    ),
    (
        part("file", file={"file_data": "data:application/pdf;base64,JVBE", "filename": "a.pdf"}),
        Document(media_type="application/pdf", data="JVBE", name="a.pdf"),
    ),
    (part("file", file={"file_data": "JVBE"}), Document(media_type="application/pdf", data="JVBE")),
    (part("file", file={"file_data": "data:text/plain;base64,aGk=", "filename": "a.txt"}), Text("a.txt\nhi")),
    (part("file", file={"file_data": f"data:image/png;base64,{PNG}"}), Image(media_type="image/png", data=PNG)),
    (part("refusal", refusal="no"), Refusal("no")),
    ({"role": "user", "content": None}, Text("")),
    ({"role": "user", "content": ""}, Text("")),
    ({"role": "user", "content": "a", "copilot_cache_control": {"type": "ephemeral"}}, Text("a", cached=True)),
]


@pytest.mark.parametrize(("message", "expected"), USER_PARTS)
def test_what_a_user_sends_is_kept(message: dict, expected: object) -> None:
    """Each kind of part has its neutral one."""
    assert turns(message) == (Turn(Role.USER, (expected,)),)  # type: ignore[arg-type]  # a table of parts


ASSISTANT_PARTS = [
    ({"content": "a"}, (Text("a"),)),
    ({"content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}]}, (Text("a"), Refusal("b"))),
    ({"content": None, "refusal": "no"}, (Refusal("no"),)),
    ({"content": "", "tool_calls": [call()]}, (ToolCall("c1", "f", "{}"),)),
    ({"tool_calls": [call(None)]}, (ToolCall("", "f", "{}"),)),
    (
        {"tool_calls": [{"id": "c1", "type": "custom", "custom": {"name": "f", "input": "raw"}}]},
        (ToolCall("c1", "f", "raw", freeform=True),),
    ),
    ({"function_call": {"name": "f", "arguments": "{}"}}, (ToolCall("call_function_1", "f", "{}"),)),
    ({"content": "a", "reasoning_text": "hm"}, (Thinking("hm"), Text("a"))),
    ({"content": "a", "reasoning_content": "hm"}, (Thinking("hm"), Text("a"))),
    (
        {"content": "a", "reasoning_text": "hm", "reasoning_opaque": "xyz"},
        (Thinking("hm", Seal(SealOrigin.CHAT, "xyz")), Text("a")),
    ),
    (
        {"reasoning_text": "shown", "reasoning_opaque": wrap(Seal(SealOrigin.SIGNATURE, "sig"), text="signed")},
        (Thinking("signed", Seal(SealOrigin.SIGNATURE, "sig")),),
    ),
    (
        {"reasoning_text": "shown", "reasoning_opaque": wrap(Seal(SealOrigin.RESPONSES, "enc", id="rs_1"))},
        (Thinking("shown", Seal(SealOrigin.RESPONSES, "enc", id="rs_1")),),
    ),
    (
        {"tool_calls": [call()], "copilot_cache_control": {"type": "ephemeral"}},
        (ToolCall("c1", "f", "{}", cached=True),),
    ),
]


@pytest.mark.parametrize(("message", "expected"), ASSISTANT_PARTS)
def test_what_the_model_said_is_kept(message: dict, expected: tuple[object, ...]) -> None:
    """Thinking comes first, then words, then calls, whichever keys they came under."""
    assert turns({"role": "assistant", **message}) == (Turn(Role.ASSISTANT, expected),)  # type: ignore[arg-type]  # parts


TOOL_RESULTS = [
    ("18C", ToolResult("c1", (Text("18C"),))),
    ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], ToolResult("c1", (Text("a"), Text("b")))),
    ("", ToolResult("c1")),
    (None, ToolResult("c1")),
    ("[tool error] boom", ToolResult("c1", (Text("boom"),), is_error=True)),
    ("not a [tool error] boom", ToolResult("c1", (Text("not a [tool error] boom"),))),
    (
        [{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}],
        ToolResult("c1", (Image(url="https://x.test/a.png"),)),
    ),
    (
        [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
        ToolResult("c1", (Text("a", cached=True),), cached=True),
    ),
]


@pytest.mark.parametrize(("content", "expected"), TOOL_RESULTS)
def test_what_a_tool_gave_back_is_kept(content: object, expected: ToolResult) -> None:
    """The marker of a failed tool becomes the flag again, and nothing else does."""
    assert turns({"role": "tool", "tool_call_id": "c1", "content": content}) == (Turn(Role.USER, (expected,)),)


def test_leading_instructions_are_the_system_and_later_ones_stay_in_place() -> None:
    """System and developer messages before the first turn are the conversation's; others are turns."""
    conversation = parse(
        {"role": "system", "content": "one"},
        {"role": "developer", "content": [{"type": "text", "text": "two"}, {"type": "text", "text": ""}]},
        HELLO,
        {"role": "system", "content": "three"},
        {"role": "system", "content": "four"},
    )
    assert conversation.system == (Text("one"), Text("two"))
    assert conversation.turns == (
        Turn(Role.USER, (Text("hello"),)),
        Turn(Role.SYSTEM, (Text("three"), Text("four"))),
    )


def test_neighbours_of_one_role_are_one_turn() -> None:
    """Results and the words behind them are one turn of the user's; an empty answer is none."""
    assert turns(
        HELLO,
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": None, "tool_calls": [call("a"), call("b")]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
        HELLO,
    ) == (
        Turn(Role.USER, (Text("hello"),)),
        Turn(Role.ASSISTANT, (ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}"))),
        Turn(Role.USER, (ToolResult("a", (Text("1"),)), ToolResult("b", (Text("2"),)), Text("hello"))),
    )


def test_deprecated_calls_and_their_results_get_the_same_ids() -> None:
    """Each ``function`` message answers the call before it, by an id that the same history gives again."""
    asked = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    answered = {"role": "function", "name": "f", "content": "1"}
    first, second = turns(HELLO, asked, answered, asked, answered)[1::2], turns(HELLO, asked, answered)[1::2]
    assert [turn.parts[0].id for turn in first] == ["call_function_1", "call_function_2"]  # type: ignore[union-attr]  # calls
    results = [part for turn in turns(HELLO, asked, answered, asked, answered) for part in turn.parts]
    assert [part.call_id for part in results if isinstance(part, ToolResult)] == ["call_function_1", "call_function_2"]
    assert first[0] == second[0]


BAD_MESSAGES = [
    ({"role": "wizard", "content": "x"}, "invalid_value"),
    ({"content": "x"}, "invalid_value"),
    ("text", "invalid_type"),
    ({"role": "user", "content": 3}, "invalid_type"),
    (part("video", video={}), "invalid_value"),
    (part("image_url", image_url={}), "missing_field"),
    (part("image_url"), "missing_field"),
    (part("image_url", image_url={"url": "data:nothing"}), "invalid_value"),
    (part("input_audio", input_audio={"data": "AA=="}), "missing_field"),
    (part("input_audio"), "missing_field"),
    (part("file", file={"file_id": "file-1"}), "unsupported_value"),
    (part("file"), "missing_field"),
    (part("file", file={"file_data": "data:text/plain;base64,!"}), "invalid_value"),
    ({"role": "assistant", "audio": {"id": "audio_1"}}, "unsupported_value"),
    ({"role": "assistant", "tool_calls": [{"id": "c1", "type": "function"}]}, "missing_field"),
    ({"role": "assistant", "reasoning_opaque": wrap(Seal(SealOrigin.CHAT, "x"))[:-3]}, "invalid_encrypted_content"),
    ({"role": "system", "content": [{"type": "refusal", "refusal": "x"}]}, "invalid_value"),
    (
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "refusal", "refusal": "x"}]},
        "invalid_value",
    ),
]


@pytest.mark.parametrize(("message", "code"), BAD_MESSAGES)
def test_a_message_that_cannot_be_kept_is_refused_by_its_place(message: object, code: str) -> None:
    """The client learns which message it is."""
    with pytest.raises(BadRequest) as caught:
        parse(HELLO, message)
    assert (caught.value.param, caught.value.code) == ("messages[1]", code)


GOOD_FIELDS = [
    ({"max_tokens": 5}, {"max_tokens": 5}),
    ({"max_tokens": 5, "max_completion_tokens": 6}, {"max_tokens": 6}),
    ({"temperature": 0.5, "top_p": 1, "stop": "x"}, {"sampling": Sampling(temperature=0.5, top_p=1.0, stop=("x",))}),
    ({"stop": ["x", "y"]}, {"sampling": Sampling(stop=("x", "y"))}),
    ({"stop": None, "tools": None, "temperature": None, "seed": None}, {"losses": ()}),
    ({"response_format": {"type": "text"}}, {"format": None}),
    ({"response_format": {"type": "json_object"}}, {"format": Format()}),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}},
        {"format": Format(schema=SCHEMA_TEXT, name="n", strict=True)},
    ),
    ({"reasoning_effort": "high"}, {"reasoning": Reasoning(effort=Effort.HIGH)}),
    ({"reasoning_effort": "none"}, {"reasoning": Reasoning(effort=Effort.NONE, disabled=True)}),
    ({"thinking_budget": 2000}, {"reasoning": Reasoning(budget=2000)}),
    ({"thinking_budget": 0}, {"reasoning": Reasoning(disabled=True)}),
    ({"stream_options": {"include_usage": True}}, {"include_usage": True, "extra": {}}),
    (
        {"stream_options": {"include_obfuscation": False}},
        {"include_usage": False, "extra": {"stream_options": b'{"include_obfuscation":false}'}},
    ),
    ({"verbosity": "low", "metadata": {"a": "b"}}, {"extra": {"verbosity": b'"low"', "metadata": b'{"a": "b"}'}}),
    ({"logprobs": True}, {"extra": {"top_logprobs": b"0"}}),
    ({"logprobs": True, "top_logprobs": 3}, {"extra": {"top_logprobs": b"3"}}),
    (
        {"web_search_options": {"search_context_size": None, "user_location": None}},
        {"extra": {"web_search_options": b"{}"}, "losses": ()},
    ),
    (
        {"web_search_options": {"user_location": {"type": "approximate", "approximate": None}}},
        {"extra": {"web_search_options": b'{"user_location":{"type":"approximate"}}'}},
    ),
    (
        {"web_search_options": {"user_location": {"type": "approximate", "approximate": {"city": "Rome"}}}},
        {"extra": {"web_search_options": b'{"user_location":{"type":"approximate","approximate":{"city":"Rome"}}}'}},
    ),
    ({"n": 1}, {"losses": ()}),
    ({"seed": 1}, {"losses": (Loss("seed", matters=False),)}),
    ({"logit_bias": {"1": 2}}, {"losses": (Loss("logit_bias", matters=True),)}),
    ({"presence_penalty": 0, "logit_bias": {}, "store": False}, {"losses": ()}),
    ({"top_k": 5}, {"losses": (Loss("top_k", matters=True),)}),
    ({"parallel_tool_calls": False}, {"parallel": False}),
    ({"tool_choice": "required"}, {"tool_choice": ToolChoice(ToolChoiceMode.REQUIRED)}),
    (
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tool_choice": ToolChoice(ToolChoiceMode.REQUIRED, name="f")},
    ),
    (
        {"tool_choice": {"type": "custom", "custom": {"name": "f"}}},
        {"tool_choice": ToolChoice(ToolChoiceMode.REQUIRED, name="f")},
    ),
    (
        {"tool_choice": {"type": "function", "name": "f"}},
        {"tool_choice": ToolChoice(ToolChoiceMode.REQUIRED, name="f")},
    ),
    (
        {
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            }
        },
        {"tool_choice": ToolChoice(ToolChoiceMode.AUTO, allowed=("f",))},
    ),
    (
        {"tools": [{"type": "function", "function": FUNCTION}]},
        {"tools": (Tool(name="f", description="d", schema=SCHEMA_TEXT, strict=True),)},
    ),
    (
        {"tools": [{"type": "function", "function": {"name": "f"}, "cache_control": {"type": "ephemeral"}}]},
        {"tools": (Tool(name="f", cached=True),)},
    ),
    (
        {"tools": [{"type": "custom", "custom": {"name": "f", "format": {"type": "text"}}}]},
        {"tools": (Tool(name="f", freeform=True),)},
    ),
    (
        {
            "tools": [
                {
                    "type": "custom",
                    "custom": {
                        "name": "f",
                        "format": {"type": "grammar", "grammar": {"definition": "x", "syntax": "lark"}},
                    },
                }
            ]
        },
        {"tools": (Tool(name="f", freeform=True, grammar=b'{"type":"grammar","syntax":"lark","definition":"x"}'),)},
    ),
    ({"tools": [{"type": "web_search"}]}, {"tools": (), "losses": (Loss("tools", matters=True),)}),
    (
        {"functions": [{"name": "f"}], "function_call": {"name": "f"}},
        {
            "tools": (Tool(name="f"),),
            "tool_choice": ToolChoice(ToolChoiceMode.REQUIRED, name="f"),
            "parallel": False,
            "legacy_functions": True,
            "losses": (),
        },
    ),
]


@pytest.mark.parametrize(("fields", "expected"), GOOD_FIELDS)
def test_a_field_is_kept_or_named(fields: dict, expected: dict) -> None:
    """Each field of the API arrives where every other dialect looks for it, or among the losses."""
    conversation = parse(**fields)
    assert {name: getattr(conversation, name) for name in expected} == expected


BAD_FIELDS = [
    ({"n": 3}, "n"),
    ({"n": "x"}, "n"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"audio": {"voice": "a", "format": "wav"}}, "modalities"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 10**30}, "max_tokens"),
    ({"temperature": 3}, "temperature"),
    ({"temperature": "warm", "max_tokens": 1}, "temperature"),
    ({"stop": 3}, "stop"),
    ({"reasoning_effort": "huge"}, "reasoning_effort"),
    ({"web_search_options": "x"}, "web_search_options"),
    ({"web_search_options": []}, "web_search_options"),
    ({"web_search_options": {"user_location": "x"}}, "web_search_options"),
    ({"web_search_options": {"user_location": {"approximate": []}}}, "web_search_options"),
    ({"response_format": {"type": "yaml"}}, "response_format"),
    ({"response_format": {"type": "json_schema"}}, "response_format"),
    ({"stream_options": 1}, "stream_options"),
    ({"tools": {}}, "tools"),
    ({"tools": [{"type": "function", "function": {}}]}, "tools"),
    ({"functions": 1}, "functions"),
    ({"tool_choice": "maybe"}, "tool_choice"),
    ({"tool_choice": {"type": "function"}}, "tool_choice"),
    ({"messages": []}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": None}, "messages"),
]


@pytest.mark.parametrize(("fields", "param"), BAD_FIELDS)
def test_a_field_that_cannot_be_kept_is_refused_by_name(fields: dict, param: str) -> None:
    """Several answers, audio, and what is not as the API describes it."""
    with pytest.raises(BadRequest) as caught:
        parse(**fields)
    assert caught.value.param == param


BROKEN = '{"a": "\xff"}'
BROKEN_FIELDS = [
    (f'"tools": [{{"function": {{"name": "f", "parameters": {BROKEN}}}}}]', "tools"),
    (f'"response_format": {{"type": "json_schema", "json_schema": {{"schema": {BROKEN}}}}}', "response_format"),
    (f'"metadata": {BROKEN}', "metadata"),
]


@pytest.mark.parametrize(("text", "param"), BROKEN_FIELDS)
def test_what_goes_on_unread_is_known_to_be_readable(text: str, param: str) -> None:
    """Texts that are copied are proven to be JSON first, in UTF-8: whoever copies them trusts them."""
    body = f'{{"model": "m", "messages": [{json.dumps(HELLO)}], {text}}}'
    with pytest.raises(BadRequest) as caught:
        parse_request(read_object(body.encode("latin-1")), stream=False)
    assert caught.value.param == param


def test_a_name_of_a_speaker_is_named_as_lost_once() -> None:
    """No other dialect has names; the value itself is told to nobody."""
    named = {"role": "user", "name": "Ann", "content": "x"}
    assert parse(named, named).losses == (Loss("messages.name", matters=False),)


def test_the_stream_is_asked_for_by_the_edge() -> None:
    """Whether the client streams is known before the body is looked into."""
    assert parse(stream=True).stream
    assert not parse().stream
