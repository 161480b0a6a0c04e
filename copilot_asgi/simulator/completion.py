"""One answer about to be written: what the model says, for whom, and what it costs.

Rule: usage is worked out here once, so that every dialect tells the same numbers.
"""

from hashlib import blake2b

import msgspec

from copilot_asgi.simulator.access import Object
from copilot_asgi.simulator.catalog import Family, Model
from copilot_asgi.simulator.issued import Issued
from copilot_asgi.simulator.prompt import Prompt
from copilot_asgi.simulator.script import Finish, Quirk, Reply, Usage

__all__ = ["Completion", "PromptCache", "capped", "count_prompt", "pieces"]

BYTES_PER_TOKEN = 4
PER_TURN = 3


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """What a renderer needs. ``created`` is unix seconds, ``quirks`` the family's and the reply's together."""

    model: Model
    reply: Reply
    usage: Usage
    prompt: Prompt
    issued: Issued
    quirks: frozenset[Quirk]
    created: int
    login: str
    copilot_usage: Object
    snapshots: Object
    request: Object

    def has(self, quirk: Quirk) -> bool:
        """Whether this answer shows ``quirk``."""
        return quirk in self.quirks


class PromptCache:
    """Prefixes of prompts that a model has already read."""

    def __init__(self) -> None:
        self._seen: dict[bytes, int] = {}

    def split(self, prompt: Prompt, model: Model, login: str) -> Usage:
        """The prompt's tokens by how they were read: Claude caches only what is marked, the others all they saw."""
        total = count_prompt(prompt)
        if model.family is Family.CLAUDE and not prompt.cache_marked:
            return Usage(fresh=total)
        read = min(self._remember(prompt, f"{login} {model.id}"), total - 1)
        if model.family is not Family.CLAUDE:
            return Usage(fresh=total - read, cache_read=read)
        fresh = min(PER_TURN, total - read)
        return Usage(fresh=fresh, cache_read=read, cache_write=total - read - fresh)

    def _remember(self, prompt: Prompt, scope: str) -> int:
        """Tokens of the longest prefix seen before; the whole prompt is known from now on."""
        digest = blake2b(scope.encode() + msgspec.json.encode(prompt.tools)).digest()
        read, sofar = 0, prompt.tool_bytes // BYTES_PER_TOKEN
        for turn in prompt.turns:
            digest = blake2b(digest + msgspec.json.encode(turn)).digest()
            sofar += PER_TURN + turn.size // BYTES_PER_TOKEN
            read = max(read, self._seen.get(digest, 0))
            self._seen[digest] = sofar
        return read


def count_prompt(prompt: Prompt) -> int:
    """Tokens of a prompt: about four bytes each, and a little for every turn."""
    turns = sum(PER_TURN + turn.size // BYTES_PER_TOKEN for turn in prompt.turns)
    return max(1, turns + prompt.tool_bytes // BYTES_PER_TOKEN)


def count_text(text: str) -> int:
    """Tokens of a text: about four bytes each."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def capped(reply: Reply, prompt: Prompt, read: Usage) -> tuple[Reply, Usage]:
    """``reply`` cut to the prompt's token limit, and the usage of that; scripted usage is taken as it is."""
    reasoning = count_text(reply.reasoning)
    spoken = count_text(reply.text) + sum(count_text(name + arguments) for name, arguments in reply.calls)
    limit = prompt.max_tokens
    if limit is not None and reasoning + spoken > limit:
        left = max(0, limit - reasoning)
        text = reply.text.encode()[: left * BYTES_PER_TOKEN].decode("utf-8", "ignore")
        reply = msgspec.structs.replace(reply, text=text, tool_calls=(), finish=Finish.LENGTH)
        reasoning, spoken = min(reasoning, limit), left
    usage = msgspec.structs.replace(read, output=reasoning + spoken, reasoning=reasoning)
    return reply, reply.usage or usage


def pieces(text: str, size: int) -> list[str]:
    """``text`` in pieces of ``size`` characters."""
    return [text[start : start + size] for start in range(0, len(text), max(1, size))]
