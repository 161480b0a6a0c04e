"""What the items of a Responses answer say, part by part, whether told in pieces, at the end, or both.

Rule: the end of an item is authoritative: what its pieces did not give is told then, what they gave is not repeated.
Arguments that do not look like JSON are held back until then, for Copilot has been seen to send them sealed.
"""

import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import StreamInterrupted
from copilot_asgi.translate.conversation import Seal, SealOrigin
from copilot_asgi.translate.events import Event, Finish, Finished, Kind, Started
from copilot_asgi.translate.ids import ToolNames
from copilot_asgi.translate.responses_order import PartOrder
from copilot_asgi.translate.responses_tools import in_namespace
from copilot_asgi.translate.responses_wire import AnswerEvent, AnswerItem, AnswerPart, AnswerResponse, Citation

__all__ = ["TERMINAL", "AnswerReader", "is_read"]

TERMINAL = frozenset({"response.completed", "response.incomplete"})

_CALLS = frozenset({"function_call", "custom_tool_call"})
_INCOMPLETE: Mapping[str | None, Finish] = MappingProxyType(
    {"max_output_tokens": Finish.LENGTH, "content_filter": Finish.FILTER}
)
# A known fault of upstream's: blanks without end inside the arguments. JSON has none of these within its strings.
_FLOOD = re.compile(r"[\t\n\r]{21}")
_BLANKS = re.compile(r"[\t\n\r]*\Z")

_Key = tuple[int, int, Kind]


class _Source:
    """What is known of one output item."""

    def __init__(self, kind: str | None) -> None:
        self.kind = kind
        self.done = False
        self.part: _Key | None = None  # the part being told
        self.cited: dict[_Key, int] = {}
        self.channel = ""  # of reasoning: whether its summary is told or its text
        self.paragraph = 0
        self.held = ""  # arguments that nobody may see yet
        self.is_readable = kind == "custom_tool_call"
        self.blanks = ""


