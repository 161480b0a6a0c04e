"""Tests of being told to stop."""

import signal
import subprocess
import sys

import anyio
import pytest

from copilot_asgi.cli.signals import StopSignals


@pytest.mark.anyio
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_first_signal_asks_and_the_handlers_come_back(number) -> None:
    """Inside the block a signal sets the flag; after it, the former handler is in place."""
    former = signal.getsignal(number)
    with StopSignals() as stop:
        assert not stop.requested
        signal.raise_signal(number)
        with anyio.fail_after(2):
            await stop.wait()
        assert stop.requested
    assert signal.getsignal(number) is former


@pytest.mark.servers
@pytest.mark.parametrize("first", ["SIGINT", "SIGTERM"])
def test_the_second_signal_ends_the_process_at_once(first) -> None:
    """It dies of the signal, as if nobody had handled it."""
    code = (
        "import signal; from copilot_asgi.cli.signals import StopSignals\n"
        f"with StopSignals():\n signal.raise_signal(signal.{first})\n print('alive', flush=True)\n"
        " signal.raise_signal(signal.SIGTERM)\n print('still alive')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "alive\n")


def test_the_second_signal_is_handed_to_the_system(monkeypatch) -> None:
    """The default action is put back first, and then the signal is raised again."""
    raised = []
    monkeypatch.setattr(signal, "raise_signal", lambda number: raised.append((number, signal.getsignal(number))))
    with StopSignals() as stop:
        stop.request()
        stop._handle(signal.SIGTERM, None)
    assert raised == [(signal.SIGTERM, signal.SIG_DFL)]
