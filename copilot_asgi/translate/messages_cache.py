"""Where a Messages request asks Anthropic to cache its prefix.

Rule: what the client marked counts; a client that cannot mark anything gets marks where its next request will start
from. Never more than four, the most recent of the conversation first.

Source: https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching.
"""

from collections.abc import Iterator, Sequence

__all__ = ["BREAKPOINTS", "Block", "mark_automatically", "trim"]

Block = dict[str, object]
"""A JSON object of a request that is being written."""

BREAKPOINTS = 4
_RECENT_TURNS = 2
_UNMARKABLE = frozenset({"thinking", "redacted_thinking"})


def mark(block: Block) -> None:
    """End a cached prefix at ``block``."""
    block["cache_control"] = {"type": "ephemeral"}


def trim(prefix: Sequence[Block], history: Sequence[Block]) -> None:
    """Remove marks until upstream takes the rest: the earliest of the conversation first, then the earliest of all."""
    marked = [block for block in (*history, *prefix) if "cache_control" in block]
    for block in marked[: max(len(marked) - BREAKPOINTS, 0)]:
        del block["cache_control"]


def mark_automatically(tools: Sequence[Block], system: Sequence[Block], messages: Sequence[Block]) -> None:
    """Mark the last tool, the last instruction and the ends of the last two user turns, unless anything is marked."""
    users = [message for message in messages if message["role"] == "user"]
    blocks = [*tools, *system, *(block for message in messages for block in blocks_of(message))]
    if any("cache_control" in block for block in blocks):
        return
    ends = [list(blocks_of(user))[-1] for user in users[-_RECENT_TURNS:]]
    for block in (*tools[-1:], *system[-1:], *ends):
        mark(block)


def blocks_of(message: Block) -> Iterator[Block]:
    """The content blocks of a message that is written as a list of them."""
    content = message["content"]
    assert isinstance(content, list)
    yield from content
