"""The stand: an upstream, the targets in front of it, and loads that are run against one of them at a time.

Rule: a target has a CPU to itself, the load and the upstream another one, and the targets that are not being measured
stand still; what is compared is CPU time for the same work, which depends least on what else the machine does.
"""

import shlex
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import msgspec
from load import Job, Seen
from processes import Program, Usage, allow_open_files, check_system, cpu_sets, free_port, wait_for_port
from scenarios import Scenario
from targets import HERE, Target, fill, values

FIRST_ANSWER = Scenario(connections=1)


class Measured(msgspec.Struct, frozen=True):
    """What the load saw, and the seconds of CPU that the target used for it."""

    seen: Seen
    cpu: float

    @property
    def microseconds(self) -> float | None:
        """Of CPU for a unit; ``None`` where there was none, or no program to measure."""
        return self.cpu / self.seen.units * 1e6 if self.seen.units and self.cpu else None


class Stand:
    """A context manager: starts the upstream, and at the end stops everything.

    ``pinned``: the target and the rest are kept to CPUs of their own. ``environment`` is where peers are installed.
    """

    def __init__(self, *, pinned: bool = True, environment: Path = HERE / "peers" / ".env", files: int = 4096) -> None:
        check_system()
        allow_open_files(files)
        self._own, self._others = cpu_sets() if pinned else (None, None)
        self._environment = environment
        self._ends = ExitStack()
        self.port = free_port()

    def __enter__(self) -> Self:
        with ExitStack() as ends:
            self._scratch = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            command = (sys.executable, str(HERE / "fake_upstream.py"), str(self.port))
            self.upstream = Program(command, cpus=self._others, log=self._scratch / "upstream.log")
            ends.enter_context(self.upstream)
            wait_for_port(self.port, self.upstream)
            self._ends = ends.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def start(self, name: str, target: Target) -> "Running":
        """Start ``target`` and wait until it listens."""
        if not target.command:
            return Running(self, target, self.port, None)
        port, scratch = free_port(), self._scratch / name
        scratch.mkdir(mode=0o700)
        filled = values(target, port=port, upstream=self.port, scratch=scratch, environment=self._environment)
        for source, to in target.files.items():
            (scratch / to).write_text(fill((Path(target.here) / source).read_text(), filled))
        program = Program(
            [fill(word, filled) for word in shlex.split(target.command)],
            log=scratch / "log",
            cpus=self._own,
            env={key: fill(value, filled) for key, value in target.env.items()},
        )
        self._ends.enter_context(program)
        wait_for_port(port, program)
        return Running(self, target, port, program)

    def load(self, job: Job) -> "Load":
        """A load generator that is ready to begin."""
        return Load(job, self._others, self._scratch / "load.log")


class Load:
    """The load generator's process, as a context manager: from when it is ready to when its connections are closed."""

    def __init__(self, job: Job, cpus: frozenset[int] | None, log: Path) -> None:
        self._program = Program((sys.executable, str(HERE / "load.py")), cpus=cpus, log=log, talks=True)
        self._say(msgspec.json.encode(job).decode())
        if self._hear() != "ready":
            self._program.stop()
            raise SystemExit(f"The load generator failed:\n{log.read_text()[-2000:]}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._program.stop()

    def run(self) -> Seen:
        """Begin, and wait for what it saw; the connections of a held load stay open until it is closed."""
        self._say("go")
        return msgspec.json.decode(self._hear(), type=Seen)

    def _say(self, line: str) -> None:
        assert self._program.process.stdin is not None
        self._program.process.stdin.write(line + "\n")
        self._program.process.stdin.flush()

    def _hear(self) -> str:
        assert self._program.process.stdout is not None
        return self._program.process.stdout.readline().strip()


class Running:
    """A target that runs; without a program of its own it is the upstream."""

    def __init__(self, stand: Stand, target: Target, port: int, program: Program | None) -> None:
        self._stand = stand
        self.target = target
        self._port = port
        self._program = program

    def usage(self) -> Usage:
        """What it has used so far."""
        return Usage() if self._program is None else self._program.usage()

    def settle(self, *, seconds: float = 2.0) -> None:
        """Wait until it has done what it put off, ``seconds`` at most."""
        if self._program is not None:
            self._program.settle(seconds=seconds)

    def pause(self) -> None:
        """Make it stand still."""
        if self._program is not None:
            self._program.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        if self._program is not None:
            self._program.signal(signal.SIGCONT)

    def answer_first(self) -> float:
        """Ask until the first good answer comes; the seconds that took. Raises ``SystemExit`` after two minutes."""
        began = time.monotonic()
        while not (seen := self.work(FIRST_ANSWER, 0.05).seen).answers:
            if time.monotonic() > began + 120:
                raise SystemExit(f"No good answer from {self.target.command or 'the upstream'}: {seen.error}")
            time.sleep(0.2)
        return time.monotonic() - began

    def work(self, scenario: Scenario, seconds: float, *, ramp: float = 0.0) -> Measured:
        """Do ``scenario`` for ``seconds``."""
        job = self._job(scenario, seconds, ramp=ramp, hold=False)
        with self._stand.load(job) as load:
            before = self.usage().cpu
            seen = load.run()
            self.settle()
            return Measured(seen, self.usage().cpu - before)

    def hold(self, scenario: Scenario, seconds: float, *, ramp: float) -> tuple[Measured, Usage]:
        """Open the streams of ``scenario``, measure for ``seconds`` while all of them are open, and close them.

        The usage is that with all of them open.
        """
        job = self._job(scenario, seconds, ramp=ramp, hold=True)
        with self._stand.load(job) as load:
            before = self.usage().cpu
            seen = load.run()
            usage = self.usage()
        self.settle(seconds=30)  # thousands of streams are left at once
        return Measured(seen, usage.cpu - before), usage

    def _job(self, scenario: Scenario, seconds: float, *, ramp: float, hold: bool) -> Job:
        target = self.target
        dialect = scenario.dialect if scenario.dialect in target.paths else "chat"
        return Job(
            port=self._port,
            path=target.paths[dialect],
            headers=target.headers,
            body=scenario.body(target.model).decode(),
            connections=scenario.connections,
            chunks=scenario.chunks,
            seconds=seconds,
            ramp=ramp,
            hold=hold,
        )
