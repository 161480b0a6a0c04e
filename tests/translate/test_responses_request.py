"""A Responses request as a conversation."""

import json
from base64 import b64encode

import pytest

from copilot_asgi.errors import BadRequest, Refused, TranslationError
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
from copilot_asgi.translate.responses_request import parse_request
from copilot_asgi.translate.seals import wrap
from copilot_asgi.wire.shallow import read_object

AUTO, REQUIRED = ToolChoiceMode.AUTO, ToolChoiceMode.REQUIRED


def parsed(**fields: object) -> Conversation:
    body = json.dumps({"model": "m", "input": "hi"} | fields).encode()
    return parse_request(read_object(body), stream=False)


def refused(**fields: object) -> Refused:
    with pytest.raises(Refused) as caught:
        parsed(**fields)
    assert caught.value.status == 400
    return caught.value


def said(*items: object) -> list[tuple[Role, Part]]:
    return [(turn.role, part) for turn in parsed(input=list(items)).turns for part in turn.parts]


def user(*parts: object) -> dict[str, object]:
    return {"role": "user", "content": list(parts)}


def test_a_plain_request() -> None:
    """A text is one user turn; what the client did not say stays unsaid."""
    expected = Conversation(model="m", stream=False, turns=(Turn(Role.USER, (Text("hi"),)),))
    assert parsed() == expected
    assert parsed(tools=None, reasoning=None, text=None, include=None, instructions=None, top_p=None) == expected


@pytest.mark.parametrize("nothing", ["", [], None])
def test_an_empty_input_says_nothing(nothing: object) -> None:
    """Nobody speaks when nothing was said."""
    assert parsed(input=nothing).turns == ()


def test_the_fields() -> None:
    """Each field that has a neutral place gets there."""
    found = parsed(
        instructions="Be brief.",
        max_output_tokens=50,
        temperature=1,
        top_p=0.5,
        parallel_tool_calls=False,
        include=["reasoning.encrypted_content", "message.output_text.logprobs", "web_search_call.results"],
        reasoning={"effort": "high", "summary": "auto", "context": "all_turns", "mode": None},
        text={"format": {"type": "json_object"}, "verbosity": "low"},
        prompt_cache_key="k",
        moderation={"model": "x"},
    )
    assert found.system == (Text("Be brief."),)
    assert (found.max_tokens, found.parallel, found.include_seals) == (50, False, True)
    assert found.sampling == Sampling(temperature=1.0, top_p=0.5)
    assert found.reasoning == Reasoning(effort=Effort.HIGH, show=True)
    assert found.format == Format()
    expected = {
        "verbosity": b'"low"',
        "top_logprobs": b"0",
        "prompt_cache_key": b'"k"',
        "moderation": b'{"model": "x"}',
    }
    assert found.extra == expected
    assert found.losses == (Loss("reasoning.context", matters=False),)


def test_the_number_of_log_probabilities_is_kept() -> None:
    """Asking for them in ``include`` does not override how many."""
    assert parsed(top_logprobs=3, include=["message.output_text.logprobs"]).extra == {"top_logprobs": b"3"}


