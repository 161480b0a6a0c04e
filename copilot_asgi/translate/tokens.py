"""How many tokens a conversation is: with a tokenizer when one is given, else about, by its bytes.

Rule: bytes of UTF-8, not characters, and every part of the conversation once: one byte in 3.8 is a token within some
20 % for prose, code, JSON, Chinese and Japanese. What is no text (images, files, seals) has a price of its own.
"""

from collections.abc import Callable, Iterable, Mapping
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

__all__ = ["by_bytes", "estimate"]

_BYTES_PER_TOKEN = 3.8
_LIST, _MESSAGE = 3, 3
_TOOL, _TOOLS_END, _CLAUDE_TOOLS = 7, 12, 346
_CALL = 4
_IMAGE, _IMAGE_LOW, _IMAGE_CLAUDE = 765, 85, 1500
_BYTES_PER_FILE_TOKEN = 500
_FILE_URL = 2000  # one page
# Some vendors' tokenizers count more than the one that the divisor was measured with.
_FACTORS: Mapping[str, float] = MappingProxyType({"claude": 1.15, "grok": 1.03})


def by_bytes(text: str) -> float:
    """About how many tokens ``text`` is."""
    return len(text.encode("utf-8", "surrogatepass")) / _BYTES_PER_TOKEN


def estimate(conversation: Conversation, *, model_id: str = "", count: Callable[[str], float] = by_bytes) -> int:
    """About how many tokens the prompt is for that model, at least 1; linear in the size of the conversation.

    ``count`` gives the tokens of one text.
    """
    prices = _Prices(count, is_claude=model_id.startswith("claude"))
    running = _running(conversation.turns)
    total = _LIST + sum(_MESSAGE + count(text.text) for text in conversation.system)
    for number, turn in enumerate(conversation.turns):
        total += _MESSAGE + prices.parts(turn.parts, thinks=number >= running)
    total += prices.tools(conversation.tools)
    total += prices.json(conversation.format.schema) if conversation.format else 0
    factor = next((factor for vendor, factor in _FACTORS.items() if model_id.startswith(vendor)), 1.0)
    return max(1, ceil(total * factor))


def _running(turns: tuple[Turn, ...]) -> int:
    """The first turn of the running tool loop: only there upstream reads earlier thinking."""
    for number in range(len(turns) - 1, -1, -1):
        turn = turns[number]
        if turn.role is Role.USER and not all(isinstance(part, ToolResult) for part in turn.parts):
            return number
    return 0


class _Prices:
    """What the parts of a prompt cost, in tokens."""

    def __init__(self, count: Callable[[str], float], *, is_claude: bool) -> None:
        self._count = count
        self._is_claude = is_claude

    def parts(self, parts: Iterable[Part], *, thinks: bool) -> float:
        """The parts of one turn; ``thinks`` says whether upstream reads its thinking."""
        return sum(self._part(part, thinks=thinks) for part in parts)

    def tools(self, tools: tuple[Tool, ...]) -> float:
        """All tools together."""
        if not tools:
            return 0.0
        texts = sum(
            _TOOL + self._count(tool.name) + self._count(tool.description) + self.json(tool.schema + tool.grammar)
            for tool in tools
        )
        return texts + _TOOLS_END + (_CLAUDE_TOOLS if self._is_claude else 0)

    def json(self, text: bytes) -> float:
        """A JSON text."""
        return self._count(text.decode())

    def _part(self, part: Part, *, thinks: bool) -> float:
        match part:
            case Text(text) | Refusal(text):
                return self._count(text)
            case Thinking(text):
                return self._count(text) if thinks else 0.0
            case ToolCall(name=name, arguments=arguments):
                return _CALL + self._count(name) + self._count(arguments)
            case ToolResult(parts=parts):
                return _CALL + self.parts(parts, thinks=thinks)
            case Image(detail=detail):
                return self._image(detail)
            case _:
                return len(part.data) * 0.75 / _BYTES_PER_FILE_TOKEN if part.data else _FILE_URL

    def _image(self, detail: str) -> float:
        if self._is_claude:
            return _IMAGE_CLAUDE
        return _IMAGE_LOW if detail == "low" else _IMAGE
