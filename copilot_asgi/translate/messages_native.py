"""What a Messages request must not say to Copilot's own Messages endpoint, which is stricter than Anthropic's.

Rule: the least that makes upstream take it. What is refused stands in tables; a key is opened only when something in it
may have to change, and what needs no change is not in the answer, so that its bytes go on as they came.
"""

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.translate.messages_cache import Block, trim
from copilot_asgi.translate.messages_native_thinking import thinking_changes
from copilot_asgi.translate.messages_reading import Place
from copilot_asgi.translate.messages_render import CONTINUE
from copilot_asgi.translate.seals import is_wrapped
from copilot_asgi.wire.models import Model
from copilot_asgi.wire.shallow import NULL, Fields, is_null, starts_with

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

_BILLING_LINE = "x-anthropic-billing-header:"
_BILLING_SIGN = b'"' + _BILLING_LINE.encode()
# Texts without which a key need not be opened.
_SIGNS: Mapping[str, tuple[bytes, ...]] = MappingProxyType(
    {
        "tools": (
            b'"cache_control"',
            b'"$schema"',
            b'"strict"',
            *(f'"{name}"'.encode() for name in _REFUSED_IN_TOOLS),
        ),
        "system": (b'"cache_control"', _BILLING_SIGN),
        "messages": (b'"cache_control"', b'"thinking"', b'"redacted_thinking"', b'"system"', b'"output_config"'),
    }
)
_PLAIN = msgspec.Raw(b'{"type":"ephemeral"}')
_SEALS: Mapping[str, str] = MappingProxyType({"thinking": "signature", "redacted_thinking": "data"})
_CACHEABLE = frozenset({"text", "image", "tool_use", "tool_result"})


class _Message(msgspec.Struct):
    role: str | None = None


_blocks = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_raws = msgspec.json.Decoder(list[msgspec.Raw])
_message = msgspec.json.Decoder(_Message)
_string = msgspec.json.Decoder(str)


def prepare_native(fields: Fields, model: Model, *, betas: Collection[str]) -> dict[str, bytes | None]:
    """The keys of a request that have to change, with their new JSON text, or ``None`` for those to leave out.

    ``betas`` are the values of ``anthropic-beta`` that upstream is sent. Raises ``BadRequest`` for a list that is none.
    """
    changes: dict[str, bytes | None] = {
        name: None for name, value in fields.items() if is_null(value) or _is_refused(name, _REFUSED, betas)
    }
    given = {name: value for name, value in fields.items() if name not in changes}
    automatic = not is_null(fields.get("cache_control", NULL))
    opened = {name: _open(given, name, anyway=automatic) for name in _SIGNS}
    if not automatic and not any(opened.values()):
        return changes | thinking_changes(given, model.supports)
    edited = _edited(given, opened, model=model, betas=betas)
    if automatic:
        _mark_last(edited["messages"])
    trim(
        [*edited["tools"], *edited["system"]], [block for message in edited["messages"] for block in _content(message)]
    )
    changed = {
        name: msgspec.json.encode(blocks) if blocks else None
        for name, blocks in edited.items()
        if blocks != opened[name]
    }
    return changes | thinking_changes(given, model.supports) | changed


def _is_refused(name: str, refused: _Keys, betas: Collection[str]) -> bool:
    return name in refused and refused[name] not in betas


def _open(given: Fields, name: str, *, anyway: bool) -> list[Block]:
    """The list under ``name``, or nothing when it is none, or when nothing in it can have to change."""
    raw = given.get(name, NULL)
    place = Place(name, [])
    if not starts_with(raw, b"["):
        return []
    text = bytes(raw)
    if not any(sign in text for sign in _SIGNS[name]) and not (
        name == "messages" and (anyway or _is_begun(raw, place))
    ):
        return []
    return [_with_content(block, place) if name == "messages" else {**block} for block in place.read(_blocks, raw)]


def _with_content(message: Mapping[str, msgspec.Raw], place: Place) -> Block:
    content = message.get("content", NULL)
    if not starts_with(content, b"["):
        return {**message}
    return {**message, "content": [{**block} for block in place.read(_blocks, content)]}


def _is_begun(messages: msgspec.Raw, place: Place) -> bool:
    """Whether the answer is begun by the client."""
    last = place.read(_raws, messages)[-1:]
    return any(place.read(_message, raw).role == "assistant" for raw in last)


