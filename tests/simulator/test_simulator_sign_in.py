"""Signing in: device flow, exchange, account, hosts and credentials (checklist lines 1 to 13)."""

from urllib.parse import parse_qs, urlencode

import pytest
from simulator_client import CLIENT_ID, EDITOR, GRANT, rules

from copilot_asgi.simulator import FAULTS, Billing, Credentials, DirectScheme, Endpoints, Fault, Plan, Quota

pytestmark = pytest.mark.anyio
GITHUB = "github.com"
API = "api.github.com"
OPENCODE = "Ov23li8tweQw6odWQebz"


async def start(client, **fields):
    return (
        await client.post("/login/device/code", {"client_id": CLIENT_ID, "scope": "read:user", **fields}, host=GITHUB)
    ).json


async def poll(client, code, **fields):
    body = {"client_id": CLIENT_ID, "device_code": code, "grant_type": GRANT, **fields}
    return await client.post("/login/oauth/access_token", body, host=GITHUB)


FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("form", [False, True])
async def test_01_device_code_takes_json_and_forms_and_gives_json_only_on_request(client, form):
    """Either body works; the answer is a form unless JSON (or XML) is accepted."""
    fields = {"client_id": CLIENT_ID, "scope": "read:user"}
    content = {"content": urlencode(fields).encode(), "headers": FORM} if form else {"json": fields}
    given = await client.request("POST", "/login/device/code", host=GITHUB, **content)
    assert given.json.keys() == {"device_code", "user_code", "verification_uri", "expires_in", "interval"}
    assert len(given.json["device_code"]) == 40
    assert given.json["user_code"][4] == "-"
    plain = await client.post("/login/device/code", fields, host=GITHUB, headers={"accept": "*/*"})
    assert parse_qs(plain.text)["interval"] == ["5"]
    xml = await client.post("/login/device/code", fields, host=GITHUB, headers={"accept": "application/xml"})
    assert "<interval>5</interval>" in xml.text


async def test_01_the_page_is_where_the_request_came_to(client):
    """``verification_uri`` is on the host and scheme that the client used."""
    local = await client.post("/login/device/code", {"client_id": CLIENT_ID}, host="127.0.0.1:8123", scheme="http")
    assert local.json["verification_uri"] == "http://127.0.0.1:8123/login/device"
    assert (await start(client))["verification_uri"] == "https://github.com/login/device"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({}, "authorization_pending"),
        ({"device_code": "0" * 40}, "incorrect_device_code"),
        ({"client_id": "nobody"}, "incorrect_client_credentials"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_id": "off"}, "device_flow_disabled"),
    ],
)
async def test_02_errors_of_the_poll_come_with_200(make, change, error):
    """Each error is a 200 with its code, a description and a link."""
    client = make(disabled_clients=("off",))
    answer = await poll(client, (await start(client))["device_code"], **change)
    assert answer.status == 200
    assert answer.json["error"] == error
    assert answer.json["error_description"]


async def test_02_denied_and_expired_codes_say_so(client, clock):
    """Cancel and waiting too long each have their own error."""
    denied, expired = await start(client), await start(client)
    client.simulator.deny(denied["user_code"])
    assert (await poll(client, denied["device_code"])).json["error"] == "access_denied"
    clock.now += 900
    assert (await poll(client, expired["device_code"])).json["error"] == "expired_token"
    assert (await poll(client, denied["device_code"])).json["error"] == "access_denied"


async def test_02_unknown_and_disabled_clients_get_no_code(make):
    """A device code is only given to a known client whose device flow is on."""
    client = make(disabled_clients=("off",))
    unknown = await client.post("/login/device/code", {"client_id": "nobody"}, host=GITHUB)
    assert (unknown.status, unknown.json["error"]) == (404, "Not Found")
    assert (await start(client, client_id="off"))["error"] == "device_flow_disabled"


async def test_03_polling_too_fast_slows_down_for_good(client, clock):
    """Each early poll adds five seconds, which later polls must keep."""
    code = (await start(client))["device_code"]
    await poll(client, code)
    slow = (await poll(client, code)).json
    assert (slow["error"], slow["interval"]) == ("slow_down", 10)
    clock.now += 9
    assert (await poll(client, code)).json["interval"] == 15
    clock.now += 15
    assert (await poll(client, code)).json["error"] == "authorization_pending"


async def test_04_a_used_code_stays_dead(client, clock):
    """A code yields one token."""
    code = await start(client)
    client.simulator.approve()
    token = (await poll(client, code["device_code"])).json
    assert token == {"access_token": token["access_token"], "token_type": "bearer", "scope": "read:user"}
    assert token["access_token"].startswith("ghu_")
    clock.now += 6
    assert (await poll(client, code["device_code"])).json["error"] == "incorrect_device_code"


async def test_04_approving_by_the_page(client):
    """A person can approve or cancel in a browser; unknown codes are told apart."""
    code = await start(client)
    page = await client.get("/login/device", host=GITHUB, headers={"user-agent": "Mozilla/5.0"})
    assert "<form" in page.text
    form = {"user_code": code["user_code"].lower(), "decision": "approve"}
    wrong = await client.request("POST", "/login/device", content=b"user_code=NOPE", headers=FORM, host=GITHUB)
    assert "not known" in wrong.text
    done = await client.request("POST", "/login/device", content=urlencode(form).encode(), headers=FORM, host=GITHUB)
    assert "Done" in done.text
    assert "access_token" in (await poll(client, code["device_code"])).json
    other = await start(client)
    form = {"user_code": other["user_code"], "decision": "deny"}
    await client.request("POST", "/login/device", content=urlencode(form).encode(), headers=FORM, host=GITHUB)
    assert (await poll(client, other["device_code"])).json["error"] == "access_denied"
    assert client.simulator.violations == []


async def test_04_auto_approval_needs_no_person(make):
    """With ``auto_approve`` the first poll that is allowed succeeds."""
    client = make(auto_approve=True, login="hubot")
    token = (await poll(client, (await start(client))["device_code"])).json["access_token"]
    user = await client.get("/user", host=API, headers={"authorization": f"Bearer {token}"})
    assert user.json["login"] == "hubot"


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
