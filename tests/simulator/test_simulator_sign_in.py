"""Signing in by the device flow (checklist lines 1 to 4)."""

from urllib.parse import parse_qs, urlencode

import pytest
from simulator_client import CLIENT_ID, GRANT

pytestmark = pytest.mark.anyio
GITHUB = "github.com"
API = "api.github.com"


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
