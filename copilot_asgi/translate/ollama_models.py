"""What Ollama clients ask before they chat: which models there are, what one can do, how old the server is.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md.
"""

from collections.abc import Iterable
from hashlib import sha256

import msgspec

from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.models import Model

__all__ = ["ollama_running", "ollama_show", "ollama_tags", "ollama_version"]

# The API as of this release is what we speak; clients refuse to talk to a server that is too old.
_VERSION = "0.12.6"
# The catalog knows no date.
_EPOCH = "1970-01-01T00:00:00Z"
_TEMPLATE = "{{ .Prompt }}"


def ollama_version() -> bytes:
    """The answer to ``GET /api/version``."""
    return msgspec.json.encode({"version": _VERSION})


def ollama_tags(models: Iterable[Model]) -> bytes:
    """The answer to ``GET /api/tags``."""
    return msgspec.json.encode({"models": [_listed(model) for model in models]})


def ollama_running() -> bytes:
    """The answer to ``GET /api/ps``: nothing is in the memory of this machine."""
    return msgspec.json.encode({"models": []})


def ollama_show(model: Model) -> bytes:
    """The answer to ``POST /api/show``."""
    family = _family(model)
    window = model.limits.max_context_window_tokens or model.limits.max_prompt_tokens
    info: dict[str, object] = {"general.architecture": family, "general.basename": model.id}
    if window is not None:
        info[f"{family}.context_length"] = window
    return msgspec.json.encode(
        {
            "license": "",
            "modelfile": "",
            "parameters": "",
            "template": _TEMPLATE,
            "details": _details(model),
            "model_info": info,
            "capabilities": _capabilities(model),
            "modified_at": _EPOCH,
        }
    )


def _listed(model: Model) -> dict[str, object]:
    return {
        "name": model.id,
        "model": model.id,
        "modified_at": _EPOCH,
        "size": 0,
        "digest": sha256(model.id.encode()).hexdigest(),
        "details": _details(model),
    }


def _details(model: Model) -> dict[str, object]:
    family = _family(model)
    return {
        "parent_model": "",
        "format": "",
        "family": family,
        "families": [family],
        "parameter_size": "",
        "quantization_level": "",
    }


def _family(model: Model) -> str:
    return model.family or model.id


def _capabilities(model: Model) -> list[str]:
    if model.dialects == (Dialect.EMBEDDINGS,):
        return ["embedding"]
    supports = model.supports
    thinks = supports.thinking or supports.adaptive_thinking or supports.max_thinking_budget or supports.efforts
    able = {"tools": supports.tool_calls, "vision": supports.vision, "thinking": thinks}
    return ["completion", *(name for name, is_able in able.items() if is_able)]
