"""Parts that upstream may send interleaved, put into the order that events must keep.

Rule: a part that may not begin yet waits with all that belongs to it, and nothing is lost or reordered within a part.
Tool calls that follow each other run side by side; anything else stands alone.
"""

from collections.abc import Hashable

import msgspec

from copilot_asgi.translate.conversation import Seal
from copilot_asgi.translate.events import Annotation, Event, Kind, PartDelta, PartFinished, PartStarted

__all__ = ["PartOrder"]


class PartOrder:
    """Give it what happens to each part, by a key of your own; take the events that may be told now."""

    def __init__(self) -> None:
        self._parts: dict[Hashable, _Part] = {}
        self._waiting: list[_Part] = []
        self._live: list[_Part] = []
        self._events: list[Event] = []
        self._count = 0

    def open(self, key: Hashable, kind: Kind, *, id: str = "", name: str = "", freeform: bool = False) -> None:
        """Begin a part. ``key`` must be new."""
        part = _Part(PartStarted(-1, kind, id, name, freeform))
        self._parts[key] = part
        self._waiting.append(part)
        self._advance()

    def is_open(self, key: Hashable) -> bool:
        """Whether the part was begun and not closed."""
        return key in self._parts and not self._parts[key].closed

    def is_known(self, key: Hashable) -> bool:
        """Whether the part was ever begun."""
        return key in self._parts

    def said(self, key: Hashable) -> str:
        """The text of the part so far."""
        return "".join(self._parts[key].texts)

    def add(self, key: Hashable, text: str = "", annotation: Annotation | None = None) -> None:
        """More of an open part."""
        part = self._parts[key]
        part.texts.append(text)
        self._tell(part, PartDelta(part.start.index, text, annotation))

    def say(self, key: Hashable, text: str) -> bool:
        """More text of a part, unless it is closed; False when it was never begun."""
        part = self._parts.get(key)
        if part is not None and not part.closed:
            part.texts.append(text)
            self._tell(part, PartDelta(part.start.index, text))
        return part is not None

    def close(self, key: Hashable, seal: Seal | None = None) -> None:
        """The end of an open part."""
        part = self._parts[key]
        part.closed = True
        self._tell(part, PartFinished(part.start.index, seal))
        if part in self._live:
            self._live.remove(part)
            self._advance()

    def close_all(self) -> None:
        """The end of every part that is still open."""
        for key in [key for key, part in self._parts.items() if not part.closed]:
            self.close(key)

    def take(self) -> list[Event]:
        """The events since the last time."""
        events, self._events = self._events, []
        return events

    def _tell(self, part: "_Part", event: PartDelta | PartFinished) -> None:
        (self._events if part in self._live else part.backlog).append(event)

    def _advance(self) -> None:
        while self._waiting and self._may_begin(self._waiting[0]):
            part = self._waiting.pop(0)
            part.start = msgspec.structs.replace(part.start, index=self._count)
            self._count += 1
            self._events.append(part.start)
            self._events += [msgspec.structs.replace(event, index=part.start.index) for event in part.backlog]
            if not part.closed:
                self._live.append(part)

    def _may_begin(self, part: "_Part") -> bool:
        return all(each.start.kind is part.start.kind is Kind.TOOL_CALL for each in self._live)


class _Part:
    """A part that was begun; ``backlog`` is what could not be told yet."""

    def __init__(self, start: PartStarted) -> None:
        self.start = start
        self.texts: list[str] = []
        self.backlog: list[PartDelta | PartFinished] = []
        self.closed = False
