"""Every stage in the whole stack, in front of the simulator: what callers get, and what upstream does not get."""

import json
import subprocess
import sys
import threading
from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from copilot_asgi import Arrival, Caller, CopilotApp, Exchange, Handler, Head, Secret, Send, Settings, Stage, Upstream
from copilot_asgi import stack as stacks
from copilot_asgi.approvals import Approved, Denied, Question
from copilot_asgi.audit import Entry, Outcome
from copilot_asgi.budgets import parse_budget
from copilot_asgi.config import ApprovalKind, LimitBy, RateLimitMode
from copilot_asgi.controls import Controls
from copilot_asgi.errors import ConfigError, StoreError
from copilot_asgi.in_flight import InFlight
from copilot_asgi.in_process import in_process_transport
from copilot_asgi.ledger import By, Total
from copilot_asgi.ledger.memory import MemoryLedger
from copilot_asgi.simulator import FAULTS, Fault
from tests.stand import CALLS, CHAT, EMBEDDINGS, MESSAGES, Stand, stand
from tests.test_in_flight import Visit

pytestmark = pytest.mark.anyio

GUEST = {"x-api-key": "guest"}
OPERATOR = {"x-api-key": "operator"}


def calls(it: Stand) -> int:
    """How many model calls upstream has seen."""
    return sum(
        request.path in {"/chat/completions", "/v1/messages", "/responses", "/embeddings"}
        for request in it.simulator.requests
    )


async def known(arrival: Arrival) -> Caller:
    """Two callers by name; the operator may do everything, the guest has limits of its own."""
    name = dict(arrival.headers).get(b"x-api-key", b"").decode()
    if name == "guest":
        return Caller(name="guest", models=("gpt-4*",), budgets=(parse_budget("0.000001 credits/day"),))
    return Caller(name=name or "operator", admin=True)


async def approved_by(it: Stand, body: dict[str, Any], decision: dict[str, Any]) -> httpx.Response:
    """The answer to a request that was decided about through the routes."""
    responses: list[httpx.Response] = []

    async def ask() -> None:
        responses.append(await it.client.post("/v1/chat/completions", json=body))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        waiting: list[dict[str, Any]] = []
        with anyio.fail_after(5):
            while not waiting:
                await anyio.sleep(0.005)
                waiting = (await it.client.get("/approvals")).json()["approvals"]
        assert calls(it) == 0
        done = await it.client.post(f"/v1/approvals/{waiting[0]['id']}", json=decision)
        assert done.json() == {"id": waiting[0]["id"], "approved": decision["approve"]}
    return responses[0]


