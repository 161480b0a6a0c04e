"""The Anthropic message that the newest Claude models send where a chat completion belongs, as a chat completion.

Rule: texts join without a separator, thinking keeps its signature, and no token is counted twice.
"""

import msgspec

from copilot_asgi.wire.chat_shapes import Changes, finish_reason

__all__ = ["chat_from_native"]


class _Block(msgspec.Struct):
    """A content block of an Anthropic message."""

    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")


class _NativeUsage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class _Native(msgspec.Struct):
    content: list[_Block]
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: _NativeUsage | None = None


_native_decoder = msgspec.json.Decoder(_Native)


def chat_from_native(body: bytes) -> Changes:
    """``choices`` and ``usage`` of the message in ``body``. Raises one of ``NOT_JSON`` when it is none."""
    message = _native_decoder.decode(body)
    choice = {
        "index": 0,
        "message": _message(message.content),
        "finish_reason": finish_reason(message.stop_reason) or "stop",
    }
    return {"choices": [choice], "usage": _usage(message.usage or _NativeUsage())}


def _message(blocks: list[_Block]) -> Changes:
    text = "".join(block.text for block in blocks if block.type == "text")
    thinking = "".join(block.thinking for block in blocks if block.type == "thinking")
    signature = next((block.signature for block in blocks if block.type == "thinking" and block.signature), "")
    calls = [_call(block) for block in blocks if block.type == "tool_use"]
    message: Changes = {"role": "assistant", "content": text or (None if calls else "")}
    optional = {"reasoning_text": thinking, "reasoning_opaque": signature, "tool_calls": calls}
    return message | {name: value for name, value in optional.items() if value}


def _call(block: _Block) -> Changes:
    function = {"name": block.name, "arguments": bytes(block.input).decode()}
    return {"id": block.id, "type": "function", "function": function}


def _usage(usage: _NativeUsage) -> Changes:
    """Source: Anthropic counts cached tokens beside the input, OpenAI within it."""
    cached = usage.cache_read_input_tokens or 0
    prompt = (usage.input_tokens or 0) + cached + (usage.cache_creation_input_tokens or 0)
    completion = usage.output_tokens or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
