"""How many tokens a conversation is, about, without a tokenizer.

Rule: bytes of UTF-8, not characters, and every part of the conversation once: one byte in 3.8 is a token within some
20 % for prose, code, JSON, Chinese and Japanese. What is no text (images, files, seals) has a price of its own.
"""

from collections.abc import Iterable, Mapping
from math import ceil
from types import MappingProxyType

from copilot_asgi.translate.conversation import (
    Conversation,
    Image,
    Part,
    Refusal,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)

__all__ = ["estimate"]

_BYTES_PER_TOKEN = 3.8
_LIST, _MESSAGE = 3, 3
_TOOL, _TOOLS_END, _CLAUDE_TOOLS = 7, 12, 346
_CALL = 4
_IMAGE, _IMAGE_LOW, _IMAGE_CLAUDE = 765, 85, 1500
_BYTES_PER_FILE_TOKEN = 500
_FILE_URL = 2000  # one page
# Some vendors' tokenizers count more than the one that the divisor was measured with.
_FACTORS: Mapping[str, float] = MappingProxyType({"claude": 1.15, "grok": 1.03})


def estimate(conversation: Conversation, *, model_id: str = "") -> int:
    """About how many tokens the prompt is for that model, at least 1; linear in the size of the conversation."""
    is_claude = model_id.startswith("claude")
    running = _running(conversation.turns)
    total = _LIST + sum(_MESSAGE + _size(text.text) for text in conversation.system)
    for number, turn in enumerate(conversation.turns):
        total += _MESSAGE + _sum(turn.parts, is_claude=is_claude, thinks=number >= running)
    total += _tools(conversation.tools, is_claude=is_claude)
    total += _bytes(conversation.format.schema) if conversation.format else 0
    factor = next((factor for vendor, factor in _FACTORS.items() if model_id.startswith(vendor)), 1.0)
    return max(1, ceil(total * factor))


def _running(turns: tuple[Turn, ...]) -> int:
    """The first turn of the running tool loop: only there upstream reads earlier thinking."""
    for number in range(len(turns) - 1, -1, -1):
        turn = turns[number]
        if turn.role is Role.USER and not all(isinstance(part, ToolResult) for part in turn.parts):
            return number
    return 0


def _sum(parts: Iterable[Part], *, is_claude: bool, thinks: bool) -> float:
    return sum(_part(part, is_claude=is_claude, thinks=thinks) for part in parts)


def _part(part: Part, *, is_claude: bool, thinks: bool) -> float:
    match part:
        case Text(text) | Refusal(text):
            return _size(text)
        case Thinking(text):
            return _size(text) if thinks else 0.0
        case ToolCall(name=name, arguments=arguments):
            return _CALL + _size(name) + _size(arguments)
        case ToolResult(parts=parts):
            return _CALL + _sum(parts, is_claude=is_claude, thinks=thinks)
        case Image(detail=detail):
            return _image(detail, is_claude=is_claude)
        case _:
            return len(part.data) * 0.75 / _BYTES_PER_FILE_TOKEN if part.data else _FILE_URL


def _image(detail: str, *, is_claude: bool) -> float:
    if is_claude:
        return _IMAGE_CLAUDE
    return _IMAGE_LOW if detail == "low" else _IMAGE


def _tools(tools: tuple[Tool, ...], *, is_claude: bool) -> float:
    if not tools:
        return 0.0
    texts = sum(
        _TOOL + _size(tool.name) + _size(tool.description) + _bytes(tool.schema + tool.grammar) for tool in tools
    )
    return texts + _TOOLS_END + (_CLAUDE_TOOLS if is_claude else 0)


def _size(text: str) -> float:
    return _bytes(text.encode())


def _bytes(text: bytes) -> float:
    return len(text) / _BYTES_PER_TOKEN