@pytest.mark.parametrize("path", CALLS)
async def test_a_rate_limit_refuses_in_the_dialect(path: str) -> None:
    """Over the limit: 429 with the seconds to wait, nothing upstream, an error that the SDK of the dialect reads."""
    async with stand(rate_limit=("2/min",)) as it:
        answers = [await it.client.post(path, json=CALLS[path]) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert 55 <= int(answers[2].headers["retry-after"]) <= 60
        assert answers[2].json()["error"]["type"] == "rate_limit_error"
        assert calls(it) == 2


async def test_a_rate_limit_may_wait() -> None:
    """In the other mode requests queue, and all of them are answered."""
    async with stand(rate_limit=("20/s",), rate_limit_mode=RateLimitMode.WAIT) as it:
        statuses: list[int] = []

        async def ask() -> None:
            statuses.append((await it.client.post("/v1/embeddings", json=EMBEDDINGS)).status_code)

        async with anyio.create_task_group() as group:
            for _ in range(25):
                group.start_soon(ask)
        assert statuses == [200] * 25


async def test_limits_by_model_cannot_be_passed_by_another_spelling() -> None:
    """What counts is the model that answers."""
    async with stand(rate_limit=("1/min",), rate_limit_by=LimitBy.MODEL) as it:
        spellings = ["claude-sonnet-4.6", "claude-sonnet-4-6", "anthropic/claude-sonnet-4.6", "CLAUDE-SONNET-4.6"]
        statuses = [
            (await it.client.post("/v1/messages", json={**MESSAGES, "model": name})).status_code for name in spellings
        ]
        assert statuses == [200, 429, 429, 429]
        assert (await it.client.post("/v1/chat/completions", json=CHAT)).status_code == 200


async def test_approval_through_the_routes() -> None:
    """A request waits until somebody decides: yes sends it, and the question says what it is about."""
    async with stand(approval=ApprovalKind.QUEUE) as it:
        response = await approved_by(it, CHAT, {"approve": True})
        assert response.status_code == 200, response.text
        assert calls(it) == 1
        assert (await it.client.get("/v1/approvals")).json() == {"approvals": []}


async def test_denial_through_the_routes() -> None:
    """No is 403 with the reason, and nothing is sent."""
    async with stand(approval=ApprovalKind.QUEUE) as it:
        response = await approved_by(it, CHAT, {"approve": False, "reason": "not today"})
        assert response.status_code == 403
        assert response.json()["error"]["code"] == "approval_denied"
        assert "not today" in response.json()["error"]["message"]
        assert calls(it) == 0


async def test_an_approval_may_hold_for_the_session() -> None:
    """Who is told to remember asks no more about the same model."""
    async with stand(approval=ApprovalKind.QUEUE) as it:
        assert (await approved_by(it, CHAT, {"approve": True, "remember": True})).status_code == 200
        assert (await it.client.post("/v1/chat/completions", json=CHAT)).status_code == 200


async def test_nobody_answers() -> None:
    """Silence is no."""
    async with stand(approval=ApprovalKind.QUEUE, approval_timeout=0.02) as it:
        response = await it.client.post("/v1/messages", json=MESSAGES)
        assert (response.status_code, response.json()["error"]["type"]) == (403, "permission_error")
        assert calls(it) == 0


async def test_rules_need_no_approval() -> None:
    """What the settings allow is not asked about."""
    async with stand(
        approval=ApprovalKind.QUEUE, approval_timeout=0.02, approval_allow_models=("gpt-4*",), approval_above=0.001
    ) as it:
        assert (await it.client.post("/v1/chat/completions", json=CHAT)).status_code == 200
        assert (await it.client.post("/v1/messages", json=MESSAGES)).status_code == 403


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code"),
    [
        ("/approvals/x", {"approve": True}, {}, 404, "not_found"),
        ("/approvals/x", {"approve": "yes"}, {}, 400, None),
        ("/approvals/x", {"approve": True}, GUEST, 403, "operator_only"),
        ("/approvals/x", {"approved": True}, {}, 400, None),
    ],
)
async def test_decisions_that_cannot_be_taken(
    path: str, body: dict[str, Any], headers: dict[str, str], status: int, code: str | None
) -> None:
    """Unknown ids, other words and other callers get a plain refusal."""
    async with stand(approval=ApprovalKind.QUEUE, controls={"authenticate": known}) as it:
        response = await it.client.post(path, json=body, headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)
        assert (await it.client.get("/approvals", headers=GUEST)).status_code == 403


async def test_without_a_queue_the_routes_say_how_to_get_one() -> None:
    """There is nothing to list where nobody is asked."""
    async with stand() as it:
        response = await it.client.get("/approvals")
        assert response.status_code == 404
        assert "COPILOT_ASGI_APPROVAL" in response.json()["error"]["message"]


async def test_an_approver_of_ones_own() -> None:
    """A function decides, by what it is asked about."""
    asked: list[Question] = []

    def decide(question: Question) -> Approved | Denied:
        asked.append(question)
        return Denied("too large") if question.size > 200 else Approved()

    async with stand(controls={"approve": decide}) as it:
        assert (await it.client.post("/v1/chat/completions", json=CHAT)).status_code == 200
        large = {**CHAT, "messages": [{"role": "user", "content": "x" * 500}]}
        assert (await it.client.post("/v1/chat/completions", json=large)).status_code == 403
        assert (asked[0].model, asked[0].preview) == ("gpt-4o", "hello")


