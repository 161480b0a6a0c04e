"""``copilot-asgi simulate``: a GitHub and a Copilot that are not, on this machine only."""

import shlex
import sys
from functools import partial

import anyio
import click

from copilot_asgi.cli import logs, terminal
from copilot_asgi.cli.listening import base_url, bind
from copilot_asgi.cli.servers import Service, check_installed, run_uvicorn
from copilot_asgi.cli.serving import loop_options
from copilot_asgi.cli.signals import StopSignals
from copilot_asgi.config import LogFormat, LogLevel, is_loopback
from copilot_asgi.errors import ConfigError
from copilot_asgi.simulator.settings import Plan, SimulatorSettings

__all__ = ["nothing_to_drain", "settings_lines", "simulate"]


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback address to listen on.")
@click.option("--port", default=4142, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 is any free one.")
@click.option("--plan", type=click.Choice([plan.value for plan in Plan]), default=Plan.INDIVIDUAL.value,
              show_default=True, help="The Copilot plan of the account.")  # fmt: skip
@click.option("--auto-approve/--no-auto-approve", default=True, show_default=True,
              help="Let every sign-in through, or wait for /login/device.")  # fmt: skip
@click.option("--interval", default=1, show_default=True, type=click.IntRange(1, 60),
              help="Seconds between two polls of a sign-in.")  # fmt: skip
@click.option("--login", default="octocat", show_default=True, help="Who signs in.")
def simulate(host: str, port: int, plan: str, *, auto_approve: bool, interval: int, login: str) -> None:
    """Run a simulation of GitHub and the Copilot API, to try this program without an account.

    It prints three settings to paste; with them, every other command talks to the simulation. Nothing leaves this
    machine and no answer comes from a model.
    """
    check_installed("uvicorn")
    if not is_loopback(host):
        raise ConfigError(f"host: the simulation takes anybody's word, so it listens on loopback only, not on {host}.")
    logs.configure(LogLevel.WARNING, LogFormat.TEXT)
    chosen = partial(SimulatorSettings, plan=Plan(plan), auto_approve=auto_approve, interval=interval, login=login)
    with StopSignals() as stop:
        anyio.run(partial(_simulate, host, port, chosen, stop), backend_options=loop_options())


async def nothing_to_drain() -> None:
    """The simulation ends at once, as a service that fails does."""


def settings_lines(url: str) -> tuple[str, ...]:
    """Settings that point this program at the simulation, for the shell of this system."""
    names = ("COPILOT_ASGI_GITHUB_URL", "COPILOT_ASGI_GITHUB_API_URL", "COPILOT_ASGI_COPILOT_URL")
    if sys.platform == "win32":
        return tuple(f'$env:{name} = "{url}"' for name in names)
    return tuple(f"export {name}={shlex.quote(url)}" for name in names)


async def _simulate(host: str, port: int, chosen: "partial[SimulatorSettings]", stop: StopSignals) -> None:
    from copilot_asgi.simulator import Simulator

    sock = bind(host, port)
    url = base_url(sock)

    def ready() -> None:
        terminal.note("This is a simulation: no GitHub, no Copilot, no model.")
        for line in settings_lines(url):
            terminal.say(line)
        terminal.say(f"listening on {url}")

    app = Simulator(settings=chosen(base_url=url))
    await run_uvicorn(Service(app=app, sock=sock, stop=stop, drain=nothing_to_drain, ready=ready))