class AnswerReader:
    """Takes what a stream or a whole answer says, event by event; ``take`` gives the neutral events since last time."""

    def __init__(self, names: ToolNames) -> None:
        self._names = names
        self._order = PartOrder()
        self._sources: dict[int, _Source] = {}
        self._response_id: str | None = None
        self._head: list[Event] = []
        self._tail: list[Event] = []
        self._sealed: tuple[_Key, Seal] | None = None

    def read(self, kind: str, event: AnswerEvent) -> None:
        """One event of a kind that ``is_read``."""
        if self._response_id is None:
            self._begin(event.response or AnswerResponse())
        self._settle(event)
        _HANDLERS[kind](self, event)

    def take(self) -> list[Event]:
        """The events since the last time."""
        events = self._order.take()
        if self._head or self._tail:
            events = [*self._head, *events, *self._tail]
            self._head, self._tail = [], []
        return events

    def begin(self, event: AnswerEvent) -> None:
        """The answer begins; that was told already."""

    def item_added(self, event: AnswerEvent) -> None:
        """An item begins."""
        item, index = event.item or AnswerItem(), event.output_index
        if index in self._sources:
            return
        source = self._sources[index] = _Source(item.type)
        if item.type in _CALLS:
            self._open_call(index, item)
            self._argue(index, source, item.arguments or item.input or "")

    def item_done(self, event: AnswerEvent) -> None:
        """An item is complete."""
        self.item_added(AnswerEvent(output_index=event.output_index, item=_bare(event.item)))
        item, source = event.item or AnswerItem(), self._sources[event.output_index]
        if source.done:
            return
        source.done = True
        if source.kind == "message":
            self._end_message(event.output_index, item)
        elif source.kind == "reasoning":
            self._end_reasoning(event.output_index, source, item)
        elif source.kind in _CALLS:
            self._open_call(event.output_index, item)
            self._end_call(event.output_index, source, item.arguments or item.input)

    def text_delta(self, event: AnswerEvent) -> None:
        """A piece of text."""
        self._say(_key(event, Kind.TEXT), event.delta or "")

    def refusal_delta(self, event: AnswerEvent) -> None:
        """A piece of a refusal."""
        self._say(_key(event, Kind.REFUSAL), event.delta or "")

    def text_done(self, event: AnswerEvent) -> None:
        """A text is complete."""
        self._complete(_key(event, Kind.TEXT), event.text or "")

    def refusal_done(self, event: AnswerEvent) -> None:
        """A refusal is complete."""
        self._complete(_key(event, Kind.REFUSAL), event.refusal or "")

    def part_done(self, event: AnswerEvent) -> None:
        """A part of a message is complete."""
        if event.part is not None:
            self._end_part(event.output_index, event.content_index, event.part)

    def annotation_added(self, event: AnswerEvent) -> None:
        """A source is cited."""
        if event.annotation is not None:
            self._cite(_key(event, Kind.TEXT), event.annotation)

    def arguments_delta(self, event: AnswerEvent) -> None:
        """A piece of a call's arguments."""
        source = self._sources.get(event.output_index)
        if source and source.kind in _CALLS and not source.done:
            self._argue(event.output_index, source, event.delta or "")

    def arguments_done(self, event: AnswerEvent) -> None:
        """A call's arguments are complete."""
        source = self._sources.get(event.output_index)
        whole = event.arguments or event.input or ""
        if source and source.kind in _CALLS and not source.done and whole:
            source.held = ""  # what was held back is told here
            self._complete(_call_key(event.output_index), whole)

    def summary_delta(self, event: AnswerEvent) -> None:
        """A piece of the summary of what the model thought."""
        self._think(event, "summary", event.summary_index)

    def reasoning_delta(self, event: AnswerEvent) -> None:
        """A piece of what the model thought."""
        self._think(event, "text", event.content_index)

    def end(self, event: AnswerEvent) -> None:
        """The answer is complete; what it holds and nobody told is told now."""
        response = event.response or AnswerResponse()
        for index, item in enumerate(response.output or ()):
            self.item_done(AnswerEvent(output_index=index, item=item))
            self._settle(AnswerEvent(item=_next(response.output or [], index)))
        for index, source in self._sources.items():
            if not source.done and source.kind in _CALLS:
                self._end_call(index, source, None)
        self._order.close_all()
        usage = response.usage.neutral if response.usage else None
        self._tail.append(Finished(self._reason(response), usage))

    def _begin(self, response: AnswerResponse) -> None:
        self._response_id = response.id or ""
        self._head.append(Started(response.id or "", response.model or ""))

    def _settle(self, event: AnswerEvent) -> None:
        """Close reasoning that is done: only what follows tells the phase that has to go back with it."""
        if self._sealed is None:
            return
        (key, seal), self._sealed = self._sealed, None
        phase = (event.item.phase or "") if event.item and event.item.type == "message" else ""
        self._order.close(key, msgspec.structs.replace(seal, phase=phase))

    def _reason(self, response: AnswerResponse) -> Finish:
        details = response.incomplete_details
        cut = _INCOMPLETE.get(details.reason) if details and response.status != "completed" else None
        if cut:
            return cut
        if any(source.kind in _CALLS for source in self._sources.values()):
            return Finish.TOOL_CALLS
        refused = any(source.part and source.part[2] is Kind.REFUSAL for source in self._sources.values())
        return Finish.FILTER if refused else Finish.STOP

    def _open_call(self, index: int, item: AnswerItem) -> None:
        if self._order.is_known(_call_key(index)) or not item.name:
            return
        self._order.open(
            _call_key(index),
            Kind.TOOL_CALL,
            id=item.call_id or self._made_up(index),
            name=self._names.to_client(in_namespace(item.namespace, item.name)),
            freeform=item.type == "custom_tool_call",
        )

    def _made_up(self, index: int) -> str:
        return f"call_{sha256(f'{self._response_id}/{index}'.encode()).hexdigest()[:24]}"

    def _argue(self, index: int, source: _Source, text: str) -> None:
        """Tell a fragment of arguments, once it is certain that they can be read."""
        if source.kind == "function_call":
            _refuse_flood(source, text)
        source.held += text
        source.is_readable = source.is_readable or source.held.lstrip().startswith("{")
        if source.is_readable and source.held and self._order.is_open(_call_key(index)):
            self._order.add(_call_key(index), source.held)
            source.held = ""

    def _end_call(self, index: int, source: _Source, whole: str | None) -> None:
        key = _call_key(index)
        if not self._order.is_open(key):
            return
        self._complete(key, whole or self._order.said(key) + source.held)
        self._order.close(key)

    def _think(self, event: AnswerEvent, channel: str, paragraph: int) -> None:
        source = self._sources.setdefault(event.output_index, _Source("reasoning"))
        if not event.delta or source.channel not in {"", channel}:
            return
        key = _thinking_key(event.output_index)
        between = "\n\n" if self._order.is_known(key) and paragraph != source.paragraph else ""
        source.channel, source.paragraph = channel, paragraph
        self._say(key, between + event.delta)

    def _end_reasoning(self, index: int, source: _Source, item: AnswerItem) -> None:
        told = item.content if source.channel == "text" else item.summary or item.content
        key = _thinking_key(index)
        self._complete(key, "\n\n".join(part.text or "" for part in told or ()))
        if item.encrypted_content:
            if not self._order.is_known(key):
                self._order.open(key, Kind.THINKING)
            self._sealed = key, Seal(SealOrigin.RESPONSES, item.encrypted_content, id=item.id or "")
        elif self._order.is_open(key):
            self._order.close(key)

    def _end_message(self, index: int, item: AnswerItem) -> None:
        for number, part in enumerate(item.content or ()):
            self._end_part(index, number, part)
        self._end_current(index)

    def _end_part(self, index: int, number: int, part: AnswerPart) -> None:
        kind = Kind.REFUSAL if part.type == "refusal" else Kind.TEXT
        key = (index, number, kind)
        self._complete(key, part.refusal or part.text or "")
        told = self._source(index).cited.get(key, 0)
        for citation in (part.annotations or [])[told:]:
            self._cite(key, citation)
        if self._order.is_open(key):
            self._order.close(key)

    def _cite(self, key: _Key, citation: Citation) -> None:
        source = self._source(key[0])
        source.cited[key] = source.cited.get(key, 0) + 1
        if citation.annotation and self._order.is_open(key):
            self._order.add(key, annotation=citation.annotation)

    def _say(self, key: _Key, text: str) -> None:
        if not text or self._order.say(key, text):
            return
        self._end_current(key[0])
        self._source(key[0]).part = key
        self._order.open(key, key[2])
        self._order.add(key, text)

    def _complete(self, key: _Key, whole: str) -> None:
        """Tell what is missing to ``whole``, when what was told is its beginning."""
        said = self._order.said(key) if self._order.is_known(key) else ""
        if whole.startswith(said):
            self._say(key, whole[len(said) :])

    def _end_current(self, index: int) -> None:
        """Close the part of an item that is being told: the next one begins."""
        current = self._source(index).part
        if current is not None and self._order.is_open(current):
            self._order.close(current)

    def _source(self, index: int) -> _Source:
        return self._sources.setdefault(index, _Source("message"))


