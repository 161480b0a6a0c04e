"""Limits, headers, billing and records (checklist lines 50 to 56)."""

from urllib.parse import parse_qs

import msgspec
import pytest
from simulator_client import EDITOR, rules

from copilot_asgi.simulator import FAULTS, Billing, Credentials, Fault, Plan, Quota, Reply, Usage

pytestmark = pytest.mark.anyio


async def test_50_headers_of_a_success(client):
    """Three ids, and a quota snapshot an id; the request id is ours when we gave one."""
    answer = await client.call(
        "/chat/completions", {"model": "gpt-4.1", "messages": [{"role": "user", "content": "x"}]}, x_request_id="rid"
    )
    assert answer.headers["x-request-id"] == "rid"
    assert {"x-github-request-id", "x-copilot-service-request-id"} <= answer.headers.keys()
    premium = parse_qs(answer.headers["x-quota-snapshot-premium_interactions"])
    assert premium["ent"] == ["300"]
    assert premium["rem"] == ["100.0"]
    assert parse_qs(answer.headers["x-quota-snapshot-chat"])["ent"] == ["-1"]
    streamed = await client.chat(stream=True)
    assert "x-quota-snapshot-premium_interactions" in streamed.headers


async def test_50_errors_and_the_list_have_no_quota_headers(client):
    """Only successful calls of models tell the quota."""
    refused = await client.chat(model="nothing")
    listed = await client.get("/models", headers={**EDITOR, "authorization": f"Bearer {client.simulator.sign_in()}"})
    for answer in (refused, listed):
        assert not any(name.startswith("x-quota") for name in answer.headers)
        assert "x-request-id" in answer.headers


async def test_50_unlimited_accounts(make):
    """Entitlement -1 and nothing used."""
    client = make(quota=Quota.UNLIMITED, overage_permitted=False)
    answer = await client.messages()
    assert parse_qs(answer.headers["x-quota-snapshot-premium_interactions"])["ent"] == ["-1"]


FAULT_TABLE = [
    ("quota_exceeded", 402, {"retry-after": "3600"}, "quota_exceeded"),
    ("quota_date", 402, {"retry-after": "Tue, 01 Dec 2026 00:00:00 GMT"}, "quota_exceeded"),
    ("free_quota_exceeded", 402, {}, "free_quota_exceeded"),
    ("overage_limit_reached", 402, {}, "overage_limit_reached"),
    ("billing_not_configured", 402, {}, "billing_not_configured"),
    ("rate_limited", 429, {"retry-after": "20", "x-ratelimit-exceeded": "rate_limited"}, "rate_limited"),
    ("user_model_rate_limited", 429, {}, "user_model_rate_limited"),
    ("user_global_rate_limited:pro", 429, {}, "user_global_rate_limited:pro"),
    ("integration_rate_limited", 429, {}, "integration_rate_limited"),
    ("model_overloaded", 429, {}, "model_overloaded"),
    ("agent_mode_limit_exceeded", 429, {}, "agent_mode_limit_exceeded"),
    ("weekly_long", 429, {"retry-after": "183600"}, "user_weekly_rate_limited"),
    ("429_text", 429, {"content-type": "text/plain; charset=utf-8"}, "too many requests\n"),
    ("429_quota_text", 429, {"retry-after": "1209600"}, "quota exceeded\n"),
    ("429_extension", 429, {}, "rate_limit_error"),
    ("429_body_retry", 429, {}, "retry_after"),
    ("429_provider", 429, {}, '"code":429'),
    ("400_rate_limited", 400, {}, "rate_limited"),
    ("400_bodyless", 400, {"content-length": "0"}, ""),
    ("400_text", 400, {}, "Bad Request\n"),
    ("400_cyber_policy", 400, {}, "cyber_policy"),
    ("policy_403", 403, {}, "organization policy"),
    ("model_not_allowed", 403, {}, "model_not_allowed"),
    ("403_expired_token", 403, {}, "expired_token"),
    ("token_expired", 401, {}, "unauthorized: token expired\n"),
    ("foreign_item", 401, {}, "does not belong"),
    ("authorize_url", 401, {}, "authorize_url"),
    ("404_item", 404, {}, "not_found"),
    ("413_text", 413, {}, "Request Entity Too Large\n"),
    ("413_json", 413, {}, "statusCode"),
    ("421", 421, {}, "Misdirected Request"),
    ("422", 422, {}, "filtered"),
    ("424", 424, {}, "dependency"),
    ("466", 466, {}, "version"),
    ("499", 499, {}, ""),
    ("500", 500, {}, "internal_error"),
    ("502_html", 502, {"content-type": "text/html; charset=utf-8"}, "Unicorn"),
    ("503_provider", 503, {}, "upstream_provider_rate_limit"),
    ("504_text", 504, {}, "timeout"),
    ("529", 529, {}, "overloaded_error"),
    ("json_as_text", 429, {"content-type": "text/plain; charset=utf-8"}, '{"error"'),
    ("bare_message", 400, {}, '{"message"'),
]


