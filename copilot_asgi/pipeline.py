"""Stages put one inside the other: the first is the outermost."""

from collections.abc import Sequence
from functools import partial

from copilot_asgi.exchange import Handler, Stage

__all__ = ["compose"]


def compose(stages: Sequence[Stage], end: Handler) -> Handler:
    """One handler that runs ``stages`` in order around ``end``. No stage costs nothing."""
    handler = end
    for stage in reversed(stages):
        handler = partial(stage, call_next=handler)
    return handler
