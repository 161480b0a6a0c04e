"""Model lists and token counts in the words of the Gemini API."""

import json

import msgspec

from copilot_asgi.translate.gemini_models import gemini_count, gemini_model, gemini_models
from copilot_asgi.wire.models import Model

LIMITS = {"max_context_window_tokens": 200, "max_prompt_tokens": 100, "max_output_tokens": 50}
CHAT = msgspec.convert(
    {
        "id": "gpt-5",
        "name": "GPT-5",
        "version": "gpt-5-2026",
        "capabilities": {"limits": LIMITS, "supports": {"reasoning_effort": ["low"]}},
    },
    Model,
)
BARE = Model(id="bare")
EMBEDDINGS = msgspec.convert({"id": "e", "capabilities": {"type": "embeddings"}}, Model)


def test_a_model() -> None:
    """Names, limits and methods; what the catalog does not say is left out."""
    assert json.loads(gemini_model(CHAT)) == {
        "name": "models/gpt-5",
        "baseModelId": "gpt-5",
        "version": "gpt-5-2026",
        "displayName": "GPT-5",
        "description": "GPT-5 at GitHub Copilot",
        "inputTokenLimit": 100,
        "outputTokenLimit": 50,
        "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens"],
        "thinking": True,
    }
    bare = json.loads(gemini_model(BARE))
    assert (bare["displayName"], bare["version"], bare["thinking"]) == ("bare", "bare", False)
    assert not bare.keys() & {"inputTokenLimit", "outputTokenLimit"}


def test_the_list() -> None:
    """All models on one page; those for embeddings generate nothing."""
    listed = json.loads(gemini_models([CHAT, EMBEDDINGS]))
    assert listed.keys() == {"models"}
    assert [model["name"] for model in listed["models"]] == ["models/gpt-5", "models/e"]
    assert listed["models"][1]["supportedGenerationMethods"] == []


def test_a_count() -> None:
    """One number."""
    assert json.loads(gemini_count(5)) == {"totalTokens": 5}