@pytest.mark.parametrize(("name", "status", "headers", "told"), FAULT_TABLE)
async def test_51_to_53_every_known_failure(client, name, status, headers, told):
    """402, 429 in all forms, odd statuses, HTML, empty bodies, lying content types, stringified provider errors."""
    client.simulator.enqueue(FAULTS[name])
    answer = await client.chat(stream=True)
    assert answer.status == status
    assert {key: answer.headers[key] for key in headers} == headers
    assert told in answer.text
    assert client.simulator.ledger.charges == []
    assert "x-request-id" in answer.headers


async def test_51_provider_errors_are_json_inside_json(client):
    """``message`` holds another document, ``code`` is a number."""
    client.simulator.enqueue(FAULTS["429_provider"])
    error = (await client.chat()).json["error"]
    assert (error["code"], msgspec.json.decode(error["message"])["error"]["code"]) == (429, 429)


@pytest.mark.parametrize(
    ("settings", "model", "status"),
    [
        ({"premium_used": 300, "overage_permitted": False}, "gpt-5.2", 402),
        ({"premium_used": 300, "overage_permitted": True}, "gpt-5.2", 200),
        ({"premium_used": 300, "overage_permitted": False}, "gpt-4.1", 200),
        ({"premium_used": 300, "overage_permitted": False, "billing": Billing.TOKENS}, "gpt-5.2", 200),
        ({"quota": Quota.EXHAUSTED}, "gpt-4.1", 402),
        ({"quota": Quota.UNLIMITED, "overage_permitted": False, "premium_used": 900}, "gpt-5.2", 200),
    ],
)
async def test_51_quota_runs_out(make, settings, model, status):
    """Nothing left and no overage is 402 with ``retry-after``; free models go on."""
    client = make(**settings)
    answer = await client.chat(model=model)
    assert answer.status == status
    if status == 402:
        assert (answer.code, answer.headers["retry-after"]) == ("quota_exceeded", "3600")


@pytest.mark.parametrize(
    ("initiator", "premium", "broken"),
    [("user", 3.0, []), ("agent", 0.0, []), ("vscode", 3.0, ["initiator-value"]), ("", 3.0, ["initiator-value"])],
)
async def test_54_premium_requests_by_initiator(client, initiator, premium, broken):
    """``user`` costs the multiplier, ``agent`` nothing; anything else is billed and noted."""
    body = {"model": "claude-opus-4.6", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    assert (await client.call("/v1/messages", body, x_initiator=initiator, x_interaction_id="i1")).status == 200
    ledger = client.simulator.ledger
    assert ledger.premium_requests == premium
    assert rules(client.simulator) == broken
    (charge,) = ledger.charges
    assert (charge.login, charge.path, charge.model, charge.interaction) == (
        "octocat",
        "/v1/messages",
        "claude-opus-4.6",
        "i1",
    )
    assert len(ledger.turns) == (0 if initiator == "agent" else 1)


async def test_54_only_a_person_begins_a_turn(client):
    """``user`` on a request whose last word is a tool's is noted as overbilling."""
    call = {"id": "c1", "type": "function", "function": {"name": "a", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "data"},
    ]
    assert (await client.chat(messages=messages)).status == 200
    assert rules(client.simulator) == ["initiator-overbills"]


async def test_54_the_ledger_moves_the_quota(make):
    """What was charged is missing from headers and account; accounts are apart."""
    client = make(premium_entitlement=100)
    headers = {"authorization": f"token {client.simulator.sign_in()}"}
    await client.messages(model="claude-opus-4.6")
    answer = await client.messages(model="claude-opus-4.6")
    assert parse_qs(answer.headers["x-quota-snapshot-premium_interactions"])["rem"] == ["94.0"]
    user = (await client.get("/copilot_internal/user", headers=headers)).json
    assert user["quota_snapshots"]["premium_interactions"]["remaining"] == 94
    other = {"authorization": f"token {client.simulator.sign_in('hubot')}"}
    user = (await client.get("/copilot_internal/user", headers=other)).json
    assert user["quota_snapshots"]["premium_interactions"]["remaining"] == 100


async def test_54_credits_add_up(make):
    """Token-based accounts pay by ``copilot_usage``."""
    client = make(billing=Billing.TOKENS)
    client.simulator.enqueue(Reply(text="x", usage=Usage(fresh=1_000_000, output=1_000_000)))
    await client.messages()
    assert client.simulator.ledger.nano_aiu == 1800 * 10**9
    headers = {"authorization": f"token {client.simulator.sign_in()}"}
    user = (await client.get("/copilot_internal/user", headers=headers)).json
    assert user["quota_snapshots"]["premium_interactions"]["credits_used"] == 1800.0


@pytest.mark.parametrize(
    ("header", "value", "rule"),
    [
        ("cookie", "a=b", "cookie"),
        ("x-stainless-lang", "python", "sdk-fingerprint"),
        ("x-api-key", "k", "client-header"),
        ("anthropic-dangerous-direct-browser-access", "true", "client-header"),
        ("x-codex-turn-metadata", "{}", "client-header"),
        ("x-claude-code-session-id", "s", "client-header"),
        ("x-forwarded-for", "192.0.2.1", "client-header"),
        ("openai-organization", "o", "client-header"),
        ("user-agent", "OpenAI/Python 3.52.0", "user-agent"),
        ("user-agent", "python-httpx/0.28.1", "user-agent"),
        ("user-agent", "", "user-agent"),
        ("content-type", "text/plain", "content-type"),
    ],
)
async def test_54_manners_are_noted_not_refused(client, header, value, rule):
    """Cookies, fingerprints, other programs' headers and names."""
    headers = {**EDITOR, "authorization": f"Bearer {await client.exchange()}", header: value}
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "x"}]}
    answer = await client.post("/chat/completions", body, headers=headers)
    assert answer.status == 200
    assert rules(client.simulator) == [rule]


