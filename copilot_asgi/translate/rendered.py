"""What ``render_request`` gives back: the upstream request, and what is needed to read its answer."""

import msgspec

from copilot_asgi.translate.conversation import Loss
from copilot_asgi.translate.ids import ToolNames

__all__ = ["Rendered"]


class Rendered(msgspec.Struct, frozen=True):
    """A request in upstream's dialect.

    ``losses`` come on top of ``Conversation.losses``; ``names`` turns the tool names of the answer into the client's.
    """

    body: bytes
    losses: tuple[Loss, ...]
    names: ToolNames
