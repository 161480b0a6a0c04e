"""Conversations and answers for property tests: odd texts, odd ids, parallel calls, images, errors.

Rule: what is drawn here every dialect can carry, so that nothing may get lost; what only some can is asked for.
"""

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from copilot_asgi.translate.conversation import (
    Conversation,
    Format,
    Image,
    Role,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolChoiceMode,
    ToolResult,
    Turn,
)
from copilot_asgi.translate.events import (
    Annotation,
    Event,
    Finish,
    Finished,
    Kind,
    PartDelta,
    PartFinished,
    PartStarted,
    Started,
    Usage,
)

ODD = st.sampled_from(
    ["語", "🧵", "\u2028", "'", '"', "\\", "\n", " ", "a", "B", "{", "data: x", "\r\n\r\n", "é", "<", "0"]
)
ANY_TEXT = st.one_of(st.lists(ODD, max_size=8).map("".join), st.text(st.characters(codec="utf-8"), max_size=20))
# Some dialects refuse blank texts, and blanks at the end of what the assistant said.
TEXTS = ANY_TEXT.map(lambda text: f"<{text}>")
NAMES = st.from_regex(r"[a-zA-Z0-9_-]{1,12}", fullmatch=True)
LEGAL_IDS = st.integers(0, 9999).map(lambda number: f"call_{number}")
ODD_IDS = st.one_of(LEGAL_IDS, st.from_regex(r"[a-b:._]{1,4}", fullmatch=True), st.just("x" * 80))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), ANY_TEXT),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(ANY_TEXT, inner, max_size=2),
    max_leaves=4,
)
ARGUMENTS = st.dictionaries(ANY_TEXT, VALUES, max_size=3)
PNG = b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR").decode()
IMAGES = st.just(Image(media_type="image/png", data=PNG))
SCHEMAS = st.dictionaries(NAMES, st.just({"type": "string"}), max_size=2).map(
    lambda properties: json.dumps({"type": "object", "properties": properties}).encode()
)


@st.composite
def conversations(
    draw: st.DrawFn, *, ids: st.SearchStrategy[str] = LEGAL_IDS, images_in_results: bool = False
) -> Conversation:
    """A conversation that ends with the user; calls are answered, texts of the assistant stand before its calls."""
    tools = draw(st.lists(st.builds(Tool, name=NAMES, description=TEXTS, schema=SCHEMAS), max_size=3, unique_by=named))
    fresh = draw(st.lists(ids, min_size=12, max_size=12, unique=True))
    turns: list[Turn] = []
    for _ in range(draw(st.integers(0, 3))):
        turns += [Turn(Role.USER, draw(said_by_user()))] if draw(st.booleans()) or not turns else []
        calls = draw(st.lists(st.tuples(NAMES, ARGUMENTS), max_size=3 if tools else 0))
        asked = tuple(ToolCall(fresh.pop(), name, json.dumps(arguments)) for name, arguments in calls)
        said = draw(st.lists(st.builds(Text, TEXTS), min_size=0 if asked else 1, max_size=1))
        turns.append(Turn(Role.ASSISTANT, (*said, *asked)))
        results = tuple(draw(result(call.id, images=images_in_results)) for call in asked)
        turns += [Turn(Role.USER, (*results, *draw(said_by_user(min_size=0 if results else 1))))]
    turns += [Turn(Role.USER, draw(said_by_user()))]
    choice, parallel = draw(choices(tools)) if tools else (None, None)
    return Conversation(
        model="some-model",
        stream=draw(st.booleans()),
        system=draw(st.lists(st.builds(Text, TEXTS), max_size=1).map(tuple)),
        turns=tuple(turns),
        tools=tuple(tools),
        tool_choice=choice,
        parallel=parallel,
        max_tokens=draw(st.integers(16, 16_000)),
        sampling=Sampling(temperature=draw(st.sampled_from([None, 0.0, 0.5, 1.0]))),
        format=draw(st.none() | st.builds(Format, schema=st.just(CLOSED), name=st.just("output"))),
    )


CLOSED = b'{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}'


def named(tool: Tool) -> str:
    return tool.name


def said_by_user(*, min_size: int = 1) -> st.SearchStrategy[tuple[Text | Image, ...]]:
    return st.lists(st.one_of(st.builds(Text, TEXTS), IMAGES), min_size=min_size, max_size=3).map(tuple)


@st.composite
def result(draw: st.DrawFn, call_id: str, *, images: bool) -> ToolResult:
    parts = draw(st.lists(st.builds(Text, TEXTS), max_size=1))
    parts += draw(st.lists(IMAGES, max_size=1)) if images else []
    return ToolResult(call_id, tuple(parts), is_error=draw(st.booleans()))


@st.composite
def choices(draw: st.DrawFn, tools: list[Tool]) -> tuple[ToolChoice | None, bool | None]:
    mode = draw(st.none() | st.sampled_from(ToolChoiceMode))
    name = draw(st.sampled_from(["", *(tool.name for tool in tools)])) if mode is ToolChoiceMode.REQUIRED else ""
    choice = ToolChoice(mode, name=name) if mode else None
    may_limit = choice is None or mode is not ToolChoiceMode.NONE
    return choice, draw(st.sampled_from([None, False])) if may_limit else None