async def test_a_budget_stops_before_the_call() -> None:
    """What may not be spent is not sent: 402 with the time of the reset, in the dialect."""
    async with stand(budget=("0.001 credits/day",)) as it:
        response = await it.client.post("/v1/messages", json=MESSAGES)
        assert (response.status_code, response.json()["error"]["type"]) == (402, "billing_error")
        assert "0.001 credits/day" in response.json()["error"]["message"]
        assert 0 < int(response.headers["retry-after"]) <= 86_400
        assert calls(it) == 0


async def test_spending_is_what_upstream_charged() -> None:
    """Whole and streamed, in each dialect, native and translated: the ledger has upstream's own total."""
    async with stand(budget=("500 credits/month",)) as it:
        for path, body in CALLS.items():
            for model in (body["model"], "claude-sonnet-4.6", "gpt-5.4"):
                if path == "/v1/embeddings" and model != body["model"]:
                    continue
                for stream in (False, True) if path != "/v1/embeddings" else (False,):
                    response = await it.client.post(path, json={**body, "model": model, "stream": stream})
                    assert response.status_code == 200, response.text
        spending = (await it.client.get("/usage")).json()["spending"]
        assert spending["total"]["nano_credits"] == it.simulator.ledger.nano_aiu > 0
        assert spending["total"]["requests"] == calls(it) == 19
        assert spending["total"]["premium_requests"] == it.simulator.ledger.premium_requests
        assert (spending["unsettled"], spending["total"]["estimated"]) == (0, 0)
        assert spending["budgets"][0]["used"] == spending["total"]["credits"]


async def test_a_nearly_spent_budget_is_announced() -> None:
    """From the given share on, answers say how much is used."""
    async with stand(budget=("40 credits/month",), budget_warning=0.000_001) as it:
        first, second = [await it.client.post("/v1/messages", json=MESSAGES) for _ in range(2)]
        assert "x-copilot-asgi-budget" not in first.headers
        assert "of 40 credits used this month" in second.headers["x-copilot-asgi-budget"]


async def test_a_caller_has_limits_of_its_own() -> None:
    """Models and budgets of one caller hold for that one only, and it sees its own spending only."""
    async with stand(controls={"authenticate": known}, ledger=True) as it:
        assert (await it.client.post("/v1/messages", json=MESSAGES, headers=OPERATOR)).status_code == 200
        assert (await it.client.post("/v1/messages", json=MESSAGES, headers=GUEST)).status_code == 403
        refused = await it.client.post("/v1/chat/completions", json={**CHAT, "model": "gpt-4.1"}, headers=GUEST)
        assert refused.status_code == 402
        everybody = (await it.client.get("/usage", headers=OPERATOR)).json()["spending"]
        own = (await it.client.get("/usage", headers=GUEST)).json()["spending"]
        assert (everybody["total"]["requests"], own["total"]["requests"]) == (1, 0)
        assert own["budgets"][0]["budget"].endswith("of caller guest")
        listed = (await it.client.get("/v1/models", headers=GUEST)).json()["data"]
        assert {model["id"][:5] for model in listed} == {"gpt-4"}
        assert (await it.client.get("/v1/models/claude-sonnet-4.6", headers=GUEST)).status_code == 404


async def test_without_a_ledger_nothing_is_kept() -> None:
    """Where nobody asked for it, no spending is on record."""
    async with stand() as it:
        await it.client.post("/v1/messages", json=MESSAGES)
        assert (await it.client.get("/usage")).json()["spending"] is None


async def test_a_503_is_tried_again_once() -> None:
    """A gateway that gives up once costs the client nothing but a moment."""
    async with stand() as it:
        it.simulator.enqueue(Fault(status=503, body="busy", headers=(("retry-after", "0"),)))
        assert (await it.client.post("/v1/chat/completions", json=CHAT)).status_code == 200
        assert calls(it) == 2


