"""Programs that are measured, or measure: started in a session of their own, kept to some CPUs, ended for certain.

Rule: the CPU time and the memory of a program are those of all processes of its session, read from the system, so that
every worker of a server counts.
"""

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec

PROC = Path("/proc")


class Usage(msgspec.Struct, frozen=True):
    """What a program has used: seconds of CPU since its start, and bytes that are resident now."""

    cpu: float = 0.0
    resident: int = 0


class Program:
    """A process and those that it starts, as a context manager. ``cpus``: where they may run, ``None`` is anywhere.

    Its output goes to ``log``, unless ``talks``: then its stdin and stdout are ours.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        cpus: frozenset[int] | None = None,
        env: Mapping[str, str] | None = None,
        talks: bool = False,
    ) -> None:
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=log.parent,
                env={**_clean_environment(), **(env or {})},
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else output,
                stderr=output,
                text=True,
                start_new_session=True,
            )
        self.log = log
        if cpus is not None:
            # The threads and processes to come inherit it; there are none yet.
            os.sched_setaffinity(self.process.pid, cpus)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def usage(self) -> Usage:
        """What all its processes have used so far."""
        found = [_usage(pid) for pid in _session(self.process.pid)]
        return Usage(sum(each.cpu for each in found), sum(each.resident for each in found))

    def settle(self, *, seconds: float) -> None:
        """Wait until it has done what it put off, ``seconds`` at most."""
        end = time.monotonic() + seconds
        before = self.usage().cpu
        while time.monotonic() < end:
            time.sleep(0.1)
            now = self.usage().cpu
            if now - before < 0.002:
                return
            before = now

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every process of the session."""
        for pid in _session(self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """End it, by force if it takes more than five seconds."""
        self.signal(signal.SIGCONT)
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.signal(signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()


def check_system() -> None:
    """Raises ``SystemExit`` where the CPU time of another program cannot be read."""
    if not (PROC / "self" / "stat").exists():
        raise SystemExit("This benchmark reads CPU time and memory of processes from /proc: it needs Linux.")


def cpu_sets() -> tuple[frozenset[int] | None, frozenset[int] | None]:
    """Where what is measured runs, and where all else does; anywhere when there is one CPU only."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        return None, None
    return frozenset(available[:1]), frozenset(available[1:])


def allow_open_files(count: int) -> None:
    """Let this process, and those it starts from now on, open ``count`` files. Raises ``SystemExit`` if it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(count, hard)))
    except (ValueError, OSError):
        raise SystemExit(f"{count} open files are needed and {hard} allowed. Raise the limit (ulimit -Hn).") from None


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def wait_for_port(port: int, program: Program, *, seconds: float = 120.0) -> None:
    """Wait until the program listens. Raises ``SystemExit`` when it ends or takes longer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and program.process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.01)
    raise SystemExit(f"{program.process.args!r} does not listen:\n{program.log.read_text()[-2000:]}")


def _clean_environment() -> dict[str, str]:
    """The environment, without settings and proxies that would change what is measured."""
    unwanted = ("COPILOT_ASGI_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(unwanted)}


def _session(leader: int) -> Iterator[int]:
    """The processes of the session that ``leader`` began."""
    for entry in PROC.glob("[0-9]*/stat"):
        with suppress(OSError):
            # Behind the name, which may hold anything: state, parent, group, session (proc(5)).
            if int(entry.read_text().rpartition(")")[2].split()[3]) == leader:
                yield int(entry.parent.name)


def _usage(pid: int) -> Usage:
    with suppress(OSError):
        pages = int((PROC / str(pid) / "statm").read_text().split()[1])
        # The process's own CPU clock, to the nanosecond and with threads that are gone (clock_getcpuclockid(3)).
        cpu = time.clock_gettime((~pid << 3) | 2)
        return Usage(cpu, pages * resource.getpagesize())
    return Usage()
