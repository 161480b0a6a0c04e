"""A conversation as a request to Copilot's Responses endpoint."""

import json
from typing import Any

import msgspec
import pytest
from sdk_models import check_request

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
from copilot_asgi.translate.rendered import Rendered
from copilot_asgi.translate.responses_request import parse_request, render_request
from copilot_asgi.wire.models import Model
from copilot_asgi.wire.shallow import read_object

AUTO, REQUIRED = ToolChoiceMode.AUTO, ToolChoiceMode.REQUIRED
HI = Turn(Role.USER, (Text("hi"),))
PLAIN = msgspec.convert({"id": "gpt-4.1"}, Model)
STRICT = b'{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}'
LOOSE = b'{"type":"object","properties":{"a":{"type":"string"}}}'


def model(**supports: object) -> Model:
    return msgspec.convert(
        {"id": "m", "capabilities": {"supports": supports, "limits": {"max_output_tokens": 100}}}, Model
    )


REASONER = model(reasoning_effort=["low", "medium", "high"])


def rendered(*turns: Turn, on: Model = PLAIN, **fields: Any) -> tuple[dict[str, Any], Rendered]:
    conversation = Conversation(model="client-name", stream=False, turns=turns or (HI,), **fields)
    found = render_request(conversation, on)
    body = json.loads(found.body)
    check_request("responses", body)
    return body, found


def items(*parts: Part, role: Role = Role.ASSISTANT) -> list[dict[str, Any]]:
    """The items of one turn, without the user's words around it."""
    body, _ = rendered(HI, Turn(role, parts), HI)
    found: list[dict[str, Any]] = body["input"][1:-1]
    return found


def test_the_least() -> None:
    """Nothing is stored, sealed reasoning is asked for, and upstream's name of the model is used."""
    body, found = rendered()
    assert body == {
        "model": "gpt-4.1",
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
        "include": ["reasoning.encrypted_content"],
        "stream": False,
        "store": False,
    }
    assert found.losses == ()


def test_everything() -> None:
    """Each neutral field in its place."""
    body, found = rendered(
        system=(Text("A"), Text("B")),
        max_tokens=50,
        sampling=Sampling(temperature=0.5, top_p=0.9, stop=("END",)),
        extra={
            "verbosity": b'"low"',
            "top_logprobs": b"2",
            "metadata": b'{"a":"b"}',
            "prompt_cache_key": b'"k"',
            "seed": b"1",
            "logit_bias": b"{}",
        },
    )
    assert body["instructions"] == "A\n\nB"
    assert (body["max_output_tokens"], body["temperature"], body["top_p"]) == (50, 0.5, 0.9)
    assert (body["text"], body.get("top_logprobs")) == ({"verbosity": "low"}, None)
    assert body["include"] == ["reasoning.encrypted_content"]
    assert (body["metadata"], body["prompt_cache_key"]) == ({"a": "b"}, "k")
    expected = {Loss(name, matters=name != "seed") for name in ("stop", "seed", "logit_bias", "top_logprobs")}
    assert set(found.losses) == expected


@pytest.mark.parametrize(("asked", "sent", "lost"), [(None, None, 0), (5, 16, 0), (100, 100, 0), (101, 100, 1)])
def test_the_output_limit(asked: int | None, sent: int | None, lost: int) -> None:
    """At least 16; at most what the model can, which is named."""
    body, found = rendered(on=model(), max_tokens=asked)
    assert body.get("max_output_tokens") == sent
    assert found.losses == (Loss("max_output_tokens", matters=True),) * lost


def test_a_reasoning_model_chooses_its_own_words() -> None:
    """It refuses temperature and top_p; what is the default anyway is no loss."""
    body, found = rendered(on=REASONER, sampling=Sampling(temperature=0.0, top_p=1.0))
    assert not {"temperature", "top_p"} & body.keys()
    assert found.losses == (Loss("temperature", matters=True),)


