"""Who spoke last, and whether there is an image: the two facts that headers depend on."""

import json

import msgspec
import pytest

from copilot_asgi.errors import BadRequest
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.shallow import read_object
from copilot_asgi.wire.turn import TurnFacts, turn_facts

CHAT, MESSAGES, RESPONSES, EMBEDDINGS = Dialect.CHAT, Dialect.MESSAGES, Dialect.RESPONSES, Dialect.EMBEDDINGS

USER = {"role": "user", "content": "hi"}
ASSISTANT = {"role": "assistant", "content": "yes"}
SYSTEM = {"role": "system", "content": "be kind"}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "ok"}
TEXT = {"type": "text", "text": "go on"}


def fields(dialect: Dialect, value: object) -> dict[str, object]:
    name = "input" if dialect is RESPONSES else "messages"
    return read_object(json.dumps({name: value}).encode())  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("dialect", "turns", "expected"),
    [
        (CHAT, [SYSTEM, USER], True),
        (CHAT, [USER, ASSISTANT], False),
        (CHAT, [USER, {"role": "tool", "tool_call_id": "c", "content": "ok"}], False),
        (CHAT, [USER, {"role": "function", "name": "f", "content": "ok"}], False),
        (CHAT, [USER, SYSTEM], True),
        (CHAT, [ASSISTANT, {"role": "developer", "content": "x"}], False),
        (CHAT, [SYSTEM], True),
        (CHAT, [{"role": "user", "content": [{"type": "text", "text": "x"}]}], True),
        (MESSAGES, [USER], True),
        (MESSAGES, [USER, ASSISTANT], False),
        (MESSAGES, [{"role": "user", "content": [RESULT, RESULT]}], False),
        (MESSAGES, [{"role": "user", "content": [RESULT, TEXT]}], True),
        (MESSAGES, [{"role": "user", "content": [TEXT]}], True),
        (MESSAGES, [{"role": "user", "content": []}], True),
        (MESSAGES, [{"role": "user", "content": [RESULT]}, SYSTEM], False),
        (RESPONSES, "hi", True),
        (RESPONSES, [USER], True),
        (RESPONSES, [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}], True),
        (RESPONSES, [USER, {"type": "function_call_output", "call_id": "c", "output": "ok"}], False),
        (RESPONSES, [USER, {"type": "custom_tool_call_output", "call_id": "c", "output": "ok"}], False),
        (RESPONSES, [USER, {"type": "reasoning", "summary": []}], False),
        (RESPONSES, [{"role": "developer", "content": "x"}, USER, {"role": "developer", "content": "y"}], True),
    ],
)
def test_last_turn_is_user(dialect: Dialect, turns: object, expected: bool) -> None:
    """The last turn decides; only a person's own words are the user's."""
    assert turn_facts(dialect, fields(dialect, turns)).by_user is expected  # type: ignore[arg-type]


IMAGE_URL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}
INPUT_IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AA"}


@pytest.mark.parametrize(
    ("dialect", "turns", "expected"),
    [
        (CHAT, [{"role": "user", "content": [TEXT, IMAGE_URL]}], True),
        (CHAT, [{"role": "user", "content": [IMAGE_URL]}, ASSISTANT, USER], True),
        (CHAT, [USER], False),
        (CHAT, [{"role": "user", "content": 'write {"type": "image_url"}'}], False),
        (CHAT, [{"role": "user", "content": [{"type": "text", "text": '"image_url"'}]}], False),
        (CHAT, [{"role": "user", "content": [{"type": "text", "text": "x", "note": "image"}]}], False),
        (CHAT, [{"role": "assistant", "tool_calls": [{"type": "image"}]}], False),
        (MESSAGES, [{"role": "user", "content": [IMAGE]}], True),
        (MESSAGES, [{"role": "user", "content": [{**RESULT, "content": [TEXT, IMAGE]}]}], True),
        (MESSAGES, [{"role": "user", "content": [{**RESULT, "content": [{"type": "image_of_words"}]}]}], False),
        (RESPONSES, [{"role": "user", "content": [INPUT_IMAGE]}], True),
        (RESPONSES, [{"type": "function_call_output", "call_id": "c", "output": [INPUT_IMAGE]}], True),
        (RESPONSES, [{"type": "computer_call_output", "output": {"type": "computer_screenshot"}}], True),
        (RESPONSES, [{"type": "function_call_output", "call_id": "c", "output": '{"a":"image"}'}], False),
        (RESPONSES, "image", False),
    ],
)
def test_has_image(dialect: Dialect, turns: object, expected: bool) -> None:
    """An image anywhere in the history counts; words about images do not."""
    assert turn_facts(dialect, fields(dialect, turns)).has_image is expected  # type: ignore[arg-type]


def test_nesting_without_end_is_not_searched() -> None:
    """What is nested more deeply than can be followed is refused, and nothing breaks."""
    content = b'[{"type":"tool_result","content":' * 20_000 + b'"x"' + b"}]" * 20_000
    nested = {"messages": msgspec.Raw(b'[{"role":"user","content":%b}]' % content)}
    with pytest.raises(BadRequest, match="messages"):
        turn_facts(MESSAGES, nested)


def test_embeddings_have_no_turns() -> None:
    """There is nobody else to ask for an embedding, and nothing to see."""
    assert turn_facts(EMBEDDINGS, {}) == TurnFacts(by_user=True, has_image=False)


NO_TURNS: list[object] = [None, 5, {}, [], [5], [{}], [None], [{"role": 5}]]


@pytest.mark.parametrize(
    ("dialect", "value"),
    [
        *((dialect, value) for dialect in (CHAT, MESSAGES, RESPONSES) for value in NO_TURNS),
        (CHAT, "text"),
        (MESSAGES, "text"),
        (MESSAGES, [{"role": "user", "content": [5]}]),
        (MESSAGES, [{"role": "user", "content": 5}]),
        (MESSAGES, [{"role": "user", "content": [{"type": 5}, {"type": "image"}]}]),
        (CHAT, ["said nothing", USER]),
    ],
)
def test_what_is_no_list_of_turns(dialect: Dialect, value: object) -> None:
    """The field at fault is named."""
    with pytest.raises(BadRequest) as caught:
        turn_facts(dialect, fields(dialect, value))  # type: ignore[arg-type]
    assert caught.value.param == ("input" if dialect is RESPONSES else "messages")


@pytest.mark.parametrize("dialect", [CHAT, MESSAGES, RESPONSES])
def test_missing_turns(dialect: Dialect) -> None:
    """A request without its turns is refused."""
    with pytest.raises(BadRequest, match="missing"):
        turn_facts(dialect, {})
