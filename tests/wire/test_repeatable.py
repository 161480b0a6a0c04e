"""Which requests would get the same answer again."""

import msgspec
import pytest

from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.repeatable import is_repeatable
from copilot_asgi.wire.shallow import read_object

FLAT = (Dialect.CHAT, Dialect.MESSAGES, Dialect.RESPONSES)
YES = [
    *[(dialect, {"temperature": zero}) for dialect in FLAT for zero in (0, 0.0, -0.0)],
    (Dialect.EMBEDDINGS, {"input": "x"}),
    (Dialect.GEMINI, {"generationConfig": {"temperature": 0}}),
    (Dialect.GEMINI, {"generation_config": {"temperature": 0, "candidate_count": 1}}),
    (Dialect.OLLAMA, {"options": {"temperature": 0}}),
    (Dialect.CHAT, {"temperature": 0, "n": 1}),
    (Dialect.CHAT, {"temperature": 0, "n": None, "tools": None}),
    (Dialect.CHAT, {"temperature": 0, "tools": []}),
    (Dialect.CHAT, {"temperature": 0, "tools": [{"type": "function", "function": {"name": "f"}}]}),
    (Dialect.MESSAGES, {"temperature": 0, "tools": [{"name": "f", "input_schema": {}}]}),
    (Dialect.RESPONSES, {"temperature": 0, "tools": [{"type": "custom", "name": "f"}]}),
    (Dialect.GEMINI, {"generationConfig": {"temperature": 0}, "tools": [{"functionDeclarations": []}]}),
]
NO = [
    *[(dialect, {}) for dialect in Dialect if dialect is not Dialect.EMBEDDINGS],
    *[(dialect, {"temperature": value}) for dialect in FLAT for value in (None, 1, 0.1, 1e-9, "0", False, [], {})],
    (Dialect.GEMINI, {"temperature": 0}),
    (Dialect.GEMINI, {"generationConfig": None}),
    (Dialect.GEMINI, {"generationConfig": []}),
    (Dialect.GEMINI, {"generationConfig": {"temperature": 0, "candidateCount": 2}}),
    (Dialect.OLLAMA, {"temperature": 0}),
    (Dialect.OLLAMA, {"options": "x"}),
    (Dialect.OLLAMA, {"options": {"temperature": 0.5}}),
    (Dialect.CHAT, {"temperature": 0, "n": 2}),
    (Dialect.CHAT, {"temperature": 0, "n": "1"}),
    (Dialect.CHAT, {"temperature": 0, "web_search_options": {}}),
    (Dialect.CHAT, {"temperature": 0, "tools": "x"}),
    (Dialect.MESSAGES, {"temperature": 0, "mcp_servers": []}),
    (Dialect.MESSAGES, {"temperature": 0, "tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    (Dialect.RESPONSES, {"temperature": 0, "tools": [{"type": "function"}, {"type": "web_search"}]}),
    (Dialect.RESPONSES, {"temperature": 0, "conversation": "conv_1"}),
    (Dialect.GEMINI, {"generationConfig": {"temperature": 0}, "tools": [{"googleSearch": {}}]}),
]


@pytest.mark.parametrize(("dialect", "body"), YES)
def test_deterministic_requests_are_repeatable(dialect: Dialect, body: dict[str, object]) -> None:
    """Embeddings, and one answer at temperature 0, wherever the dialect says that."""
    assert is_repeatable(dialect, read_object(msgspec.json.encode(body)))


@pytest.mark.parametrize(("dialect", "body"), NO)
def test_in_doubt_a_request_is_not_repeatable(dialect: Dialect, body: dict[str, object]) -> None:
    """No temperature, several answers, tools that act elsewhere, and what cannot be read."""
    assert not is_repeatable(dialect, read_object(msgspec.json.encode(body)))
