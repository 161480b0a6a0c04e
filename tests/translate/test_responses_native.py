"""A Responses request for an upstream that speaks Responses."""

import json

import msgspec
import pytest

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.conversation import Seal, SealOrigin
from copilot_asgi.translate.responses_native import prepare_native
from copilot_asgi.translate.seals import wrap
from copilot_asgi.wire.models import Model
from copilot_asgi.wire.shallow import read_object

MODEL = msgspec.convert({"id": "gpt-5.4"}, Model)
SEALED = "a+/B" * 102
FUNCTION = {"type": "function", "name": "f"}
IMAGES = {"type": "image_generation"}
TEXT = {"role": "user", "content": "hi"}


def changes(**fields: object) -> dict[str, object]:
    body = json.dumps({"store": False} | fields).encode()
    found = prepare_native(read_object(body), MODEL)
    return {name: None if text is None else json.loads(text) for name, text in found.items()}


@pytest.mark.parametrize(
    "fields",
    [
        {"input": "hi"},
        {"input": [TEXT], "brand_new": [1], "tools": [FUNCTION, {"type": "web_search"}], "tool_choice": "auto"},
        {
            "input": [
                {"type": "message", "id": "msg_1", **TEXT},
                {"type": "reasoning", "id": "rs_1", "encrypted_content": "g"},
            ]
        },
        {"input": None, "tools": None, "tool_choice": {"type": "function", "name": "f"}},
        {"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "f"}},
    ],
)
def test_a_request_that_needs_nothing_is_left_alone(fields: dict[str, object]) -> None:
    """Also where nobody knows what a field means."""
    assert changes(**fields) == {}


@pytest.mark.parametrize("store", [True, None])
def test_nothing_is_stored(store: object) -> None:
    """Copilot refuses to; left out, it would be asked to."""
    assert changes(store=store) == {"store": False}
    assert prepare_native({}, MODEL) == {"store": b"false"}


def test_the_service_tier_is_refused() -> None:
    """Copilot takes none."""
    assert changes(service_tier="auto") == {"service_tier": None}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tools": [FUNCTION, IMAGES]}, {"tools": [FUNCTION]}),
        ({"tools": [FUNCTION, IMAGES], "tool_choice": IMAGES}, {"tools": [FUNCTION], "tool_choice": None}),
        ({"tools": [IMAGES], "tool_choice": IMAGES}, {"tools": None, "tool_choice": None}),
        ({"tools": [], "parallel_tool_calls": True}, {"tools": None, "parallel_tool_calls": None}),
    ],
)
def test_images_are_not_made(fields: dict[str, object], expected: dict[str, object]) -> None:
    """The tool goes, and the choice of it; without any tool there is nothing to choose."""
    assert changes(**fields) == expected


@pytest.mark.parametrize("origin", [origin for origin in SealOrigin if origin is not SealOrigin.RESPONSES])
def test_reasoning_that_another_provider_sealed_stays_here(origin: SealOrigin) -> None:
    """Copilot could not read it."""
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": wrap(Seal(origin, "x"), text="t")}
    assert changes(input=[item, TEXT]) == {"input": [TEXT]}


@pytest.mark.parametrize(("id", "expected"), [("rs_own", {"id": "rs_own"}), ("", {})])
def test_reasoning_that_responses_sealed_goes_back_as_it_was(id: str, expected: dict[str, str]) -> None:
    """With the id it was sealed under."""
    sealed = wrap(Seal(SealOrigin.RESPONSES, "gA", id=id))
    item = {"type": "reasoning", "id": "rs_new", "summary": [], "encrypted_content": sealed}
    own = {"type": "reasoning", "summary": [], "encrypted_content": "gA", **expected}
    assert changes(input=[item]) == {"input": [own]}


def test_a_damaged_envelope_is_refused() -> None:
    """It cannot be sent anywhere."""
    with pytest.raises(BadRequest):
        changes(input=[{"type": "reasoning", "encrypted_content": wrap(Seal(SealOrigin.CHAT, "x"))[:-3] + "!"}])


@pytest.mark.parametrize(
    ("kind", "prefix"),
    [
        ("message", "msg_"),
        (None, "msg_"),
        ("function_call", "fc_"),
        ("custom_tool_call", "ctc_"),
        ("function_call_output", "fco_"),
        ("custom_tool_call_output", "ctco_"),
    ],
)
def test_a_sealed_id_is_replaced(kind: str | None, prefix: str) -> None:
    """By one that is the same each time, and another for another item."""
    named = {} if kind is None else {"type": kind}
    sent = [{**named, "id": SEALED, "x": 1}, {**named, "id": SEALED + "b"}, {**named, "id": prefix + "1"}]
    found = changes(input=sent)["input"]
    assert changes(input=sent)["input"] == found
    assert isinstance(found, list)
    ids = [item["id"] for item in found]
    assert ids[2] == prefix + "1"
    assert len(set(ids)) == 3
    assert all(id.startswith(prefix) and len(id) <= 64 for id in ids)
    assert found[0] == {**named, "id": ids[0], "x": 1}


@pytest.mark.parametrize("kind", ["reasoning", "web_search_call"])
def test_a_sealed_id_that_is_not_needed_is_left_out(kind: str) -> None:
    """Reasoning is taken back without an id; with that of another event it is refused."""
    found = changes(input=[{"type": kind, "id": SEALED, "encrypted_content": "gA"}])
    assert found == {"input": [{"type": kind, "encrypted_content": "gA"}]}


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"tools": 5}, "tools"), ({"tools": [5]}, "tools"), ({"input": [{"type": "reasoning", "id": 5}]}, "input")],
)
def test_what_cannot_be_read(fields: dict[str, object], param: str) -> None:
    """It is the client's error."""
    with pytest.raises(BadRequest) as caught:
        changes(**fields)
    assert caught.value.param == param
