"""The list of models, policies and auto mode (checklist lines 15 to 20)."""

import pytest
from simulator_client import EDITOR, rules

from copilot_asgi.simulator import FAULTS, Plan
from copilot_asgi.simulator.catalog import Catalog, built_in_models

pytestmark = pytest.mark.anyio


async def listed(client, **headers):
    token = client.simulator.sign_in()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await client.get("/models", headers={**EDITOR, "authorization": f"Bearer {token}", **named})
    return answer.json["data"]


def by_id(entries):
    return {entry["id"]: entry for entry in entries}


async def test_15_the_list_has_every_oddity(client):
    """Types, duplicates, missing parts and unknown keys are all there."""
    entries = await listed(client)
    found = by_id(entries)
    types = {entry["capabilities"]["type"] for entry in entries}
    assert {"chat", "completion", "embeddings", "diagrams"} <= types
    assert [entry["id"] for entry in entries].count("gpt-4") == 2
    assert "supported_endpoints" not in found["gemini-3-flash-preview"]
    assert found["gemini-3-flash-preview"]["capabilities"]["family"] == "gemini-3-flash"
    assert "limits" not in found["text-embedding-3-small-inference"]["capabilities"]
    assert "policy" not in found["gpt-5.4-mini"]
    assert found["shapes-lab-1"]["holographic"] is True
    assert found["kimi-k3"]["capabilities"]["supports"]["streaming"] is False
    assert found["claude-opus-5"]["policy"]["state"] == "disabled"
    assert not any(key.startswith("_") for entry in entries for key in entry)


@pytest.mark.parametrize(
    ("model", "efforts"),
    [
        ("gpt-5.4", ("low", "medium", "high")),
        ("gpt-6-sol", ("low", "medium", "high", "xhigh")),
        ("mai-code-1.1-flash", ("low", "medium", "high")),
        ("claude-haiku-4.5", ()),
    ],
)
def test_15_efforts_come_in_three_shapes(model, efforts):
    """A list of words, a list of objects and an object with a list mean the same."""
    assert Catalog(built_in_models(), plan=Plan.INDIVIDUAL).known(model).efforts == efforts


@pytest.mark.parametrize(
    ("model", "generation"),
    [
        ("gpt-4o", (4, 0)),
        ("gpt-4.1", (4, 1)),
        ("gpt-3.5-turbo", (3, 5)),
        ("gpt-5-mini", (5, 0)),
        ("gpt-5.4", (5, 4)),
        ("gpt-6-sol", (6, 0)),
        ("gpt-41-copilot", (0, 0)),
        ("claude-opus-4.6", (0, 0)),
    ],
)
def test_generations_are_read_from_names(model, generation):
    """OpenAI's version numbers decide which parameters are refused."""
    assert Catalog(built_in_models(), plan=Plan.INDIVIDUAL).known(model).generation == generation


async def test_16_the_list_depends_on_integration(client):
    """Some models are only for some integrations, in the list and in calls."""
    assert "mai-code-1.1-flash" in by_id(await listed(client))
    assert "mai-code-1.1-flash" not in by_id(await listed(client, copilot_integration_id="octo"))
    answer = await client.call(
        "/responses", {"model": "mai-code-1.1-flash", "input": "x"}, copilot_integration_id="octo"
    )
    assert answer.code == "model_not_supported"


@pytest.mark.parametrize(
    ("plan", "present", "absent"),
    [
        (Plan.FREE, "gpt-5-mini", "claude-sonnet-4.6"),
        (Plan.INDIVIDUAL, "claude-sonnet-4.6", "nothing"),
        (Plan.BUSINESS, "claude-sonnet-4.6", "claude-opus-4.6-1m"),
        (Plan.ENTERPRISE, "claude-opus-4.6-1m", "nothing"),
    ],
)
async def test_16_the_list_depends_on_the_plan(make, plan, present, absent):
    """``restricted_to`` keeps models from plans."""
    found = by_id(await listed(make(plan=plan)))
    assert present in found
    assert absent not in found


async def test_17_a_policy_can_be_accepted(client):
    """Accepting the terms turns a model on, in the list and for calls."""
    assert (await client.messages(model="claude-opus-5")).code == "model_not_supported"
    answer = await client.call("/models/claude-opus-5/policy", {"state": "enabled"})
    assert answer.status == 200
    assert by_id(await listed(client))["claude-opus-5"]["policy"]["state"] == "enabled"
    assert (await client.messages(model="claude-opus-5")).status == 200
    assert (await client.call("/models/nothing/policy", {"state": "enabled"})).status == 404


