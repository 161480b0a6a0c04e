"""Settings from where people write them: arguments, then ``COPILOT_ASGI_*``, then ``copilot-asgi.toml``.

Rule: an error names the key, where its value came from, and the fix; a misspelt key is an error, never ignored.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from enum import EnumMeta
from pathlib import Path
from typing import get_type_hints

import msgspec

from copilot_asgi.config import Settings
from copilot_asgi.errors import ConfigError
from copilot_asgi.secret import MASK, Secret

__all__ = ["FILE_NAME", "PREFIX", "Loaded", "load", "shown"]

PREFIX = "COPILOT_ASGI_"
FILE_NAME = "copilot-asgi.toml"
LISTS = frozenset(
    {
        "allowed_hosts",
        "api_keys",
        "approval_allow_callers",
        "approval_allow_models",
        "budget",
        "cors_origins",
        "fallbacks",
        "model_aliases",
        "rate_limit",
    }
)
# What a value of a plain type is called; none of these holds a secret.
_WORDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}
_TYPES = get_type_hints(Settings, include_extras=True)


class Loaded(msgspec.Struct, frozen=True):
    """Settings and, for each key that was set, where its value came from."""

    settings: Settings
    sources: dict[str, str]


def load(
    arguments: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Loaded:
    """Read settings; ``arguments`` whose value is ``None`` do not count.

    ``environ`` is the process environment by default; ``file`` is ``copilot-asgi.toml`` in the working directory, which
    may be missing. Raises ``ConfigError``.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    layers = [
        ("argument", "the arguments", dict(arguments or {})),
        ("environment", "the environment", _from_environment(environ)),
        (str(file or FILE_NAME), str(file or FILE_NAME), _from_file(file)),
    ]
    for source, place, layer in layers:
        for key, value in layer.items():
            if key not in _TYPES:
                raise ConfigError(_unknown(key, place))
            if value is not None and key not in values:
                values[key] = _convert(key, value, place)
                sources[key] = source
    try:
        return Loaded(Settings(**values), sources)  # type: ignore[arg-type]  # converted one by one to the fields' types
    except ConfigError as error:
        key = error.message.partition(":")[0]
        place = f" (set by {sources[key]})" if key in sources else ""
        raise ConfigError(error.message + place) from None


def shown(settings: Settings) -> dict[str, str]:
    """Every setting as text, secrets masked."""
    return {name: _text(getattr(settings, name)) for name in settings.__struct_fields__}


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    # An empty variable counts as unset: that is how container files leave one out.
    names = sorted(name for name, value in environ.items() if name.startswith(PREFIX) and value)
    return {name.removeprefix(PREFIX).lower(): environ[name] for name in names}


def _from_file(file: Path | None) -> dict[str, object]:
    path = file or Path(FILE_NAME)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if file is None:
            return {}
        raise ConfigError(f"The settings file {path} does not exist.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"The settings file {path} cannot be read: {error}") from None


def _convert(key: str, value: object, place: str) -> object:
    if key in LISTS and isinstance(value, str):
        value = [item.strip() for item in value.split(",") if item.strip()]
    elif key in LISTS and not isinstance(value, list | tuple):
        raise ConfigError(f"{key}: give one text with commas, or a list of texts (from {place}).")
    elif isinstance(get_type_hints(Settings)[key], EnumMeta) and isinstance(value, str):
        value = value.lower()
    try:
        return msgspec.convert(value, _TYPES[key], strict=False, dec_hook=_from_text)
    except msgspec.ValidationError as error:
        kind = get_type_hints(Settings)[key]
        if kind in _WORDS and isinstance(value, str):
            raise ConfigError(f"{key}: {value!r} (from {place}) is not {_WORDS[kind]}.") from None
        raise ConfigError(f"{key}: the value from {place} does not fit: {str(error).lower()}.{_choices(key)}") from None


def _choices(key: str) -> str:
    kind = get_type_hints(Settings)[key]
    return (
        f" Choose {' or '.join(kind.__members__[name].value for name in kind.__members__)}."
        if isinstance(kind, EnumMeta)
        else ""
    )


def _from_text(kind: type, value: object) -> object:
    if not isinstance(value, str):
        raise TypeError("expected text")
    return kind(value)


def _unknown(key: str, place: str) -> str:
    near = difflib.get_close_matches(key, _TYPES, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"{key}: there is no such setting (found in {place}).{hint}"


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, Secret):
        return MASK
    if value is None:
        return ""
    return str(getattr(value, "value", value))