async def test_a_refused_account_is_not_asked_again() -> None:
    """After 402 the answer comes from here, in the same class, and readyz says so."""
    async with stand() as it:
        it.simulator.enqueue(
            Fault(status=402, body='{"error":{"message":"You have no quota","code":"quota_exceeded"}}')
        )
        answers = [await it.client.post("/v1/chat/completions", json=CHAT) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [402, 402, 402]
        assert calls(it) == 1
        assert "retry-after" in answers[1].headers
        ready = await it.client.get("/readyz")
        assert ready.status_code == 200
        (circuit,) = ready.json()["circuits"]
        assert (circuit["model"], circuit["state"]) == ("gpt-4o", "open")
        assert set(circuit) == {"model", "reason", "state", "seconds_left"}


async def test_a_throttled_account_is_left_alone() -> None:
    """After 429 nothing is sent for as long as upstream said."""
    async with stand() as it:
        it.simulator.enqueue(
            Fault(status=429, headers=(("retry-after", "120"),), body='{"error":{"message":"slow down"}}')
        )
        answers = [await it.client.post(path, json=body) for path, body in CALLS.items()]
        assert [answer.status_code for answer in answers] == [429] * 4
        assert all(110 <= int(answer.headers["retry-after"]) <= 120 for answer in answers)
        assert calls(it) == 1


async def test_another_model_stands_in() -> None:
    """The operator's list is followed, and the answer says so."""
    async with stand(fallbacks=("gpt-4o=nothing+gpt-4.1",), retries=0) as it:
        it.simulator.enqueue(Fault(status=503, body="busy"))
        response = await it.client.post("/v1/chat/completions", json=CHAT)
        assert response.status_code == 200
        assert response.headers["x-copilot-asgi-fallback"] == "gpt-4o -> gpt-4.1"
        assert response.headers["x-copilot-asgi-model"] == "gpt-4.1"


async def test_a_kept_answer_costs_nothing() -> None:
    """Equal embeddings are asked for once; other callers do not get them."""
    async with stand(cache=True, ledger=True, controls={"authenticate": known}) as it:
        answers = [await it.client.post("/v1/embeddings", json=EMBEDDINGS, headers=OPERATOR) for _ in range(3)]
        assert len({answer.content for answer in answers}) == 1
        assert [answer.headers["x-copilot-asgi-cache"] for answer in answers] == ["miss", "hit", "hit"]
        assert calls(it) == 1
        other = await it.client.post("/v1/embeddings", json=EMBEDDINGS, headers={"x-api-key": "someone"})
        assert other.headers["x-copilot-asgi-cache"] == "miss"


async def test_every_exchange_is_on_record(tmp_path: Path) -> None:
    """One line each, refusals included, without what was said."""
    log = tmp_path / "audit.jsonl"
    async with stand(audit_file=log, rate_limit=("1/min",)) as it:
        await it.client.post("/v1/messages", json=MESSAGES)
        await it.client.post("/v1/messages", json=MESSAGES)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["outcome"], line["status"]) for line in lines] == [("ok", 200), ("refused", 429)]
    assert lines[0]["nano_credits"] == it.simulator.ledger.nano_aiu
    assert "hello" not in log.read_text()


async def test_places_of_one_caller() -> None:
    """One caller's places are freed by the last byte, and the next request takes them."""
    async with stand(max_concurrent=1) as it:
        for _ in range(3):
            assert (await it.client.post("/v1/chat/completions", json={**CHAT, "stream": True})).status_code == 200


async def refuse_images(exchange: Exchange, send: Send, call_next: Handler) -> None:
    """A stage of a user's."""
    await send(Head(418, ((b"content-type", b"application/json"),)))
    await send(b"{}")


def test_stages_are_put_by_name() -> None:
    """Before, after, without; also where the named stage is off. Unknown names are told."""
    stack = stacks.default(Upstream(Settings(github_token=Secret("ghu_12345678"))))
    length = len(stack)

    def index(changed: Sequence[Stage]) -> int:
        return list(changed).index(refuse_images)

    assert index(stack.before("identify", refuse_images)) == 0
    assert index(stack.after("identify", refuse_images)) == 1
    assert index(stack.before("audit", refuse_images)) == index(stack.after("audit", refuse_images)) == 0
    assert index(stack.after("meter", refuse_images)) == length
    assert len(stack.without("retry")) == length - 1
    assert stack.before("route", refuse_images).controls is stack.controls
    assert stack.before("route", refuse_images).after("refuse_images", refuse_images).names.count("refuse_images") == 2
    assert list(stack[:2]) == [stack[0], stack[1]]
    with pytest.raises(ConfigError, match=r"no_such.*identify"):
        stack.before("no_such", refuse_images)


