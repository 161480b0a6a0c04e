"""Chat requests: what Copilot refuses is renamed or left out, and nothing else is touched."""

import json

import pytest

from copilot_asgi.errors import BadRequest
from copilot_asgi.wire.chat import prepare
from copilot_asgi.wire.models import Capabilities, Model
from copilot_asgi.wire.shallow import read_object

Json = dict[str, object]


def changes(body: Json, model: Model | str = "gpt-4o", *, stream: bool = False) -> dict[str, object]:
    """The changes, decoded."""
    found = prepare(read_object(json.dumps(body).encode()), model=as_model(model), stream=stream).changes
    return {name: value if value is None else json.loads(value) for name, value in found.items()}


def as_model(model: Model | str) -> Model:
    return Model(id=model) if isinstance(model, str) else model


def test_nothing_to_change() -> None:
    """A request that Copilot takes as it is stays as it is; messages are not looked at."""
    fields = {"messages": "not looked at", "max_tokens": 5, "stop": ["x"], "temperature": 0, "tools": [{}], "n": 1}
    assert changes(fields) == {}


@pytest.mark.parametrize(
    ("model", "wants_new"),
    [
        ("gpt-5", True),
        ("gpt-5-mini", True),
        ("gpt-5.4", True),
        ("gpt-6-sol", True),
        ("gpt-10", True),
        ("o1", True),
        ("o3-mini", True),
        ("o4-mini", True),
        (Model(id="preview-x", capabilities=Capabilities(family="gpt-5")), True),
        ("gpt-4.1", False),
        ("gpt-4o", False),
        ("gpt-4", False),
        ("gpt-3.5-turbo", False),
        ("gpt-35-turbo", False),
        ("gpt-41-copilot", False),
        ("claude-opus-5.5", False),
        ("gemini-3.1-pro-preview", False),
        ("grok-4.6", False),
    ],
)
def test_the_name_of_the_token_limit(model: Model | str, wants_new: bool) -> None:
    """Reasoning models of OpenAI take the new name only, all others the old one."""
    old, new = {"max_tokens": 5}, {"max_completion_tokens": 5}
    right, wrong = (new, old) if wants_new else (old, new)
    assert changes(right, model) == {}
    assert changes(wrong, model) == {next(iter(wrong)): None} | right


def test_of_two_limits_the_new_one_counts() -> None:
    """OpenAI lets max_completion_tokens win, whatever name it must have upstream."""
    both: Json = {"max_tokens": 5, "max_completion_tokens": 7}
    assert changes(both, "gpt-5") == {"max_tokens": None}
    assert changes(both, "gpt-4o") == {"max_completion_tokens": None, "max_tokens": 7}
    assert changes({"max_tokens": 5, "max_completion_tokens": None}, "gpt-4o") == {"max_completion_tokens": None}
    assert changes({"max_tokens": None}, "gpt-5") == {"max_tokens": None}


@pytest.mark.parametrize("tools", [[], None])
def test_without_tools_there_is_no_choice_of_tools(tools: object) -> None:
    """An empty list of tools goes, and with it what chooses among them."""
    body: Json = {"tools": tools, "tool_choice": "auto", "parallel_tool_calls": True}
    assert changes(body) == dict.fromkeys(body)
    assert changes({"tools": tools}) == {"tools": None}


def test_an_empty_list_may_hold_blanks() -> None:
    """Whitespace does not make a list longer."""
    fields = read_object(b'{"tools": [ \n ]}')
    assert prepare(fields, model=Model(id="m"), stream=False).changes == {"tools": None}


def test_nulls_and_what_is_not_supported_are_left_out() -> None:
    """A null counts as absent; the service tier is not Copilot's."""
    body = {"stop": None, "stream": None, "user": None, "service_tier": "auto", "seed": 0, "tool_choice": "none"}
    assert changes(body) == dict.fromkeys(("stop", "stream", "user", "service_tier"))


@pytest.mark.parametrize(
    ("options", "asked", "sent"),
    [
        ({}, False, {"include_usage": True}),
        ({"stream_options": None}, False, {"include_usage": True}),
        ({"stream_options": {}}, False, {"include_usage": True}),
        ({"stream_options": {"include_usage": False, "x": 1}}, False, {"include_usage": True, "x": 1}),
        ({"stream_options": {"include_usage": True}}, True, None),
    ],
)
def test_a_stream_is_asked_for_its_usage(options: Json, asked: bool, sent: Json | None) -> None:
    """We want the usage of each stream, and remember whether the client did."""
    prepared = prepare(read_object(json.dumps(options).encode()), model=Model(id="m"), stream=True)
    assert prepared.include_usage is asked
    assert changes(options, stream=True).get("stream_options") == sent


def test_no_options_for_what_does_not_stream() -> None:
    """Without a stream its options are nobody's business."""
    assert changes({"stream_options": {"x": 1}}, stream=False) == {}


def test_stream_options_that_are_no_object() -> None:
    """The field at fault is named."""
    with pytest.raises(BadRequest) as caught:
        changes({"stream_options": "yes"}, stream=True)
    assert caught.value.param == "stream_options"


@pytest.mark.parametrize(
    ("n", "expected"), [(None, 1), (1, 1), (3, 3), (0, 1), (-1, 1), ("2", 1), (1.5, 1), (128, 128)]
)
def test_choices(n: object, expected: int) -> None:
    """How many answers the client asked for; nonsense is upstream's to refuse."""
    assert prepare(read_object(json.dumps({"n": n}).encode()), model=Model(id="m"), stream=False).choices == expected
    assert prepare({}, model=Model(id="m"), stream=False).choices == 1
