"""What a Messages request must not say to Copilot's own Messages endpoint, which is stricter than Anthropic's.

Rule: the least that makes upstream take it. What is refused stands in tables; a key is opened only when something in it
may have to change, and what needs no change is not in the answer, so that its bytes go on as they came.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.translate.messages_cache import Block, trim
from copilot_asgi.translate.messages_native_thinking import thinking_changes
from copilot_asgi.translate.messages_reading import Place
from copilot_asgi.translate.messages_render import CONTINUE
from copilot_asgi.translate.seals import is_wrapped
from copilot_asgi.wire.models import Model
from copilot_asgi.wire.shallow import NULL, Fields, is_null, read_object, starts_with

__all__ = ["prepare_native"]

_Keys = Mapping[str, str | None]
_ADVANCED_TOOLS = "advanced-tool-use-2025-11-20"
_SYSTEM_BETA = "mid-conversation-system-2026-04-07"

# Keys that upstream refuses, and the beta with which it takes them, if there is one.
_REFUSED: _Keys = MappingProxyType(
    {
        "betas": None,
        "billing_policy": None,
        "cache_control": None,  # moved to a block
        "container": None,
        "context_management": "context-management-2025-06-27",
        "diagnostics": None,
        "fallback_credit_token": None,
        "fallbacks": None,
        "inference_geo": None,
        "mcp_servers": None,
        "service_tier": None,
        "speed": None,
        "user_profile_id": None,
        "workspace_id": None,
    }
)
_REFUSED_IN_TOOLS: _Keys = MappingProxyType(
    {
        "allowed_callers": None,
        "defer_loading": _ADVANCED_TOOLS,
        "eager_input_streaming": None,
    }
)
_REFUSED_IN_MESSAGES: _Keys = MappingProxyType({"output_config": "per-turn-control-2026-07-01"})

# Texts without which a key need not be opened.
_SIGNS: Mapping[str, tuple[bytes, ...]] = MappingProxyType(
    {
        "tools": (
            b'"cache_control"',
            b'"$schema"',
            b'"strict"',
            *(f'"{name}"'.encode() for name in _REFUSED_IN_TOOLS),
        ),
        "system": (b'"cache_control"', b'"x-anthropic-billing-header:'),
        "messages": (b'"cache_control"', b'"thinking"', b'"redacted_thinking"', b'"system"', b'"output_config"'),
    }
)
_PLAIN = msgspec.Raw(b'{"type":"ephemeral"}')
_BILLING_LINE = "x-anthropic-billing-header:"
_SEALS: Mapping[str, str] = MappingProxyType({"thinking": "signature", "redacted_thinking": "data"})
_CACHEABLE = frozenset({"text", "image", "tool_use", "tool_result"})

_blocks_decoder = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_text_decoder = msgspec.json.Decoder(str)


def prepare_native(fields: Fields, model: Model, *, betas: Collection[str]) -> dict[str, bytes | None]:
    """The keys of a request that have to change, with their new JSON text, or ``None`` for those to leave out.

    ``betas`` are the values of ``anthropic-beta`` that upstream is sent. Raises ``BadRequest`` for a list that is none.
    """
    changes: dict[str, bytes | None] = {
        name: None for name, value in fields.items() if is_null(value) or _is_refused(name, _REFUSED, betas)
    }
    given = {name: value for name, value in fields.items() if name not in changes}
    changes |= thinking_changes(given, model.supports)
    opened = _opened(given, always=not is_null(fields.get("cache_control", NULL)))
    edited = _edited(opened, model=model, betas=betas)
    if not is_null(fields.get("cache_control", NULL)):
        _mark_last(edited.get("messages", []))
    _trim(edited)
    return changes | {name: msgspec.json.encode(edited[name]) for name in edited if edited[name] != opened.get(name)}


def _is_refused(name: str, refused: _Keys, betas: Collection[str]) -> bool:
    return name in refused and refused[name] not in betas


def _opened(given: Fields, *, always: bool) -> dict[str, list[Block]]:
    """The lists in which something may have to change; a ``system`` that is text needs no change."""
    return {
        name: _open(name, given[name])
        for name, signs in _SIGNS.items()
        if name in given
        and starts_with(given[name], b"[")
        and (any(sign in bytes(given[name]) for sign in signs) or (name == "messages" and (always or _begun(given))))
    }