@pytest.mark.parametrize(
    ("asked", "on", "sent", "lost"),
    [
        (Reasoning(effort=Effort.HIGH), REASONER, {"effort": "high"}, 0),
        (Reasoning(effort=Effort.MAX), REASONER, {"effort": "high"}, 1),
        (Reasoning(effort=Effort.MINIMAL), REASONER, {"effort": "low"}, 1),
        (Reasoning(effort=Effort.HIGH), PLAIN, None, 1),
        (Reasoning(effort=Effort.NONE), REASONER, None, 0),
        (Reasoning(effort=Effort.NONE), model(reasoning_effort=["none", "low"]), {"effort": "none"}, 0),
        (Reasoning(disabled=True, budget=4000), model(reasoning_effort=["none", "low"]), {"effort": "none"}, 0),
        (Reasoning(budget=4000), REASONER, {"effort": "medium", "summary": "auto"}, 0),
        (Reasoning(budget=4000, effort=Effort.LOW, show=False), REASONER, {"effort": "low"}, 0),
        (Reasoning(adaptive=True), REASONER, {"summary": "auto"}, 0),
        (Reasoning(show=True), REASONER, {"summary": "auto"}, 0),
    ],
)
def test_reasoning(asked: Reasoning, on: Model, sent: object, lost: int) -> None:
    """The nearest level that the model lists; a summary for a client that turned thinking on or wants to see it."""
    body, found = rendered(on=on, reasoning=asked)
    assert body.get("reasoning") == sent
    assert found.losses == (Loss("reasoning.effort", matters=True),) * lost


@pytest.mark.parametrize(
    ("form", "strict", "lost"),
    [
        (Format(schema=STRICT), True, 0),
        (Format(schema=STRICT, strict=False), False, 0),
        (Format(schema=STRICT, strict=True), True, 0),
        (Format(schema=LOOSE), False, 0),
        (Format(schema=LOOSE, strict=True), False, 1),
    ],
)
def test_strict_formats(form: Format, strict: bool, lost: int) -> None:
    """Strict is spelled out, and only where the schema means the same with it."""
    body, found = rendered(format=form)
    expected = {"type": "json_schema", "name": "output", "schema": json.loads(form.schema), "strict": strict}
    assert body["text"]["format"] == expected
    assert found.losses == (Loss("text.format.strict", matters=True),) * lost


def test_other_formats() -> None:
    """A name and a description go along; any JSON needs neither."""
    body, _ = rendered(format=Format(schema=STRICT, name="n", description="d"))
    assert body["text"]["format"].items() >= {"name": "n", "description": "d"}.items()
    assert rendered(format=Format())[0]["text"]["format"] == {"type": "json_object"}


GRAMMAR = b'{"type":"grammar","syntax":"lark","definition":"x"}'
NESTED = b'{"type":"grammar","grammar":{"syntax":"lark","definition":"x"}}'


@pytest.mark.parametrize(
    ("tool", "sent"),
    [
        (
            Tool(name="f", description="d", schema=LOOSE),
            {"type": "function", "description": "d", "parameters": json.loads(LOOSE), "strict": False},
        ),
        (Tool(name="f"), {"type": "function", "parameters": {"type": "object", "properties": {}}, "strict": False}),
        (
            Tool(name="f", schema=STRICT, strict=True),
            {"type": "function", "parameters": json.loads(STRICT), "strict": True},
        ),
        (Tool(name="f", freeform=True), {"type": "custom"}),
        (Tool(name="f", freeform=True, grammar=GRAMMAR), {"type": "custom", "format": json.loads(GRAMMAR)}),
        (Tool(name="f", freeform=True, grammar=NESTED), {"type": "custom", "format": json.loads(GRAMMAR)}),
    ],
)
def test_tools(tool: Tool, sent: dict[str, object]) -> None:
    """Functions are flat and say whether they are strict; freeform tools stay what they are."""
    assert rendered(tools=(tool,))[0]["tools"] == [{"name": "f", **sent}]


def test_a_schema_that_is_not_strict_is_not_declared_so() -> None:
    """It would turn optional properties into required ones."""
    body, found = rendered(tools=(Tool(name="f", schema=LOOSE, strict=True),))
    assert body["tools"][0]["strict"] is False
    assert found.losses == (Loss("tools.strict", matters=True),)


@pytest.mark.parametrize(
    ("extra", "sent"),
    [
        (
            {"web_search": b'{"type":"web_search_20250305","filters":{"allowed_domains":["a.com"]}}'},
            {"filters": {"allowed_domains": ["a.com"]}},
        ),
        ({"web_search_options": b"{}"}, {}),
        (
            {
                "web_search_options": b'{"search_context_size":"low","x":1,'
                b'"user_location":{"type":"approximate","approximate":{"city":"Rome"}}}'
            },
            {"search_context_size": "low", "user_location": {"type": "approximate", "city": "Rome"}},
        ),
        ({"web_search_options": b'{"user_location":{"type":"approximate"}}'}, {}),
        (
            {"web_search_options": b'{"user_location":{"city":"Rome"}}'},
            {"user_location": {"type": "approximate", "city": "Rome"}},
        ),
    ],
)
def test_web_search(extra: dict[str, bytes], sent: dict[str, object]) -> None:
    """Copilot runs this one itself."""
    body, found = rendered(extra=extra)
    assert body["tools"] == [{"type": "web_search", **sent}]
    assert found.losses == ()


