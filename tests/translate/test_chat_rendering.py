"""A conversation becomes a request that Copilot's chat endpoint takes for that model; what is left out is named."""

import json

import msgspec
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from pydantic import ConfigDict, TypeAdapter

from copilot_asgi.errors import BadRequest, TranslationError
from copilot_asgi.translate.chat_request import parse_request, render_request
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
from copilot_asgi.translate.ids import tool_id
from copilot_asgi.wire.models import Model
from copilot_asgi.wire.shallow import read_object

PNG = "iVBORw0KGgo="
IMAGE = Image(media_type="image/png", data=PNG)
IMAGE_PART = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
BREAKPOINT = {"type": "ephemeral"}
STRICT = b'{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}'
LOOSE = b'{"type":"object","properties":{"a":{"type":"string"}}}'
REQUIRED = ToolChoice(ToolChoiceMode.REQUIRED)
TOOL = Tool(name="f")
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
HELLO = Turn(Role.USER, (Text("hello"),))


def model(id: str = "gpt-4.1", *, most: int | None = None, **supports: object) -> Model:
    capabilities = {"limits": {"max_output_tokens": most}, "supports": supports}
    return msgspec.convert({"id": id, "capabilities": capabilities}, Model)


GPT4, GPT5 = model(), model("gpt-5-mini", reasoning_effort=["low", "medium", "high"])
CLAUDE = model("claude-haiku-4.5", max_thinking_budget=32_000, vision=True)


def user(*parts: Part) -> Turn:
    return Turn(Role.USER, parts)


def said(*parts: Part) -> Turn:
    return Turn(Role.ASSISTANT, parts)


def render(*turns: Turn, to: Model = GPT4, **fields: object) -> tuple[dict, tuple[Loss, ...]]:
    made = Conversation(model="asked-for", stream=False, turns=turns or (HELLO,), **fields)  # type: ignore[arg-type]  # a table of fields
    rendered = render_request(made, to)
    return json.loads(rendered.body), rendered.losses


def messages(*turns: Turn, to: Model = GPT4, **fields: object) -> list[dict]:
    listed: list[dict] = render(*turns, to=to, **fields)[0]["messages"]
    return listed