@pytest.mark.parametrize(
    ("reasoning", "expected"),
    [
        ({}, Reasoning(show=False)),
        ({"effort": "none"}, Reasoning(effort=Effort.NONE, show=False)),
        ({"generate_summary": "concise"}, Reasoning(show=True)),
        ({"effort": "max", "summary": None}, Reasoning(effort=Effort.MAX, show=False)),
    ],
)
def test_reasoning(reasoning: object, expected: Reasoning) -> None:
    """Effort and whether the thinking is to be shown."""
    assert parsed(reasoning=reasoning).reasoning == expected


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, Format()),
        (
            {"type": "json_schema", "name": "n", "description": "d", "strict": True, "schema": {"a": 1}},
            Format(schema=b'{"a": 1}', name="n", description="d", strict=True),
        ),
        ({"type": "json_schema", "schema": {}}, Format(schema=b"{}")),
    ],
)
def test_formats(form: object, expected: Format | None) -> None:
    """The format of the answer."""
    assert parsed(text={"format": form}).format == expected


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("previous_response_id", "resp_1", "previous_response_not_found"),
        ("conversation", "conv_1", "unsupported_parameter"),
        ("conversation", {"id": "conv_1"}, "unsupported_parameter"),
        ("prompt", {"id": "pmpt_1"}, "unsupported_parameter"),
        ("background", True, "unsupported_parameter"),
    ],
)
def test_what_a_server_would_have_to_remember_is_refused(field: str, value: object, code: str) -> None:
    """An answer without the history would be a wrong one."""
    error = refused(**{field: value})
    assert isinstance(error, BadRequest)
    assert (error.param, error.code) == (field, code)
    assert parsed(**{field: None}) == parsed()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"instructions": 5}, "instructions"),
        ({"input": 5}, "input"),
        ({"input": ["text"]}, "input[0]"),
        ({"input": [user(), {"type": "function_call", "name": 5}]}, "input[1]"),
        ({"input": [{"role": "alien", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "message"}]}, "input[0].role"),
        ({"input": [user({"type": "input_video"})]}, "input[0].content[0]"),
        ({"input": [user({"type": "input_image"})]}, "input[0].content[0]"),
        ({"input": [user({"type": "input_file", "file_data": "data:text/plain;base64,***"})]}, "input"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": 5}]}, "input[0]"),
        (
            {"input": [{"type": "function_call_output", "output": [{"type": "refusal", "refusal": "x"}]}]},
            "input[0].output",
        ),
        ({"input": [{"type": "configuration_update", "reasoning": 5}]}, "input"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"text": {"format": {"type": "yaml"}}}, "text.format"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format"),
        ({"tools": [{"name": "x"}]}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tools": [{"type": "custom", "name": "x", "format": 5}]}, "tools.format"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": 5}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "rarely"}}, "tool_choice"),
    ],
)
def test_what_cannot_be_read_is_named(fields: dict[str, object], param: str) -> None:
    """A wrong type or value is the client's error, with the field."""
    error = refused(**fields)
    assert isinstance(error, BadRequest)
    assert error.param == param


def test_bytes_that_are_no_text_are_refused_where_nobody_reads_them() -> None:
    """What is passed on unread was proven sound before."""
    fields = read_object(b'{"input": "x", "metadata": {"a": "\xff"}}')
    with pytest.raises(BadRequest) as caught:
        parse_request(fields, stream=False)
    assert caught.value.param == "metadata"


@pytest.mark.parametrize(
    ("fields", "losses"),
    [
        ({"store": True, "user": "u", "client_metadata": {"a": "b"}}, ("client_metadata", "store", "user")),
        (
            {"service_tier": "flex", "safety_identifier": "s", "metadata": {}},
            ("metadata", "safety_identifier", "service_tier"),
        ),
        (
            {"truncation": "disabled", "background": False, "store": False, "max_tool_calls": 3},
            ("max_tool_calls",),
        ),
        ({"stream_options": {"include_obfuscation": False}, "image": {}}, ("image", "stream_options")),
        ({"store": None}, ()),
    ],
)
def test_what_has_no_effect_on_the_answer_is_lost_quietly(fields: dict[str, object], losses: tuple[str, ...]) -> None:
    """Bookkeeping is named, but it does not matter."""
    found = sorted(parsed(**fields).losses, key=lambda loss: loss.field)
    assert found == [Loss(name, matters=False) for name in losses]


@pytest.mark.parametrize("fields", [{"truncation": "auto"}, {"context_management": [{}]}, {"brand_new": 1}])
def test_what_may_change_the_answer_is_lost_loudly(fields: dict[str, object]) -> None:
    """So is what nobody knows yet."""
    assert parsed(**fields).losses == tuple(Loss(name, matters=True) for name in fields)


def test_the_echo() -> None:
    """What an answer repeats of its request."""
    fields = {"instructions": "x", "metadata": {"a": "b"}, "tools": [], "user": "u", "store": True, "top_p": None}
    expected = {"instructions": b'"x"', "metadata": b'{"a": "b"}', "tools": b"[]", "user": b'"u"'}
    assert parsed(**fields).echo == expected


