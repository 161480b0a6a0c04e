"""``copilot-asgi doctor``: what can go wrong, checked, and what to do about it."""

from collections.abc import Callable

import click

from copilot_asgi.cli import terminal
from copilot_asgi.cli.findings import Finding, Verdict, failed
from copilot_asgi.cli.local_checks import installed, local
from copilot_asgi.cli.network_checks import network, proxies
from copilot_asgi.cli.options import ALL, with_settings_reader
from copilot_asgi.cli.session import with_upstream
from copilot_asgi.config_sources import Loaded
from copilot_asgi.errors import ConfigError

__all__ = ["doctor"]

STYLES = {Verdict.OK: "", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


@click.command()
@click.option("--offline", is_flag=True, help="Leave out what needs the network.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings_reader(*ALL)
def doctor(read: Callable[[], Loaded], *, offline: bool, as_json: bool) -> int:
    """Check what can go wrong, and say what to do about it.

    One line a check: ok, warn or fail. The exit status is 1 when anything fails. Nothing is changed, no model is asked,
    and no secret is shown.
    """
    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        if not as_json:
            terminal.say(finding.line, style=STYLES[finding.verdict])

    _check(read, tell, offline=offline)
    healthy = all(finding.verdict is not Verdict.FAIL for finding in findings)
    if as_json:
        terminal.say_json({"ok": healthy, "findings": findings})
    return 0 if healthy else 1


def _check(read: Callable[[], Loaded], tell: Callable[[Finding], None], *, offline: bool) -> None:
    for finding in installed():
        tell(finding)
    try:
        loaded = read()
    except ConfigError as error:
        tell(failed("settings", error))
        return
    for finding in local(loaded):
        tell(finding)
    if not offline:
        tell(proxies())
        with_upstream(loaded.settings, lambda upstream: network(upstream, tell))
