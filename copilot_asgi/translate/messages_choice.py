"""Neutral tools, and which of them may be called, as ``/v1/messages`` takes them.

Rule: a schema is always an object's, a choice never names what is not there, and without tools nothing is chosen.
"""

import msgspec

from copilot_asgi.errors import TranslationError
from copilot_asgi.translate.conversation import Conversation, Tool, ToolCall, ToolChoice, ToolChoiceMode
from copilot_asgi.translate.ids import ToolNames
from copilot_asgi.translate.messages_cache import Block, mark
from copilot_asgi.translate.schema import FREEFORM_SCHEMA, for_messages, freeform_description
from copilot_asgi.wire.models import Supports

__all__ = ["is_forced", "rendered_choice", "rendered_tools"]

_TYPES = {ToolChoiceMode.AUTO: "auto", ToolChoiceMode.NONE: "none", ToolChoiceMode.REQUIRED: "any"}


def is_forced(choice: ToolChoice | None) -> bool:
    """Whether the model must call a tool."""
    return choice is not None and choice.mode is ToolChoiceMode.REQUIRED


def rendered_tools(conversation: Conversation, supports: Supports, names: ToolNames) -> list[Block]:
    """The tools; where the choice is limited to some, those and what the history calls."""
    choice = conversation.tool_choice
    tools = conversation.tools
    if choice is not None and choice.allowed:
        kept = {*choice.allowed, *_called(conversation)}
        tools = tuple(tool for tool in tools if tool.name in kept)
    return [_tool(tool, supports, names) for tool in tools]


def rendered_choice(conversation: Conversation, tools: list[Block], names: ToolNames) -> Block | None:
    """``tool_choice``, or ``None`` when there is nothing to say.

    Raises ``TranslationError`` when a tool must be called that is not there.
    """
    choice = conversation.tool_choice
    one_at_a_time = conversation.parallel is False
    name = names.to_upstream(choice.name) if choice and choice.name else ""
    there = {tool["name"] for tool in tools}
    if is_forced(choice) and (name not in there if name else not there):
        raise TranslationError("A tool must be called that is not available to this model.", param="tool_choice")
    if not tools or (choice is None and not one_at_a_time):
        return None
    mode = choice.mode if choice else ToolChoiceMode.AUTO
    rendered: Block = {"type": "tool", "name": name} if name else {"type": _TYPES[mode]}
    if one_at_a_time and mode is not ToolChoiceMode.NONE:
        rendered["disable_parallel_tool_use"] = True
    return rendered


def _called(conversation: Conversation) -> set[str]:
    return {part.name for turn in conversation.turns for part in turn.parts if isinstance(part, ToolCall)}


def _tool(tool: Tool, supports: Supports, names: ToolNames) -> Block:
    description, schema = tool.description, tool.schema
    if tool.freeform:
        description, schema = freeform_description(description, tool.grammar), FREEFORM_SCHEMA
    rendered: Block = {"name": names.to_upstream(tool.name), "input_schema": msgspec.Raw(for_messages(schema))}
    if description:
        rendered["description"] = description
    if tool.strict and supports.structured_outputs:
        rendered["strict"] = True
    if tool.cached:
        mark(rendered)
    return rendered
