"""Choosing among the GitHub tokens that other tools on this machine hold.

Rule: the person sees where each token comes from and which it is, never the token itself; nothing is taken unasked.
"""

import os
from pathlib import Path

import click

from copilot_asgi.cli import terminal
from copilot_asgi.config import Settings, TokenMode
from copilot_asgi.credentials.hosts import github_hosts
from copilot_asgi.credentials.import_tokens import FoundToken, find_tokens
from copilot_asgi.errors import CopilotASGIError

__all__ = ["ASK", "choose_token"]

ASK = "?"


def choose_token(settings: Settings, *, choice: str, yes: bool) -> FoundToken:
    """The token to take over: number ``choice`` of the list, or (``ASK``) the person's choice, the first with ``yes``.

    Raises ``CopilotASGIError`` when there is none or nobody can be asked.
    """
    findings = find_tokens(os.environ, Path.home())
    for problem in findings.problems:
        terminal.note(f"skipped: {problem}")
    host = github_hosts(settings).name
    tokens = [found for found in findings.tokens if found.host == host]
    if not tokens:
        raise CopilotASGIError(f"No other tool here holds a token for {host}. Sign in instead: copilot-asgi login")
    for number, found in enumerate(tokens, 1):
        terminal.note(f"{number}  {_described(found)}")
    found = tokens[_number(choice, len(tokens), yes=yes) - 1]
    if found.direct_only and settings.token_mode is not TokenMode.DIRECT:
        raise CopilotASGIError(
            f"GitHub does not exchange the token of {found.source}. Add --token-mode direct, and set "
            "COPILOT_ASGI_TOKEN_MODE=direct for serve as well."
        )
    return found


def _number(choice: str, count: int, *, yes: bool) -> int:
    if choice == ASK and yes:
        return 1
    if choice != ASK:
        return _checked(choice, count)
    if not terminal.is_interactive():
        raise CopilotASGIError("Say which one: --import NUMBER, or --import --yes for the first.")
    return int(click.prompt("Which one", type=click.IntRange(1, count), default=1, err=True))


def _checked(choice: str, count: int) -> int:
    if not choice.isdecimal() or not 1 <= int(choice) <= count:
        raise CopilotASGIError(f"--import {choice}: choose a number from 1 to {count}.")
    return int(choice)


def _described(found: FoundToken) -> str:
    value = found.token.reveal()
    masked = f"{value[:4]}...{value[-4:]}" if len(value) >= 20 else "..."
    parts = [found.source, masked, found.login or "login unknown"]
    parts += [str(found.path)] if found.path is not None else []
    parts += ["token_mode direct only"] if found.direct_only else []
    return "  ".join(parts)