async def test_three_ways_to_choose_stages() -> None:
    """A function that changes the default ones, a stack, a plain list: all of them serve."""
    settings = Settings(github_token=Secret("ghu_12345678"))
    upstream = Upstream(settings)
    ways = [
        lambda stack: stack.before("route", refuse_images),
        stacks.default(upstream).before("route", refuse_images),
        [refuse_images],
    ]
    for stages in ways:
        app = CopilotApp(settings, upstream=upstream, stages=stages)
        async with httpx.AsyncClient(transport=in_process_transport(app), base_url="http://localhost") as client:
            assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == 418


def test_controls_decide_alone() -> None:
    """Who gives controls says there who authenticates and approves."""
    upstream = Upstream(Settings(github_token=Secret("ghu_12345678")))
    with pytest.raises(ConfigError, match="controls"):
        CopilotApp(upstream.settings, upstream=upstream, controls=Controls(upstream), authenticate=known)


@pytest.mark.parametrize(("fault", "status"), [("weekly_long", 429), ("quota_exceeded", 402), ("policy_403", 403)])
async def test_a_burst_against_a_wall(fault: str, status: int) -> None:
    """A thousand requests at once while upstream refuses: few of them are sent, as few as there are places."""
    async with stand(max_streams=8, queue_timeout=20) as it:
        await it.client.get("/v1/models")
        for _ in range(1_000):
            it.simulator.enqueue(FAULTS[fault])
        statuses: list[int] = []

        async def ask() -> None:
            statuses.append((await it.client.post("/v1/chat/completions", json=CHAT)).status_code)

        async with anyio.create_task_group() as group:
            for _ in range(1_000):
                group.start_soon(ask)
        assert statuses == [status] * 1_000
        assert calls(it) <= 8


async def test_an_outage_is_not_multiplied() -> None:
    """Retries of everybody together stay a tenth of the requests, and a few."""
    async with stand(retries=5, rate_limit_timeout=0.01) as it:
        await it.client.get("/v1/models")
        for _ in range(1_000):
            it.simulator.enqueue(Fault(status=503, body="busy", headers=(("retry-after", "0"),)))
        for _ in range(100):
            assert (await it.client.post("/v1/chat/completions", json=CHAT)).status_code == 503
        assert calls(it) <= 100 + 10 + 10


class Silent(list[Entry]):
    """A sink that is false while it is empty."""

    async def write(self, entry: Entry) -> None:
        self.append(entry)


async def test_a_hook_that_is_false_is_a_hook() -> None:
    """An empty collection that takes audit entries is not passed over."""
    sink = Silent()
    async with stand(controls={"audit": sink}) as it:
        await it.client.post("/v1/chat/completions", json=CHAT)
    assert [entry.model for entry in sink] == ["gpt-4o"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"aprove": known}, "aprove: there is no such hook. Did you mean approve"),
        ({"zzz": known}, "There are authenticate, approve"),
        ({"rate_limit": "1/min"}, r"rate_limit is a setting. Write: CopilotApp\(Settings\(rate_limit"),
        ({"cache": True}, "cache is a setting"),
        ({"approve": True}, "approve: give a function, plain or async, not bool"),
        ({"stages": lambda stack: None}, "stages: give a list"),
        ({"settings": {"port": 1}}, r"settings: give Settings\(...\)"),
    ],
)
def test_what_is_no_hook_is_told(given: dict[str, Any], words: str) -> None:
    """A protection that was misspelt must not be off without a word."""
    settings = given.pop("settings", Settings(github_token=Secret("ghu_12345678")))
    with pytest.raises(ConfigError, match=words):
        CopilotApp(settings, **given)


def test_lists_of_settings_are_tuples() -> None:
    """Text in the place of a tuple would be read letter by letter."""
    with pytest.raises(ConfigError, match=r"rate_limit: give a tuple"):
        Settings(rate_limit="1/min")  # type: ignore[arg-type]  # what people try