@pytest.mark.parametrize("settings", [{"plan": Plan.BUSINESS}, {"policy_by_admin": True}])
async def test_17_admins_set_policies_of_organizations(make, settings):
    """There the call fails."""
    client = make(**settings)
    assert (await client.call("/models/claude-opus-5/policy", {"state": "enabled"})).status == 403


async def test_17_accepting_everything_at_once_is_throttled_on_demand(client):
    """429 in plain text."""
    client.simulator.fail("/models/gpt-5.4/policy", FAULTS["429_text"])
    answer = await client.call("/models/gpt-5.4/policy", {"state": "enabled"})
    assert (answer.status, answer.text) == (429, "too many requests\n")


@pytest.mark.parametrize("model", ["gpt-4-0613", "claude-opus-5", "claude-sonnet-4", "nothing", ""])
async def test_18_retired_disabled_and_unknown_models_are_not_supported(client, model):
    """All give the same 400."""
    answer = await client.chat(model=model)
    assert answer.status == 400
    assert answer.json["error"] == {
        "message": "The requested model is not supported.",
        "code": "model_not_supported",
        "param": "model",
        "type": "invalid_request_error",
    }
    assert rules(client.simulator) == ["model"]


async def test_18_not_supported_may_be_transient(client):
    """Ordered once, it is gone on retry."""
    client.simulator.enqueue(FAULTS["model_not_supported"])
    assert (await client.chat()).code == "model_not_supported"
    assert (await client.chat()).status == 200


@pytest.mark.parametrize(
    ("version", "prices"),
    [
        ("2025-05-01", None),
        ("2026-06-01", {"batch_size": 1_000_000, "input_price": 300_000_000_000, "output_price": 1_500_000_000_000}),
        ("2026-07-01", {"batch_size": 1_000_000, "default": {"input_price": 300, "output_price": 1500}}),
    ],
)
async def test_19_prices_come_with_newer_versions(client, version, prices):
    """None in old versions, flat in nano-AIU in between, nested in credits today."""
    billing = by_id(await listed(client, x_github_api_version=version))["claude-sonnet-4.6"]["billing"]
    found = billing.get("token_prices")
    if prices is None:
        assert found is None
    else:
        assert found.get("batch_size") == prices["batch_size"]
        expected = prices.get("default", prices)
        assert {key: found.get("default", found)[key] for key in expected} == expected


async def test_19_long_context_has_prices_of_its_own(client):
    """The model with a million tokens lists a second tier."""
    billing = by_id(await listed(client, x_github_api_version="2026-08-01"))["claude-opus-4.6-1m"]["billing"]
    assert billing["token_prices"]["long_context"]["input_price"] == 1000


async def test_20_auto_mode_gives_a_session_that_discounts(client, clock):
    """The session token makes later calls cheaper; the intent call picks by the prompt."""
    session = (await client.call("/models/session", {"auto_mode": {"model_hints": ["auto"]}})).json
    assert session["selected_model"] in session["available_models"]
    assert session["expires_at"] == int(clock.now) + 3600
    body = {"prompt": "why " * 40, "available_models": ["gpt-5.2", "gpt-4.1"]}
    token = session["session_token"]
    intent = (await client.call("/models/session/intent", body, copilot_session_token=token)).json
    assert (intent["predicted_label"], intent["chosen_model"]) == ("needs_reasoning", "gpt-5.2")
    message = {"model": "gpt-5.2", "messages": [{"role": "user", "content": "x"}]}
    assert (await client.call("/chat/completions", message, copilot_session_token=token)).status == 200
    assert client.simulator.ledger.premium_requests == 0.9
    assert session["discounted_costs"]["gpt-5.2"] == 0.1


async def test_20_short_prompts_need_no_reasoning_and_unknown_sessions_are_told(client):
    """An unknown session is refused by intent and noted on calls."""
    session = (await client.call("/models/session", {})).json["session_token"]
    short = (await client.call("/models/session/intent", {"prompt": "hi"}, copilot_session_token=session)).json
    assert short["predicted_label"] == "no_reasoning"
    assert "chosen_model" not in short
    assert (await client.call("/models/session/intent", {}, copilot_session_token="cst_x")).status == 401
    message = {"model": "gpt-5.2", "messages": [{"role": "user", "content": "x"}]}
    assert (await client.call("/chat/completions", message, copilot_session_token="cst_x")).status == 200
    assert rules(client.simulator) == ["session-token"]


async def test_a_catalog_of_ones_own(make):
    """Settings can replace the models."""
    entry = {"id": "octo-1", "vendor": "Octo", "capabilities": {"type": "chat", "supports": {"streaming": True}}}
    client = make(catalog=(entry,))
    assert [found["id"] for found in await listed(client)] == ["octo-1"]
    assert (await client.chat(model="octo-1")).json["object"] == "chat.completion"
