"""What each stage costs a request and a chunk, with the app set up as ``serve`` is: a key, a rate limit, the ledger.

Run it:  python benchmarks/bench_stages.py [--rounds N] [--json FILE]
The app is called in this process, without a server and a socket. Each row has one stage more than the one before it,
and an answer from memory behind it; in the last row the forwarder asks an engine that answers from memory. It prints
microseconds of CPU with warm caches, and what a row costs more than the one before it, compared round by round.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from fake_upstream import CHUNK, LAST, OPENING, answers
from report import Column, Row, arguments, median, publish
from scenarios import Scenario

from copilot_asgi import CopilotApp, Exchange, Head, Secret, Send, Settings, Upstream, stack
from copilot_asgi.exchange import Handler

HOST = "http://127.0.0.1:9"
KEY = "one-key-of-a-bench"
ROUNDS = 9
REQUESTS = 400
STREAMS = 20
CHUNKS = 200
PLAIN, STREAM = Scenario(connections=1), Scenario(connections=1, chunks=CHUNKS)
JSON = answers(HOST)
PIECES = [OPENING, *(CHUNK % (number, 0) for number in range(CHUNKS)), LAST]

Cost = tuple[float, float]  # microseconds a request, and a chunk


class Answer:
    """A response of the engine's, whose pieces are all there."""

    status = 200

    def __init__(self, kind: bytes, pieces: Sequence[bytes]) -> None:
        self.headers = ((b"content-type", kind), (b"x-request-id", b"bench"))
        self._pieces = iter(pieces)

    async def receive(self) -> bytes:
        """The next piece."""
        return next(self._pieces, b"")

    async def aclose(self) -> None:
        """There is nothing to close."""


class Engine(httpx.AsyncBaseTransport):
    """Takes requests as bytes, as our own engine does, and answers from memory."""

    async def exchange(self, origin: object, head: bytes, body: bytes, **deadlines: float) -> Answer:  # noqa: ARG002 - its shape
        """The answer to one request."""
        if b'"stream":true' in body.replace(b" ", b""):
            return Answer(b"text/event-stream", PIECES)
        path = head.split(b" ", 2)[1]
        return Answer(b"application/json", [next(body for end, body in JSON.items() if path.endswith(end))])


async def answer(exchange: Exchange, send: Send, call_next: Handler) -> None:  # noqa: ARG001 - the shape of a stage
    """Stands for all that would follow: answers as upstream does."""
    kind, pieces = (
        (b"text/event-stream", PIECES)
        if exchange.request.stream
        else (b"application/json", [JSON[b"/chat/completions"]])
    )
    await send(Head(200, ((b"content-type", kind),)))
    for piece in pieces:
        await send(piece)


def apps(directory: Path) -> dict[str, CopilotApp]:
    """The app with ever more of its stages, by the name of the last one."""
    settings = Settings(
        github_url=HOST,
        github_api_url=HOST,
        copilot_url=HOST,
        github_token=Secret("gho_bench"),
        api_keys=(Secret(KEY),),
        rate_limit=("1000000/s",),
        ledger=True,
        data_dir=directory,
    )
    upstream = Upstream(settings, transport=Engine())
    stages = [(name, stage) for name, stage in stack.default(upstream).named if stage is not None]
    made = {"the edge": CopilotApp(settings, upstream=upstream, stages=[answer])}
    for count, (name, _) in enumerate(stages, start=1):
        first = [stage for _, stage in stages[:count]]
        made[name] = CopilotApp(settings, upstream=upstream, stages=[*first, answer])
    made["forward"] = CopilotApp(settings, upstream=upstream)
    return made


async def ask(app: CopilotApp, body: bytes) -> None:
    """One request, answered whole."""
    names = {"host": "127.0.0.1", "content-type": "application/json", "authorization": f"Bearer {KEY}", "accept": "*/*"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "headers": [(name.encode(), value.encode()) for name, value in names.items()],
        "client": ("127.0.0.1", 1),
    }
    messages = [{"type": "http.request", "body": body}]
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop()

    async def send(message: dict[str, Any]) -> None:
        if "status" in message:
            statuses.append(message["status"])

    await app(scope, receive, send)
    if statuses != [200]:
        raise SystemExit(f"The app answered with {statuses}.")


async def cost(app: CopilotApp, scale: float) -> Cost:
    """Microseconds of CPU for a plain answer, and for a chunk."""
    plain = await cpu(app, PLAIN.body("gpt-4o"), max(1, int(REQUESTS * scale)))
    stream = await cpu(app, STREAM.body("gpt-4o"), max(1, int(STREAMS * scale)))
    return plain, (stream - plain) / CHUNKS


async def cpu(app: CopilotApp, body: bytes, count: int) -> float:
    start = time.process_time()
    for _ in range(count):
        await ask(app, body)
    return (time.process_time() - start) / count * 1e6


async def measure(directory: Path, rounds: int, scale: float) -> dict[str, list[Cost]]:
    """Every app in turn, round after round; the first round only warms up."""
    made = apps(directory)
    found: dict[str, list[Cost]] = {name: [] for name in made}
    for number in range(rounds + 1):
        for name, app in made.items():
            measured = await cost(app, scale)
            if number:
                found[name].append(measured)
    for app in made.values():
        await app.aclose()
    return found


def main() -> None:
    """Measure the apps, and show what each has more than the one before it."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    chosen = parser.parse_args()
    rounds, scale = (1, 0.01) if chosen.quick else (chosen.rounds, 1.0)
    with tempfile.TemporaryDirectory() as name:
        found = asyncio.run(measure(Path(name), rounds, scale))
    rows: list[Row] = []
    before: Sequence[Cost] = [(0.0, 0.0)] * rounds
    for name, mine in found.items():
        rows.append(row(name, mine, before))
        before = mine
    publish(
        "stages",
        f"Microseconds of CPU with one stage more in each row, medians of {rounds} rounds",
        COLUMNS,
        rows,
        chosen.json,
    )


def row(name: str, mine: Sequence[Cost], before: Sequence[Cost]) -> Row:
    """The medians of one app, and what it takes longer than the one before it in the same round."""
    pairs = list(zip(mine, before, strict=True))
    return {
        "stage": name,
        "request": median(plain for plain, _ in mine),
        "request_added": median(own[0] - less[0] for own, less in pairs),
        "chunk": median(chunk for _, chunk in mine),
        "chunk_added": median(own[1] - less[1] for own, less in pairs),
    }


COLUMNS = (
    Column("stage", "with"),
    Column("request", "a request"),
    Column("request_added", "added"),
    Column("chunk", "a chunk", "{:.2f}"),
    Column("chunk_added", "added", "{:.2f}"),
)

if __name__ == "__main__":
    main()