CALLS = said(Text("Looking."), ToolCall("a", "f", '{"x":1}'), ToolCall("b", "f", " "))
CALLS_MESSAGE = {
    "role": "assistant",
    "content": "Looking.",
    "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "b", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    ],
}
HISTORIES = [
    ((user(Text("a")),), [{"role": "user", "content": "a"}]),
    (
        (user(Text("a"), Text(""), Text("b")),),
        [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
    ),
    ((user(Text("")),), [{"role": "user", "content": "."}]),
    ((user(IMAGE),), [{"role": "user", "content": [IMAGE_PART]}]),
    (
        (user(Image(url="https://x.test/a.png", detail="low")),),
        [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}}],
            }
        ],
    ),
    (
        (user(Image(media_type="image/jpg", data=PNG)),),
        [{"role": "user", "content": [IMAGE_PART]}],
    ),
    (
        (user(Document(data="JVBE")),),
        [
            {
                "role": "user",
                "content": [
                    {
                        "type": "file",
                        "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBE"},
                    }
                ],
            }
        ],
    ),
    (
        (user(Audio("AA==", "wav")),),
        [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}]}],
    ),
    (
        (CALLS, user(ToolResult("b", (Text("2"),)), ToolResult("a", (Text("1"), Text("one"))), Text("so?"))),
        [
            CALLS_MESSAGE,
            {"role": "tool", "tool_call_id": "a", "content": "1\none"},
            {"role": "tool", "tool_call_id": "b", "content": "2"},
            {"role": "user", "content": "so?"},
        ],
    ),
    (
        (CALLS, user(ToolResult("a", (Text("1"), IMAGE), is_error=True), ToolResult("b"))),
        [
            CALLS_MESSAGE,
            {"role": "tool", "tool_call_id": "a", "content": "[tool error] 1\n[image: shown in the next message]"},
            {"role": "tool", "tool_call_id": "b", "content": ""},
            {
                "role": "user",
                "content": [{"type": "text", "text": "Image from the result of the tool call a:"}, IMAGE_PART],
            },
        ],
    ),
    (
        (
            said(ToolCall("a:b", "f", "{}")),
            Turn(Role.SYSTEM, (Text("one"), Text("two"))),
            user(ToolResult("a:b", (Document(data="JVBE", name="a.pdf"),)), Text("so?")),
        ),
        [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": tool_id("a:b"), "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": tool_id("a:b"), "content": "[file: shown in the next message]"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": f"File from the result of the tool call {tool_id('a:b')}:"},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
                ],
            },
            {"role": "system", "content": "one\n\ntwo"},
            {"role": "user", "content": "so?"},
        ],
    ),
    (
        (said(ToolCall("a", "f", "raw text", freeform=True)), user(ToolResult("a", (Text("1"),)))),
        [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"input":"raw text"}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "a", "content": "1"},
        ],
    ),
    (
        (HELLO, said(Text("a"), Refusal("no")), HELLO),
        [
            {"role": "user", "content": "hello"},
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "no"}],
            },
            {"role": "user", "content": "hello"},
        ],
    ),
    (
        (HELLO, Turn(Role.SYSTEM, (Text(""),)), HELLO),
        [{"role": "user", "content": "hello"}, {"role": "user", "content": "hello"}],
    ),
    (
        (HELLO, said(Thinking("secret", Seal(SealOrigin.SIGNATURE, "sig"))), HELLO),
        [{"role": "user", "content": "hello"}, {"role": "user", "content": "hello"}],
    ),
    (
        (said(Text("a"), IMAGE), HELLO),
        [
            {"role": "assistant", "content": "a"},
            {"role": "user", "content": [IMAGE_PART, {"type": "text", "text": "hello"}]},
        ],
    ),
    (
        (HELLO, said(IMAGE)),
        [{"role": "user", "content": "hello"}, {"role": "user", "content": [IMAGE_PART]}],
    ),
    (
        (
            said(
                Thinking("one", Seal(SealOrigin.CHAT, "x")),
                Thinking("", Seal(SealOrigin.CHAT, "y")),
                Thinking("two"),
                Text("A"),
            ),
            HELLO,
        ),
        [
            {"role": "assistant", "content": "A", "reasoning_text": "one\n\ntwo", "reasoning_opaque": "y"},
            {"role": "user", "content": "hello"},
        ],
    ),
]


@pytest.mark.parametrize(("turns", "expected"), HISTORIES)
def test_turns_become_messages(turns: tuple[Turn, ...], expected: list[dict]) -> None:
    """Results follow their calls, what they cannot hold follows them, and nothing is said in another's name."""
    assert messages(*turns) == expected


def test_the_system_stands_first_in_one_message() -> None:
    """Its blocks are joined with a blank line."""
    assert messages(HELLO, system=(Text("one"), Text("two")))[0] == {"role": "system", "content": "one\n\ntwo"}


def test_an_answer_that_was_begun_is_asked_to_go_on() -> None:
    """Chat models begin anew; the client learns that its prefill is not one."""
    body, losses = render(HELLO, said(Text("The answer is")))
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert "exactly where it ended" in body["messages"][-1]["content"]
    assert losses == (Loss("messages.prefill", matters=True),)


def test_m2c_req_thinking_not_in_text() -> None:
    """Thinking sealed by another kind of upstream is left out, not put into the text."""
    turns = (
        HELLO,
        said(Thinking("hidden", Seal(SealOrigin.SIGNATURE, "sig")), Text("A"), ToolCall("a", "f", "{}")),
        user(ToolResult("a", (Text("1"),))),
    )
    body, losses = render(*turns)
    assert body["messages"][1]["content"] == "A"
    assert body["messages"][2]["role"] == "tool"
    assert "hidden" not in json.dumps(body)
    assert losses == (Loss("thinking", matters=False),)