def test_who_speaks() -> None:
    """Leading system texts join the instructions; later ones keep their place; neighbours are one turn."""
    found = parsed(
        instructions="A",
        input=[
            {
                "role": "developer",
                "content": [{"type": "input_text", "text": "B"}, {"type": "input_text", "text": "C"}],
            },
            {"type": "message", "role": "system", "content": "D"},
            {"role": "user", "content": "one"},
            user({"type": "input_text", "text": "two"}, {"type": "input_text", "text": ""}),
            {"role": "developer", "content": "E"},
            {
                "role": "assistant",
                "content": [{"type": "output_text", "text": "F"}, {"type": "refusal", "refusal": "G"}],
            },
            {"role": "assistant", "content": ""},
        ],
    )
    assert found.system == (Text("A"), Text("B"), Text("C"), Text("D"))
    assert found.turns == (
        Turn(Role.USER, (Text("one"), Text("two"))),
        Turn(Role.SYSTEM, (Text("E"),)),
        Turn(Role.ASSISTANT, (Text("F"), Refusal("G"))),
    )


def test_an_image_from_the_system_is_lost() -> None:
    """System messages are text."""
    image = {"type": "input_image", "image_url": "https://example.com/a.png"}
    found = parsed(input=[{"role": "system", "content": [image, {"type": "input_text", "text": "x"}]}])
    assert (found.system, found.losses) == ((Text("x"),), (Loss("input.system.content", matters=True),))


TEXT_FILE = "data:text/markdown;base64," + b64encode("# é".encode()).decode()


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"},
            Image("image/png", "AA", detail="low"),
        ),
        ({"type": "input_image", "image_url": "https://example.com/a.png"}, Image(url="https://example.com/a.png")),
        (
            {"type": "input_file", "file_data": "data:application/pdf;base64,AA", "filename": "a.pdf"},
            Document("application/pdf", "AA", name="a.pdf"),
        ),
        ({"type": "input_file", "file_data": "AA"}, Document("application/pdf", "AA")),
        ({"type": "input_file", "file_data": "AA", "file_url": ""}, Document("application/pdf", "AA")),
        ({"type": "input_file", "file_data": TEXT_FILE, "filename": "a.md"}, Text("a.md\n# é")),
        ({"type": "input_file", "file_data": TEXT_FILE}, Text("# é")),
        (
            {"type": "input_file", "file_url": "https://example.com/a.pdf", "filename": "a"},
            Document(url="https://example.com/a.pdf", name="a"),
        ),
        ({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}, Audio("AA", "wav")),
    ],
)
def test_media(part: object, expected: Part) -> None:
    """Images, files and recordings."""
    assert said(user(part)) == [(Role.USER, expected)]


@pytest.mark.parametrize("kind", ["input_image", "input_file"])
def test_a_file_on_the_servers_of_openai_is_refused(kind: str) -> None:
    """Nobody else can open it."""
    error = refused(input=[user({"type": kind, "file_id": "file_1"})])
    assert isinstance(error, TranslationError)
    assert error.param == "input[0].content[0]"


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (
            {
                "type": "function_call",
                "call_id": "c",
                "name": "f",
                "arguments": "{}",
                "id": "fc_1",
                "status": "completed",
            },
            (Role.ASSISTANT, ToolCall("c", "f", "{}")),
        ),
        (
            {"type": "function_call", "call_id": "c", "name": "f", "namespace": "ns", "arguments": None},
            (Role.ASSISTANT, ToolCall("c", "ns__f", "")),
        ),
        (
            {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "*** x"},
            (Role.ASSISTANT, ToolCall("c", "patch", "*** x", freeform=True)),
        ),
        ({"type": "function_call", "name": "f"}, (Role.ASSISTANT, ToolCall("", "f", ""))),
        ({"type": "custom_tool_call", "name": "f"}, (Role.ASSISTANT, ToolCall("", "f", "", freeform=True))),
        ({"type": "function_call_output", "call_id": "c", "output": "x"}, (Role.USER, ToolResult("c", (Text("x"),)))),
        ({"type": "custom_tool_call_output", "call_id": "c", "output": ""}, (Role.USER, ToolResult("c"))),
        ({"type": "function_call_output", "output": None}, (Role.USER, ToolResult(""))),
        (
            {
                "type": "function_call_output",
                "call_id": "c",
                "output": [
                    {"type": "input_text", "text": "x"},
                    {"type": "input_image", "image_url": "https://e.com/a"},
                ],
            },
            (Role.USER, ToolResult("c", (Text("x"), Image(url="https://e.com/a")))),
        ),
        (
            {"type": "function_call_output", "call_id": "c", "output": "[tool error] bad"},
            (Role.USER, ToolResult("c", (Text("bad"),), is_error=True)),
        ),
        (
            {"type": "function_call_output", "call_id": "c", "output": "[tool error] "},
            (Role.USER, ToolResult("c", (), is_error=True)),
        ),
        (
            {"type": "local_shell_call", "call_id": "c", "id": "lsh", "action": {"command": ["ls"]}},
            (Role.ASSISTANT, ToolCall("c", "local_shell", '{"command": ["ls"]}')),
        ),
        ({"type": "shell_call"}, (Role.ASSISTANT, ToolCall("", "shell", ""))),
        (
            {"type": "apply_patch_call", "call_id": "c", "operation": {"type": "delete_file"}},
            (Role.ASSISTANT, ToolCall("c", "apply_patch", '{"type": "delete_file"}')),
        ),
        ({"type": "local_shell_call_output", "id": "c", "output": "x"}, (Role.USER, ToolResult("c", (Text("x"),)))),
        (
            {"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "x"}]},
            (Role.USER, ToolResult("c", (Text('[{"stdout": "x"}]'),))),
        ),
        ({"type": "apply_patch_call_output", "call_id": "c", "status": "completed"}, (Role.USER, ToolResult("c"))),
    ],
)
def test_calls_and_their_results(item: object, expected: tuple[Role, Part]) -> None:
    """Calls are the assistant's, results the user's; the item's own id is nobody's business."""
    assert said(item) == [expected]