@pytest.mark.parametrize("name", ["identify", "route", "translation", "lease"])
def test_some_stages_cannot_be_left_out(name: str) -> None:
    """Nothing could be answered without them."""
    with pytest.raises(ConfigError, match=name):
        stacks.default(Upstream(Settings())).without(name)


async def forgetful(exchange: Exchange, send: Send, call_next: Handler) -> None:
    """A stage that neither answers nor goes on."""


async def passing(exchange: Exchange, send: Send, call_next: Handler) -> None:
    """A stage that only goes on."""
    await call_next(exchange, send)


@pytest.mark.parametrize(("stage", "words"), [(forgetful, "without calling call_next"), (passing, "without route")])
async def test_stages_that_cannot_answer(stage: Stage, words: str) -> None:
    """Each call is told what is wrong with them, as an error and not as half a response."""
    app = CopilotApp(Settings(github_token=Secret("ghu_12345678")), stages=[stage])
    async with httpx.AsyncClient(transport=in_process_transport(app), base_url="http://localhost") as client:
        response = await client.post("/v1/messages", json=MESSAGES)
    assert response.status_code == 500
    assert words in response.json()["error"]["message"]


COUNT = {"model": "claude-sonnet-4.6", "messages": [{"role": "user", "content": "the secret plan"}]}


def counts(it: Stand) -> int:
    """How many counts upstream was asked for."""
    return sum(request.path == "/v1/messages/count_tokens" for request in it.simulator.requests)


@pytest.mark.parametrize(
    "settings",
    [{"approval": ApprovalKind.QUEUE}, {"rate_limit": ("1/min",)}, {"max_streams": 64}],
    ids=lambda value: next(iter(value)),
)
async def test_counting_sends_nothing_that_may_not_be_sent(settings: dict[str, Any]) -> None:
    """Where somebody has to approve, or requests are limited, tokens are counted here."""
    async with stand(**settings) as it:
        for _ in range(3):
            response = await it.client.post("/v1/messages/count_tokens", json=COUNT)
            assert response.status_code == 200
            assert response.json()["input_tokens"] > 0
        assert counts(it) == (3 if "max_streams" in settings else 0)


async def test_counting_leaves_a_refused_model_alone() -> None:
    """A circuit that is open holds back counts as well."""
    async with stand() as it:
        it.simulator.enqueue(FAULTS["quota_exceeded"])
        assert (await it.client.post("/v1/messages", json=MESSAGES)).status_code == 402
        assert (await it.client.post("/v1/messages/count_tokens", json=COUNT)).status_code == 200
        assert counts(it) == 0


async def test_counts_of_upstream_are_few_at_a_time() -> None:
    """Tokens are renewed over the same connections, so most of a crowd gets an estimate."""
    async with stand() as it:
        await it.client.get("/v1/models")
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(partial(it.client.post, "/v1/messages/count_tokens", json=COUNT))
        assert 1 <= counts(it) <= 25


async def test_a_stage_of_ones_own_guards_counting_too() -> None:
    """What a site puts in front of model calls stands in front of counting."""
    settings = Settings(github_token=Secret("ghu_12345678"))
    app = CopilotApp(settings, stages=lambda stack: stack.before("identify", refuse_images))
    async with httpx.AsyncClient(transport=in_process_transport(app), base_url="http://localhost") as client:
        assert (await client.post("/v1/messages/count_tokens", json=COUNT)).status_code == 418


async def test_usage_is_asked_of_github_once_a_minute() -> None:
    """However often it is asked of us."""
    async with stand() as it:
        for _ in range(5):
            assert (await it.client.get("/usage")).status_code == 200
        asked = [request for request in it.simulator.requests if request.path == "/copilot_internal/user"]
        assert len(asked) == 1


class Unreadable(MemoryLedger):
    """A ledger whose file is damaged."""

    async def totals(self, since: datetime, until: datetime | None, by: Collection[By]) -> list[Total]:
        raise StoreError("/home/ada/ledger.sqlite3 is not a plain file. Run: mv ...")


