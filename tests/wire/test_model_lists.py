"""The catalog: read whatever it holds, told as OpenAI and as Anthropic tell it."""

import json

import pytest
from anthropic.types import ModelInfo
from openai.types import Model as OpenAIModel

from copilot_asgi.errors import BadRequest, MalformedResponse
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.models import (
    Model,
    anthropic_list,
    anthropic_model,
    openai_list,
    openai_model,
    parse_catalog,
)

Json = dict[str, object]

SONNET: Json = {
    "id": "claude-sonnet-4.6",
    "name": "Claude Sonnet 4.6",
    "object": "model",
    "vendor": "Anthropic",
    "version": "claude-sonnet-4.6",
    "preview": False,
    "model_picker_enabled": True,
    "policy": {"state": "enabled", "terms": "(text)"},
    "billing": {"is_premium": True, "multiplier": 1, "restricted_to": ["pro"]},
    "supported_endpoints": ["/chat/completions", "/v1/messages", "ws:/responses", "/new"],
    "capabilities": {
        "object": "model_capabilities",
        "type": "chat",
        "family": "claude-sonnet-4.6",
        "limits": {
            "max_context_window_tokens": 200000,
            "max_prompt_tokens": 168000,
            "max_output_tokens": 32000,
            "vision": {"max_prompt_images": 5},
        },
        "supports": {
            "streaming": True,
            "vision": True,
            "structured_outputs": True,
            "adaptive_thinking": True,
            "max_thinking_budget": 32000,
            "reasoning_effort": ["low", "medium", "high"],
        },
    },
    "something_new": [1, {"a": None}],
}
EMBEDDING: Json = {
    "id": "text-embedding-3-small",
    "capabilities": {"type": "embeddings", "limits": {"max_inputs": 512}},
}
BARE: Json = {"id": "gpt-4o-mini"}


def catalog(*entries: object) -> tuple[Model, ...]:
    return parse_catalog(json.dumps({"object": "list", "data": entries}).encode())


def test_an_entry_is_read_and_kept() -> None:
    """What routing needs is typed, and the entry stays as it was."""
    [model] = catalog(SONNET)
    assert (model.id, model.family, model.is_enabled) == ("claude-sonnet-4.6", "claude-sonnet-4.6", True)
    assert model.dialects == (Dialect.CHAT, Dialect.MESSAGES)
    assert (model.limits.max_prompt_tokens, model.supports.streaming) == (168000, True)
    assert model.supports.efforts == ("low", "medium", "high")
    assert model.billing
    assert model.billing.multiplier == 1
    assert json.loads(bytes(model.raw)) == SONNET


@pytest.mark.parametrize(
    ("entry", "dialects"),
    [
        (BARE, (Dialect.CHAT,)),
        (BARE | {"supported_endpoints": []}, (Dialect.CHAT,)),
        (BARE | {"supported_endpoints": ["/responses", "ws:/responses"]}, (Dialect.RESPONSES,)),
        (EMBEDDING, (Dialect.EMBEDDINGS,)),
    ],
)
def test_dialects(entry: Json, dialects: tuple[Dialect, ...]) -> None:
    """Without a list of endpoints the type decides, and chat is the rule."""
    assert catalog(entry)[0].dialects == dialects


@pytest.mark.parametrize(
    ("policy", "enabled"),
    [(None, True), ({}, True), ({"state": "enabled"}, True), ({"state": "disabled"}, False), ({"state": "x"}, False)],
)
def test_is_enabled(policy: object, enabled: bool) -> None:
    """A model whose terms were not accepted cannot be used."""
    assert catalog(BARE | {"policy": policy})[0].is_enabled is enabled


@pytest.mark.parametrize(
    "listed", [["low", "high"], [{"value": "low"}, {"value": "high"}], {"values": ["low", {"value": "high"}]}]
)
def test_efforts_in_each_form(listed: object) -> None:
    """The three ways in which the catalog writes efforts mean the same."""
    [model] = catalog(BARE | {"capabilities": {"supports": {"reasoning_effort": listed}}})
    assert model.supports.efforts == ("low", "high")


def test_of_two_entries_the_first_counts() -> None:
    """The catalog repeats some ids."""
    models = catalog(BARE | {"name": "first"}, SONNET, BARE | {"name": "second"})
    assert [(model.id, model.name) for model in models] == [("gpt-4o-mini", "first"), (SONNET["id"], SONNET["name"])]


