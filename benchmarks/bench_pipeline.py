"""What the pipeline adds to a request and to a chunk: without stages, with five, and with every stage on.

Run it:  python benchmarks/bench_pipeline.py [--json FILE]
The innermost handler answers from memory, so that only the stages are measured; what needs a network (route and lease)
is left out everywhere. It prints medians in microseconds of CPU, and how much each setup adds to a pipeline without
stages, compared round by round. What the stages add that nobody configured is the difference between "nothing
configured" and "those that answer".
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path

from report import Column, Row, arguments, median, publish

from copilot_asgi import (
    Arrival,
    Caller,
    Controls,
    Exchange,
    Head,
    Part,
    Request,
    Secret,
    Send,
    Settings,
    Stage,
    Upstream,
    stack,
)
from copilot_asgi.approvals import Approved, Question
from copilot_asgi.audit import Entry
from copilot_asgi.config import ApprovalKind
from copilot_asgi.credentials.accounts import Account
from copilot_asgi.exchange import Handler
from copilot_asgi.ledger.memory import MemoryLedger
from copilot_asgi.pipeline import compose
from copilot_asgi.routing import Route
from copilot_asgi.stack import Stack
from copilot_asgi.upstream.client import Opened
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.models import Model

ROUNDS = 7
REQUESTS = 300
CHUNKS = 200
BODY = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}],"stream":%s}'
CHUNK = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt-4o","choices":'
    b'[{"index":0,"delta":{"role":"assistant","content":"' + b"x" * 200 + b'"},"finish_reason":null}]}\n\n'
)
LAST = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt-4o","choices":'
    b'[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":9,'
    b'"total_tokens":18}}\n\ndata: [DONE]\n\n'
)
MODEL = Model(id="gpt-4o")
KEY = "one-key"
FIVE = ("identify", "rate_limit", "spend", "approval", "concurrency")
ANSWERING = ("keep_alive", "translation")
LOCAL = frozenset(stack.default(Upstream(Settings())).names) - {"route", "lease"}

Run = Callable[[], Awaitable[None]]


class Forgetting:
    """An audit sink that keeps nothing."""

    async def write(self, entry: Entry) -> None:
        """Forget the entry."""


async def approve(question: Question) -> Approved:  # noqa: ARG001 - the shape of an approver
    """Say yes at once."""
    return Approved()


async def answer(exchange: Exchange, send: Send) -> None:
    """A stream of ``CHUNKS`` chunks, or one that is over at once."""
    await send(Head(200, ((b"content-type", b"text/event-stream"),)))
    for _ in range(CHUNKS if exchange.id == "long" else 1):
        await send(CHUNK)
    await send(LAST)


async def forget(part: Part) -> None:
    """A client that takes everything."""


def all_stages(directory: Path) -> Stack:
    """Every stage, configured, but for those that need a network."""
    settings = Settings(
        api_keys=(Secret(KEY),),
        data_dir=directory,
        rate_limit=("100000000/s", "100000000 tokens/s"),
        budget=("1000000 credits/month",),
        approval=ApprovalKind.QUEUE,
        max_concurrent=100,
        fallbacks=("gpt-5.4=gpt-4o",),
        cache=True,
        ledger=True,
    )
    upstream = Upstream(settings)
    controls = Controls(upstream, approve=approve, ledger=MemoryLedger(), audit=Forgetting())
    return stack.default(upstream, controls)


def unconfigured(directory: Path) -> Stack:
    """The stages as they are when nobody has set anything."""
    upstream = Upstream(Settings(data_dir=directory))
    return stack.default(upstream)


def only(stages: Stack, names: Collection[str]) -> tuple[Stage, ...]:
    """The stages of these names."""
    return tuple(stage for name, stage in stages.named if stage is not None and name in names)


def make(id: str, opened: Opened) -> Exchange:
    """An exchange as it is behind the route."""
    arrival = Arrival(client="127.0.0.1", headers=((b"x-api-key", KEY.encode()),))
    request = Request.decode(Dialect.CHAT, arrival.headers, BODY % b"true")
    exchange = Exchange(id=id, received_at=time.monotonic(), arrival=arrival, request=request)
    exchange.caller = Caller(name="local")
    exchange.opened = opened
    exchange.account = Account(login="octocat", github_token=Secret("t"))
    exchange.route = Route(model=MODEL, dialect=Dialect.CHAT)
    return exchange


async def cpu(handler: Handler, id: str, count: int, opened: Opened) -> float:
    """Microseconds of CPU for one exchange."""
    start = time.process_time()
    for _ in range(count):
        await handler(make(id, opened), forget)
    return (time.process_time() - start) / count * 1e6


async def measure(setups: dict[str, Sequence[Stage]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """For each setup and round: microseconds a request, and a chunk."""
    handlers = {name: compose(stages, answer) for name, stages in setups.items()}
    upstream = Upstream(Settings(max_streams=100))
    opened = await upstream.opened()
    for handler in handlers.values():
        await cpu(handler, "short", REQUESTS // 4, opened)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in setups}
    for _ in range(rounds):
        for name, handler in handlers.items():
            request = await cpu(handler, "short", REQUESTS, opened)
            stream = await cpu(handler, "long", REQUESTS // 10, opened)
            found[name].append((request, (stream - request) / (CHUNKS - 1)))
    await upstream.aclose()
    return found


def main() -> None:
    """Measure the setups in turn, round after round."""
    chosen = arguments(__doc__).parse_args()
    rounds = 1 if chosen.quick else ROUNDS
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        every, plain = all_stages(directory), unconfigured(directory)
        setups: dict[str, Sequence[Stage]] = {
            "no stages": (),
            "five policies": only(every, FIVE),
            "those that answer": only(plain, ANSWERING),
            "nothing configured": only(plain, LOCAL),
            "all stages": only(every, LOCAL),
        }
        found = asyncio.run(measure(setups, rounds))
    base = found["no stages"]
    rows = [row(name, len(setups[name]), mine, base) for name, mine in found.items()]
    publish("pipeline", f"Microseconds of CPU, medians of {rounds} rounds", COLUMNS, rows, chosen.json)


def row(name: str, stages: int, mine: list[tuple[float, float]], base: list[tuple[float, float]]) -> Row:
    """The medians of one setup, and what it adds to ``base`` in the same round."""
    pairs = list(zip(mine, base, strict=True))
    return {
        "setup": name,
        "stages": stages,
        "request": median(request for request, _ in mine),
        "request_added": median(own[0] - none[0] for own, none in pairs),
        "chunk": median(chunk for _, chunk in mine),
        "chunk_added": median(own[1] - none[1] for own, none in pairs),
    }


COLUMNS = (
    Column("setup", "setup"),
    Column("stages", "stages", "{:.0f}"),
    Column("request", "a request"),
    Column("request_added", "added"),
    Column("chunk", "a chunk", "{:.2f}"),
    Column("chunk_added", "added", "{:.2f}"),
)

if __name__ == "__main__":
    main()
