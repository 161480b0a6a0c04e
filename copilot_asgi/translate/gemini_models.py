"""Models and token counts as Gemini clients ask for them.

Source: https://ai.google.dev/api/models and https://ai.google.dev/api/tokens.
"""

from collections.abc import Iterable

import msgspec

from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.models import Model

__all__ = ["gemini_count", "gemini_model", "gemini_models"]

_METHODS = ("generateContent", "streamGenerateContent", "countTokens")


def gemini_models(models: Iterable[Model]) -> bytes:
    """The answer to ``GET v1beta/models``: all on one page."""
    return msgspec.json.encode({"models": [_told(model) for model in models]})


def gemini_model(model: Model) -> bytes:
    """The answer to ``GET v1beta/models/{id}``."""
    return msgspec.json.encode(_told(model))


def gemini_count(tokens: int) -> bytes:
    """The answer to ``countTokens``."""
    return msgspec.json.encode({"totalTokens": tokens})


def _told(model: Model) -> dict[str, object]:
    supports, limits = model.supports, model.limits
    thinks = bool(supports.thinking or supports.adaptive_thinking or supports.max_thinking_budget or supports.efforts)
    told = {
        "name": f"models/{model.id}",
        "baseModelId": model.id,
        "version": model.version or model.id,
        "displayName": model.name or model.id,
        "description": f"{model.name or model.id} at GitHub Copilot",
        "inputTokenLimit": limits.max_prompt_tokens or limits.max_context_window_tokens,
        "outputTokenLimit": limits.max_output_tokens,
        "supportedGenerationMethods": [] if model.dialects == (Dialect.EMBEDDINGS,) else list(_METHODS),
        "thinking": thinks,
    }
    return {name: value for name, value in told.items() if value is not None}