def test_m2c_req_mid_system() -> None:
    """Instructions between a call and its result wait until after the result and stay instructions."""
    turns = (
        HELLO,
        said(ToolCall("a", "f", "{}")),
        Turn(Role.SYSTEM, (Text("Be brief."),)),
        user(ToolResult("a", (Text("1"),)), Text("so?")),
    )
    roles = [(message["role"], message.get("content")) for message in messages(*turns)]
    assert roles[2] == ("tool", "1")
    assert ("system", "Be brief.") in roles[3:]
    assert ("user", "so?") in roles[3:]


BUDGETED = model(reasoning_effort=["low", "medium", "high"])
EFFORTS = [
    (Reasoning(budget=1024), BUDGETED, "low"),
    (Reasoning(budget=8000), BUDGETED, "medium"),
    (Reasoning(budget=20_000), BUDGETED, "high"),
    (Reasoning(effort=Effort.MAX, adaptive=True), BUDGETED, "high"),
    (Reasoning(adaptive=True), BUDGETED, None),
    (Reasoning(disabled=True), BUDGETED, None),
    (Reasoning(disabled=True), model(reasoning_effort=["none", "low"]), "none"),
    (Reasoning(budget=4000), GPT4, None),
    (Reasoning(effort=Effort.LOW, budget=30_000), BUDGETED, "low"),
]


@pytest.mark.parametrize(("reasoning", "target", "expected"), EFFORTS)
def test_m2c_req_effort_and_budget(reasoning: Reasoning, target: Model, expected: str | None) -> None:
    """A budget becomes a level, a level the nearest one that the model lists, and without a list there is no key."""
    assert render(to=target, reasoning=reasoning)[0].get("reasoning_effort") == expected


@pytest.mark.parametrize(("id", "is_sent"), [("gpt-5-mini", True), ("gpt-5.4", False), ("gpt-6", False)])
def test_an_effort_beside_tools_is_left_out_where_it_is_refused(id: str, *, is_sent: bool) -> None:
    """From GPT-5.4 on, chat refuses the two together."""
    target = model(id, reasoning_effort=["low"])
    body, losses = render(to=target, reasoning=Reasoning(effort=Effort.LOW), tools=(TOOL,))
    assert ("reasoning_effort" in body) is is_sent
    assert (Loss("reasoning_effort", matters=True) in losses) is not is_sent


THOUGHT = said(Thinking("hm", Seal(SealOrigin.CHAT, "x")), ToolCall("a", "f", "{}"))
ANSWERED = user(ToolResult("a", (Text("1"),)))
BUDGETS = [
    ((HELLO,), {"reasoning": Reasoning(budget=2000)}, CLAUDE, 2000),
    ((HELLO,), {"reasoning": Reasoning(effort=Effort.MEDIUM)}, CLAUDE, 8192),
    ((HELLO,), {"reasoning": Reasoning(budget=2000), "max_tokens": 1500}, CLAUDE, 1499),
    ((HELLO,), {"reasoning": Reasoning(budget=2000), "max_tokens": 1000}, CLAUDE, None),
    ((HELLO,), {"reasoning": Reasoning(budget=2000), "tools": (TOOL,), "tool_choice": REQUIRED}, CLAUDE, None),
    ((HELLO,), {"reasoning": Reasoning(budget=2000)}, model("claude-old"), None),
    ((HELLO, THOUGHT, ANSWERED), {"reasoning": Reasoning(budget=2000)}, CLAUDE, 2000),
    ((HELLO, said(ToolCall("a", "f", "{}")), ANSWERED), {"reasoning": Reasoning(budget=2000)}, CLAUDE, None),
]


