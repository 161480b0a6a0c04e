"""A caller uses the models that were agreed, however it calls them."""

import pytest
from stages.bench import Answer, Client, make_exchange

from copilot_asgi.errors import Forbidden
from copilot_asgi.exchange import Caller, Exchange
from copilot_asgi.stages.permitted import permit_models
from copilot_asgi.wire.models import Model

pytestmark = pytest.mark.anyio

ALICE = Caller(name="alice", models=("*-mini", "claude-haiku-*"))


def asked(name: str, model_id: str, caller: Caller = ALICE) -> Exchange:
    body = f'{{"model":"{name}","messages":[]}}'.encode()
    return make_exchange(body, caller=caller, model=Model(id=model_id))


@pytest.mark.parametrize(
    ("caller", "model_id"),
    [(ALICE, "gpt-5-mini"), (ALICE, "claude-haiku-4.5"), (Caller(name="bob"), "gpt-5.4")],
)
async def test_what_was_agreed_is_handed_on(caller: Caller, model_id: str) -> None:
    """A model that fits a pattern, or any without patterns."""
    answer, client = Answer(), Client()
    await permit_models(asked("m", model_id, caller), client, answer)
    assert (answer.calls, client.head.status) == (1, 200)


@pytest.mark.parametrize(
    "name", ["gpt-5.4", "GPT-5.4", "openai/gpt-5.4", "gpt-5-4", "gpt-5-mini", "my-mini", " gpt-5.4"]
)
async def test_no_spelling_goes_round_it(name: str) -> None:
    """What counts is the model that was chosen, not what it was called: aliases and capitals help nobody (L5)."""
    answer, client = Answer(), Client()
    with pytest.raises(Forbidden) as caught:
        await permit_models(asked(name, "gpt-5.4"), client, answer)
    assert (answer.calls, client.parts) == (0, [])
    assert caught.value.message == "alice may not use the model gpt-5.4, only: *-mini, claude-haiku-*."
    assert (caught.value.status, caught.value.code, caught.value.param) == (403, "model_not_allowed", "model")


async def test_without_a_caller_nothing_was_agreed() -> None:
    """A pipeline without *identify* keeps nobody's terms."""
    exchange, answer = asked("m", "gpt-5.4"), Answer()
    exchange.caller = None
    await permit_models(exchange, Client(), answer)
    assert answer.calls == 1