SEARCH = {"web_search": b'{"type":"web_search"}'}
SEARCHING = ToolChoice(REQUIRED, name="web_search")


@pytest.mark.parametrize("tools", [(), (Tool(name="f"),)])
@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (ToolChoice(REQUIRED), "required"),
        (ToolChoice(AUTO), "auto"),
        (ToolChoice(ToolChoiceMode.NONE), "none"),
    ],
)
def test_the_search_counts_as_a_tool(tools: tuple[Tool, ...], choice: ToolChoice, sent: object) -> None:
    """Alone and among others: a choice is as good as with functions."""
    body, found = rendered(extra=SEARCH, tools=tools, tool_choice=choice)
    assert body["tools"][-1] == {"type": "web_search"}
    assert (body["tool_choice"], found.losses) == (sent, ())


@pytest.mark.parametrize("tools", [(), (Tool(name="f"),)])
def test_the_search_can_be_forced(tools: tuple[Tool, ...]) -> None:
    """By its type alone, as it stands among the tools; the library's types list older names only."""
    conversation = Conversation(model="m", stream=False, turns=(HI,), extra=SEARCH, tools=tools, tool_choice=SEARCHING)
    body = json.loads(render_request(conversation, PLAIN).body)
    assert (body["tools"][-1], body["tool_choice"]) == ({"type": "web_search"}, {"type": "web_search"})


def test_a_function_may_have_the_name_of_the_search() -> None:
    """The client's own comes first."""
    body, _ = rendered(extra=SEARCH, tools=(Tool(name="web_search"),), tool_choice=SEARCHING)
    assert body["tool_choice"] == {"type": "function", "name": "web_search"}


@pytest.mark.parametrize("choice", [SEARCHING, ToolChoice(AUTO, allowed=("g",))])
def test_a_choice_names_what_is_there(choice: ToolChoice) -> None:
    """What is not among the tools cannot be called."""
    with pytest.raises(TranslationError) as caught:
        rendered(tools=(Tool(name="f"),), tool_choice=choice)
    assert caught.value.param == "tool_choice"


TOOLS = (Tool(name="f"), Tool(name="a name with blanks"), Tool(name="c", freeform=True))


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, None),
        (ToolChoice(AUTO), "auto"),
        (ToolChoice(REQUIRED), "required"),
        (ToolChoice(ToolChoiceMode.NONE), "none"),
        (ToolChoice(REQUIRED, name="f"), {"type": "function", "name": "f"}),
        (ToolChoice(REQUIRED, name="c"), {"type": "custom", "name": "c"}),
        (
            ToolChoice(AUTO, allowed=("f", "c")),
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "c"}],
            },
        ),
    ],
)
def test_tool_choices(choice: ToolChoice | None, sent: object) -> None:
    """Choices are flat, and name a freeform tool as one."""
    body, _ = rendered(tools=TOOLS, tool_choice=choice, parallel=False)
    assert (body.get("tool_choice"), body["parallel_tool_calls"]) == (sent, False)


def test_names_are_fitted_everywhere_and_lead_back() -> None:
    """Tool, choice and history have the same new name."""
    name = "a name with blanks"
    turns = [HI, Turn(Role.ASSISTANT, (ToolCall("c", name, "{}"),)), Turn(Role.USER, (ToolResult("c"),))]
    body, found = rendered(*turns, tools=TOOLS, tool_choice=ToolChoice(REQUIRED, name=name))
    fitted = body["tools"][1]["name"]
    assert fitted != name
    assert (body["tool_choice"]["name"], body["input"][1]["name"]) == (fitted, fitted)
    assert found.names.to_client(fitted) == name


def test_without_tools_there_is_nothing_to_choose() -> None:
    """The endpoint refuses the rest without tools; who demands a tool is told that there is none."""
    body, _ = rendered(tool_choice=ToolChoice(AUTO), parallel=True)
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & body.keys()
    with pytest.raises(TranslationError) as caught:
        rendered(tool_choice=ToolChoice(REQUIRED))
    assert caught.value.param == "tool_choice"


