"""Tool calls for dialects that send them whole: arguments are kept until the call is complete.

Rule: arguments are an object there. What a model wrote instead is wrapped into one, for the result of the call must
come back; but a call that was cut off by the length of the answer was never made.
"""

from collections.abc import Iterator

import msgspec

from copilot_asgi.translate.events import Finish, PartDelta, PartFinished, PartStarted, Reply
from copilot_asgi.translate.messages_blocks import input_of
from copilot_asgi.translate.messages_reading import is_object
from copilot_asgi.translate.schema import freeform_arguments

__all__ = ["Call", "WholeCalls", "unfolded"]

_CUT_SHORT = frozenset({Finish.LENGTH, Finish.CONTEXT_FULL})


class Call(msgspec.Struct, frozen=True):
    """A complete call; ``arguments`` is the text of a JSON object."""

    id: str
    name: str
    arguments: msgspec.Raw


class WholeCalls:
    """Collects the pieces of calls, of which several may be open at once."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[PartStarted, list[str]]] = {}
        self._broken: list[Call] = []

    def begin(self, event: PartStarted) -> None:
        """A call begins."""
        self._open[event.index] = event, []

    def add(self, event: PartDelta) -> bool:
        """Keep a piece; False when it is not of a call."""
        if event.index not in self._open:
            return False
        self._open[event.index][1].append(event.text)
        return True

    def end(self, event: PartFinished) -> list[Call]:
        """The call that is complete now; none where the part is no call, or not yet certain to be one."""
        if event.index not in self._open:
            return []
        started, pieces = self._open.pop(event.index)
        text = "".join(pieces)
        text = freeform_arguments(text) if started.freeform else text
        # On one line: a line end, which models like to write, would end the message in some dialects.
        call = Call(started.id, started.name, msgspec.Raw(msgspec.json.format(input_of(text), indent=-1)))
        if not text.strip() or is_object(text):
            return [call]
        self._broken.append(call)
        return []

    def rest(self, reason: Finish) -> list[Call]:
        """The calls with odd arguments, once it is known that the answer was not cut off in them."""
        return [] if reason in _CUT_SHORT else self._broken


def unfolded(reply: Reply) -> Iterator[PartStarted | PartDelta | PartFinished]:
    """The events that the parts of a reply were folded from, each text in one piece."""
    for index, part in enumerate(reply.parts):
        yield PartStarted(index, part.kind, id=part.id, name=part.name, freeform=part.freeform)
        yield PartDelta(index, part.text)
        yield from (PartDelta(index, annotation=annotation) for annotation in part.annotations)
        yield PartFinished(index, seal=part.seal)