@pytest.mark.parametrize(("turns", "fields", "target", "expected"), BUDGETS)
def test_claude_thinks_by_a_budget_when_it_may(
    turns: tuple[Turn, ...], fields: dict, target: Model, expected: int | None
) -> None:
    """Not when a tool is forced, not in a tool loop whose thoughts are gone; then the loss is named."""
    body, losses = render(*turns, to=target, **fields)
    assert body.get("thinking_budget") == expected
    assert (Loss("thinking_budget", matters=True) in losses) is (expected is None)


def test_a_thinking_claude_takes_no_temperature() -> None:
    """The two are refused together; without thinking the temperature goes on."""
    fields = {"to": CLAUDE, "sampling": Sampling(temperature=0.5)}
    body, losses = render(reasoning=Reasoning(budget=2000), **fields)
    assert "temperature" not in body
    assert losses == (Loss("temperature", matters=True),)
    assert render(**fields)[0]["temperature"] == 0.5


SAMPLINGS = [
    (GPT4, Sampling(temperature=0.2, top_p=0.9, stop=("a",)), {"temperature": 0.2, "top_p": 0.9, "stop": ["a"]}, set()),
    (GPT4, Sampling(stop=("", " \n", "a")), {"stop": ["a"]}, set()),
    (GPT4, Sampling(stop=("a", "b", "c", "d", "e")), {"stop": ["a", "b", "c", "d"]}, {"stop"}),
    (GPT5, Sampling(temperature=1.0, top_p=1.0), {}, set()),
    (GPT5, Sampling(temperature=0.2, top_p=0.9, stop=("a",)), {}, {"temperature", "top_p", "stop"}),
]


@pytest.mark.parametrize(("target", "sampling", "expected", "lost"), SAMPLINGS)
def test_reasoning_models_take_no_sampling(target: Model, sampling: Sampling, expected: dict, lost: set[str]) -> None:
    """Others take four stop words, none of them blank."""
    body, losses = render(to=target, sampling=sampling)
    assert {name: body[name] for name in ("temperature", "top_p", "stop") if name in body} == expected
    assert {loss.field for loss in losses} == lost


LIMITS = [
    (GPT4, 100, {"max_tokens": 100}, ()),
    (GPT5, 100, {"max_completion_tokens": 100}, ()),
    (model(most=50), 100, {"max_tokens": 50}, (Loss("max_tokens", matters=True),)),
    (model(most=50), None, {}, ()),
]


@pytest.mark.parametrize(("target", "asked", "expected", "lost"), LIMITS)
def test_the_limit_has_the_models_name_and_size(
    target: Model, asked: int | None, expected: dict, lost: tuple[Loss, ...]
) -> None:
    """A limit above the model's is lowered, and that is told."""
    body, losses = render(to=target, max_tokens=asked)
    assert {name: value for name, value in body.items() if name.startswith("max_")} == expected
    assert losses == lost


ABLE = model(structured_outputs=True)
FORMATS = [
    (GPT4, Format(), {"type": "json_object"}, ()),
    (GPT4, Format(schema=LOOSE), None, (Loss("response_format", matters=True),)),
    (ABLE, Format(schema=LOOSE), {"name": "output", "schema": json.loads(LOOSE)}, ()),
    (ABLE, Format(schema=STRICT), {"name": "output", "schema": json.loads(STRICT), "strict": True}, ()),
    (
        ABLE,
        Format(schema=STRICT, strict=False, name="n", description="d"),
        {"name": "n", "schema": json.loads(STRICT), "description": "d"},
        (),
    ),
    (
        ABLE,
        Format(schema=LOOSE, strict=True),
        {"name": "output", "schema": json.loads(LOOSE)},
        (Loss("response_format.strict", matters=True),),
    ),
]


@pytest.mark.parametrize(("target", "wanted", "expected", "lost"), FORMATS)
def test_a_format_is_strict_only_where_that_means_the_same(
    target: Model, wanted: Format, expected: dict | None, lost: tuple[Loss, ...]
) -> None:
    """A schema goes to models that take one."""
    body, losses = render(to=target, format=wanted)
    told = body.get("response_format", {})
    assert told.get("json_schema", told or None) == expected
    assert losses == lost


