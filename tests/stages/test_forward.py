"""The forwarder passes pieces on as they come, and knows when an answer is whole."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, Self

import anyio
import pytest

from copilot_asgi.errors import ConfigError, StreamInterrupted
from copilot_asgi.exchange import Exchange, Head
from copilot_asgi.stages import forward as module
from copilot_asgi.stages.forward import forward
from tests.stages.bench import Client, make_exchange

pytestmark = pytest.mark.anyio

Step = bytes | Exception | Callable[[], Awaitable[object]]
BROKEN = StreamInterrupted("cut")


class Response:
    """A response that goes through ``steps``: pieces, errors, and what is to be waited for."""

    status = 200
    headers = ((b"content-type", b"text/event-stream"), (b"set-cookie", b"x"))

    def __init__(self, *steps: Step) -> None:
        self._steps = list(steps)
        self.closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closed = True

    async def receive(self) -> bytes:
        step = self._steps.pop(0) if self._steps else b""
        if isinstance(step, Exception):
            raise step
        if not isinstance(step, bytes):
            await step()
            return b""
        return step


def exchange(response: Response, stream: object = None) -> Exchange:
    """One whose call gets ``response``."""
    made: Any = make_exchange()
    made.opened = SimpleNamespace(calls=SimpleNamespace(call=lambda *_: response))
    made.credential = made.turn = object()
    made.stream = stream
    return made  # type: ignore[no-any-return]


class Stream:
    """A stream whose terminal event is the piece ``last``."""

    def __init__(self, client: Client, last: bytes) -> None:
        self._client = client
        self._last = last

    @property
    def done(self) -> bool:
        return self._last in self._client.parts


async def test_pieces_go_on_as_they_came() -> None:
    """Each is one part, the same object, behind the head with what clients may see."""
    pieces, client = [bytes(100), b"two"], Client()
    response = Response(*pieces)
    await forward(exchange(response), client)
    assert client.parts[0] == Head(200, ((b"content-type", b"text/event-stream"),))
    assert [one is other for one, other in zip(client.parts[1:], pieces, strict=True)] == [True, True]
    assert response.closed


@pytest.mark.parametrize(
    "rest", [(), (b"more",), (BROKEN,), (anyio.sleep_forever,)], ids=["end", "more", "cut", "hang"]
)
async def test_behind_the_terminal_event(rest: tuple[Step, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer is whole with it, whatever upstream does then; what still comes in time goes on."""
    monkeypatch.setattr(module, "END_GRACE", 0.02)
    client = Client()
    response = Response(b"one", b"last", *rest)
    with anyio.fail_after(5):
        await forward(exchange(response, Stream(client, b"last")), client)
    assert client.parts[1:] == [b"one", b"last", *(step for step in rest if isinstance(step, bytes))]
    assert response.closed


async def test_before_the_terminal_event() -> None:
    """A cut is a failure while the answer is not whole."""
    client = Client()
    response = Response(b"one", BROKEN)
    with pytest.raises(StreamInterrupted):
        await forward(exchange(response, Stream(client, b"last")), client)
    assert response.closed


async def test_a_stack_that_lacks_a_stage() -> None:
    """Without what the stages before it set there is nothing to send."""
    with pytest.raises(ConfigError, match="route, translation and lease"):
        await forward(make_exchange(), Client())
