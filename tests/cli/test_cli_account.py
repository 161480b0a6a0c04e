"""Tests of looking at an account and leaving it: status, usage, models, logout."""

import json
import time
from pathlib import Path

import anyio
import httpx
import msgspec
import pytest

from copilot_asgi.budgets import Period, period_start
from copilot_asgi.cli import models as models_module
from copilot_asgi.cli.commands import run
from copilot_asgi.cli.usage import quota_cells
from copilot_asgi.credentials.accounts import Account, Accounts, copilot_token_key
from copilot_asgi.credentials.copilot_token import CopilotToken
from copilot_asgi.credentials.github_user import Quota
from copilot_asgi.credentials.records import decode_record, encode_record
from copilot_asgi.ledger import Reservation
from copilot_asgi.ledger.sqlite import SqliteLedger
from copilot_asgi.pricing import NANO, PricedBy, Usage
from copilot_asgi.secret import Secret
from copilot_asgi.stores.file import FileStore
from copilot_asgi.wire.models import parse_catalog


def output(arguments: list[str], capsys: pytest.CaptureFixture[str], status: int = 0) -> str:
    assert run(arguments) == status
    return capsys.readouterr().out


def lines(out: str) -> dict[str, str]:
    return {line[:15].strip(): line[15:] for line in out.splitlines() if line[:15].strip()}


def test_status_tells_everything(signed_in, home: Path, capsys) -> None:
    """Who, which plan, how old the token is, how we present ourselves, and where the files are; no secret in it."""
    shown = lines(output(["status"], capsys))
    assert shown["account"].startswith("octocat on 127.0.0.1, from login, since 20")
    assert shown["plan"].startswith("individual, allowances reset ")
    assert shown["copilot token"].startswith("0 min old, expires in 30 min")
    assert shown["API"] == signed_in["COPILOT_ASGI_COPILOT_URL"]
    assert shown["identity"].startswith("editor: ")
    assert shown["identity"].endswith("(you agreed)")
    assert shown["token mode"] == "exchange"
    assert shown["data"] == str(home / "data")
    assert shown["settings file"] == f"{home / 'copilot-asgi.toml'} (not there)"
    assert "premium interac" in shown
    assert "ghu_" not in str(shown)


def test_status_works_without_a_network(signed_in, monkeypatch, capsys) -> None:
    """What could not be asked is said with its reason, the rest is shown, and the status is 0."""
    monkeypatch.setenv("COPILOT_ASGI_GITHUB_API_URL", "http://127.0.0.1:9")
    shown = lines(output(["status"], capsys))
    assert shown["plan"].startswith("could not be asked: GitHub did not say who is signed in")
    assert shown["copilot token"].startswith("0 min old")


def test_status_without_an_account_fails(home, capsys) -> None:
    """Scripts can ask whether somebody is signed in."""
    shown = lines(output(["status"], capsys, status=1))
    assert shown["account"] == "nobody is signed in"
    assert "plan" not in shown
    assert shown["API"] == "https://api.githubcopilot.com"


def test_status_says_when_the_store_cannot_be_read(signed_in, home: Path, capsys) -> None:
    """A data directory that others can read is named, with the command that mends it."""
    (home / "data").chmod(0o777)
    assert run(["status"]) == 1
    out, err = capsys.readouterr()
    assert lines(out)["account"] == "cannot be read"
    assert "chmod 700" in err


def test_status_in_direct_mode_needs_no_copilot_token(signed_in, monkeypatch, capsys) -> None:
    """Without exchange there is none to be old; the API is where GitHub says."""
    monkeypatch.delenv("COPILOT_ASGI_COPILOT_URL")
    shown = lines(output(["status", "--token-mode", "direct"], capsys))
    assert shown["copilot token"].startswith("none needed")
    assert shown["API"].startswith("http")


def change_token(data: Path, **changes: float) -> None:
    """Make the kept Copilot token older, or take it away."""

    async def work() -> None:
        store = FileStore(data)
        (account,) = await Accounts(store).list()
        key = copilot_token_key(account.key)
        token = decode_record(CopilotToken, await store.get(key) or b"")
        assert token is not None
        kept = CopilotToken(
            token=token.token, obtained_at=token.obtained_at - changes["older"], lifetime=token.lifetime,
            login_digest=token.login_digest, endpoint=token.endpoint,
        )  # fmt: skip
        await store.set(key, encode_record(kept))

    anyio.run(work)


@pytest.mark.parametrize(
    ("older", "shown"), [(600, "10 min old, expires in 20 min"), (3000, "50 min old, expired"), (-900, "none kept")]
)
def test_status_tells_the_age_of_the_copilot_token(older, shown, signed_in, home: Path, capsys) -> None:
    """Alive, dead, or from the future, which is as good as none."""
    change_token(home / "data", older=older)
    assert lines(output(["status"], capsys))["copilot token"].startswith(shown)