def test_tools_are_functions() -> None:
    """A freeform one takes its text as a property; a name that had to change is mapped back."""
    tools = (
        Tool(name="a.b", description="d", schema=STRICT, strict=True),
        Tool(name="g", schema=LOOSE, strict=True),
        Tool(name="patch", description="Apply.", freeform=True),
    )
    conversation = Conversation(model="m", stream=False, turns=(HELLO,), tools=tools, parallel=True)
    rendered = render_request(conversation, GPT4)
    first, second, third = (tool["function"] for tool in json.loads(rendered.body)["tools"])
    assert first["strict"] is True
    assert first["parameters"] == json.loads(STRICT)
    assert rendered.names.to_client(first["name"]) == "a.b"
    assert second == {"name": "g", "parameters": json.loads(LOOSE)}
    assert third["parameters"]["required"] == ["input"]
    assert third["description"].startswith("Apply.")
    assert rendered.losses == (Loss("tools.strict", matters=True),)
    assert json.loads(rendered.body)["parallel_tool_calls"] is True


CHOICES = [
    (None, ["f", "g"], None),
    (ToolChoice(ToolChoiceMode.AUTO), ["f", "g"], "auto"),
    (ToolChoice(ToolChoiceMode.NONE), ["f", "g"], "none"),
    (REQUIRED, ["f", "g"], "required"),
    (ToolChoice(ToolChoiceMode.REQUIRED, name="g"), ["f", "g"], {"type": "function", "function": {"name": "g"}}),
    (ToolChoice(ToolChoiceMode.REQUIRED, allowed=("g",)), ["g"], "required"),
]


@pytest.mark.parametrize(("choice", "offered", "expected"), CHOICES)
def test_the_choice_among_tools_is_kept(choice: ToolChoice | None, offered: list[str], expected: object) -> None:
    """A choice limited to some tools offers those only: Copilot knows no such choice."""
    body, _ = render(tools=(TOOL, Tool(name="g")), tool_choice=choice)
    assert [tool["function"]["name"] for tool in body["tools"]] == offered
    assert body.get("tool_choice") == expected


def test_a_limited_choice_still_offers_what_history_speaks_of() -> None:
    """Claude insists on knowing the tools that were called."""
    turns = (HELLO, said(ToolCall("a", "f", "{}")), ANSWERED)
    tools = (TOOL, Tool(name="g"), Tool(name="h"))
    body, _ = render(*turns, tools=tools, tool_choice=ToolChoice(ToolChoiceMode.AUTO, allowed=("g",)))
    assert [tool["function"]["name"] for tool in body["tools"]] == ["f", "g"]


@pytest.mark.parametrize("choice", [REQUIRED, ToolChoice(ToolChoiceMode.REQUIRED, name="f")])
def test_a_forced_tool_that_is_not_there_is_refused(choice: ToolChoice) -> None:
    """An answer without the tool would be a wrong one."""
    with pytest.raises(TranslationError) as caught:
        render(tool_choice=choice)
    assert caught.value.param == "tool_choice"


def test_without_tools_nothing_is_said_of_them() -> None:
    """Upstream refuses a choice among none."""
    body, losses = render(tool_choice=ToolChoice(ToolChoiceMode.AUTO), parallel=False)
    assert body.keys() == {"model", "messages"}
    assert losses == ()


UNSENDABLE = [
    (HELLO, user(Document(url="https://x.test/a.pdf"))),
    (HELLO, user(Thinking("x"))),
]


@pytest.mark.parametrize("turns", UNSENDABLE)
def test_what_chat_cannot_hold_is_refused(turns: tuple[Turn, ...]) -> None:
    """Leaving it out would be lost history."""
    with pytest.raises(TranslationError) as caught:
        render(*turns)
    assert caught.value.param == "messages"