USAGES = st.builds(
    # An upstream that counts nothing at all has not counted.
    lambda fresh, read, written, said, thought: Usage(
        input=1 + fresh + read + written, cache_read=read, cache_write=written, output=said + thought, reasoning=thought
    ),
    *[st.integers(0, 5000)] * 5,
)


@st.composite
def answers(draw: st.DrawFn, *, written: bool = False, thinking: bool = True) -> list[Event]:
    """A legal answer; texts and arguments in pieces of any size. Thinking first, text next, calls last."""
    events: list[Event] = [Started(id="up_1", model="some-model")]
    if thinking and draw(st.booleans()):
        events += part(len(starts(events)), Kind.THINKING, draw(pieces(TEXTS)))
    if draw(st.booleans()):
        events += part(len(starts(events)), Kind.TEXT, draw(pieces(TEXTS)))
    calls = draw(st.integers(0, 3))
    for number in range(calls):
        arguments = draw(pieces(ARGUMENTS.map(lambda value: json.dumps(value, ensure_ascii=False))))
        events += part(len(starts(events)), Kind.TOOL_CALL, arguments, id=f"call_{number}", name=draw(NAMES))
    usage = draw(USAGES)
    if not written:
        usage = Usage(input=usage.input, cache_read=usage.cache_read, output=usage.output, reasoning=usage.reasoning)
    reason = Finish.TOOL_CALLS if calls else draw(st.sampled_from([Finish.STOP, Finish.LENGTH]))
    return [*events, Finished(reason, usage)]


@st.composite
def wild_answers(draw: st.DrawFn) -> list[Event]:
    """A legal answer with parts of every kind in any order, empty ones too, sources cited, and any ending."""
    events: list[Event] = [Started(id="up_1", model="some-model", usage=draw(st.none() | USAGES))]
    kinds = draw(st.lists(st.sampled_from(Kind), max_size=5))
    for index, kind in enumerate(kinds):
        rest = {"id": f"call_{index}", "name": draw(NAMES)} if kind is Kind.TOOL_CALL else {}
        texts = ["{}"] if kind is Kind.TOOL_CALL else draw(st.just([]) | pieces(ANY_TEXT))
        events += part(index, kind, texts, **rest)
        if kind is Kind.TEXT:
            events.insert(-1, PartDelta(index, annotation=Annotation("https://example.com/", "Example")))
    return [*events, Finished(draw(st.sampled_from(Finish)), draw(st.none() | USAGES), draw(ANY_TEXT))]


BODIES_KEYS = st.sampled_from(
    [
        "type",
        "choices",
        "delta",
        "index",
        "content",
        "message",
        "item",
        "output_index",
        "response",
        "usage",
        "error",
        "id",
    ]
    + ["content_block", "tool_calls", "function", "name", "arguments", "finish_reason", "stop_reason", "text", "output"]
)
EVENT_WORDS = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "error"]
    + ["response.created", "response.output_item.added", "response.output_text.delta", "response.output_item.done"]
    + ["response.completed", "response.failed", "text", "tool_use", "text_delta", "function_call", "message", "stop"]
)
NOISE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 3), ANY_TEXT, EVENT_WORDS),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(BODIES_KEYS, inner, max_size=4),
    max_leaves=10,
)


def starts(events: list[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, PartStarted)]


def part(index: int, kind: Kind, texts: list[str], **rest: str) -> list[Event]:
    return [PartStarted(index, kind, **rest), *(PartDelta(index, text) for text in texts), PartFinished(index)]


@st.composite
def pieces(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> list[str]:
    """A text cut anywhere."""
    text = draw(texts)
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=3)))
    return [piece for piece in (text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)) if piece]


LEAKS = st.sampled_from(
    ["cache_control", "eager_input_streaming", "defer_loading", "seed", "store", "service_tier", "zzz"]
)
KEYS = st.one_of(
    LEAKS,
    st.sampled_from(
        ["messages", "input", "model", "tools", "system", "instructions", "content", "role", "type", "text"]
    ),
    st.sampled_from(
        ["tool_choice", "max_tokens", "thinking", "reasoning", "stop", "response_format", "tool_calls", "n"]
    ),
    st.sampled_from(["id", "call_id", "name", "arguments", "output", "source", "data", "url", "image_url", "format"]),
)
WORDS = st.sampled_from(
    ["user", "assistant", "system", "tool", "text", "image", "function", "tool_use", "tool_result", "function_call"]
    + [
        "function_call_output",
        "message",
        "reasoning",
        "input_text",
        "output_text",
        "image_url",
        "auto",
        "base64",
        "custom",
    ]
)
BODIES = st.recursive(
    st.one_of(VALUES, WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def damage(body: dict, draw: Callable[[Any], Any]) -> None:
    """Put something else somewhere in it."""
    node: Any = body
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = draw(st.sampled_from(keys))
        inner = node[key]
        if not (isinstance(inner, (dict, list)) and inner and draw(st.integers(0, 4))):
            node[key] = draw(st.one_of(BODIES, st.none(), TEXTS))
            return
        node = inner
