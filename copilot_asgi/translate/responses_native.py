"""A Responses request for an upstream that speaks Responses too: what Copilot refuses, taken out.

Rule: the input is opened only when its bytes hold something that must not go back: an envelope of ours, or an id that
Copilot sealed. Such an id means something on the connection that made it and nowhere else; nothing is stored, so no id
is needed, and reasoning is taken back without one.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType

import msgspec

from copilot_asgi.translate.conversation import SealOrigin
from copilot_asgi.translate.responses_fields import decoded
from copilot_asgi.translate.seals import is_wrapped, unwrap
from copilot_asgi.wire.models import Model
from copilot_asgi.wire.shallow import NULL, Fields, is_null, read_object, starts_with

__all__ = ["prepare_native"]

_DROPPED = ("service_tier",)
_HOSTED_ELSEWHERE = "image_generation"
_TOOL_OPTIONS = ("tools", "tool_choice", "parallel_tool_calls")

# OpenAI's own ids are shorter than this, Copilot's are some 400 characters of base64.
_SEALED_ID = re.compile(rb'"id"\s*:\s*"[^"\\]{65}')
_SEALED_LENGTH = 65
# What the id of an item must begin with when it is not a sealed one; items that are not listed go without.
_PREFIXES: Mapping[str, str] = MappingProxyType(
    {
        "message": "msg_",
        "function_call": "fc_",
        "custom_tool_call": "ctc_",
        "function_call_output": "fco_",
        "custom_tool_call_output": "ctco_",
    }
)


class _Typed(msgspec.Struct):
    type: str | None = None


class _Item(msgspec.Struct):
    type: str | None = None
    id: str | None = None
    encrypted_content: str | None = None


def prepare_native(fields: Fields, model: Model) -> dict[str, bytes | None]:  # noqa: ARG001  # the same for all models
    """Changes to the request's top level; empty when there is nothing to change.

    Raises ``BadRequest`` for tools or an input that cannot be read, and for a damaged envelope.
    """
    changes: dict[str, bytes | None] = {name: None for name in _DROPPED if name in fields}
    if bytes(fields.get("store", NULL)) != b"false":
        changes["store"] = b"false"
    return changes | _tool_changes(fields) | _input_changes(fields)


def _tool_changes(fields: Fields) -> dict[str, bytes | None]:
    tools = fields.get("tools", NULL)
    if is_null(tools):
        return {}
    listed = decoded(tools, list[msgspec.Raw], param="tools")
    kept = [tool for tool in listed if _kind(tool, "tools") != _HOSTED_ELSEWHERE]
    if not kept:
        return {name: None for name in _TOOL_OPTIONS if name in fields}
    changes: dict[str, bytes | None] = {} if kept == listed else {"tools": msgspec.json.encode(kept)}
    choice = fields.get("tool_choice", NULL)
    if starts_with(choice, b"{") and _kind(choice, "tool_choice") == _HOSTED_ELSEWHERE:
        changes["tool_choice"] = None
    return changes


def _kind(value: msgspec.Raw, param: str) -> str | None:
    return decoded(value, _Typed, param=param).type


def _input_changes(fields: Fields) -> dict[str, bytes | None]:
    items = fields.get("input", NULL)
    if not starts_with(items, b"[") or not _must_open(bytes(items)):
        return {}
    before = decoded(items, list[msgspec.Raw], param="input")
    after = [item for item in map(_mended, before) if item is not None]
    return {} if after == before else {"input": msgspec.json.encode(after)}


def _must_open(text: bytes) -> bool:
    return b'"reasoning"' in text or _SEALED_ID.search(text) is not None


def _mended(value: msgspec.Raw) -> msgspec.Raw | None:
    """An item as Copilot takes it back, or ``None`` for reasoning that another provider sealed."""
    item = decoded(value, _Item, param="input")
    sealed = item.encrypted_content or ""
    if is_wrapped(sealed):
        return _unwrapped(value, sealed)
    if len(item.id or "") < _SEALED_LENGTH:
        return value
    fields = {name: text for name, text in read_object(value).items() if name != "id"}
    prefix = _PREFIXES.get(item.type or "message")
    digest = sha256((item.id or "").encode()).hexdigest()[:32]
    return msgspec.Raw(msgspec.json.encode(fields | ({"id": prefix + digest} if prefix else {})))


def _unwrapped(value: msgspec.Raw, sealed: str) -> msgspec.Raw | None:
    seal, _ = unwrap(sealed) or (None, "")
    if seal is None or seal.origin is not SealOrigin.RESPONSES:
        return None
    fields = {name: text for name, text in read_object(value).items() if name != "id"}
    own: dict[str, object] = {"encrypted_content": seal.data, **({"id": seal.id} if seal.id else {})}
    return msgspec.Raw(msgspec.json.encode(fields | own))
