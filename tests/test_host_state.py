"""Mounted in somebody's process the app leaves the interpreter as it found it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SCRIPT = """
import asyncio, logging, signal, sys, threading, warnings

def state():
    return (
        [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        list(logging.getLogger().handlers), logging.getLogger().level, logging.getLogger("copilot_asgi").handlers,
        sys.excepthook, sys.displayhook, sys.getrecursionlimit(), list(warnings.filters), sys.stdout, sys.stderr,
        type(asyncio.get_event_loop_policy()), threading.active_count(),
    )

import httpx, msgspec, anyio  # what the app uses may do what it likes
async def main():
    from copilot_asgi.in_process import in_process_transport
    from tests.stand import CHAT, stand
    async with stand() as it:
        response = await it.client.post("/v1/chat/completions", json=CHAT)
        assert response.status_code == 200, response.text

before = state()
import copilot_asgi.asgi
asyncio.run(main())
assert state() == before, "\\n".join(f"{a} != {b}" for a, b in zip(before, state()) if a != b)
"""


def test_nothing_of_the_host_is_changed() -> None:
    """No signal handler, no logging set-up, no hooks, no loop policy, no thread is left behind by a served request."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""