async def test_54_tokens_on_the_wrong_side_are_noted(client):
    """A Copilot token at GitHub, a token in a query."""
    token = await client.exchange()
    await client.get("/copilot_internal/user", headers={"authorization": f"token {token}"})
    await client.get("/user?access_token=ghu_x")
    assert rules(client.simulator) == ["copilot-token-to-github", "secret-in-query"]


async def test_55_both_modes_work_by_default(make):
    """Unless settings say which."""
    client = make(credentials=Credentials.EITHER, plan=Plan.BUSINESS)
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "x"}]}
    for token in (client.simulator.sign_in(), await client.exchange()):
        assert (await client.call("/chat/completions", body, token=token)).status == 200
    kinds = [request.credential for request in client.simulator.requests if request.path == "/chat/completions"]
    assert kinds == ["github", "copilot"]


async def test_56_every_request_is_recorded_without_its_secrets(client, clock):
    """Method, host, path, query, headers and body; credentials are masked."""
    await client.chat("hello")
    exchange, call = client.simulator.requests
    assert (exchange.method, exchange.host, exchange.headers["authorization"]) == ("GET", "api.github.com", "token ***")
    assert (call.path, call.headers["authorization"], call.received_at) == (
        "/chat/completions",
        "Bearer ***",
        clock.now,
    )
    assert msgspec.json.decode(call.body)["messages"][0]["content"] == "hello"
    assert "tid=" not in repr(client.simulator.requests)


async def test_56_repeated_headers_are_joined(client):
    """And HEAD gets the head only."""
    answer = await client.request("HEAD", "/user", headers={"authorization": f"token {client.simulator.sign_in()}"})
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 0


async def test_reset_forgets_all_but_tokens(client):
    """Records, charges, scripts, faults and policies are gone; the token still works."""
    token = await client.exchange()
    simulator = client.simulator
    simulator.enqueue(Reply(text="scripted"))
    simulator.fail("/models", Fault(status=500))
    await client.call("/chat/completions", {"model": "nothing"}, token=token)
    await client.call("/models/claude-opus-5/policy", {"state": "enabled"}, token=token)
    simulator.reset()
    assert (simulator.requests, simulator.violations, simulator.exchanges) == ([], [], 0)
    assert (simulator.ledger.premium_requests, simulator.disconnects) == (0, [])
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "x"}]}
    answer = await client.call("/chat/completions", body, token=token)
    assert "You said: x" in answer.text
    assert (await client.call("/models", None, token=token)).status == 404
    assert (await client.messages(model="claude-opus-5")).code == "model_not_supported"
