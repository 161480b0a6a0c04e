"""GitHub tokens and what they open: exchange, account, hosts, credentials (checklist lines 5 to 13, and 55)."""

import pytest
from simulator_client import CLIENT_ID, EDITOR, rules

from copilot_asgi.simulator import FAULTS, Billing, Credentials, DirectScheme, Endpoints, Fault, Plan, Quota

pytestmark = pytest.mark.anyio
GITHUB = "github.com"
API = "api.github.com"
OPENCODE = "Ov23li8tweQw6odWQebz"


@pytest.mark.parametrize("scheme", ["token", "Token", "Bearer"])
async def test_05_exchange_takes_each_scheme(client, scheme):
    """Three spellings of the scheme work, and a token comes with everything a client reads."""
    headers = {"authorization": f"{scheme} {client.simulator.sign_in()}"}
    answer = await client.get("/copilot_internal/v2/token", host=API, headers=headers)
    assert answer.status == 200
    assert answer.json["token"].startswith("tid=")
    assert answer.json["expires_at"] == 1_795_000_000 + 1800
    assert answer.json["refresh_in"] == 1500
    assert answer.json["endpoints"]["api"] == "https://api.individual.githubcopilot.com"
    assert client.simulator.exchanges == 1


@pytest.mark.parametrize("path", ["/copilot_internal/v2/token", "/copilot_internal/user", "/user"])
@pytest.mark.parametrize("authorization", ["token ghu_nobody", "Basic abc", ""])
async def test_05_bad_tokens_get_401_everywhere_at_github(client, path, authorization):
    """An unknown token, another scheme and no token are bad credentials."""
    answer = await client.get(path, host=API, headers={"authorization": authorization})
    assert (answer.status, answer.json["message"]) == (401, "Bad credentials")


@pytest.mark.parametrize(
    ("name", "status", "told"),
    [
        ("exchange_no_access", 403, "no_copilot_access"),
        ("exchange_not_signed_up", 403, "not_signed_up"),
        ("exchange_subscription_ended", 403, "subscription_ended"),
        ("exchange_rate_limit", 403, "API rate limit exceeded"),
        ("exchange_not_found", 404, "Not Found"),
        ("exchange_throttled", 429, "too many requests"),
        ("500", 500, "internal_error"),
    ],
)
async def test_05_exchange_fails_in_every_known_way(client, name, status, told):
    """Ordered faults answer the exchange once; then it works again."""
    client.simulator.fail("/copilot_internal/v2/token", FAULTS[name])
    headers = {"authorization": f"token {client.simulator.sign_in()}"}
    answer = await client.get("/copilot_internal/v2/token", host=API, headers=headers)
    assert answer.status == status
    assert told in answer.text
    assert (await client.get("/copilot_internal/v2/token", host=API, headers=headers)).status == 200
    assert client.simulator.exchanges == 1


async def test_05_a_direct_only_token_cannot_be_exchanged(client):
    """The token of an app without exchange gets 404 there, and works as it is."""
    token = client.simulator.sign_in(client_id=OPENCODE)
    assert token.startswith("gho_")
    headers = {"authorization": f"token {token}"}
    assert (await client.get("/copilot_internal/v2/token", host=API, headers=headers)).status == 404
    assert (await client.get("/models", headers={"authorization": f"Bearer {token}"})).status == 200


async def test_06_refresh_and_clock_are_settings(make):
    """A short ``refresh_in`` and a clock that is ahead show in the answer; the token ends by our clock."""
    client = make(refresh_in=3, token_lifetime=60, clock_skew=120)
    headers = {"authorization": f"token {client.simulator.sign_in()}"}
    answer = (await client.get("/copilot_internal/v2/token", host=API, headers=headers)).json
    assert (answer["refresh_in"], answer["expires_at"]) == (3, 1_795_000_000 + 180)
    assert ";exp=1795000180;" in answer["token"]


async def account(client):
    headers = {"authorization": f"token {client.simulator.sign_in()}"}
    return (await client.get("/copilot_internal/user", host=API, headers=headers)).json


async def test_07_a_paid_account_has_numbers(make):
    """Entitlement, what remains and percent agree."""
    premium = (await account(make(premium_used=126.6)))["quota_snapshots"]["premium_interactions"]
    assert (premium["entitlement"], premium["remaining"], premium["quota_remaining"]) == (300, 173, 173.4)
    assert premium["percent_remaining"] == 57.8
    assert premium["overage_permitted"] is True


async def test_07_a_free_account_has_strings(make):
    """The free plan's quotas arrive as strings, without snapshots."""
    told = await account(make(plan=Plan.FREE))
    assert told["limited_user_quotas"] == {"chat": "45", "completions": "1990"}
    assert "quota_snapshots" not in told