def _edited(
    given: Fields, opened: Mapping[str, list[Block]], *, model: Model, betas: Collection[str]
) -> dict[str, list[Block]]:
    structured = bool(model.supports.structured_outputs)
    tools = [_tool(tool, betas, structured=structured) for tool in opened["tools"]]
    messages = [each for message in opened["messages"] for each in _message_of(message, betas)]
    system = [block for given_block in opened["system"] for block in _instruction(given_block)]
    if _SYSTEM_BETA not in betas:
        lifted = [block for message in messages if _says(message, "system") for block in _content(_listed(message))]
        messages = [message for message in messages if not _says(message, "system")]
        before = system if opened["system"] else _instructions(given)
        system = [*before, *lifted] if lifted else system
    spoken = [message for message in messages if not _says(message, "system")]
    if spoken and _says(spoken[-1], "assistant"):
        messages.append({"role": "user", "content": [{"type": "text", "text": CONTINUE.text}]})
    return {"tools": tools, "system": system, "messages": messages}


def _tool(tool: Block, betas: Collection[str], *, structured: bool) -> Block:
    kept = {name: value for name, value in tool.items() if not _is_refused(name, _REFUSED_IN_TOOLS, betas)}
    if not structured:
        kept.pop("strict", None)
    schema = kept.get("input_schema")
    if isinstance(schema, msgspec.Raw) and starts_with(schema, b"{") and b'"$schema"' in bytes(schema):
        kept["input_schema"] = {
            name: value for name, value in Place("tools", []).read(_object, schema).items() if name != "$schema"
        }
    return _plainly_cached(kept)


def _message_of(message: Block, betas: Collection[str]) -> Iterator[Block]:
    """The message as upstream takes it; none when it was nothing but thinking of another vendor's."""
    kept = {name: value for name, value in message.items() if not _is_refused(name, _REFUSED_IN_MESSAGES, betas)}
    content = kept.get("content")
    if not isinstance(content, list):
        yield kept
        return
    said = [_block(block) for block in content if not _is_foreign_thinking(block)]
    if said or not content:
        yield {**kept, "content": said}


def _block(block: Block) -> Block:
    """A content block with at most one plain mark, on itself: not on thinking, and not inside a tool result."""
    kind = _kind(block)
    if kind in _SEALS:
        return {name: value for name, value in block.items() if name != "cache_control"}
    content = block.get("content", NULL)
    if kind == "tool_result" and isinstance(content, msgspec.Raw) and starts_with(content, b"["):
        parts = Place("messages", []).read(_blocks, content)
        if any("cache_control" in part for part in parts):
            inner = [{name: value for name, value in part.items() if name != "cache_control"} for part in parts]
            block = {"cache_control": _PLAIN, **block, "content": inner}
    return _plainly_cached(block)


def _is_foreign_thinking(block: Block) -> bool:
    """Thinking without a signature, or with another vendor's in our envelope: upstream could not verify it."""
    key = _SEALS.get(_kind(block))
    if key is None:
        return False
    seal = _text(block.get(key, NULL))
    return not seal or is_wrapped(seal)


def _instruction(block: Block) -> Iterator[Block]:
    """The block without Claude Code's accounting line: its hash changes with each request, and with it the cache."""
    text = _text(block.get("text", NULL))
    if not text.startswith(_BILLING_LINE):
        yield _plainly_cached(block)
        return
    _, _, rest = text.partition("\n")
    if rest.strip():
        yield _plainly_cached({**block, "text": rest})


def _instructions(given: Fields) -> list[Block]:
    """``system`` as blocks, when it was not opened for its own sake."""
    system = given.get("system", NULL)
    if starts_with(system, b"["):
        return [{**block} for block in Place("system", []).read(_blocks, system)]
    return [{"type": "text", "text": system}] if _text(system).strip() else []


def _plainly_cached(block: Block) -> Block:
    """Upstream knows one kind of mark; ``ttl`` and ``scope`` it refuses."""
    control = block.get("cache_control")
    if not isinstance(control, msgspec.Raw):
        return {**block}
    if is_null(control):
        return {name: value for name, value in block.items() if name != "cache_control"}
    is_plain = Place("cache_control", []).read(_object, control).keys() == {"type"}
    return {**block, "cache_control": control if is_plain else _PLAIN}


def _mark_last(messages: list[Block]) -> None:
    """What ``cache_control`` at the top asks for: a mark at the end of the conversation."""
    for message in reversed(messages):
        message.update(_listed(message))
        for block in reversed(_content(message)):
            if _kind(block) in _CACHEABLE:
                block.setdefault("cache_control", _PLAIN)
                return


def _listed(message: Block) -> Block:
    content = message.get("content")
    if not isinstance(content, msgspec.Raw) or not starts_with(content, b'"'):
        return message
    return {**message, "content": [{"type": "text", "text": content}]}


def _content(message: Block) -> list[Block]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def _says(message: Block, role: str) -> bool:
    return _text(message.get("role", NULL)) == role


def _kind(block: Block) -> str:
    return _text(block.get("type", NULL))


def _text(value: object) -> str:
    """The text that a value is, or an empty one."""
    if isinstance(value, msgspec.Raw) and starts_with(value, b'"'):
        return Place("messages", []).read(_string, value)
    return value if isinstance(value, str) else ""
