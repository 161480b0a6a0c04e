"""The work that every target gets: how many connections ask for what, and how fast the answers come."""

import json
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

SENTENCE = "Explain in two sentences what a reverse proxy does, and what it must not do to a stream of events. "
TURN = 3_000  # bytes of a turn of a long prompt


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """Connections that ask again as soon as they are answered.

    Answers are streams of ``chunks``, ``pause`` microseconds apart, or without any plain JSON of a kilobyte. ``prompt``
    is the size of a request in bytes, ``dialect`` what the client speaks; upstream speaks ``chat``.
    """

    connections: int
    chunks: int = 0
    pause: int = 0
    prompt: int = 100
    dialect: str = "chat"

    def body(self, model: str) -> bytes:
        """The request; the same for the Chat and the Messages dialect."""
        text = SENTENCE * (min(self.prompt, TURN) // len(SENTENCE) + 1)
        turns = [
            {"role": "assistant" if number % 2 else "user", "content": text}
            for number in range(self.prompt // TURN // 2 * 2)
        ]
        asked = {"role": "user", "content": text + shape(self.chunks, self.pause)}
        body = {"model": model, "max_tokens": 4096, "stream": self.chunks > 0, "messages": [*turns, asked]}
        return json.dumps(body).encode()


def shape(chunks: int, pause: int) -> str:
    """What in a prompt tells ``fake_upstream`` how to stream: so many chunks, so many microseconds apart."""
    return f" bench:chunks={chunks},pause={pause};"


SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "plain-32": Scenario(connections=32),
        "burst-32": Scenario(connections=32, chunks=100),
        "paced-256": Scenario(connections=256, chunks=100, pause=20_000),
        "agent-8": Scenario(connections=8, chunks=50, pause=10_000, prompt=120_000),
        "translated-32": Scenario(connections=32, chunks=100, dialect="messages"),
        "prompts-32": Scenario(connections=32, prompt=120_000, dialect="messages"),
        "paced-1": Scenario(connections=1, chunks=20, pause=2_000),
    }
)
