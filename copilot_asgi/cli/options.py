"""Settings as options of commands.

Rule: the options follow the fields of ``Settings``, help and choices included; an argument beats the environment, which
beats the file. Secrets are no options, because everyone on a machine can read its command lines.
"""

from collections.abc import Callable
from enum import Enum
from functools import partial, wraps
from pathlib import Path
from typing import TypeVar, get_args, get_type_hints

import click
from msgspec import Meta

from copilot_asgi.config import Settings
from copilot_asgi.config_sources import Loaded, load

__all__ = ["ALL", "UPSTREAM", "with_settings", "with_settings_reader"]

R = TypeVar("R")

_HINTS = get_type_hints(Settings, include_extras=True)

_DEFAULTS = dict(zip(Settings.__struct_fields__, Settings.__struct_defaults__, strict=True))

SECRETS = frozenset({"api_keys", "github_token"})
ALL = tuple(name for name in Settings.__struct_fields__ if name not in SECRETS)

# What it takes to reach GitHub and Copilot as one account.
UPSTREAM = (
    "data_dir",
    "identity",
    "client_id",
    "user_agent",
    "integration_id",
    "token_mode",
    "account_type",
    "enterprise_domain",
    "github_url",
    "github_api_url",
    "copilot_url",
    "auth_timeout",
)


def with_settings(*names: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Give a command the settings ``names`` as options, and ``Loaded`` as its first argument."""

    def decorate(command: Callable[..., R]) -> Callable[..., R]:
        @wraps(command)
        def run(read: Callable[[], Loaded], **given: object) -> R:
            return command(read(), **given)

        return with_settings_reader(*names)(run)

    return decorate


def with_settings_reader(*names: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """As ``with_settings``, but the first argument is what reads them, and raises ``ConfigError``."""

    def decorate(command: Callable[..., R]) -> Callable[..., R]:
        @wraps(command)
        def run(*, config_file: Path | None, **given: object) -> R:
            arguments = {name: given.pop(name) for name in names}
            return command(partial(load, arguments, file=config_file), **given)

        decorated: Callable[..., R] = run
        for name in reversed(names):
            decorated = _option(name)(decorated)
        return click.option(
            "--config",
            "config_file",
            type=click.Path(path_type=Path),
            help="Settings file instead of copilot-asgi.toml in this directory.",
        )(decorated)

    return decorate


def _option(name: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    kind, meta = get_args(_HINTS[name])[:2]
    assert isinstance(meta, Meta)
    choices = click.Choice([each.value for each in kind]) if isinstance(kind, type) and issubclass(kind, Enum) else None
    flag = "--" + name.replace("_", "-")
    return click.option(flag, name, type=choices, metavar=None if choices else "VALUE", help=_help(name, meta))


def _help(name: str, meta: Meta) -> str:
    default = _DEFAULTS[name]
    shown = getattr(default, "value", default)
    return f"{meta.description} [default: {shown}]" if shown not in {None, ()} else str(meta.description)