def test_a_token_in_the_settings_is_an_account(home, env, monkeypatch, capsys) -> None:
    """Its source is named; nothing is known of when it came."""
    monkeypatch.setenv("COPILOT_ASGI_GITHUB_TOKEN", "ghu_" + "x" * 36)
    shown = lines(output(["status"], capsys))
    assert shown["account"] == "(settings) on 127.0.0.1, from settings"
    assert shown["plan"].startswith("could not be asked: GitHub does not accept the token")
    assert shown["copilot token"].startswith("none kept")


def test_usage_is_a_table_or_json(signed_in, capsys) -> None:
    """Allowances with what is used and left; the same as GitHub told it in JSON."""
    out = output(["usage"], capsys)
    assert out.startswith("octocat: individual plan, allowances reset 20")
    assert any(line.startswith("premium interactions") and "300" in line for line in out.splitlines())
    assert any(line.startswith("chat") and "unlimited" in line for line in out.splitlines())
    assert json.loads(output(["usage", "--json"], capsys))["login"] == "octocat"


@pytest.mark.parametrize(
    ("quota", "cells"),
    [
        (Quota(id="chat", unlimited=True), ("chat", "", "unlimited", "", "")),
        (
            Quota(id="premium_x", entitlement=300, remaining=-4.5, percent_remaining=-1.5, overage_permitted=True),
            ("premium x", "304.5", "300", "-1.5 %", "allowed"),
        ),
        (Quota(id="odd"), ("odd", "?", "?", "?", "not allowed")),
    ],
)
def test_allowances_are_told_as_far_as_they_are_known(quota, cells) -> None:
    """Overdrawn allowances are more than used; a question mark is what GitHub did not say."""
    assert quota_cells(quota) == cells


@pytest.mark.servers
@pytest.mark.parametrize(
    ("user", "said"),
    [
        ({"login": "o", "token_based_billing": True}, "billed by tokens"),
        ({"login": "o"}, "GitHub named no allowances."),
        ({"login": "o\x1b[2J"}, "o[2J: unknown plan, allowances reset at no known date"),
    ],
)
def test_usage_says_what_is_known(user, said, signed_in, capsys) -> None:
    """An answer with next to nothing in it is shown as such, and cannot steer the terminal."""
    fault = {"status": 200, "body": json.dumps(user)}
    script = [{"path": "/copilot_internal/user", "fault": fault}]
    httpx.post(f"{signed_in['COPILOT_ASGI_GITHUB_URL']}/_simulator/script", json=script).raise_for_status()
    assert said in output(["usage"], capsys)


def test_usage_without_an_account_is_an_error(home, capsys) -> None:
    """It says how to sign in."""
    assert run(["usage"]) == 1
    assert "error: Nobody is signed in to GitHub. Run: copilot-asgi login" in capsys.readouterr().err


def test_models_are_a_table_or_json(signed_in, capsys) -> None:
    """Each model with its limits, its price, and the APIs it speaks; JSON is the catalog's own."""
    table = output(["models"], capsys).splitlines()
    assert table[0].split() == ["model", "context", "output", "price", "APIs", "vendor"]
    mini = next(line for line in table if line.startswith("gpt-5-mini "))
    assert "264,000" in mini
    assert "included" in mini
    assert "chat, responses" in mini
    entries = json.loads(output(["models", "--json"], capsys))
    assert len(entries) == len(table) - 1
    assert {"id", "capabilities"} <= set(entries[0])


def cells(entry: dict[str, object]) -> tuple[str, ...]:
    (model,) = parse_catalog(json.dumps({"data": [{"id": "m", **entry}]}).encode())
    return models_module._cells(model)


@pytest.mark.parametrize(
    ("billing", "price"),
    [
        (None, ""),
        ({"multiplier": 0}, "included"),
        ({"multiplier": 0.33}, "x0.33"),
        (
            {
                "multiplier": 3,
                "token_prices": {"batch_size": 1_000_000, "default": {"input_price": 500, "output_price": 2500}},
            },
            "x3; $5 in, $25 out per million tokens",
        ),
        ({"token_prices": {"input_price": 3e11, "output_price": 15e11}}, "$3 in, $15 out per million tokens"),
        ({"multiplier": 1, "token_prices": {"default": {"input_price": 1}}}, "x1"),
        ({"multiplier": 1, "token_prices": {"batch_size": 0}}, "x1"),
        ({"multiplier": 1, "token_prices": "free"}, "x1"),
    ],
)
def test_prices_are_told_as_far_as_the_catalog_does(billing, price) -> None:
    """Multipliers and token prices, nested or flat; what cannot be read is left out."""
    assert cells({"billing": billing})[3] == price


def test_a_model_that_cannot_be_used_says_why() -> None:
    """Switched off by policy, or for editors' completions only."""
    assert cells({"policy": {"state": "disabled"}})[4] == "chat (off)"
    assert cells({"supported_endpoints": ["/completions"]})[4] == "not served"
    assert cells({})[1:4] == ("", "", "")


def add_account(data: Path, login: str) -> None:
    account = Account(login=login, github_token=Secret("ghu_" + "z" * 36), added_at=time.time() + 60)
    anyio.run(Accounts(FileStore(data)).add, account)


