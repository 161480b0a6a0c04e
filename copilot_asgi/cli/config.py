"""``copilot-asgi config``: which settings are in force, and where they come from."""

from pathlib import Path

import click

from copilot_asgi.cli import terminal
from copilot_asgi.cli.options import ALL, with_settings
from copilot_asgi.config_sources import FILE_NAME, Loaded, shown
from copilot_asgi.upstream.client import data_dir

__all__ = ["config", "settings_file"]


@click.group()
def config() -> None:
    """Show the settings in force and where they come from."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*ALL)
def show(loaded: Loaded, *, as_json: bool) -> None:
    """List every setting, its value and its source. Secrets are masked.

    Options set values as they would for `serve`, to try them.
    """
    values = shown(loaded.settings)
    sources = {name: loaded.sources.get(name, "default") for name in values}
    if as_json:
        terminal.say_json({name: {"value": values[name], "source": sources[name]} for name in values})
    else:
        terminal.say_table(("setting", "value", "source"), [(name, values[name], sources[name]) for name in values])


@config.command()
@with_settings("data_dir")
def path(loaded: Loaded) -> None:
    """Print where the settings file is looked for, and where the login is kept."""
    file = settings_file()
    terminal.say(f"settings  {file}{'' if file.exists() else '  (not there)'}")
    terminal.say(f"data      {data_dir(loaded.settings)}")


def settings_file() -> Path:
    """Where the running command looks for the settings file."""
    given: Path | None = click.get_current_context().params.get("config_file")
    return (given or Path(FILE_NAME)).absolute()
