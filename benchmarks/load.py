"""The load generator: a process that asks over many connections, and checks and times every answer.

It is told its work in a line of JSON on stdin (``Job``), says ``ready``, begins at the next line, says what it saw in a
line of JSON (``Seen``), and ends, closing its connections, when stdin does. An answer counts as failed unless its
status is 200 and all its chunks came, each once and in order.
"""

import asyncio
import re
import sys
import time
from functools import partial
from importlib.util import find_spec
from typing import cast

import anyio
import httptools
import msgspec

CHUNK = re.compile(rb"@([0-9a-f]{4}):([0-9a-f]{16})")
CHUNK_SIZE = 22
GRACE = 20.0  # seconds that answers under way get at the end, or streams to open at the beginning


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to do: ask ``port`` for ``path`` over ``connections`` for ``seconds``, starting them over ``ramp`` seconds.

    ``chunks`` is how many each answer must hold. With ``hold`` each connection opens one stream; what is counted is
    what comes in ``seconds`` once all are open. Without, those under way at the end are read to theirs.
    """

    port: int
    path: str
    headers: dict[str, str]
    body: str
    connections: int
    chunks: int
    seconds: float
    ramp: float = 0.0
    hold: bool = False

    @property
    def request(self) -> bytes:
        """The request on the wire."""
        body = self.body.encode()
        own = {"host": f"127.0.0.1:{self.port}", "content-type": "application/json", "content-length": str(len(body))}
        lines = [f"POST {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in (own | self.headers).items())]
        return "\r\n".join([*lines, "", ""]).encode() + body


class Times(msgspec.Struct, frozen=True):
    """Percentiles of some times, in milliseconds."""

    p50: float = 0.0
    p99: float = 0.0

    @classmethod
    def of(cls, nanoseconds: list[int]) -> "Times":
        """Those of these times; zero of none."""
        ordered = sorted(nanoseconds) or [0]
        p50, p99 = (ordered[int(share * (len(ordered) - 1))] / 1e6 for share in (0.5, 0.99))
        return cls(p50, p99)


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. ``cpu`` is what the load generator itself used, ``open`` how many streams had begun."""

    seconds: float
    cpu: float
    answers: int
    chunks: int
    failed: int
    error: str
    open: int
    first: Times
    lag: Times

    @property
    def units(self) -> int:
        """Chunks, or answers where these have none."""
        return self.chunks or self.answers


class Client(asyncio.Protocol):
    """One connection: asks, reads the answer to its end, and asks again until the load is over."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._transport: asyncio.Transport
        self._asking = False
        self._began = False
        self._rest = b""
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._now = time.monotonic_ns()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail("not HTTP")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._asking:
            self._fail(f"connection lost: {exc}")
        if not self.lost.done():
            self.lost.set_result(None)

    def on_body(self, data: bytes) -> None:
        if not self._load.job.chunks:
            self._begin()
            return
        data = self._rest + data
        end = 0
        for found in CHUNK.finditer(data):
            number, sent = found.groups()
            self._begin()
            self._load.lags.append(self._now - int(sent, 16))
            self._in_order &= int(number, 16) == self._number & 0xFFFF
            self._number += 1
            end = found.end()
        self._rest = data[max(end, len(data) - CHUNK_SIZE + 1) :]

    def on_message_complete(self) -> None:
        if not self._asking:
            return
        status = self._parser.get_status_code()
        if status != 200 or not self._in_order or self._number != self._load.job.chunks:
            self._fail(f"status {status}, {self._number} chunks, in order: {self._in_order}")
            return
        self._asking = False
        self._load.answers += 1
        if self._load.over or not self._parser.should_keep_alive():
            self._transport.close()
        else:
            self._ask()

    def _ask(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._asking, self._began, self._in_order = True, False, True
        self._number, self._rest = 0, b""
        self._asked = time.monotonic_ns()
        self._transport.write(self._load.request)

    def _begin(self) -> None:
        if not self._began:
            self._began = True
            self._load.begun(self._now - self._asked)

    def _fail(self, why: str) -> None:
        self._asking = False
        self._load.fail(why)
        self._transport.abort()


class Load:
    """All connections, and what they saw since ``reset``."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.request = job.request
        self.over = False
        self.open = 0
        self.all_open = anyio.Event()
        self.reset()

    def reset(self) -> None:
        """Begin to count."""
        self.answers = self.failed = 0
        self.error = ""
        self.firsts: list[int] = []
        self.lags: list[int] = []
        self._since = time.monotonic(), time.process_time()

    def begun(self, nanoseconds: int) -> None:
        """An answer has begun, so long after it was asked for."""
        self.firsts.append(nanoseconds)
        self.open += 1
        if self.open == self.job.connections:
            self.all_open.set()

    def fail(self, why: str) -> None:
        """An answer was not whole."""
        self.failed += 1
        self.error = self.error or why

    async def connect(self, delay: float) -> None:
        """Keep one connection, in place of one that is lost a new one, until the load is over."""
        await anyio.sleep(delay)
        loop = asyncio.get_running_loop()
        while not self.over:
            try:
                _, client = await loop.create_connection(partial(Client, self), "127.0.0.1", self.job.port)
            except OSError as error:
                self.fail(str(error))
                await anyio.sleep(0.05)
            else:
                await client.lost

    def seen(self) -> Seen:
        """What was counted so far."""
        began, used = self._since
        return Seen(
            seconds=time.monotonic() - began,
            cpu=time.process_time() - used,
            answers=self.answers,
            chunks=len(self.lags),
            failed=self.failed,
            error=self.error,
            open=self.open,
            first=Times.of(self.firsts),
            lag=Times.of(self.lags),
        )


async def work(load: Load) -> None:
    """Ask for ``seconds``, and read the answers under way to their ends."""
    job = load.job
    await told("ready")
    load.reset()
    with anyio.move_on_after(job.seconds + GRACE) as limit:
        async with anyio.create_task_group() as group:
            for number in range(job.connections):
                group.start_soon(load.connect, job.ramp * number / job.connections)
            await anyio.sleep(job.seconds)
            load.over = True
    if limit.cancelled_caught:
        load.fail("answers that did not end")


async def hold(load: Load) -> None:
    """Open a stream on every connection, and then count for ``seconds``; they stay open until stdin ends."""
    job = load.job
    async with anyio.create_task_group() as group:
        for number in range(job.connections):
            group.start_soon(load.connect, job.ramp * number / job.connections)
        with anyio.move_on_after(job.ramp + GRACE):
            await load.all_open.wait()
        await told("ready")
        load.reset()
        await anyio.sleep(job.seconds)
        await told(msgspec.json.encode(load.seen()).decode())
        load.over = True
        group.cancel_scope.cancel()


async def told(line: str) -> str:
    """Say a line, and wait for one."""
    print(line, flush=True)
    return await anyio.to_thread.run_sync(sys.stdin.readline)


async def main(job: Job) -> None:
    """Do the job in its mode."""
    load = Load(job)
    if job.hold:
        await hold(load)
    else:
        await work(load)
        await told(msgspec.json.encode(load.seen()).decode())


if __name__ == "__main__":
    wanted = msgspec.json.decode(sys.stdin.readline(), type=Job)
    anyio.run(partial(main, wanted), backend_options={"use_uvloop": find_spec("uvloop") is not None})