@pytest.mark.parametrize(
    ("settings", "name", "expected"),
    [
        ({"quota": Quota.EXHAUSTED}, "premium_interactions", {"quota_remaining": -1.0, "percent_remaining": -0.33}),
        ({"quota": Quota.EXHAUSTED}, "premium_interactions", {"remaining": -1, "overage_permitted": False}),
        ({"quota": Quota.UNLIMITED}, "premium_interactions", {"unlimited": True, "percent_remaining": 100.0}),
        ({"quota": Quota.UNLIMITED}, "chat", {"entitlement": 0, "remaining": 0}),
        ({"billing": Billing.TOKENS}, "premium_interactions", {"token_based_billing": True, "credits_used": 0.0}),
        ({"quota": Quota.NULLS}, "chat", None),
    ],
)
async def test_07_quota_snapshots_of_every_kind(make, settings, name, expected):
    """Exhausted is negative, unlimited is 0/0/100, token-billed has placeholders, and an entry may be null."""
    found = (await account(make(**settings)))["quota_snapshots"][name]
    if expected is None:
        assert found is None
    else:
        assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize("plan", [Plan.INDIVIDUAL, Plan.BUSINESS, Plan.ENTERPRISE])
async def test_08_endpoint_by_plan(make, plan):
    """Exchange and account name the plan's host."""
    client = make(plan=plan)
    token = await client.get(
        "/copilot_internal/v2/token", host=API, headers={"authorization": f"token {client.simulator.sign_in()}"}
    )
    assert token.json["endpoints"]["api"] == f"https://api.{plan.value}.githubcopilot.com"
    assert (await account(client))["endpoints"]["api"] == f"https://api.{plan.value}.githubcopilot.com"


@pytest.mark.parametrize(
    ("endpoints", "exchange", "user"),
    [
        (Endpoints.MISSING, None, "https://api.individual.githubcopilot.com"),
        (
            Endpoints.HOSTILE,
            "https://api.githubcopilot.com.attacker.example",
            "https://api.individual.githubcopilot.com",
        ),
        (Endpoints.DISAGREEING, "https://api.individual.githubcopilot.com", "https://api.enterprise.githubcopilot.com"),
    ],
)
async def test_08_endpoints_missing_hostile_and_disagreeing(make, endpoints, exchange, user):
    """The exchange may name no host, a foreign one, or another than the account does."""
    client = make(endpoints=endpoints)
    headers = {"authorization": f"token {client.simulator.sign_in()}"}
    answer = (await client.get("/copilot_internal/v2/token", host=API, headers=headers)).json
    assert answer.get("endpoints", {}).get("api") == exchange
    assert (await account(client))["endpoints"]["api"] == user


async def test_08_any_base_url_can_be_named(make):
    """For a simulator that really listens somewhere."""
    client = make(base_url="http://127.0.0.1:8123")
    assert (await account(client))["endpoints"]["api"] == "http://127.0.0.1:8123"


async def test_09_the_wrong_host_is_misdirected(make):
    """With ``api_hosts`` a model call to another host gets 421."""
    client = make(api_hosts=("api.business.githubcopilot.com",))
    token = await client.exchange()
    headers = {**EDITOR, "authorization": f"Bearer {token}"}
    wrong = await client.get("/models", headers=headers)
    assert (wrong.status, wrong.text) == (421, "Misdirected Request\n")
    right = await client.get("/models", headers=headers, host="api.business.githubcopilot.com:443")
    assert right.status == 200
    assert rules(client.simulator) == ["host"]


async def test_10_an_enterprise_tenant_has_three_hosts(make):
    """Login, REST and models each answer on their own host and nowhere else."""
    client = make(ghe_domain="octo.ghe.com")
    code = await client.post("/login/device/code", {"client_id": CLIENT_ID}, host="octo.ghe.com")
    assert code.json["verification_uri"] == "https://octo.ghe.com/login/device"
    assert (await client.post("/login/device/code", {"client_id": CLIENT_ID}, host=GITHUB)).status == 404
    headers = {"authorization": f"token {client.simulator.sign_in()}"}
    answer = await client.get("/copilot_internal/v2/token", host="api.octo.ghe.com", headers=headers)
    assert answer.json["endpoints"]["api"] == "https://copilot-api.octo.ghe.com"
    assert (await client.get("/copilot_internal/v2/token", host=API, headers=headers)).status == 404
    editor = {**EDITOR, "authorization": f"Bearer {answer.json['token']}"}
    assert (await client.get("/models", headers=editor, host="copilot-api.octo.ghe.com")).status == 200
    assert (await client.get("/models", headers=editor)).status == 421


