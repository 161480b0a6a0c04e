"""Several processes that serve behind one listening socket: the parent, which serves nothing itself.

Rule: workers live no longer than the parent, and the parent no longer than workers can be had. One that ends unasked is
replaced; when they end before they serve, or again and again, so does the parent, with an error.
"""

import logging
import multiprocessing
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait

from copilot_asgi.cli.endings import WRONG_SETTING
from copilot_asgi.cli.signals import GLANCE, StopSignals
from copilot_asgi.cli.worker import DRAIN, work
from copilot_asgi.config import Settings
from copilot_asgi.errors import ConfigError, CopilotASGIError
from copilot_asgi.secret import Secret

__all__ = ["Handover", "Restarts", "Worker", "Workers"]

logger = logging.getLogger(__name__)

MOST_RESTARTS = 5
RESTART_WINDOW = 60.0  # seconds

# A fresh interpreter for each: safe beside threads and event loops, and the same on every system.
_SPAWN = multiprocessing.get_context("spawn")


class Handover:
    """Settings on their way to a worker: unpickled, they are the same ``Settings``.

    A ``Secret`` pickles as a mask, so that it cannot slip out. Here they are pickled on purpose, for a pipe that only
    the worker can read: neither its command line nor its environment holds them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __reduce__(self) -> tuple[Callable[..., Settings], tuple[Settings, tuple[str, ...], str | None]]:
        settings = self._settings
        token = None if settings.github_token is None else settings.github_token.reveal()
        return _received, (settings, tuple(key.reveal() for key in settings.api_keys), token)


class Worker:
    """A process that serves on ``sock``, seen from its parent."""

    def __init__(self, settings: Settings, sock: socket.socket) -> None:
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=work, args=(Handover(settings), sock, theirs), daemon=True)
        with _interrupts_ignored():
            self._process.start()
        theirs.close()
        self.accepts = False

    def __str__(self) -> str:
        return f"worker {self._process.pid}"

    @property
    def sources(self) -> tuple["int | Connection[bytes, bytes]", ...]:
        """What ``multiprocessing.connection.wait`` waits for: news of this worker."""
        return (self._process.sentinel,) if self.accepts else (self._process.sentinel, self._pipe)

    @property
    def status(self) -> int | None:
        """The exit status (minus the signal that ended it), or ``None`` while it runs."""
        return self._process.exitcode

    def listen(self) -> None:
        """Take in what it has said."""
        with suppress(EOFError, OSError):
            if self._pipe.poll():
                self._pipe.recv_bytes()
                self.accepts = True

    def drain(self) -> None:
        """Ask it to end in order."""
        with suppress(OSError):
            self._pipe.send_bytes(DRAIN)

    def join(self) -> None:
        """Wait until it has ended."""
        self._process.join()
        self._pipe.close()


class Restarts:
    """How often workers were replaced of late. ``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._latest: deque[float] = deque(maxlen=MOST_RESTARTS)

    def allow(self) -> bool:
        """Whether one more is no crash loop; it counts."""
        now = self._clock()
        if len(self._latest) == MOST_RESTARTS and now - self._latest[0] < RESTART_WINDOW:
            return False
        self._latest.append(now)
        return True


class Workers:
    """As many workers as ``count``, each made by ``start``. ``ready`` is called once all of them accept."""

    def __init__(
        self,
        start: Callable[[], Worker],
        count: int,
        *,
        stop: StopSignals,
        ready: Callable[[], None],
        restarts: Restarts | None = None,
    ) -> None:
        self._start = start
        self._stop = stop
        self._ready = ready
        self._restarts = restarts or Restarts()
        self._count = count
        self._crew: list[Worker] = []

    def run(self) -> None:
        """Return when the end was asked for and all have ended. Raises ``CopilotASGIError`` when they cannot serve."""
        try:
            for _ in range(self._count):
                self._crew.append(self._start())
            self._watch()
        finally:
            for worker in self._crew:
                worker.drain()
            for worker in self._crew:
                worker.join()
        # A supervisor of this system may have sent SIGTERM to all, to one that had not begun to listen for it.
        bad = [worker for worker in self._crew if worker.status not in {0, -signal.SIGTERM}]
        if bad:
            raise CopilotASGIError(f"{bad[0]} ended with status {bad[0].status}; what it said is above.")

    def _watch(self) -> None:
        """Put others in the place of workers that end, until the end is asked for."""
        announced = False
        while not self._stop.requested:
            wait([source for worker in self._crew for source in worker.sources], GLANCE)
            for index, worker in enumerate(self._crew):
                worker.listen()
                if worker.status is not None and not self._stop.requested:
                    self._crew[index] = self._successor(worker)
            if not announced and all(worker.accepts for worker in self._crew):
                self._ready()
                announced = True

    def _successor(self, worker: Worker) -> Worker:
        if worker.status == WRONG_SETTING:
            raise ConfigError("A worker cannot serve with these settings; what it said is above.")
        if not worker.accepts:
            raise CopilotASGIError(
                f"{worker} ended with status {worker.status} before it could serve; what it said is above."
            )
        if not self._restarts.allow():
            raise CopilotASGIError(
                f"Workers end too often: more than {MOST_RESTARTS} within {RESTART_WINDOW:g} seconds. "
                f"The last one ended with status {worker.status}."
            )
        worker.join()
        logger.warning("%s ended with status %s; another one takes its place", worker, worker.status)
        return self._start()


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """What is started inside never sees Ctrl-C, not even before its own code runs."""
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def _received(settings: Settings, api_keys: tuple[str, ...], github_token: str | None) -> Settings:
    from msgspec import structs

    token = None if github_token is None else Secret(github_token)
    return structs.replace(settings, api_keys=tuple(map(Secret, api_keys)), github_token=token)
