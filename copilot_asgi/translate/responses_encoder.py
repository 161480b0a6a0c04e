"""Events as a Responses stream, and a whole reply as a response.

Rule: every number and id is ours and stays what it was; the pieces of a text make up the text told at its end, and that
is the text in the final response. An item is called done only when something follows it, for until then the answer may
turn out to be cut off inside it, and clients run the calls that are done.
"""

from collections.abc import Iterator

import msgspec

from copilot_asgi.translate.conversation import Conversation, Seal, Tool
from copilot_asgi.translate.events import (
    Event,
    Finish,
    Finished,
    Kind,
    PartDelta,
    PartFinished,
    PartStarted,
    Reply,
    Started,
    Usage,
)
from copilot_asgi.translate.responses_object import IN_PROGRESS, Outcome, outcome_of, response_object
from copilot_asgi.translate.responses_told import Told, framed
from copilot_asgi.translate.responses_writing import CallItem, Item, MessageItem, ReasoningItem
from copilot_asgi.wire.dialect import ResponseProgress

__all__ = ["ResponsesEncoder", "render_reply"]


class ResponsesEncoder:
    """Writes the stream. ``id`` is a random word that the ids of the response and its items are made of; ``created`` is
    in unix seconds; ``prompt_tokens`` is told when upstream counted nothing.
    """

    ping = b": ping\n\n"

    def __init__(self, conversation: Conversation, *, id: str, created: int, prompt_tokens: int) -> None:
        self._conversation = conversation
        self._id = id
        self._created = created
        self._usage = Usage(input=prompt_tokens)
        self._tools: dict[str, Tool] = {tool.name: tool for tool in conversation.tools}
        self._items: list[Item] = []
        self._open: dict[int, Item] = {}  # by the number of the part
        self._refused = False
        self._sent = 0
        self.final: dict[str, object] = {}

    @property
    def progress(self) -> ResponseProgress:
        """Ids and numbers that the client has seen."""
        return ResponseProgress(self._sent - 1, self._response_id, self._conversation.model, self._created)

    def encode(self, event: Event) -> bytes:
        """What the client is to be told of one event."""
        if isinstance(event, PartDelta) and event.text and event.annotation is None:
            item = self._open[event.index]
            if item.more is not None:
                item.note(event.text)
                self._sent += 1
                return item.more.numbered(self._sent - 1, event.text)
        return b"".join([self._framed(told) for told in self._told(event)])

    def _told(self, event: Event) -> Iterator[Told]:
        match event:
            case Started():
                self._usage = event.usage or self._usage
                response = self._response(IN_PROGRESS, None)
                yield "response.created", {"response": response}
                yield "response.in_progress", {"response": response}
            case PartStarted():
                yield from self._start(event)
            case PartDelta(index, text, annotation):
                yield from self._open[index].add(text, annotation)
            case PartFinished(index, seal):
                yield from self._finish_part(index, seal)
            case _:
                yield from self._finish(event)

    def _start(self, event: PartStarted) -> Iterator[Told]:
        self._refused = self._refused or event.kind is Kind.REFUSAL
        last = self._items[-1] if self._items else None
        if event.kind in {Kind.TEXT, Kind.REFUSAL} and isinstance(last, MessageItem) and not last.done:
            yield from last.begin_part(event.kind)
            self._open[event.index] = last
            return
        yield from self._end_items(is_cut=False)
        item = self._new_item(event)
        self._items.append(item)
        self._open[event.index] = item
        yield from item.begin()

    def _new_item(self, event: PartStarted) -> Item:
        index = len(self._items)
        suffix = f"{self._id}_{index}"
        match event.kind:
            case Kind.THINKING:
                return ReasoningItem(f"rs_{suffix}", index, shows_seals=self._conversation.include_seals)
            case Kind.TOOL_CALL:
                tool = self._tools.get(event.name, Tool(name=event.name))
                return CallItem(suffix, index, event, tool)
            case _:
                return MessageItem(f"msg_{suffix}", index, event.kind)

    def _finish_part(self, index: int, seal: Seal | None) -> Iterator[Told]:
        item = self._open.pop(index)
        yield from item.end_part(seal)
        if not item.has_begun:
            self._items.remove(item)

    def _end_items(self, *, is_cut: bool) -> Iterator[Told]:
        """Call done what is complete and not called so yet."""
        unfinished = list(self._open.values())
        for item in self._items:
            if not item.done and item not in unfinished:
                yield from item.end(is_cut=is_cut)

    def _finish(self, event: Finished) -> Iterator[Told]:
        if event.reason is Finish.FILTER and event.detail and not self._refused:
            yield from self._start(PartStarted(-1, Kind.REFUSAL))
            yield from self._open[-1].add(event.detail, None)
            yield from self._finish_part(-1, None)
        outcome = outcome_of(event.reason, refused=self._refused)
        yield from self._end_items(is_cut=outcome.status == "incomplete")
        self.final = self._response(outcome, event.usage or self._usage)
        yield f"response.{outcome.status}", {"response": self.final}

    def _response(self, outcome: Outcome, usage: Usage | None) -> dict[str, object]:
        return response_object(
            self._conversation,
            outcome,
            id=self._response_id,
            created=self._created,
            output=[item.whole() for item in self._items],
            usage=usage,
        )

    @property
    def _response_id(self) -> str:
        return f"resp_{self._id}"

    def _framed(self, told: Told) -> bytes:
        self._sent += 1
        return framed(told, self._sent - 1)


def render_reply(reply: Reply, conversation: Conversation, *, id: str, created: int) -> bytes:
    """The whole response; the same as a stream of the reply would end with."""
    encoder = ResponsesEncoder(conversation, id=id, created=created, prompt_tokens=0)
    for event in _events(reply):
        encoder.encode(event)
    return msgspec.json.encode(encoder.final)


def _events(reply: Reply) -> Iterator[Event]:
    yield Started(reply.id, reply.model, reply.usage)
    for index, part in enumerate(reply.parts):
        yield PartStarted(index, part.kind, part.id, part.name, part.freeform)
        yield PartDelta(index, part.text)
        for annotation in part.annotations:
            yield PartDelta(index, annotation=annotation)
        yield PartFinished(index, part.seal)
    yield Finished(reply.finish, reply.usage, reply.detail)
