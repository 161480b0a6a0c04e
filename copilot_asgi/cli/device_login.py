"""The device flow as a person sees it: a code, an address, and how much time is left.

Rule: everything goes to stderr, works over SSH, and needs no browser here; one is opened only when asked for.
"""

import math
import sys
import time
import webbrowser
from collections.abc import Callable

import anyio
import anyio.to_thread

from copilot_asgi.cli import clipboard, terminal
from copilot_asgi.credentials.device_flow import DeviceCode
from copilot_asgi.credentials.sign_in import run_device_flow
from copilot_asgi.secret import Secret
from copilot_asgi.upstream.client import Upstream

__all__ = ["Prompter", "sign_in"]

TICK = 1.0  # seconds between two pictures of the countdown


class Prompter:
    """Shows the code, and the time that is left while waiting. ``clock`` is monotonic, in seconds."""

    def __init__(self, *, browser: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._browser = browser
        self._clock = clock
        self._ends_at = math.inf
        self._drawn = 0

    async def show(self, code: DeviceCode) -> None:
        """Tell the person where to go and what to type."""
        self._ends_at = self._clock() + code.expires_in
        await clipboard.copy(code.user_code)
        terminal.note()
        terminal.note(f"  Open   {code.verification_uri}")
        terminal.note(f"  Enter  {code.user_code}", style="bold")
        terminal.note()
        if self._browser and not await anyio.to_thread.run_sync(webbrowser.open, code.verification_uri):
            terminal.note("No browser could be opened here; open the address on any device.")
        if not sys.stderr.isatty():
            terminal.note(f"Waiting for GitHub, at most {_minutes(code.expires_in)}.")

    async def sleep(self, seconds: float) -> None:
        """Wait, with a countdown where there is a terminal."""
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            self._draw(f"Waiting for GitHub, {_minutes(self._ends_at - self._clock())} left. Ctrl-C cancels.")
            await anyio.sleep(min(TICK, left))

    def clear(self) -> None:
        """Take the countdown off the terminal."""
        if self._drawn:
            self._draw("")
            sys.stderr.write("\r")
            sys.stderr.flush()

    def _draw(self, text: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r" + text.ljust(self._drawn))
            sys.stderr.flush()
            self._drawn = len(text)


async def sign_in(upstream: Upstream, *, browser: bool) -> Secret:
    """The GitHub token of whoever enters the code. Raises the errors of the device flow."""
    opened = await upstream.opened()
    prompter = Prompter(browser=browser)
    try:
        return await run_device_flow(
            opened.http.fetch, upstream.identity, upstream.hosts, show=prompter.show, sleep=prompter.sleep
        )
    finally:
        prompter.clear()


def _minutes(seconds: float) -> str:
    whole = max(0, math.ceil(seconds))
    return f"{whole // 60}:{whole % 60:02d}"