TEXT = {"type": "input_text", "text": "x"}


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        (Text("x"), TEXT),
        (Refusal("x"), TEXT),
        (
            Image("image/png", "AA", detail="low"),
            {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"},
        ),
        (Image(url="https://e.com/a"), {"type": "input_image", "image_url": "https://e.com/a", "detail": "auto"}),
        (
            Document("application/pdf", "AA"),
            {"type": "input_file", "file_data": "data:application/pdf;base64,AA", "filename": "document.pdf"},
        ),
        (
            Document("application/pdf", "AA", name="a.pdf"),
            {"type": "input_file", "file_data": "data:application/pdf;base64,AA", "filename": "a.pdf"},
        ),
        (Document(url="https://e.com/a.pdf"), {"type": "input_file", "file_url": "https://e.com/a.pdf"}),
    ],
)
def test_what_a_user_says(part: Part, sent: dict[str, object]) -> None:
    """Text, images and files."""
    body, _ = rendered(Turn(Role.USER, (part, Text(""))))
    assert body["input"] == [{"type": "message", "role": "user", "content": [sent]}]


def test_a_recording() -> None:
    """The library's types know recordings elsewhere only; the endpoint documents them here."""
    conversation = Conversation(model="m", stream=False, turns=(Turn(Role.USER, (Audio("AA", "wav"),)),))
    content = json.loads(render_request(conversation, PLAIN).body)["input"][0]["content"]
    assert content == [{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}]


def test_a_later_system_text_keeps_its_place() -> None:
    """It is the developer's."""
    expected = [{"type": "message", "role": "developer", "content": [TEXT]}]
    assert items(Text("x"), role=Role.SYSTEM) == expected


def test_what_the_assistant_said() -> None:
    """Texts share a message; it looks like one of upstream's own."""
    expected = {
        "type": "message",
        "role": "assistant",
        "id": "msg_1",
        "status": "completed",
        "content": [
            {"type": "output_text", "text": "a", "annotations": []},
            {"type": "refusal", "refusal": "b"},
        ],
    }
    assert items(Text("a"), Text(""), Refusal("b")) == [expected]
    assert items(Text("")) == []


def test_an_image_of_the_assistant_is_shown_by_the_user() -> None:
    """The endpoint takes none of the assistant's; the next words of the user stand behind it."""
    body, found = rendered(HI, Turn(Role.ASSISTANT, (Image(url="https://e.com/a"), Text("a"))), HI)
    assert [item["role"] for item in body["input"]] == ["user", "assistant", "user"]
    assert [part["type"] for part in body["input"][1]["content"]] == ["output_text"]
    assert [part["type"] for part in body["input"][2]["content"]] == ["input_image", "input_text"]
    assert found.losses == ()


def test_an_image_of_the_assistant_stands_behind_the_results() -> None:
    """Calls are answered first; and the image is the last word where there is no other."""
    calling = Turn(Role.ASSISTANT, (IMAGE, ToolCall("c", "f", "{}")))
    body, _ = rendered(HI, calling, Turn(Role.USER, (ToolResult("c", (Text("r"),)),)))
    assert [item["type"] for item in body["input"]] == ["message", "function_call", "function_call_output", "message"]
    assert body["input"][-1]["content"] == [IMAGE_PART]


PNG = "iVBORw0KGgo="


@pytest.mark.parametrize("media_type", ["image/jpg", "image/jpeg", "image/png", ""])
def test_the_bytes_decide_the_type_of_an_image(media_type: str) -> None:
    """Clients name it wrongly or not at all, in messages as in results."""
    image = Image(media_type, PNG)
    call = Turn(Role.ASSISTANT, (ToolCall("c", "f", "{}"),))
    body, _ = rendered(Turn(Role.USER, (image,)), call, Turn(Role.USER, (ToolResult("c", (image,)),)))
    urls = [body["input"][0]["content"][0]["image_url"], body["input"][2]["output"][0]["image_url"]]
    assert urls == [f"data:image/png;base64,{PNG}"] * 2


def test_what_is_no_image_is_refused() -> None:
    """Upstream could not see it."""
    with pytest.raises(BadRequest):
        rendered(Turn(Role.USER, (Image("image/tiff", "AAAA"),)))


def test_calls_stand_between_messages_in_order() -> None:
    """Items keep the order of the parts; empty arguments are an empty object."""
    parts = (Text("a"), ToolCall("c1", "f", ""), ToolCall("c2", "c", "*** raw", freeform=True))
    results = (ToolResult("c1", (Text("r"),)), ToolResult("c2", (), is_error=True), Text("next"))
    body, _ = rendered(HI, Turn(Role.ASSISTANT, parts), Turn(Role.USER, results))
    assert [item.pop("content", None) is not None for item in body["input"]] == [
        True,
        True,
        False,
        False,
        False,
        False,
        True,
    ]
    assert body["input"][2:-1] == [
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "c", "input": "*** raw"},
        {"type": "function_call_output", "call_id": "c1", "output": "r"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "[tool error] "},
    ]