async def test_11_editor_version_is_for_exchanged_tokens(client):
    """An exchanged token needs it, a GitHub token does not."""
    exchanged, direct = await client.exchange(), client.simulator.sign_in()
    missing = await client.call("/chat/completions", {}, token=exchanged, editor_version="")
    assert (missing.status, missing.text) == (400, "bad request: missing Editor-Version header for IDE auth\n")
    assert (await client.get("/models", headers={"authorization": f"Bearer {direct}"})).status == 200
    assert rules(client.simulator) == ["editor-version"]


async def test_12_expired_tokens_get_401(client, clock):
    """Time or a command ends a token."""
    token = await client.exchange()
    clock.now += 1800
    late = await client.call("/chat/completions", {}, token=token)
    assert (late.status, late.text) == (401, "IDE token expired: unauthorized: token expired\n")
    token = await client.exchange()
    client.simulator.expire_copilot_tokens()
    assert (await client.call("/chat/completions", {}, token=token)).status == 401


async def test_12_revoked_github_tokens_get_401(client):
    """Revoking ends direct use and exchange alike."""
    token = client.simulator.sign_in()
    client.simulator.revoke_github_tokens()
    assert (await client.get("/models", headers={"authorization": f"Bearer {token}"})).status == 401
    answer = await client.get("/copilot_internal/v2/token", host=API, headers={"authorization": f"token {token}"})
    assert answer.status == 401


async def test_12_an_opaque_403_can_be_ordered(client):
    """``Forbidden`` says nothing but its request id."""
    client.simulator.enqueue(FAULTS["forbidden"])
    answer = await client.chat()
    assert (answer.status, answer.text) == (403, "Forbidden\n")
    assert answer.headers["x-github-request-id"].startswith("0000:")
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize("authorization", ["token {}", "Basic {}", "{}", "Bearer", ""])
async def test_12_a_wrong_scheme_is_badly_formatted(client, authorization):
    """Exchanged tokens go by Bearer only."""
    given = authorization.format(await client.exchange())
    answer = await client.get("/models", headers={**EDITOR, "authorization": given})
    assert (answer.status, answer.text) == (400, "bad request: Authorization header is badly formatted\n")


@pytest.mark.parametrize(
    ("scheme", "sent", "status"),
    [
        (DirectScheme.ANY, "token", 200),
        (DirectScheme.ANY, "Bearer", 200),
        (DirectScheme.TOKEN, "Bearer", 400),
        (DirectScheme.TOKEN, "token", 200),
        (DirectScheme.BEARER, "token", 400),
    ],
)
async def test_12_the_scheme_of_direct_tokens_can_be_chosen(make, scheme, sent, status):
    """Sources disagree, so a test decides."""
    client = make(direct_scheme=scheme)
    headers = {"authorization": f"{sent} {client.simulator.sign_in()}"}
    assert (await client.get("/models", headers=headers)).status == status


async def test_13_classic_personal_tokens_are_refused(client):
    """A PAT is told that it is one."""
    answer = await client.get("/models", headers={"authorization": "Bearer ghp_0123456789"})
    expected = "bad request: Personal Access Tokens are not supported for this endpoint\n"
    assert (answer.status, answer.text) == (400, expected)


@pytest.mark.parametrize(
    ("credentials", "kind", "status", "rule"),
    [
        (Credentials.EXCHANGED, "direct", 401, "github-token-to-model-host"),
        (Credentials.EXCHANGED, "exchanged", 200, None),
        (Credentials.DIRECT, "exchanged", 401, "exchanged-token"),
        (Credentials.DIRECT, "direct", 200, None),
    ],
)
async def test_55_the_kind_of_token_can_be_chosen(make, credentials, kind, status, rule):
    """Direct and exchanged mode are told apart, and a token on the wrong side is a violation."""
    client = make(credentials=credentials)
    token = client.simulator.sign_in() if kind == "direct" else await client.exchange()
    answer = await client.call(
        "/chat/completions", {"model": "gpt-4.1", "messages": [{"role": "user", "content": "x"}]}, token=token
    )
    assert answer.status == status
    assert rules(client.simulator) == ([rule] if rule else [])


async def test_a_delayed_fault_on_an_auth_path_waits_and_then_answers(client, clock):
    """A fault without a status befalls the true answer."""
    client.simulator.fail("/user", Fault(delay=7))
    answer = await client.get("/user", host=API, headers={"authorization": f"token {client.simulator.sign_in()}"})
    assert (answer.status, clock.slept) == (200, [7])
