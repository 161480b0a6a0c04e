"""Hyper, the second service (checklist line 14)."""

import pytest

from copilot_asgi.simulator import FAULTS

pytestmark = pytest.mark.anyio


async def begin(client):
    return (await client.post("/device/auth", {"device_name": "octo"})).json


async def refresh_token(client):
    started = await begin(client)
    client.simulator.approve(started["user_code"])
    return (await client.get(f"/device/auth/{started['device_code']}")).json["refresh_token"]


async def test_14_device_login_is_pending_then_done_once(client):
    """``verification_url`` and no interval; a finished code is gone."""
    started = await begin(client)
    assert started.keys() == {"device_code", "user_code", "verification_url", "expires_in"}
    path = f"/device/auth/{started['device_code']}"
    assert (await client.get(path)).json["error"] == "authorization_pending"
    assert client.simulator.approve(started["user_code"])
    assert (await client.get(path)).json.keys() == {"refresh_token", "user_id", "organization_id"}
    assert (await client.get(path)).status == 404


async def test_14_device_login_denied_expired_and_automatic(client, make, clock):
    """Each has its own answer."""
    started = await begin(client)
    client.simulator.deny(started["user_code"])
    assert (await client.get(f"/device/auth/{started['device_code']}")).json["error"] == "access_denied"
    late = await begin(client)
    clock.now += 600
    assert (await client.get(f"/device/auth/{late['device_code']}")).json["error"] == "expired_token"
    demo = make(auto_approve=True)
    started = await begin(demo)
    assert "refresh_token" in (await demo.get(f"/device/auth/{started['device_code']}")).json


async def test_14_refresh_tokens_rotate_and_reuse_revokes_the_family(client, clock):
    """The second use of one ends all that came from it."""
    first = await refresh_token(client)
    pair = (await client.post("/token/exchange", {"refresh_token": first})).json
    assert pair["expires_at"] == int(clock.now) + pair["expires_in"]
    active = (await client.post("/token/introspect", {"token": pair["access_token"]})).json
    assert active["active"] is True
    reused = await client.post("/token/exchange", {"refresh_token": first})
    assert (reused.status, "revoked" in reused.text) == (400, True)
    assert (await client.post("/token/introspect", {"token": pair["access_token"]})).json == {"active": False}
    assert (await client.post("/token/exchange", {"refresh_token": pair["refresh_token"]})).status == 400
    assert (await client.post("/token/exchange", {"refresh_token": "hrt_x"})).json["error"] == "invalid_grant"


async def access(client):
    return (await client.post("/token/exchange", {"refresh_token": await refresh_token(client)})).json["access_token"]


@pytest.mark.parametrize(("hidden", "expected"), [(False, {"balance": 5000}), (True, {"balance_usd": 50.0})])
async def test_14_credits_are_shown_or_hidden(make, clock, hidden, expected):
    """Hidden credits come in dollars; an expired token is unauthorized."""
    client = make(hyper_balance_hidden=hidden)
    headers = {"authorization": f"Bearer {await access(client)}"}
    assert (await client.get("/v1/credits", headers=headers)).json == expected
    clock.now += 3600
    assert (await client.get("/v1/credits", headers=headers)).status == 401


async def test_14_the_catalog_has_an_entity_tag(client):
    """304 when unchanged."""
    full = await client.get("/api/v1/provider")
    assert full.json["default_large_model_id"] in {model["id"] for model in full.json["models"]}
    again = await client.get("/api/v1/provider", headers={"if-none-match": full.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


async def test_14_inference_is_plain_openai_with_credits(client):
    """Chat under ``/v1``; usage tells the balance; wrong tokens and models are told."""
    headers = {"authorization": f"Bearer {await access(client)}"}
    body = {"model": "kimi-k3", "messages": [{"role": "user", "content": "hi"}]}
    whole = (await client.post("/v1/chat/completions", body, headers=headers)).json
    assert (whole["object"], whole["usage"]["remaining"]["hypercredits"]) == ("chat.completion", 4999.5)
    streamed = await client.post("/v1/chat/completions", body | {"stream": True}, headers=headers)
    assert streamed.events[-2]["usage"]["remaining"]["hypercredits"] == 4999.5
    client.simulator.fail("/v1/chat/completions", FAULTS["500"])
    assert (await client.post("/v1/chat/completions", body, headers=headers)).status == 500
    assert (await client.post("/v1/chat/completions", body | {"model": "x"}, headers=headers)).status == 404
    assert (await client.post("/v1/chat/completions", body)).status == 401
