"""What tests of the command line have in common: an environment of their own, and the way to the simulation."""

import os

__all__ = ["ACCEPT", "clean_environment", "pointing_at"]

ACCEPT = "--accept-editor-identity"
PREFIXES = ("COPILOT_", "GH_TOKEN", "GITHUB_TOKEN", "NO_COLOR", "FORCE_COLOR", "SSH_", "XDG_")


def clean_environment() -> dict[str, str]:
    """The environment without anything that this program or a terminal library reads."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIXES)}


def pointing_at(url: str) -> dict[str, str]:
    """The settings that make ``url`` GitHub and Copilot."""
    return {f"COPILOT_ASGI_{name}": url for name in ("GITHUB_URL", "GITHUB_API_URL", "COPILOT_URL")}