async def test_only_the_operator_reads_paths_of_the_server() -> None:
    """A caller is told that something is wrong, the operator what to do."""
    async with stand(controls={"authenticate": known, "ledger": Unreadable()}, ledger=True) as it:
        guest = await it.client.get("/usage", headers=GUEST)
        assert (guest.status_code, "ada" in guest.text, "log" in guest.text) == (500, False, True)
        assert "mv" in (await it.client.get("/usage", headers=OPERATOR)).text


async def test_not_being_ready_is_told_without_names() -> None:
    """Everybody may ask, so neither the account nor a path is in it."""
    async with stand() as it:
        it.simulator.revoke_github_tokens()
        response = await it.client.get("/readyz")
        assert response.json() == {
            "status": "not ready",
            "missing": "login_required",
            "message": "Run copilot-asgi login where the server runs.",
        }


def test_shutting_one_loop_down_leaves_the_others_alone() -> None:
    """Requests belong to the loop that runs them."""
    in_flight = InFlight()
    ended: list[str] = []

    async def answer(release: anyio.Event, started: threading.Event) -> None:
        async def request() -> None:
            started.set()
            await release.wait()
            ended.append("whole")

        await in_flight.run(Visit(), request)

    async def nothing() -> None:
        assert len(in_flight) == 0
        await in_flight.end()

    with start_blocking_portal("asyncio") as first, start_blocking_portal("asyncio") as second:
        started, release = threading.Event(), first.call(anyio.Event)
        running = first.start_task_soon(answer, release, started)
        assert started.wait(5)
        second.call(nothing)
        first.call(release.set)
        running.result(5)
    assert ended == ["whole"]


async def test_operators_can_decide_while_the_server_drains() -> None:
    """What waits for approval can still be approved; new requests are refused, and it is not ready for more."""
    async with stand(approval=ApprovalKind.QUEUE) as it:
        async with anyio.create_task_group() as group:
            responses: list[httpx.Response] = []

            async def ask() -> None:
                responses.append(await it.client.post("/v1/chat/completions", json=CHAT))

            group.start_soon(ask)
            waiting: list[dict[str, Any]] = []
            while not waiting:
                await anyio.sleep(0.005)
                waiting = (await it.client.get("/approvals")).json()["approvals"]
            group.start_soon(it.app.drain, 10)
            await anyio.sleep(0.02)
            assert (await it.client.post("/v1/chat/completions", json=CHAT)).status_code == 503
            assert (await it.client.get("/readyz")).status_code == 503
            assert (await it.client.get("/healthz")).status_code == 200
            await it.client.post(f"/approvals/{waiting[0]['id']}", json={"approve": True})
        assert [response.status_code for response in responses] == [200]


@pytest.mark.parametrize(
    ("stream", "outcome", "status"), [(False, Outcome.REFUSED, 503), (True, Outcome.INTERRUPTED, 200)]
)
async def test_the_log_does_not_blame_the_client_for_our_shutting_down(
    *, stream: bool, outcome: Outcome, status: int
) -> None:
    """What was given up is on record as that, with the status that the client got."""
    sink = Silent()
    async with stand(controls={"audit": sink}) as it:
        it.simulator.enqueue(Fault(hang_after=4) if stream else Fault(delay=30))
        async with anyio.create_task_group() as group:
            group.start_soon(partial(it.client.post, "/v1/chat/completions", json={**CHAT, "stream": stream}))
            with anyio.fail_after(5):
                while not it.simulator.open_streams and calls(it) == 0:
                    await anyio.sleep(0.005)
            await anyio.sleep(0.05)
            await it.app.drain(0.01)
    assert [(entry.outcome, entry.status, entry.error) for entry in sink] == [(outcome, status, "shutting_down")]


def test_asking_on_a_terminal_needs_one() -> None:
    """A server that was started without a terminal says so when it is made, and names the other way."""
    code = "from copilot_asgi import *; CopilotApp(Settings(approval=config.ApprovalKind.TERMINAL))"
    done = subprocess.run(
        [sys.executable, "-c", "from copilot_asgi import config; " + code],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    assert done.returncode == 1
    assert "ConfigError: approval: there is no terminal to ask on" in done.stderr
    assert "approval=queue" in done.stderr