def test_a_model_that_sees_nothing_gets_no_files() -> None:
    """The catalog says which."""
    with pytest.raises(TranslationError):
        render(user(Document(data="JVBE")), to=model(vision=False))


EXTRAS = [
    (GPT5, "verbosity", b'"low"', {"verbosity": "low"}, ()),
    (GPT4, "verbosity", b'"low"', {}, (Loss("verbosity", matters=False),)),
    (GPT4, "top_logprobs", b"3", {}, (Loss("top_logprobs", matters=True),)),
    (GPT5, "top_logprobs", b"3", {}, (Loss("top_logprobs", matters=True),)),
    (GPT4, "metadata", b"{}", {}, (Loss("metadata", matters=False),)),
    (GPT4, "truncation", b'"auto"', {}, (Loss("truncation", matters=True),)),
]


@pytest.mark.parametrize(("target", "name", "value", "expected", "lost"), EXTRAS)
def test_further_fields_are_sent_or_named(
    target: Model, name: str, value: bytes, expected: dict, lost: tuple[Loss, ...]
) -> None:
    """Whichever the model takes."""
    body, losses = render(to=target, extra={name: value})
    assert {key: body[key] for key in body if key not in {"model", "messages"}} == expected
    assert losses == lost


def marked(*turns: Turn, **fields: object) -> list[int]:
    listed = messages(*turns, to=CLAUDE, **fields)
    return [at for at, message in enumerate(listed) if message.get("copilot_cache_control") == BREAKPOINT]


def test_claude_gets_breakpoints_where_they_help() -> None:
    """Without any nothing is cached: the instructions and the last two messages."""
    turns = (HELLO, said(Text("a")), HELLO)
    assert marked(*turns, system=(Text("s"),)) == [0, 2, 3]
    assert marked(*turns) == [1, 2]
    assert marked(HELLO) == [0]


def test_claude_gets_the_clients_breakpoints_when_there_are_some() -> None:
    """At most four, the instructions' and the last ones."""
    one = (user(Text("a", cached=True)), said(Text("b")))
    assert marked(*one, HELLO) == [0]
    assert marked(*one * 5, HELLO) == [2, 4, 6, 8]
    assert marked(*one * 5, HELLO, system=(Text("s", cached=True),)) == [0, 5, 7, 9]


def test_other_models_get_no_breakpoints() -> None:
    """The key is Copilot's own, for Claude."""
    assert "copilot_cache_control" not in json.dumps(messages(user(Text("a", cached=True))))


def test_claude_reads_a_refusal_as_text() -> None:
    """Its assistant messages must be plain strings."""
    assert messages(HELLO, said(Text("a"), Refusal("no")), HELLO, to=CLAUDE)[1]["content"] == "ano"


def test_a_stream_is_asked_for_its_usage() -> None:
    """We want it even if the client does not."""
    body = json.loads(render_request(Conversation(model="m", stream=True, turns=(HELLO,)), GPT4).body)
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert body["model"] == "gpt-4.1"


def test_c2m_req_orphan_tool() -> None:
    """A result that belongs to no call is refused at the end, and told as text further back."""
    orphan = ToolResult("zzz", (Text("42"),))
    with pytest.raises(BadRequest) as caught:
        render(HELLO, user(orphan))
    assert "zzz" in caught.value.message
    body, losses = render(user(orphan), said(Text("a")), HELLO)
    assert "42" in json.dumps(body["messages"][0])
    assert any(loss.matters for loss in losses)