SIGNED = Seal(SealOrigin.SIGNATURE, "sig")


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (
            {"id": "rs_1", "encrypted_content": "gA", "summary": []},
            Thinking("", Seal(SealOrigin.RESPONSES, "gA", id="rs_1")),
        ),
        ({"encrypted_content": "gA"}, Thinking("", Seal(SealOrigin.RESPONSES, "gA"))),
        ({"summary": [{"text": "a"}, {"text": "b"}]}, Thinking("a\n\nb")),
        ({"content": [{"type": "reasoning_text", "text": "a"}]}, Thinking("a")),
        (
            {"summary": [{"text": "changed"}], "encrypted_content": wrap(SIGNED, text="signed")},
            Thinking("signed", SIGNED),
        ),
        (
            {"summary": [{"text": "a"}], "encrypted_content": wrap(Seal(SealOrigin.CHAT, "opaque"))},
            Thinking("a", Seal(SealOrigin.CHAT, "opaque")),
        ),
    ],
)
def test_reasoning_items(item: dict[str, object], expected: Thinking) -> None:
    """A seal comes back as what it was; a signature with the very text it signs."""
    assert said({"type": "reasoning"} | item) == [(Role.ASSISTANT, expected)]


def test_reasoning_that_says_nothing_is_nothing() -> None:
    """There is neither text nor seal."""
    assert said({"type": "reasoning", "id": "rs_1", "summary": []}) == []


@pytest.mark.parametrize("kind", ["item_reference", "compaction", "computer_call", "computer_call_output", "hologram"])
def test_items_that_cannot_be_served(kind: str) -> None:
    """The refusal names the type and the place."""
    error = refused(input=[user(), {"type": kind, "id": "x"}])
    assert error.param == "input[1]"
    assert kind in error.message


def test_calls_of_hosted_tools_are_lost_but_never_pending() -> None:
    """A model elsewhere would wait for the result."""
    found = parsed(
        input=[{"type": "web_search_call", "id": "ws_1", "action": {}}, user({"type": "input_text", "text": "x"})]
    )
    assert found.turns == (Turn(Role.USER, (Text("x"),)),)
    assert found.losses == (Loss("input.web_search_call", matters=True),)


SCHEMA = {"type": "object"}


