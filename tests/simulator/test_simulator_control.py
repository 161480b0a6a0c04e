"""The control routes: what a test in another process can see and do."""

import pytest
from simulator_client import CLIENT_ID, GRANT

from copilot_asgi.simulator import FAULTS

pytestmark = pytest.mark.anyio


async def test_requests_violations_and_ledger_can_be_read(client):
    """In JSON, and asking leaves no trace."""
    await client.chat("hello", model="gpt-5.2", max_tokens=5)
    await client.chat("hello", model="gpt-5.2")
    requests = (await client.get("/_simulator/requests")).json
    assert [request["path"] for request in requests if request["method"] == "POST"] == ["/chat/completions"] * 2
    assert '"hello"' in requests[1]["body"]
    violations = (await client.get("/_simulator/violations")).json
    assert [violation["rule"] for violation in violations] == ["max-tokens-gpt5"]
    ledger = (await client.get("/_simulator/ledger")).json
    assert (ledger["premium_requests"], ledger["exchanges"], len(ledger["charges"])) == (1.0, 2, 1)
    assert len((await client.get("/_simulator/requests")).json) == len(requests)


@pytest.mark.parametrize(("route", "expected"), [("approve", "access_token"), ("deny", "error")])
@pytest.mark.parametrize("named", [True, False])
async def test_logins_can_be_decided(client, route, expected, named):
    """All pending ones, or the one with that code."""
    code = (await client.post("/login/device/code", {"client_id": CLIENT_ID})).json
    body = {"user_code": code["user_code"]} if named else {}
    assert (await client.post(f"/_simulator/{route}", body)).json == {"decided": True}
    assert (await client.post(f"/_simulator/{route}", {"user_code": "NONE-SUCH"})).json == {"decided": False}
    poll = {"client_id": CLIENT_ID, "device_code": code["device_code"], "grant_type": GRANT}
    assert expected in (await client.post("/login/oauth/access_token", poll)).json


async def test_scripts_can_be_sent(client):
    """Replies, faults by fields or by name, and faults for a path."""
    lines = [
        {"reply": {"text": "scripted", "quirks": ["crlf"], "tool_calls": [["a", {"b": 1}]]}},
        {"fault": {"status": 500, "body": "x"}},
        {"fault": "rate_limited"},
        {"reply": {"text": "cut"}, "fault": {"cut_after": 2}},
        {"path": "/models", "fault": "502_html"},
    ]
    assert (await client.post("/_simulator/script", lines)).json == {"lines": 5}
    assert "scripted" in (await client.chat()).text
    assert (await client.chat()).status == 500
    assert (await client.chat()).code == "rate_limited"
    assert len((await client.chat(stream=True)).events) == 2
    assert (await client.get("/models")).status == 502


@pytest.mark.parametrize("body", [b"{", b'[{"nope":1}]', b'[{"fault":"nope"}]', b'[{"fault":{"nope":1}}]', b"[{}]"])
async def test_bad_scripts_are_told(client, body):
    """400 and the reason."""
    answer = await client.post("/_simulator/script", content=body)
    assert (answer.status, bool(answer.json["error"])) == (400, True)


async def test_tokens_can_be_made_and_ended(client):
    """Sign in, expire, revoke, reset."""
    token = (await client.post("/_simulator/sign_in", {"login": "hubot"})).json["token"]
    copilot = await client.exchange(token)
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "x"}]}
    assert (await client.call("/chat/completions", body, token=copilot)).status == 200
    await client.post("/_simulator/expire_copilot_tokens")
    assert (await client.call("/chat/completions", body, token=copilot)).status == 401
    await client.post("/_simulator/revoke_github_tokens")
    assert (await client.call("/chat/completions", body, token=token)).status == 401
    assert (await client.post("/_simulator/reset")).status == 200
    assert (await client.get("/_simulator/requests")).json == []


async def test_unknown_routes_are_told_apart(client):
    """404 for control routes and for everything else."""
    assert "no control route" in (await client.get("/_simulator/nothing")).json["error"]
    assert (await client.get("/nothing")).code == "not_found"


def test_named_faults_are_what_they_say():
    """A name that begins with a status has that status."""
    numbered = {name: fault for name, fault in FAULTS.items() if name[:3].isdigit()}
    assert {name for name, fault in numbered.items() if not name.startswith(str(fault.status))} == set()
