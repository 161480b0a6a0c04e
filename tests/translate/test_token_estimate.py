"""The estimate: every part counts once, more is never less, and media are not text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_asgi.translate.conversation import (
    Audio,
    Conversation,
    Document,
    Format,
    Image,
    Part,
    Refusal,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from copilot_asgi.translate.tokens import estimate

TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)
PARTS = st.one_of(st.builds(Text, TEXTS), st.builds(ToolResult, TEXTS, st.tuples(st.builds(Text, TEXTS))))
TURNS = st.builds(Turn, st.sampled_from(Role), st.tuples(PARTS))


def of(*turns: Turn, model_id: str = "", **rest: object) -> int:
    conversation = Conversation(model="m", stream=False, turns=turns, **rest)  # type: ignore[arg-type]
    return estimate(conversation, model_id=model_id)


def user(*parts: Part) -> Turn:
    return Turn(Role.USER, parts)


def assistant(*parts: Part) -> Turn:
    return Turn(Role.ASSISTANT, parts)


EMPTY = of(user())


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        (Text("a" * 38), 10),
        (Text("語" * 38), 30),
        (Refusal("a" * 38), 10),
        (Image(media_type="image/png", data="A" * 100_000), 765),
        (Image(url="https://example.com/a.png", detail="low"), 85),
        (Document(media_type="application/pdf", data="A" * 20_000), 30),
        (Document(url="https://example.com/a.pdf"), 2000),
        (Audio("A" * 20_000, "wav"), 30),
        (ToolCall("id", "a" * 19, "b" * 19), 14),
        (ToolResult("id", (Text("a" * 38),)), 14),
        (ToolResult("id"), 4),
        (Thinking("a" * 38), 10),
    ],
)
def test_each_part_has_its_price(part: Part, tokens: int) -> None:
    """Texts by bytes of UTF-8, media by what they show, ids for nothing."""
    assert of(user(part)) - EMPTY == tokens


def test_system_tools_and_format_count() -> None:
    """They are most of an agent's prompt."""
    tool = Tool(name="a" * 19, description="b" * 38, schema=b"c" * 19)
    assert of(system=(Text("a" * 38),)) - of() == 13
    assert of(tools=(tool,)) - of() == 12 + 7 + 20
    assert of(tools=(tool, tool)) - of(tools=(tool,)) == 7 + 20
    assert of(format=Format(schema=b"a" * 38)) - of() == 10


def test_old_thinking_is_free_and_that_of_the_running_loop_is_not() -> None:
    """Upstream strips the thinking of earlier turns."""
    thought, call = Thinking("a" * 380), ToolCall("c", "f", "{}")
    before = (user(Text("go")), assistant(thought, call), user(ToolResult("c")))
    assert of(*before) - of(user(Text("go")), assistant(call), user(ToolResult("c"))) == 100
    without = (user(Text("go")), assistant(call), user(ToolResult("c")), user(Text("on")))
    assert of(*before, user(Text("on"))) == of(*without)


def test_a_conversation_without_a_user_is_all_running() -> None:
    """Nothing tells where a loop began, so everything counts."""
    assert of(assistant(Thinking("a" * 38))) - of(assistant()) == 10


@pytest.mark.parametrize(("model_id", "factor"), [("claude-opus-5", 1.15), ("grok-code-fast-1", 1.03), ("gpt-5", 1.0)])
def test_some_vendors_count_more(model_id: str, factor: float) -> None:
    """The factor of the vendor applies to the whole."""
    long = user(Text("a" * 38_000))
    assert of(long, model_id=model_id) == pytest.approx(factor * of(long), abs=1)


def test_claude_pays_for_tools_once_and_more_for_images() -> None:
    """Its images are up to about 1,500 tokens, and any tools bring a prompt of their own."""
    image, tool = user(Image(url="https://example.com/a.png")), Tool(name="f")
    assert of(image, model_id="claude-x") > of(image) + 700
    assert of(tools=(tool,), model_id="claude-x") > of(tools=(tool,)) + 346


PROSE = (
    "The proxy keeps one connection to the service for each request and passes every chunk on as soon as it arrives. "
    "When the client goes away, the request is cancelled and the connection is closed, so that nothing is paid for "
    "that nobody reads."
)
SCHEMA = (
    '{"type":"object","properties":{"path":{"type":"string","description":"The file to read"},"offset":{"type":'
    '"integer","minimum":0},"limit":{"type":"integer","maximum":2000}},"required":["path"],"additionalProperties":false}'
)
CHINESE = (
    "代理为每个请求保持一个连接,并在数据到达时立即转发每一块内容。当客户端离开时,请求会被取消,连接也会关闭,"
    "这样就不会为没有人阅读的内容付费。"
)
JAPANESE = (
    "プロキシはリクエストごとに一つの接続を保ち、届いたデータをすぐに渡します。"
    "クライアントがいなくなると、リクエストは取り消され、接続は閉じられます。"
)


@pytest.mark.parametrize(
    ("text", "tokens"), [(PROSE, 48), (SCHEMA, 53), (CHINESE, 49), (JAPANESE, 59)], ids=["prose", "json", "zh", "ja"]
)
def test_the_estimate_is_near_what_the_tokenizer_counts(text: str, tokens: int) -> None:
    """Within a third for texts this short (o200k_base counted them), in every script."""
    assert of(user(Text(text))) - EMPTY == pytest.approx(tokens, rel=0.35)


@given(st.lists(TURNS, max_size=6), TURNS, st.text(max_size=40))
def test_more_is_never_less(turns: list[Turn], more: Turn, text: str) -> None:
    """At least one token, and adding a turn, a system text or a tool never lowers the estimate."""
    before = of(*turns)
    assert before >= 1
    assert of(*turns, more) >= before
    assert of(*turns, system=(Text("x"),)) >= before
    assert of(*turns, tools=(Tool(name="f", description=text.encode("utf-8", "replace").decode()),)) >= before
