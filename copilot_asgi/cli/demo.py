"""``copilot-asgi demo``: the whole thing on one machine, with a simulated GitHub and Copilot.

Rule: the login of the person who runs it is neither read nor written; everything lives in a temporary directory.
"""

import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import click
from anyio.abc import TaskStatus

from copilot_asgi.cli import logs, terminal
from copilot_asgi.cli.listening import bind, caller_url
from copilot_asgi.cli.serve import usage_lines
from copilot_asgi.cli.servers import ASGIApp, Service, check_installed, run_uvicorn
from copilot_asgi.cli.serving import loop_options
from copilot_asgi.cli.signals import StopSignals
from copilot_asgi.cli.simulate import nothing_to_drain
from copilot_asgi.config import LogFormat, LogLevel, Settings
from copilot_asgi.credentials.accounts import Account
from copilot_asgi.credentials.device_flow import DeviceCode
from copilot_asgi.credentials.github_user import fetch_user
from copilot_asgi.credentials.sign_in import run_device_flow
from copilot_asgi.errors import CopilotASGIError
from copilot_asgi.upstream.client import Upstream

if TYPE_CHECKING:
    from copilot_asgi.app import CopilotApp
    from copilot_asgi.simulator import Simulator

__all__ = ["demo"]

HOST = "127.0.0.1"
SIMULATION = "This is a simulation: the answers come from a script on this machine, not from GitHub Copilot."


@click.command()
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Port of the endpoints; 0 is any free one.")
@click.option("--once", is_flag=True, help="Hold one conversation, print it, and exit (0 when all went well).")
def demo(port: int, *, once: bool) -> None:
    """Try everything without an account: a simulated Copilot, and the endpoints in front of it.

    Your own login is not touched.
    """
    check_installed("uvicorn")
    logs.configure(LogLevel.WARNING, LogFormat.TEXT)
    with tempfile.TemporaryDirectory(prefix="copilot-asgi-demo-") as directory, StopSignals() as stop:
        anyio.run(partial(_demo, Path(directory), port, once, stop), backend_options=loop_options())


async def _demo(directory: Path, port: int, once: bool, stop: StopSignals) -> None:  # noqa: FBT001 - from partial
    failure: CopilotASGIError | None = None
    async with anyio.create_task_group() as tasks:
        start = partial(_start, tasks.start, stop)
        with anyio.CancelScope() as scope:
            tasks.start_soon(_cancel_when_stopped, stop, scope)
            try:
                await _show(directory, port, start, _talk if once else _stay)
            except CopilotASGIError as error:
                failure = error
        # The servers end by themselves, in order; an error that went through the group would cut them off.
        stop.request()
    if failure is not None:
        raise failure
    if once and scope.cancelled_caught:
        raise click.Abort


async def _cancel_when_stopped(stop: StopSignals, scope: anyio.CancelScope) -> None:
    await stop.wait()
    scope.cancel()


Start = Callable[[ASGIApp, int, Callable[[], Awaitable[None]]], Awaitable[str]]


async def _show(directory: Path, port: int, start: Start, body: Callable[[str, "Simulator"], Awaitable[None]]) -> None:
    from copilot_asgi.app import CopilotApp
    from copilot_asgi.simulator import Simulator
    from copilot_asgi.simulator.settings import SimulatorSettings

    simulator = Simulator(settings=SimulatorSettings(auto_approve=True, interval=1))
    upstream_url = await start(simulator, 0, nothing_to_drain)
    settings = Settings(
        github_url=upstream_url,
        github_api_url=upstream_url,
        copilot_url=upstream_url,
        data_dir=directory / "data",
        drain_timeout=2.0,
    )
    app = CopilotApp(settings)
    terminal.say(SIMULATION, style="bold")
    terminal.say(f"simulator  {upstream_url}")
    await _sign_in(app.upstream)
    url = await start(app, port, partial(_end, app))
    terminal.say(f"listening on {url}")
    await body(url, simulator)


async def _start(
    spawn: Callable[..., Awaitable[object]],
    stop: StopSignals,
    app: ASGIApp,
    port: int,
    drain: Callable[[], Awaitable[None]],
) -> str:
    """Serve ``app`` in the background; its address, once it answers."""
    sock = bind(HOST, port)
    url = caller_url(sock)

    async def run(*, task_status: TaskStatus[None]) -> None:
        await run_uvicorn(Service(app=app, sock=sock, stop=stop, drain=drain, ready=task_status.started))

    await spawn(run)
    return url


async def _end(app: "CopilotApp") -> None:
    await app.drain(app.settings.drain_timeout)
    await app.aclose()


async def _sign_in(upstream: Upstream) -> None:
    """The real device flow; the simulation approves it at the first poll."""

    async def show(code: DeviceCode) -> None:
        terminal.say(f"sign-in    code {code.user_code} at {code.verification_uri}, approved by the simulation")

    opened = await upstream.opened()
    fetch = opened.http.fetch
    token = await run_device_flow(fetch, upstream.identity, upstream.hosts, show=show)
    user = await fetch_user(fetch, token, upstream.hosts, upstream.identity)
    account = Account(
        login=user.login, github_token=token, host=upstream.hosts.name, source="demo", added_at=time.time()
    )
    await upstream.accounts.add(account)
    terminal.say(f"signed in  {user.login} ({user.plan} plan)")


async def _talk(url: str, simulator: "Simulator") -> None:
    from copilot_asgi.cli.demo_conversation import converse

    await converse(url)
    if simulator.violations:
        broken = ", ".join(sorted({violation.rule for violation in simulator.violations}))
        raise CopilotASGIError(f"The simulation found requests that Copilot would not take: {broken}.")


async def _stay(url: str, simulator: "Simulator") -> None:  # noqa: ARG001 - as _talk
    for line in usage_lines(url, needs_key=False):
        terminal.say(line)
    body = '{"model": "gpt-5-mini", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}'
    terminal.say(f"curl -N {url}/v1/chat/completions -H 'content-type: application/json' -d '{body}'")
    terminal.say("Ctrl-C ends it.")
    await anyio.sleep_forever()
