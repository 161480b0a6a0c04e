"""Strangers are refused before anything else happens."""

import pytest
from stages.bench import Answer, Client, make_exchange

from copilot_asgi.errors import Unauthenticated
from copilot_asgi.exchange import Arrival, Caller
from copilot_asgi.stages.identify import Identify

pytestmark = pytest.mark.anyio

ARRIVAL = Arrival(client="192.0.2.7", headers=((b"x-api-key", b"k"),))


async def by_loop(arrival: Arrival) -> Caller:
    return Caller(name=f"{arrival.client}")


def by_thread(arrival: Arrival) -> Caller:
    return Caller(name=f"{arrival.client}")


class ByObject:
    async def __call__(self, arrival: Arrival) -> Caller:
        return Caller(name=f"{arrival.client}")


@pytest.mark.parametrize("authenticate", [by_loop, by_thread, ByObject()])
async def test_the_caller_is_found_from_how_the_request_arrived(authenticate) -> None:
    """By a plain function, an async one, or an object; the rest of the pipeline sees who it is."""
    seen: list[Caller | None] = []
    answer = Answer(before=lambda exchange: seen.append(exchange.caller))
    client = Client()
    await Identify(authenticate)(make_exchange(arrival=ARRIVAL), client, answer)
    assert seen == [Caller(name="192.0.2.7")]
    assert client.head.status == 200


def nothing(arrival: Arrival) -> None:
    """Forgets to return."""


async def a_name(arrival: Arrival) -> str:
    return "admin"


def refuse(arrival: Arrival) -> Caller:
    raise Unauthenticated("No.")


@pytest.mark.parametrize(
    ("authenticate", "error", "message"),
    [(nothing, TypeError, "NoneType, not a Caller"), (a_name, TypeError, "str, not"), (refuse, Unauthenticated, "No.")],
)
async def test_whatever_is_no_caller_is_let_in_nowhere(authenticate, error: type[Exception], message: str) -> None:
    """A refusal goes on as it is; a function that returns anything but a caller is a fault, not an open door."""
    answer, client = Answer(), Client()
    with pytest.raises(error, match=message):
        await Identify(authenticate)(make_exchange(arrival=ARRIVAL), client, answer)
    assert (answer.calls, client.parts) == (0, [])