def _key(event: AnswerEvent, kind: Kind) -> _Key:
    return event.output_index, event.content_index, kind


def _call_key(index: int) -> _Key:
    return index, 0, Kind.TOOL_CALL


def _thinking_key(index: int) -> _Key:
    return index, 0, Kind.THINKING


def _bare(item: AnswerItem | None) -> AnswerItem:
    """An item as it would have begun."""
    return msgspec.structs.replace(item, arguments=None, input=None) if item else AnswerItem()


def _next(items: list[AnswerItem], index: int) -> AnswerItem | None:
    return items[index + 1] if index + 1 < len(items) else None


def _refuse_flood(source: _Source, text: str) -> None:
    if _FLOOD.search(source.blanks + text):
        raise StreamInterrupted("GitHub Copilot fills the arguments of a tool call with blanks; try again.")
    blanks = _BLANKS.search(source.blanks + text)
    source.blanks = blanks[0] if blanks else ""


_HANDLERS: Mapping[str, Callable[[AnswerReader, AnswerEvent], None]] = MappingProxyType(
    {
        "response.created": AnswerReader.begin,
        "response.in_progress": AnswerReader.begin,
        "response.queued": AnswerReader.begin,
        "response.output_item.added": AnswerReader.item_added,
        "response.output_item.done": AnswerReader.item_done,
        "response.output_text.delta": AnswerReader.text_delta,
        "response.output_text.done": AnswerReader.text_done,
        "response.output_text.annotation.added": AnswerReader.annotation_added,
        "response.refusal.delta": AnswerReader.refusal_delta,
        "response.refusal.done": AnswerReader.refusal_done,
        "response.content_part.done": AnswerReader.part_done,
        "response.function_call_arguments.delta": AnswerReader.arguments_delta,
        "response.function_call_arguments.done": AnswerReader.arguments_done,
        "response.custom_tool_call_input.delta": AnswerReader.arguments_delta,
        "response.custom_tool_call_input.done": AnswerReader.arguments_done,
        "response.reasoning_summary_text.delta": AnswerReader.summary_delta,
        "response.reasoning_text.delta": AnswerReader.reasoning_delta,
        "response.completed": AnswerReader.end,
        "response.incomplete": AnswerReader.end,
    }
)


def is_read(kind: str) -> bool:
    """Whether an event of this kind says anything; the rest are signs of life."""
    return kind in _HANDLERS
