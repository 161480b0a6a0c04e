"""Every name that clients are known to send finds its model, and the best dialect to ask it in."""

from typing import Any

import msgspec
import pytest

from copilot_asgi.errors import BadRequest, UnknownModel
from copilot_asgi.routing import Catalog, choose_route, find_model
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.models import parse_catalog

CHAT, MESSAGES, RESPONSES = "/chat/completions", "/v1/messages", "/responses"


def entry(model_id: str, *endpoints: str, **more: Any) -> dict[str, Any]:
    return {"id": model_id, "supported_endpoints": list(endpoints), "capabilities": {"type": "chat"}, **more}


ENTRIES = [
    entry("claude-opus-4.6", MESSAGES, CHAT),
    entry("claude-opus-4.6-1m", MESSAGES, CHAT),
    entry("claude-opus-5.5", MESSAGES, CHAT),
    entry("claude-opus-6", MESSAGES, policy={"state": "disabled"}),
    entry("claude-sonnet-4.6", CHAT, MESSAGES),
    entry("claude-sonnet-10", MESSAGES),
    entry("claude-haiku-4.5", CHAT),
    entry("gpt-4o", version="gpt-4o-2024-11-20"),
    entry("gpt-5.4", RESPONSES, "ws:/responses"),
    entry("gpt-5.2", CHAT, RESPONSES),
    {"id": "text-embedding-3-small", "capabilities": {"type": "embeddings"}},
    {"id": "gpt-41-copilot", "capabilities": {"type": "completion"}},
]
CATALOG = Catalog({model.id: model for model in parse_catalog(msgspec.json.encode({"data": ENTRIES}))})


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o-2024-11-20", "gpt-4o"),
        ("openai/gpt-4o", "gpt-4o"),
        ("GPT-4o", "gpt-4o"),
        ("gpt-4o:latest", "gpt-4o"),
        ("claude-opus-4.6", "claude-opus-4.6"),
        ("claude-opus-4-6", "claude-opus-4.6"),
        ("claude-opus-4-6-20260101", "claude-opus-4.6"),
        ("claude-opus-4-6-latest", "claude-opus-4.6"),
        ("anthropic/claude-sonnet-4-6", "claude-sonnet-4.6"),
        ("claude-opus-4-6[1m]", "claude-opus-4.6-1m"),
        ("claude-sonnet-4-6[1m]", "claude-sonnet-4.6"),
        ("claude-opus-4.6-1m", "claude-opus-4.6-1m"),
        ("opus", "claude-opus-5.5"),
        ("sonnet", "claude-sonnet-10"),
        ("claude-haiku", "claude-haiku-4.5"),
        ("fast", "gpt-5.2"),
        ("text-embedding-3-small", "text-embedding-3-small"),
    ],
)
def test_names_find_their_model(name: str, model_id: str) -> None:
    """Ids, other spellings, dates, long context, families (the newest enabled one) and aliases."""
    model = find_model(name, CATALOG, {"fast": "gpt-5.2"})
    assert model is not None
    assert model.id == model_id


@pytest.mark.parametrize("name", ["gpt-9", "claude-opus-9", "fable", "claude", "../gpt-4o", "gpt-4", "4.6", ""])
def test_other_names_find_nothing(name: str) -> None:
    """No guess is made for what is not there."""
    assert find_model(name, CATALOG, {}) is None


@pytest.mark.parametrize(
    ("dialect", "name", "asked_in"),
    [
        (Dialect.CHAT, "gpt-5.2", Dialect.CHAT),
        (Dialect.CHAT, "gpt-5.4", Dialect.RESPONSES),
        (Dialect.CHAT, "claude-sonnet-10", Dialect.MESSAGES),
        (Dialect.CHAT, "gpt-4o", Dialect.CHAT),
        (Dialect.MESSAGES, "claude-sonnet-4.6", Dialect.MESSAGES),
        (Dialect.MESSAGES, "gpt-5.2", Dialect.RESPONSES),
        (Dialect.MESSAGES, "claude-haiku-4.5", Dialect.CHAT),
        (Dialect.RESPONSES, "gpt-5.4", Dialect.RESPONSES),
        (Dialect.RESPONSES, "claude-sonnet-4.6", Dialect.MESSAGES),
        (Dialect.RESPONSES, "gpt-4o", Dialect.CHAT),
        (Dialect.EMBEDDINGS, "text-embedding-3-small", Dialect.EMBEDDINGS),
    ],
)
def test_the_clients_own_dialect_comes_first(dialect: Dialect, name: str, asked_in: Dialect) -> None:
    """Natively where the model speaks it, else the dialect that carries most."""
    assert choose_route(name, dialect, CATALOG, {}).dialect is asked_in


def test_an_unknown_model_is_told_with_near_names() -> None:
    """The sentence names what was probably meant."""
    with pytest.raises(UnknownModel, match=r"claude-opus-4\.6"):
        choose_route("claude-opus-4-7", Dialect.CHAT, CATALOG, {})
    with pytest.raises(UnknownModel, match="GET models"):
        choose_route("zzz", Dialect.CHAT, CATALOG, {})


@pytest.mark.parametrize(
    ("dialect", "name", "words"),
    [
        (Dialect.CHAT, "text-embedding-3-small", "POST /v1/embeddings"),
        (Dialect.EMBEDDINGS, "claude-sonnet-4.6", "POST /v1/chat/completions or POST /v1/messages"),
        (Dialect.CHAT, "gpt-41-copilot", "code completion"),
    ],
)
def test_what_no_dialect_reaches_is_refused(dialect: Dialect, name: str, words: str) -> None:
    """The sentence says what the model serves."""
    with pytest.raises(BadRequest, match=words):
        choose_route(name, dialect, CATALOG, {})
