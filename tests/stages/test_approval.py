"""Nothing is sent that nobody approved: silence, failure, junk and tampering mean no."""

import logging
import threading
from functools import partial

import anyio
import anyio.from_thread
import msgspec
import pytest

from copilot_asgi.approvals import Approved, Approver, Denied, Question
from copilot_asgi.approvals.queue import ApprovalQueue
from copilot_asgi.errors import ApprovalDenied, ConfigError
from copilot_asgi.exchange import Caller, Exchange
from copilot_asgi.secret import Secret
from copilot_asgi.stages.approval import Approval
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.models import Model
from tests.stages.bench import CHAT_BODY, HEAD, Answer, Client, Clock, make_exchange

pytestmark = pytest.mark.anyio

LONG = 30.0
SOON = 0.02


def stage(
    approve: Approver, *, timeout: float = LONG, clock: Clock | None = None, cost: float | None = None
) -> Approval:
    return Approval(
        approve, timeout=timeout, session_timeout=60.0, estimate=lambda exchange: cost, clock=clock or Clock()
    )


class Asker:
    """An approver that keeps the questions and gives the same answer to each."""

    def __init__(self, answer: Approved | Denied) -> None:
        self.questions: list[Question] = []
        self._answer = answer

    async def __call__(self, question: Question) -> Approved | Denied:
        self.questions.append(question)
        return self._answer


async def refusal(approval: Approval, exchange: Exchange | None = None) -> str:
    """What the client is told; nothing went on, and nothing was sent."""
    client, rest = Client(), Answer()
    with pytest.raises(ApprovalDenied) as caught:
        await approval(exchange or make_exchange(), client, rest)
    assert rest.calls == 0
    assert client.parts == []
    assert caught.value.status == 403
    return caught.value.message


async def test_what_is_approved_goes_on_as_it_is() -> None:
    """The exchange and the parts of the answer are handed on untouched."""
    client, exchange, seen = Client(), make_exchange(), []
    await stage(Asker(Approved()))(exchange, client, Answer(HEAD, b"one", b"two", before=seen.append))
    assert seen == [exchange]
    assert client.parts == [HEAD, b"one", b"two"]


async def test_the_question_tells_what_is_asked() -> None:
    """It holds what the request is, who sent it, and what it will cost, and a copy of the body as received."""
    asker = Asker(Approved())
    exchange = make_exchange(caller=Caller(name="bob"), model=Model(id="gpt-5-mini"))
    await stage(asker, clock=Clock(7.0), cost=1.5)(exchange, Client(), Answer())
    (question,) = asker.questions
    assert len(question.id) >= 20
    assert question == Question(
        id=question.id,
        caller="bob",
        account="octocat",
        model="gpt-5-mini",
        dialect=Dialect.CHAT,
        size=len(CHAT_BODY),
        preview="hello",
        estimated_credits=1.5,
        asked_at=7.0,
        body=CHAT_BODY,
    )


async def test_questions_have_ids_of_their_own() -> None:
    """An id is not the exchange's, which the client knows, and no two are the same."""
    asker = Asker(Approved())
    for _ in range(50):
        await stage(asker)(make_exchange(id="known"), Client(), Answer())
    ids = {question.id for question in asker.questions}
    assert len(ids) == 50
    assert "known" not in ids


async def test_the_caller_is_the_one_that_was_identified() -> None:
    """What a body says about its sender is not believed."""
    asker = Asker(Approved())
    body = b'{"model":"m","user":"admin","caller":"admin","messages":[{"role":"user","name":"admin","content":"x"}]}'
    await stage(asker)(make_exchange(body, caller=Caller(name="key-1")), Client(), Answer())
    assert [question.caller for question in asker.questions] == ["key-1"]


async def test_an_exchange_that_outer_stages_left_bare_is_asked_about() -> None:
    """Without caller, account and route the question says what is known, and the answer is not remembered."""
    asker, approval = Asker(Approved(remember=True)), None
    approval = stage(asker)
    for _ in range(2):
        exchange = make_exchange()
        exchange.caller = exchange.account = exchange.route = None
        await approval(exchange, Client(), Answer())
    assert [(question.caller, question.account, question.model) for question in asker.questions] == [
        ("unknown", None, "gpt-4o")
    ] * 2


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("not today", "not today"),
        ("Not today.", "Not today"),
        ("", "the answer was no"),
        ("\x00\n\u202e", "the answer was no"),
        ("two\r\nlines: \x1b[31mred", "two lines: [31mred"),
        ("x" * 300, "x" * 197 + "\u2026"),
        (None, "None"),
    ],
)
async def test_a_denied_request_is_told_why(reason: str, told: str) -> None:
    """The client gets 403 and the reason: one printable line of at most 200 characters."""
    assert await refusal(stage(Asker(Denied(reason)))) == f"The request was not approved: {told}."


