"""The output items of a Responses answer, each with its own family of events.

Rule: an item says what it is when it begins, piece by piece what it holds, and at its end all of it once more, in words
that its pieces make up.
"""

from collections.abc import Iterator
from typing import Protocol

import msgspec

from copilot_asgi.translate.conversation import Seal, Tool
from copilot_asgi.translate.events import Annotation, Kind, PartStarted
from copilot_asgi.translate.responses_freeform import FreeformText
from copilot_asgi.translate.responses_told import More, Told
from copilot_asgi.translate.schema import freeform_input
from copilot_asgi.translate.seals import wrap
from copilot_asgi.wire.shallow import NOT_JSON, read_object

__all__ = ["CallItem", "Item", "MessageItem", "ReasoningItem"]


class Item(Protocol):
    """One output item. ``done``: it was told to be, and nothing may be added.

    ``more`` is there while text that is added is told as it comes, and needs only to be noted.
    """

    done: bool
    more: More | None

    @property
    def has_begun(self) -> bool:
        """Whether the client knows of it."""

    def begin(self) -> Iterator[Told]:
        """The first events; none while it is open whether there will be anything to tell."""

    def note(self, text: str) -> None:
        """Remember text that was told with ``more``."""

    def add(self, text: str, annotation: Annotation | None) -> Iterator[Told]:
        """More of what it holds."""

    def end_part(self, seal: Seal | None) -> Iterator[Told]:
        """The part that was being told is complete."""

    def end(self, *, is_cut: bool) -> Iterator[Told]:
        """The item is done; ``is_cut``: the answer broke off, perhaps within it."""

    def whole(self) -> dict[str, object]:
        """All of it, as the final response repeats it."""


class MessageItem:
    """Text and refusals; each part of the answer is one part of its content."""

    has_begun = True

    def __init__(self, id: str, index: int, kind: Kind) -> None:
        self.done = False
        self.more: More | None = None
        self._id = id
        self._where: dict[str, object] = {"item_id": id, "output_index": index}
        self._index = index
        self._first = kind
        self._status = "in_progress"
        self._parts: list[_Content] = []

    def begin(self) -> Iterator[Told]:
        """The message without any content, and its first part."""
        yield "response.output_item.added", {"output_index": self._index, "item": self.whole()}
        yield from self.begin_part(self._first)

    def begin_part(self, kind: Kind) -> Iterator[Told]:
        """Another part of its content."""
        self.more = None
        self._parts.append(_Content(is_refusal=kind is Kind.REFUSAL))
        yield "response.content_part.added", {**self._place(), "part": self._parts[-1].whole()}

    def note(self, text: str) -> None:
        """Remember text that was told."""
        self._parts[-1].pieces.append(text)

    def add(self, text: str, annotation: Annotation | None) -> Iterator[Told]:
        """More text, or a source for the text so far."""
        part = self._parts[-1]
        if text:
            self.note(text)
            kind, place = f"response.{part.kind}.delta", self._place()
            self.more = More((kind, {**place, "delta": "", **part.logprobs}))
            yield kind, {**place, "delta": text, **part.logprobs}
        if annotation is not None and not part.is_refusal:
            cited = part.cite(annotation)
            number = len(part.annotations) - 1
            fields = {**self._place(), "annotation_index": number, "annotation": cited}
            yield "response.output_text.annotation.added", fields

    def end_part(self, seal: Seal | None) -> Iterator[Told]:  # noqa: ARG002  # only thinking is sealed
        """The text that was being told is complete."""
        part = self._parts[-1]
        yield f"response.{part.kind}.done", {**self._place(), part.field: part.text, **part.logprobs}
        yield "response.content_part.done", {**self._place(), "part": part.whole()}

    def end(self, *, is_cut: bool) -> Iterator[Told]:
        """The message is done."""
        self.done = True
        self._status = "incomplete" if is_cut else "completed"
        yield "response.output_item.done", {"output_index": self._index, "item": self.whole()}

    def whole(self) -> dict[str, object]:
        """The message with its content so far."""
        content = [part.whole() for part in self._parts]
        head = {"id": self._id, "type": "message", "role": "assistant"}
        return {**head, "status": self._status, "content": content}

    def _place(self) -> dict[str, object]:
        return {**self._where, "content_index": len(self._parts) - 1}


class _Content:
    """One part of a message."""

    def __init__(self, *, is_refusal: bool) -> None:
        self.is_refusal = is_refusal
        self.kind, self.field = ("refusal", "refusal") if is_refusal else ("output_text", "text")
        self.logprobs: dict[str, object] = {} if is_refusal else {"logprobs": []}
        self.pieces: list[str] = []
        self.annotations: list[dict[str, object]] = []

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def cite(self, annotation: Annotation) -> dict[str, object]:
        """Note a source of all the text so far."""
        span = {"start_index": 0, "end_index": len(self.text)}
        self.annotations.append({"type": "url_citation", "url": annotation.url, "title": annotation.title, **span})
        return self.annotations[-1]

    def whole(self) -> dict[str, object]:
        if self.is_refusal:
            return {"type": "refusal", "refusal": self.text}
        return {"type": "output_text", "text": self.text, "annotations": list(self.annotations), "logprobs": []}