def test_r2c_req_custom_tool() -> None:
    """A freeform tool and its calls are a function with one string, its result a tool message."""
    tool = Tool(
        name="apply_patch", freeform=True, grammar=b'{"type":"grammar","syntax":"lark","definition":"start: A"}'
    )
    turns = (
        HELLO,
        said(ToolCall("a", "apply_patch", "*** Begin\n", freeform=True)),
        user(ToolResult("a", (Text("ok"),))),
    )
    body, _ = render(*turns, tools=(tool,))
    function = body["tools"][0]["function"]
    assert function["parameters"]["properties"]["input"]["type"] == "string"
    assert "start: A" in function["description"]
    arguments = body["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"input": "*** Begin\n"}
    assert body["messages"][2] == {"role": "tool", "tool_call_id": "a", "content": "ok"}


FULL = {
    "system": (Text("s"),),
    "tools": (Tool(name="f", description="d", schema=STRICT, strict=True), Tool(name="p", freeform=True)),
    "tool_choice": ToolChoice(ToolChoiceMode.REQUIRED, name="f"),
    "parallel": False,
    "max_tokens": 100,
    "format": Format(schema=STRICT, description="d"),
    "reasoning": Reasoning(effort=Effort.LOW),
    "extra": {"verbosity": b'"low"', "top_logprobs": b"2"},
    "sampling": Sampling(temperature=0.5, top_p=0.5, stop=("a",)),
}
FULL_TURNS = (
    user(Text("a"), IMAGE, Document(data="JVBE"), Audio("AA==", "wav")),
    CALLS,
    user(ToolResult("a", (Text("1"), IMAGE)), ToolResult("b", is_error=True), Text("so?")),
    said(Text("x"), Refusal("no")),
    Turn(Role.SYSTEM, (Text("later"),)),
    HELLO,
)
TARGETS = [
    model("gpt-4.1", structured_outputs=True, reasoning_effort=["low"]),
    model("gpt-5-mini", structured_outputs=True, reasoning_effort=["low"]),
]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.id)
def test_every_request_is_one_the_library_could_have_sent(target: Model) -> None:
    """No key that OpenAI's own types do not know, no value of another type."""
    conversation = Conversation(model="m", stream=True, turns=FULL_TURNS, **FULL)  # type: ignore[arg-type]  # a table
    adapter = TypeAdapter(list[CompletionCreateParamsStreaming], config=ConfigDict(extra="forbid"))
    body = render_request(conversation, target).body
    adapter.validate_json(b"[" + body + b"]")
    for message in json.loads(body)["messages"]:
        assert message.keys() <= {"role", "content", "tool_calls", "tool_call_id"}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.id)
def test_a_request_read_back_says_the_same(target: Model) -> None:
    """What was written is read as the same turns, tools, choice and limit."""
    turns = (HELLO, THOUGHT, user(ToolResult("a", (Text("boom"),), is_error=True), Text("so?")))
    fields = {name: FULL[name] for name in ("system", "tool_choice", "parallel", "max_tokens", "reasoning")}
    before = Conversation(model=target.id, stream=True, turns=turns, tools=FULL["tools"][:1], **fields)  # type: ignore[arg-type, index]  # a table
    body = render_request(before, target).body
    after = parse_request(read_object(body), stream=True)
    for name in ("model", "turns", "tools", *fields):
        assert getattr(after, name) == getattr(before, name), name


def test_a_seal_that_came_late_goes_back_with_its_text() -> None:
    """Copilot sends the seal after the text it belongs to; both return on one message, foreign thinking does not."""
    parts = (
        Thinking("first thoughts"),
        Text("Hello!"),
        Thinking(seal=Seal(SealOrigin.CHAT, "opaque-1")),
        Thinking("signed elsewhere", Seal(SealOrigin.SIGNATURE, "sig")),
    )
    turns = (
        Turn(Role.USER, (Text("hi"),)),
        Turn(Role.ASSISTANT, parts),
        Turn(Role.USER, (Text("again"),)),
    )
    rendered = render_request(Conversation(model="m", stream=False, turns=turns), Model(id="gemini-3.1-pro-preview"))
    message = msgspec.json.decode(rendered.body)["messages"][1]
    assert (message["reasoning_text"], message["reasoning_opaque"]) == ("first thoughts", "opaque-1")
    assert message["content"] == "Hello!"
    assert [loss.field for loss in rendered.losses] == ["thinking"]