async def test_silence_means_no() -> None:
    """An approver that does not answer in time is stopped, and the client told how long it was waited for."""
    stopped = []

    async def hangs(question: Question) -> Approved:
        try:
            await anyio.sleep_forever()
        finally:
            stopped.append(question.id)

    message = await refusal(stage(hangs, timeout=SOON))
    assert message == "The request was not approved: nobody answered in 0.02 seconds."
    assert len(stopped) == 1


async def test_a_plain_approver_that_hangs_means_no() -> None:
    """A thread that blocks holds up nobody; its answer comes too late."""
    release = threading.Event()

    def hangs(question: Question) -> Approved:
        release.wait(LONG)
        return Approved()

    try:
        assert "nobody answered" in await refusal(stage(hangs, timeout=SOON))
    finally:
        release.set()


async def test_an_answer_after_the_time_is_up_means_no() -> None:
    """An approver that goes on although it was told to stop cannot approve any more."""

    async def stubborn(question: Question) -> Approved:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            return Approved()

    assert "nobody answered" in await refusal(stage(stubborn, timeout=SOON))


def fails(question: Question) -> Approved:
    raise ValueError("no connection with Bearer abc123secret")


async def fails_async(question: Question) -> Approved:
    raise ExceptionGroup("several", [ConfigError("token gho_0123456789abcdef")])


@pytest.mark.parametrize("approve", [fails, fails_async])
async def test_an_approver_that_fails_means_no(approve: Approver, caplog: pytest.LogCaptureFixture) -> None:
    """The failure is in the log, without what looks like a secret; the client does not hear of it."""
    assert await refusal(stage(approve)) == "The request was not approved: asking for approval failed."
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "exchange-1: the approver failed" in record.getMessage()
    assert "Traceback" in record.getMessage()
    assert "abc123secret" not in caplog.text
    assert "gho_0123456789abcdef" not in caplog.text


@pytest.mark.parametrize("junk", [None, True, "yes", "approved", 1, Approved, {"approved": True}, (Approved(),)])
async def test_an_answer_that_is_none_means_no(junk: object, caplog: pytest.LogCaptureFixture) -> None:
    """Only an ``Approved`` approves, however true something else may be; what came is named in the log."""
    assert await refusal(stage(lambda question: junk)) == "The request was not approved: asking for approval failed."
    assert f"the approver returned {type(junk).__name__}" in caplog.text


async def test_a_client_that_leaves_withdraws_its_question(caplog: pytest.LogCaptureFixture) -> None:
    """Cancelled while it waits: the queue drops the question, nothing goes on, and the log says abandoned."""
    caplog.set_level(logging.INFO)
    queue, client, rest = ApprovalQueue(), Client(), Answer()
    async with anyio.create_task_group() as group:
        group.start_soon(stage(queue), make_exchange(), client, rest)
        with anyio.fail_after(LONG):
            while not queue.pending():
                await anyio.sleep(0)
        group.cancel_scope.cancel()
    assert queue.pending() == []
    assert rest.calls == 0
    assert client.parts == []
    assert "exchange-1: abandoned while it waited for approval" in caplog.text


