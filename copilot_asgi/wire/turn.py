"""What the last turn of a request says about who started it, and whether there is anything to see.

Two headers depend on it: ``X-Initiator`` (only a turn of the user's own is billed as one) and
``Copilot-Vision-Request`` (without it images are silently ignored). Rule: the turns are taken apart once, as far
as these two facts need it.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.shallow import NOT_JSON, Fields, starts_with

__all__ = ["TurnFacts", "turn_facts"]

_TURNS: Mapping[Dialect, str] = MappingProxyType(
    {Dialect.CHAT: "messages", Dialect.MESSAGES: "messages", Dialect.RESPONSES: "input"}
)
_INSTRUCTION_ROLES = frozenset({"system", "developer"})
_IMAGE_TYPES = frozenset({"image_url", "image", "input_image", "computer_screenshot"})


class TurnFacts(msgspec.Struct, frozen=True):
    """What upstream wants to know about the client's own request: whether a person spoke last, and saw an image."""

    by_user: bool
    has_image: bool


class _Part(msgspec.Struct):
    """A part of a turn, or of a tool's result."""

    type: str | None = None
    content: "_Content" = None
    output: "_Content" = None


_Content = str | list[_Part] | _Part | None


class _Turn(_Part):
    """A message, or an item of a Responses request, which may have no role."""

    role: str | None = None


_decoder = msgspec.json.Decoder(list[_Turn])


def turn_facts(dialect: Dialect, fields: Fields) -> TurnFacts:
    """Whether the user spoke last, rather than a tool or the model, and whether any image is in the request.

    Instructions that a client puts behind the last turn do not count as one. A turn of tool results and text is the
    user's. Images in tool results count as well. Raises ``BadRequest`` naming the field when it cannot be read.
    """
    name = _TURNS.get(dialect)
    if name is None:
        return TurnFacts(by_user=True, has_image=False)
    value = fields.get(name)
    if value is None:
        raise BadRequest(f"The field '{name}' is missing.", code="missing_field", param=name)
    if dialect is Dialect.RESPONSES and starts_with(value, b'"'):
        return TurnFacts(by_user=True, has_image=False)
    try:
        turns = _decoder.decode(value)
        return TurnFacts(by_user=_is_by_user(turns), has_image=_has_image(turns))
    except NOT_JSON:
        raise BadRequest(
            f"The field '{name}' is not a list of messages as the API describes it.", code="invalid_type", param=name
        ) from None


def _is_by_user(turns: Sequence[_Turn]) -> bool:
    if not turns:
        raise msgspec.ValidationError("no turns")
    for turn in reversed(turns):
        if turn.role is None and turn.type is None:
            raise msgspec.ValidationError("neither a message nor an item")
        if turn.role not in _INSTRUCTION_ROLES:
            return turn.role == "user" and not _only_tool_results(turn.content)
    return True


def _only_tool_results(content: _Content) -> bool:
    """Anthropic's way to send tool results: a user message that holds nothing else."""
    return isinstance(content, list) and bool(content) and all(part.type == "tool_result" for part in content)


def _has_image(parts: Iterable[_Part]) -> bool:
    """Whether a part, or a turn, is an image or holds one."""
    for part in parts:
        if part.type in _IMAGE_TYPES:
            return True
        for content in (part.content, part.output):
            if isinstance(content, str) or content is None:
                continue
            if _has_image(content if isinstance(content, list) else (content,)):
                return True
    return False
