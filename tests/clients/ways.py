"""The ways a request goes: a model, and the path upstream that serves it for a client of each dialect.

Rule: in each dialect one model is served natively and the others only by translation.
"""

from typing import NamedTuple

import pytest

__all__ = ["CHAT", "MESSAGES", "RESPONSES", "Way", "each"]


class Way(NamedTuple):
    """A model and the path upstream that its requests take."""

    model: str
    path: str


CHAT = (
    Way("gpt-4.1", "/chat/completions"),
    Way("grok-4.6", "/chat/completions"),
    Way("claude-sonnet-4.6", "/chat/completions"),
    Way("gpt-5.4", "/responses"),
)
RESPONSES = (
    Way("gpt-5.4", "/responses"),
    Way("claude-sonnet-4.6", "/v1/messages"),
    Way("gpt-4.1", "/chat/completions"),
)
MESSAGES = (
    Way("claude-sonnet-4.6", "/v1/messages"),
    Way("gpt-5.4", "/responses"),
    Way("gpt-4.1", "/chat/completions"),
)


def each(ways: tuple[Way, ...]) -> pytest.MarkDecorator:
    """Run a test once for each way."""
    return pytest.mark.parametrize("way", ways, ids=[way.model for way in ways])