def test_logout_forgets_the_account_in_use(signed_in, home: Path, capsys) -> None:
    """The login and its Copilot token are gone from the disk; another login is in use then."""
    add_account(home / "data", "second")
    assert "Signed out second (github.com)." in output(["logout"], capsys)
    assert "octocat" in output(["status"], capsys)
    assert "Signed out octocat (127.0.0.1)." in output(["logout"], capsys)
    kept = "".join(path.name for path in (home / "data").rglob("*.json"))
    assert "account" not in kept
    assert "token" not in kept
    assert "consent" in kept
    assert output(["logout"], capsys) == "Nobody was signed in.\n"


def test_logout_by_name_and_of_all(signed_in, home: Path, capsys) -> None:
    """A name picks one, an unknown name is an error that lists the known ones, --all takes the consent, too."""
    add_account(home / "data", "second")
    assert run(["logout", "--login", "third"]) == 1
    assert "third is not signed in here. Signed in: second, octocat." in capsys.readouterr().err
    assert "Signed out octocat" in output(["logout", "--login", "OctoCat"], capsys)
    assert "Signed out second" in output(["logout", "--all"], capsys)
    assert not list((home / "data").rglob("*.json"))
    assert run(["logout", "--login", "third"]) == 1
    assert "Signed in: nobody." in capsys.readouterr().err


def test_logout_by_name_or_of_all_but_not_both(home, capsys) -> None:
    """Two answers to one question are refused."""
    assert run(["logout", "--all", "--login", "x"]) == 2
    assert "not both" in capsys.readouterr().err


def test_logout_says_when_a_token_is_still_configured(home, monkeypatch, capsys) -> None:
    """A token in the settings cannot be forgotten here."""
    monkeypatch.setenv("COPILOT_ASGI_GITHUB_TOKEN", "ghu_" + "x" * 36)
    assert run(["logout"]) == 0
    assert "warning: github_token is still set (by environment)" in capsys.readouterr().err


def spend(directory: Path) -> None:
    """Put two requests on record, one of them with an estimated price, and a third that never ended."""

    async def book() -> None:
        ledger = SqliteLedger(directory / "ledger.sqlite3")
        for name, model, by in (("ada", "gpt-4o", PricedBy.UPSTREAM), ("bob", "gpt-5.4", PricedBy.ESTIMATE)):
            entry = Reservation(id=name, caller=name, account="octocat", model=model, at=time.time())
            usage = Usage(fresh=300, cache_read=100, output=50, nano_credits=1_250_000_000, nano_premium=NANO)
            await ledger.reserve(entry, ())
            await ledger.settle(entry, msgspec.structs.replace(usage, priced_by=by))
        await ledger.reserve(Reservation(id="lost", caller="ada", account="octocat", model="m", at=time.time()), ())
        await ledger.close()

    anyio.run(book)


def test_usage_shows_what_was_spent(signed_in, home: Path, monkeypatch, capsys) -> None:
    """Requests, tokens, cache hits, credits and premium requests, by whatever is asked for, and the budget."""
    spend(home / "data")
    monkeypatch.setenv("COPILOT_ASGI_BUDGET", "500 credits/month")
    shown = output(["usage", "--by", "caller"], capsys).split("Spent through", 1)[1].splitlines()
    assert shown[2].split() == ["ada", "1", "400", "25%", "50", "1.250", "1"]
    assert shown[4].split() == ["total", "2", "800", "25%", "100", "2.500", "2"]
    assert "budget 500 credits/month: 2.50 of 500 used" in shown
    assert any(line.startswith("1 of the prices are estimates") for line in shown)
    assert any(line.startswith("1 requests are under way") for line in shown)
    models = output(["usage"], capsys).split("Spent through", 1)[1].splitlines()
    assert [line.split()[0] for line in models[2:5]] == ["gpt-4o", "gpt-5.4", "total"]


def test_usage_as_json(signed_in, home: Path, capsys) -> None:
    """Everything at once, exact; with days it goes back further than the month."""
    spend(home / "data")
    spending = json.loads(output(["usage", "--json", "--days", "40"], capsys))["spending"]
    assert spending["total"]["nano_credits"] == 2_500_000_000
    assert [line["name"] for line in spending["callers"]] == ["ada", "bob"]
    assert len(spending["days"]) == spending["unsettled"] == 1
    assert spending["since"] < period_start(Period.DAY, time.time()).date().isoformat()


def test_usage_without_github_shows_what_is_known(signed_in, home: Path, monkeypatch, capsys) -> None:
    """Spending is told all the same; the exit status says that something is missing."""
    spend(home / "data")
    monkeypatch.setenv("COPILOT_ASGI_GITHUB_API_URL", "http://127.0.0.1:9")
    assert run(["usage"]) == 1
    assert "2.500" in capsys.readouterr().out
    assert run(["usage", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["spending"]["total"]["requests"] == 2


def test_usage_leaves_no_file_behind(signed_in, home: Path, capsys) -> None:
    """Where nothing was kept it says so, and makes no ledger."""
    assert "Nothing is on record" in output(["usage"], capsys)
    assert not (home / "data" / "ledger.sqlite3").exists()