class ReasoningItem:
    """What the model thought, as a summary of one part; ``shows_seals``: the client asked for what is sealed."""

    def __init__(self, id: str, index: int, *, shows_seals: bool) -> None:
        self.done = False
        self.more: More | None = None
        self.has_begun = False
        self._id = id
        self._index = index
        self._shows_seals = shows_seals
        self._pieces: list[str] = []
        self._sealed = ""

    def begin(self) -> Iterator[Told]:
        """Nothing: thinking that shows nothing in the end is no item."""
        yield from ()

    def note(self, text: str) -> None:
        """Remember text that was told."""
        self._pieces.append(text)

    def add(self, text: str, annotation: Annotation | None) -> Iterator[Told]:  # noqa: ARG002  # thoughts cite nothing
        """More of the summary."""
        if not text:
            return
        if not self._pieces:
            yield from self._added()
            yield "response.reasoning_summary_part.added", {**self._place(), "part": _summary("")}
        self.note(text)
        kind, place = "response.reasoning_summary_text.delta", self._place()
        self.more = More((kind, {**place, "delta": ""}))
        yield kind, {**place, "delta": text}

    def end_part(self, seal: Seal | None) -> Iterator[Told]:
        """The summary is complete."""
        text = "".join(self._pieces)
        if seal is not None and self._shows_seals:
            self._sealed = wrap(seal, text=text)
        if text:
            yield "response.reasoning_summary_text.done", {**self._place(), "text": text}
            yield "response.reasoning_summary_part.done", {**self._place(), "part": _summary(text)}
        elif self._sealed:
            yield from self._added()

    def end(self, *, is_cut: bool) -> Iterator[Told]:  # noqa: ARG002  # thoughts are shown, whole or not
        """The item is done."""
        self.done = True
        yield "response.output_item.done", {"output_index": self._index, "item": self.whole()}

    def whole(self) -> dict[str, object]:
        """The summary, and the seal when it is known."""
        text = "".join(self._pieces)
        summary = [_summary(text)] if text else []
        item: dict[str, object] = {"id": self._id, "type": "reasoning", "summary": summary}
        return item | ({"encrypted_content": self._sealed} if self._sealed else {})

    def _added(self) -> Iterator[Told]:
        self.has_begun = True
        item = {"id": self._id, "type": "reasoning", "summary": []}
        yield "response.output_item.added", {"output_index": self._index, "item": item}

    def _place(self) -> dict[str, object]:
        return {"item_id": self._id, "output_index": self._index, "summary_index": 0}


class CallItem:
    """A call of ``tool``, as the client declared it. A freeform tool's text is taken out of a function's arguments."""

    has_begun = True

    def __init__(self, suffix: str, index: int, event: PartStarted, tool: Tool) -> None:
        self.done = False
        self.more: More | None = None
        self._index = index
        self._is_freeform = tool.freeform or event.freeform
        self._unwrap = FreeformText() if self._is_freeform and not event.freeform else None
        kind, prefix, event_kind, field = _FREEFORM if self._is_freeform else _FUNCTION
        self._id = f"{prefix}_{suffix}"
        self._event, self._field = f"response.{event_kind}", field
        name = event.name.removeprefix(f"{tool.namespace}__") if tool.namespace else event.name
        self._head = {"id": self._id, "type": kind, "call_id": event.id, "name": name}
        if tool.namespace:
            self._head["namespace"] = tool.namespace
        self._status = "in_progress"
        self._raw: list[str] = []
        self._pieces: list[str] = []

    def begin(self) -> Iterator[Told]:
        """The call without its arguments."""
        yield "response.output_item.added", {"output_index": self._index, "item": self.whole()}

    def note(self, text: str) -> None:
        """Remember arguments that were told as they came."""
        self._raw.append(text)
        self._pieces.append(text)

    def add(self, text: str, annotation: Annotation | None) -> Iterator[Told]:  # noqa: ARG002  # calls cite nothing
        """More arguments."""
        self._raw.append(text)
        yield from self._tell(text if self._unwrap is None else self._unwrap.feed(text))

    def end_part(self, seal: Seal | None) -> Iterator[Told]:  # noqa: ARG002  # only thinking is sealed
        """The arguments are complete."""
        if self._unwrap is not None:
            yield from self._tell(self._unwrap.finish())
        elif not self._is_freeform and not "".join(self._pieces).strip():
            yield from self._tell("{}")
        yield f"{self._event}.done", {**self._place(), self._field: "".join(self._pieces), **self._named()}

    def end(self, *, is_cut: bool) -> Iterator[Told]:
        """The call is done; one that broke off must not look as if it could be run."""
        self.done = True
        self._status = "incomplete" if is_cut and not self._is_whole() else "completed"
        yield "response.output_item.done", {"output_index": self._index, "item": self.whole()}

    def whole(self) -> dict[str, object]:
        """The call with its arguments so far."""
        return {**self._head, self._field: "".join(self._pieces), "status": self._status}

    def _tell(self, text: str) -> Iterator[Told]:
        if text:
            self._pieces.append(text)
            kind, place = f"{self._event}.delta", self._place()
            self.more = More((kind, {**place, "delta": ""})) if self._unwrap is None else None
            yield kind, {**place, "delta": text}

    def _named(self) -> dict[str, object]:
        return {} if self._is_freeform else {"name": self._head["name"]}

    def _is_whole(self) -> bool:
        raw = "".join(self._raw)
        if self._is_freeform:
            return self._unwrap is not None and freeform_input(raw) != raw
        try:
            read_object(msgspec.Raw(raw.encode()))
        except NOT_JSON:
            return False
        return True

    def _place(self) -> dict[str, object]:
        return {"item_id": self._id, "output_index": self._index}


# Type of the item, prefix of its id, of its events, and the field that holds its arguments.
_FUNCTION = ("function_call", "fc", "function_call_arguments", "arguments")
_FREEFORM = ("custom_tool_call", "ctc", "custom_tool_call_input", "input")


def _summary(text: str) -> dict[str, object]:
    return {"type": "summary_text", "text": text}