@pytest.mark.parametrize(
    "bad",
    [None, 5, "x", [], {}, {"id": ""}, {"id": 5}, {"id": "x", "capabilities": {"limits": {"max_inputs": "many"}}}],
)
def test_a_bad_entry_hides_no_other(bad: object) -> None:
    """What cannot be read is passed over."""
    assert [model.id for model in catalog(bad, BARE, bad)] == ["gpt-4o-mini"]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"{}", b'{"data":{}}', b'{"data":' + b"[" * 100_000])
def test_no_list_at_all(body: bytes) -> None:
    """An answer without a list is no catalog."""
    with pytest.raises(MalformedResponse):
        parse_catalog(body)


def test_nulls_count_as_absent() -> None:
    """Every field but the id may be null."""
    names = ("name", "vendor", "version", "policy", "billing", "supported_endpoints", "capabilities", "request_headers")
    [model] = catalog(BARE | dict.fromkeys(names))
    assert (model.family, model.limits.max_inputs, model.supports.efforts) == ("", None, ())


def test_openai() -> None:
    """The library's strict model takes each entry; the catalog's own is beside it."""
    models = catalog(SONNET, BARE)
    found = json.loads(openai_list(models))
    assert found["object"] == "list"
    parsed = [OpenAIModel.model_validate(entry, strict=True) for entry in found["data"]]
    assert [(model.id, model.owned_by) for model in parsed] == [
        ("claude-sonnet-4.6", "Anthropic"),
        ("gpt-4o-mini", "GitHub Copilot"),
    ]
    assert found["data"][0]["copilot"] == SONNET
    assert json.loads(openai_model(models[1])) == found["data"][1]


def test_anthropic() -> None:
    """The library's strict model takes each entry, with its limits and abilities."""
    models = catalog(SONNET, BARE)
    found = json.loads(anthropic_list(models, limit=20, after_id=None, before_id=None))
    sonnet, bare = (ModelInfo.model_validate_json(json.dumps(entry), strict=True) for entry in found["data"])
    assert (sonnet.display_name, sonnet.max_input_tokens, sonnet.max_tokens) == ("Claude Sonnet 4.6", 168000, 32000)
    assert (bare.display_name, bare.max_input_tokens, bare.lifecycle) == ("gpt-4o-mini", None, "active")
    assert sonnet.capabilities
    assert bare.capabilities
    assert (sonnet.capabilities.image_input.supported, bare.capabilities.image_input.supported) == (True, False)
    assert (sonnet.capabilities.effort.high.supported, sonnet.capabilities.effort.max.supported) == (True, False)
    assert sonnet.capabilities.thinking.types.adaptive.supported
    assert not bare.capabilities.thinking.supported
    assert json.loads(anthropic_model(models[0])) == found["data"][0]


@pytest.mark.parametrize(
    ("limit", "after_id", "before_id", "ids", "has_more"),
    [
        (20, None, None, "abcde", False),
        (5, None, None, "abcde", False),
        (2, None, None, "ab", True),
        (2, "b", None, "cd", True),
        (2, "c", None, "de", False),
        (2, "e", None, "", False),
        (2, None, "d", "bc", True),
        (3, None, "d", "abc", False),
        (2, None, "a", "", False),
        (1, "a", "d", "b", True),
    ],
)
def test_pages(limit: int, after_id: str | None, before_id: str | None, ids: str, has_more: bool) -> None:
    """A page lies behind or just before its cursor, and says whether there is more in that direction."""
    models = tuple(Model(id=name) for name in "abcde")
    page = json.loads(anthropic_list(models, limit=limit, after_id=after_id, before_id=before_id))
    assert "".join(entry["id"] for entry in page["data"]) == ids
    assert page["has_more"] is has_more
    assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))


@pytest.mark.parametrize(
    ("limit", "after_id", "before_id", "param"),
    [(0, None, None, "limit"), (1001, None, None, "limit"), (1, "x", None, "after_id"), (1, None, "x", "before_id")],
)
def test_pages_that_do_not_exist(limit: int, after_id: str | None, before_id: str | None, param: str) -> None:
    """The parameter at fault is named."""
    with pytest.raises(BadRequest) as caught:
        anthropic_list((Model(id="a"),), limit=limit, after_id=after_id, before_id=before_id)
    assert caught.value.param == param
