"""The three dialects of model calls, as one table: how each is read, judged and written.

Rule: whatever differs between dialects is a field here, so that the code that answers has no branch on the dialect.
"""

from collections.abc import Callable

import msgspec

from copilot_asgi.simulator import (
    checks_chat,
    checks_messages,
    checks_responses,
    render_chat,
    render_messages,
    render_responses,
    stream_chat,
)
from copilot_asgi.simulator.access import Object
from copilot_asgi.simulator.catalog import Model
from copilot_asgi.simulator.checks_common import IMAGE_RULES, INITIATOR, LENGTH, PROMPT_LENGTH, VISION, VISION_REQUIRED
from copilot_asgi.simulator.completion import Completion
from copilot_asgi.simulator.prompt import Prompt, read_chat, read_messages, read_responses
from copilot_asgi.simulator.rules import Call, Rule
from copilot_asgi.simulator.script import Quirk

__all__ = ["CHAT", "MESSAGES", "RESPONSES", "Endpoint"]


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One dialect: its path, its reader, its rules, its writers."""

    path: str
    read: Callable[[Object], Prompt]
    rules: tuple[Rule[Call], ...]
    quirks: Callable[[Model], frozenset[Quirk]]
    stream: Callable[[Completion], list[bytes]]
    body: Callable[[Completion], bytes]
    error_event: Callable[[Object | None], bytes]


CHAT = Endpoint(
    path="/chat/completions",
    read=read_chat,
    rules=(*checks_chat.RULES, VISION_REQUIRED, *IMAGE_RULES, LENGTH, INITIATOR),
    quirks=render_chat.quirks_of,
    stream=stream_chat.render_stream,
    body=render_chat.render_body,
    error_event=stream_chat.error_event,
)
RESPONSES = Endpoint(
    path="/responses",
    read=read_responses,
    rules=(*checks_responses.RULES, VISION, *IMAGE_RULES, LENGTH, INITIATOR),
    quirks=lambda _: render_responses.FAMILY_QUIRKS,
    stream=render_responses.render_stream,
    body=render_responses.render_body,
    error_event=render_responses.error_event,
)
MESSAGES = Endpoint(
    path="/v1/messages",
    read=read_messages,
    rules=(*checks_messages.RULES, VISION, *IMAGE_RULES, PROMPT_LENGTH, INITIATOR),
    quirks=lambda _: render_messages.FAMILY_QUIRKS,
    stream=render_messages.render_stream,
    body=render_messages.render_body,
    error_event=render_messages.error_event,
)