@pytest.mark.parametrize("plain", [False, True])
async def test_an_approval_after_the_client_left_sends_nothing(plain: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The answer is yes, but whom it was for is gone: cancellation goes on and nothing goes upstream."""
    caplog.set_level(logging.INFO)
    rest = Answer()

    async def approves(question: Question) -> Approved:
        scope.cancel()
        return Approved()

    def approves_plainly(question: Question) -> Approved:
        anyio.from_thread.run_sync(scope.cancel)
        return Approved()

    with anyio.CancelScope() as scope:
        await stage(approves_plainly if plain else approves)(make_exchange(), Client(), rest)
    assert scope.cancelled_caught
    assert rest.calls == 0
    assert "abandoned" in caplog.text


def change_model(exchange: Exchange) -> None:
    exchange.request = exchange.request.replace({"model": b'"gpt-5-pro"'})


def change_body(exchange: Exchange) -> None:
    exchange.request = msgspec.structs.replace(exchange.request, body=b'{"model":"gpt-4o"}')


def change_body_in_place(exchange: Exchange) -> None:
    msgspec.structs.force_setattr(exchange.request, "body", b'{"model":"gpt-4o"}')


def change_fields_in_place(exchange: Exchange) -> None:
    exchange.request.fields["messages"] = msgspec.Raw(b"[]")


def change_headers(exchange: Exchange) -> None:
    exchange.request = msgspec.structs.replace(exchange.request, headers=((b"x", b"y"),))


def change_caller(exchange: Exchange) -> None:
    exchange.caller = Caller(name="eve")


def change_account(exchange: Exchange) -> None:
    assert exchange.account is not None
    exchange.account = msgspec.structs.replace(exchange.account, github_token=Secret("other"))


def change_route(exchange: Exchange) -> None:
    assert exchange.route is not None
    exchange.route = msgspec.structs.replace(exchange.route, model=Model(id="gpt-5-pro"))


CHANGES = [
    change_model,
    change_body,
    change_body_in_place,
    change_fields_in_place,
    change_headers,
    change_caller,
    change_account,
    change_route,
]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_request_that_changed_while_it_waited_is_refused(change, caplog: pytest.LogCaptureFixture) -> None:
    """What is sent is what was asked about: whoever gets hold of the exchange cannot slip in another request."""
    exchange = make_exchange()

    async def tampers(question: Question) -> Approved:
        change(exchange)
        return Approved()

    assert await refusal(stage(tampers), exchange) == "The request was not approved: it was changed while it waited."
    assert "was changed while it waited for approval" in caplog.text


async def test_the_question_cannot_be_changed() -> None:
    """The approver gets values, not the exchange, and they are frozen."""
    errors = []

    async def tampers(question: Question) -> Approved:
        for name in question.__struct_fields__:
            try:
                setattr(question, name, None)
            except AttributeError as error:
                errors.append(error)
        return Approved()

    bodies: list[bytes] = []
    answer = Answer(before=lambda exchange: bodies.append(exchange.request.body))
    await stage(tampers)(make_exchange(), Client(), answer)
    assert len(errors) == len(Question.__struct_fields__)
    assert bodies == [CHAT_BODY]


@pytest.mark.parametrize(
    ("second", "later", "asked"),
    [
        ({}, 59.9, 1),
        ({}, 60.0, 2),
        ({}, -1.0, 2),
        ({"body": b'{"model":"gpt-4o","messages":[]}'}, 1.0, 1),
        ({"caller": Caller(name="eve")}, 1.0, 2),
        ({"model": Model(id="gpt-5-pro")}, 1.0, 2),
    ],
)
async def test_an_approval_for_the_session_is_not_asked_for_again(second: dict, later: float, asked: int) -> None:
    """The same caller and model are free for the session's time, anything else is asked about."""
    clock, asker, rest = Clock(), Asker(Approved(remember=True)), Answer()
    approval = stage(asker, clock=clock)
    await approval(make_exchange(), Client(), rest)
    clock.now += later
    await approval(make_exchange(**second), Client(), rest)
    assert len(asker.questions) == asked
    assert rest.calls == 2


@pytest.mark.parametrize("answer", [Approved(), Denied()])
async def test_other_answers_hold_once(answer: Approved | Denied) -> None:
    """An approval that is not for the session, and a denial, are about one request."""
    asker = Asker(answer)
    approval = stage(asker)
    for _ in range(3):
        try:
            await approval(make_exchange(), Client(), Answer())
        except ApprovalDenied:
            assert isinstance(answer, Denied)
    assert len(asker.questions) == 3


async def test_the_answers_way_is_not_timed() -> None:
    """The time to answer ends with the answer; the response may take as long as it wants."""
    gate, client = anyio.Event(), Client()
    async with anyio.create_task_group() as group:
        group.start_soon(stage(Asker(Approved()), timeout=SOON), make_exchange(), client, Answer(HEAD, b"x", gate=gate))
        await anyio.sleep(2 * SOON)
        gate.set()
    assert client.parts == [HEAD, b"x"]


async def test_errors_of_the_rest_come_out_bare() -> None:
    """An error of the pipeline is not taken for one of the approver's."""
    failing = Answer(HEAD, b"x", error=ConfigError("broken"))
    with pytest.raises(ConfigError, match="broken"):
        await stage(Asker(Approved()))(make_exchange(), Client(), failing)


async def test_many_wait_at_once() -> None:
    """While one question waits another is asked and answered: nothing is locked."""
    queue, rest = ApprovalQueue(), Answer()
    approval = stage(queue)
    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(partial(approval, make_exchange(id=str(number)), Client(), rest))
        with anyio.fail_after(LONG):
            while len(queue.pending()) < 20:
                await anyio.sleep(0)
        for question in reversed(queue.pending()):
            assert queue.decide(question.id, approve=True)
    assert rest.calls == 20