IMAGE = Image(url="https://e.com/a")
IMAGE_PART = {"type": "input_image", "image_url": "https://e.com/a", "detail": "auto"}


@pytest.mark.parametrize(
    ("parts", "is_error", "output"),
    [
        ((), False, ""),
        ((Text("x"),), False, "x"),
        ((Text("x"), Text("y")), False, [TEXT, {"type": "input_text", "text": "y"}]),
        ((Text("x"), IMAGE), False, [TEXT, IMAGE_PART]),
        ((Text("x"),), True, "[tool error] x"),
        ((IMAGE,), True, [{"type": "input_text", "text": "[tool error] "}, IMAGE_PART]),
    ],
)
def test_results(parts: tuple[Text | Image, ...], is_error: bool, output: object) -> None:
    """One text is a text; images stay where they are; a failure is marked."""
    call = Turn(Role.ASSISTANT, (ToolCall("c", "f", "{}"),))
    body, _ = rendered(HI, call, Turn(Role.USER, (ToolResult("c", parts, is_error),)))
    assert body["input"][2] == {"type": "function_call_output", "call_id": "c", "output": output}


def test_a_call_at_the_end_may_stay_open() -> None:
    """Only this dialect takes it."""
    body, found = rendered(HI, Turn(Role.ASSISTANT, (Text("a"), ToolCall("c", "f", "{}"))))
    assert [item["type"] for item in body["input"]] == ["message", "message", "function_call"]
    assert found.losses == ()


def test_an_answer_that_the_client_began_is_asked_to_go_on() -> None:
    """The endpoint would begin a new message."""
    body, found = rendered(HI, Turn(Role.ASSISTANT, (Text("{"),)))
    assert [item["role"] for item in body["input"]] == ["user", "assistant", "user"]
    assert found.losses == (Loss("input.prefill", matters=True),)


def test_a_result_without_a_call_is_refused() -> None:
    """The model would not know what it answers."""
    with pytest.raises(BadRequest):
        rendered(Turn(Role.USER, (ToolResult("c"),)))


def test_only_what_responses_sealed_goes_back() -> None:
    """With its own id, before what it led to, and with the phase of that message; thinking never becomes text."""
    seal = Seal(SealOrigin.RESPONSES, "gA", id="rs_1", phase="commentary")
    found = items(Text("0"), Thinking("shown", seal), Text("a"), Text("b"), ToolCall("c", "f", "{}"), Text("d"))
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gA"}
    assert found[1] == reasoning
    assert [item.get("phase") for item in found] == [None, None, "commentary", None, None, None]
    for foreign in (Thinking("x"), *(Thinking("x", Seal(origin, "d")) for origin in SealOrigin if origin.value != "o")):
        assert [item["type"] for item in items(foreign, Text("a"))] == ["message"]


def test_a_seal_without_an_id_goes_back_without_one() -> None:
    """Copilot takes it; the library's types do not know that."""
    thinking = Thinking("", Seal(SealOrigin.RESPONSES, "gA"))
    conversation = Conversation(model="m", stream=False, turns=(HI, Turn(Role.ASSISTANT, (thinking, Text("a"))), HI))
    sent = json.loads(render_request(conversation, PLAIN).body)["input"][1]
    assert sent == {"type": "reasoning", "summary": [], "encrypted_content": "gA"}


def test_a_request_survives_its_own_dialect() -> None:
    """Parsed and rendered, a request says the same."""
    conversation = Conversation(
        model="gpt-4.1",
        stream=True,
        system=(Text("s"),),
        turns=(
            HI,
            Turn(Role.ASSISTANT, (Text("a"), ToolCall("c", "f", '{"x":1}'), ToolCall("d", "c", "raw", freeform=True))),
            Turn(Role.USER, (ToolResult("c", (Text("r"),)), ToolResult("d", (IMAGE,), is_error=True), Text("next"))),
        ),
        tools=(Tool(name="f", schema=STRICT, strict=True), Tool(name="c", freeform=True, grammar=GRAMMAR)),
        tool_choice=ToolChoice(REQUIRED, name="c"),
        parallel=False,
        max_tokens=50,
        sampling=Sampling(temperature=0.5),
        format=Format(schema=STRICT, name="n", strict=True),
        reasoning=Reasoning(show=True),
        include_seals=True,
    )
    again = parse_request(read_object(render_request(conversation, PLAIN).body), stream=True)
    assert msgspec.structs.replace(again, losses=(), echo={}) == conversation