def test_tools() -> None:
    """Functions, freeform tools, and those in a namespace, by both names; hosted ones are lost."""
    found = parsed(
        tools=[
            {
                "type": "function",
                "name": "f",
                "description": "d",
                "parameters": SCHEMA,
                "strict": True,
                "defer_loading": None,
            },
            {"type": "function", "name": "g", "parameters": None, "output_schema": {}},
            {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
            {"type": "custom", "name": "raw", "format": {"type": "text"}},
            {
                "type": "namespace",
                "name": "ns",
                "tools": [{"type": "function", "name": "h"}, {"type": "custom", "name": "i"}],
            },
            {"type": "namespace", "name": "empty"},
            {"type": "web_search"},
            {"type": "tool_search"},
        ]
    )
    assert found.tools == (
        Tool(name="f", description="d", schema=b'{"type": "object"}', strict=True),
        Tool(name="g"),
        Tool(name="c", freeform=True, grammar=b'{"type": "grammar", "syntax": "lark", "definition": "x"}'),
        Tool(name="raw", freeform=True),
        Tool(name="ns__h", namespace="ns"),
        Tool(name="ns__i", freeform=True, namespace="ns"),
    )
    assert found.losses == (
        Loss("tools.output_schema", matters=False),
        Loss("tools.web_search", matters=True),
        Loss("tools.tool_search", matters=True),
    )


def test_tools_that_come_with_the_input() -> None:
    """Tools added later count, and replace those of the same name."""
    found = parsed(
        tools=[{"type": "function", "name": "f"}],
        input=[
            {
                "type": "additional_tools",
                "role": "developer",
                "tools": [{"type": "function", "name": "f", "description": "new"}],
            },
            {"type": "tool_search_call", "arguments": {}},
            {"type": "tool_search_output", "tools": [{"type": "function", "name": "g"}]},
            {"type": "additional_tools"},
        ],
    )
    assert found.tools == (Tool(name="f", description="new"), Tool(name="g"))
    assert found.losses == (Loss("input.tool_search_call", matters=True),)


def test_settings_that_come_with_the_input() -> None:
    """The last update counts; what it does not say stays."""
    updates = [
        {"type": "configuration_update", "reasoning": {"effort": "low"}},
        {"type": "configuration_update", "text": {"format": {"type": "json_object"}}},
        {"type": "configuration_update", "text": {}},
        {"type": "configuration_update", "reasoning": {}},
    ]
    found = parsed(reasoning={"effort": "high", "summary": "auto"}, input=updates)
    assert (found.reasoning, found.format) == (Reasoning(effort=Effort.LOW, show=True), Format())
    assert parsed(input=updates).reasoning == Reasoning(effort=Effort.LOW, show=False)


TOOLS = [
    {"type": "function", "name": "f"},
    {"type": "namespace", "name": "ns", "tools": [{"type": "function", "name": "g"}]},
    {"type": "custom", "name": "c"},
]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, None),
        ("auto", ToolChoice(AUTO)),
        ("none", ToolChoice(ToolChoiceMode.NONE)),
        ("required", ToolChoice(REQUIRED)),
        ({"type": "function", "name": "f"}, ToolChoice(REQUIRED, name="f")),
        ({"type": "function", "name": "g"}, ToolChoice(REQUIRED, name="ns__g")),
        ({"type": "custom", "name": "c"}, ToolChoice(REQUIRED, name="c")),
        ({"type": "function", "name": "x"}, ToolChoice(REQUIRED, name="x")),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "g"}, {"type": "mcp"}],
            },
            ToolChoice(REQUIRED, allowed=("ns__g",)),
        ),
        ({"type": "allowed_tools", "tools": [{"type": "mcp"}]}, ToolChoice(ToolChoiceMode.NONE)),
        ({"type": "allowed_tools"}, ToolChoice(AUTO)),
    ],
)
def test_tool_choices(choice: object, expected: ToolChoice | None) -> None:
    """Which tool the model may or must call."""
    assert parsed(tools=TOOLS, tool_choice=choice).tool_choice == expected


@pytest.mark.parametrize(
    ("listed", "lost"),
    [
        ([{"type": "function", "name": "f"}], ()),
        ([{"type": "function", "name": "f"}, {"type": "mcp"}], (Loss("tool_choice.tools", matters=True),)),
        ([{"type": "web_search"}], (Loss("tool_choice.tools", matters=True),)),
    ],
)
def test_allowed_tools_that_nobody_here_runs_are_named(listed: list[object], lost: tuple[Loss, ...]) -> None:
    """A choice never becomes wider than the client's."""
    assert parsed(tools=TOOLS, tool_choice={"type": "allowed_tools", "tools": listed}).losses == lost


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "file_search"},
        {"type": "mcp", "name": "x"},
        {"type": "function"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]},
    ],
)
def test_a_tool_that_nobody_here_runs_cannot_be_chosen(choice: object) -> None:
    """The client demands what the model does not have."""
    error = refused(tools=TOOLS, tool_choice=choice)
    assert isinstance(error, TranslationError)
    assert error.param == "tool_choice"
