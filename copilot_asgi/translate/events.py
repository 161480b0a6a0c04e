"""An answer in no dialect's words: five events, their legal order, and the reply they fold into.

Decoders promise the order in ``TRANSITIONS``, encoders rely on it, ``check`` proves it in every test. An answer that
fails is not an event: decoders raise, and whoever relays ends the client's stream with an error.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from types import MappingProxyType

import msgspec

from copilot_asgi.translate.conversation import Seal

__all__ = [
    "TRANSITIONS",
    "Annotation",
    "Event",
    "Finish",
    "Finished",
    "Kind",
    "PartDelta",
    "PartFinished",
    "PartStarted",
    "Reply",
    "ReplyPart",
    "Started",
    "State",
    "Usage",
    "check",
    "fold",
]


class Kind(Enum):
    """What a part is."""

    TEXT = "text"
    REFUSAL = "refusal"
    THINKING = "thinking"
    TOOL_CALL = "tool_call"


class Finish(Enum):
    """Why the answer ended."""

    STOP = "stop"
    TOOL_CALLS = "tool_calls"
    LENGTH = "length"
    CONTEXT_FULL = "context_full"
    STOP_WORD = "stop_word"
    FILTER = "filter"
    PAUSED = "paused"


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens. ``input`` is the whole prompt, of which some were read from and written to a cache; ``output`` includes
    ``reasoning``.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0


class Annotation(msgspec.Struct, frozen=True):
    """A source cited for the text so far."""

    url: str
    title: str = ""


class Started(msgspec.Struct, frozen=True, tag=True):
    """The answer begins. ``id`` and ``model`` are upstream's; ``usage`` what it says of the prompt already."""

    id: str = ""
    model: str = ""
    usage: Usage | None = None


class PartStarted(msgspec.Struct, frozen=True, tag=True):
    """Part number ``index`` (0, 1, 2, in the order in which they start) begins. A tool call has an id and a name."""

    index: int
    kind: Kind
    id: str = ""
    name: str = ""
    freeform: bool = False


class PartDelta(msgspec.Struct, frozen=True, tag=True):
    """A piece of a part: text, thinking, or a fragment of a tool call's arguments; or a source cited there."""

    index: int
    text: str = ""
    annotation: Annotation | None = None


class PartFinished(msgspec.Struct, frozen=True, tag=True):
    """A part is complete. Thinking may end with its seal."""

    index: int
    seal: Seal | None = None


class Finished(msgspec.Struct, frozen=True, tag=True):
    """The answer is complete; every part is. ``detail`` is the stop word, or the explanation of a refusal."""

    reason: Finish
    usage: Usage | None = None
    detail: str = ""


Event = Started | PartStarted | PartDelta | PartFinished | Finished


class State(Enum):
    """How far an answer is."""

    WAITING = "waiting"
    BETWEEN_PARTS = "between parts"
    IN_PART = "in a part"
    ENDED = "ended"


TRANSITIONS: Mapping[State, Mapping[type, State]] = MappingProxyType(
    {
        State.WAITING: {Started: State.BETWEEN_PARTS},
        State.BETWEEN_PARTS: {PartStarted: State.IN_PART, Finished: State.ENDED},
        # Several tool calls may be open at once. The last PartFinished leads back between parts.
        State.IN_PART: {PartStarted: State.IN_PART, PartDelta: State.IN_PART, PartFinished: State.IN_PART},
        State.ENDED: {},
    }
)


class ReplyPart(msgspec.Struct, frozen=True, kw_only=True):
    """One whole part; ``text`` holds the arguments of a tool call."""

    kind: Kind
    text: str = ""
    id: str = ""
    name: str = ""
    freeform: bool = False
    seal: Seal | None = None
    annotations: tuple[Annotation, ...] = ()


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer."""

    id: str
    model: str
    parts: tuple[ReplyPart, ...]
    finish: Finish
    usage: Usage | None = None
    detail: str = ""


def check(events: Iterable[Event]) -> Iterator[Event]:
    """The same events; raises ``AssertionError`` at the first that is not legal there. For tests."""
    state = State.WAITING
    opened: dict[int, Kind] = {}
    count = 0
    for event in events:
        assert type(event) in TRANSITIONS[state], f"{event} is not legal {state.value}"
        state = TRANSITIONS[state][type(event)]
        match event:
            case PartStarted(index, kind):
                assert index == count, f"{event}: part {count} was expected"
                assert all(each is kind is Kind.TOOL_CALL for each in opened.values()), f"{event} inside another part"
                count += 1
                opened[index] = kind
            case PartDelta(index):
                assert index in opened, f"{event}: that part is not open"
            case PartFinished(index):
                assert opened.pop(index, None), f"{event}: that part is not open"
                state = state if opened else State.BETWEEN_PARTS
            case _:
                pass
        yield event
    assert state is State.ENDED, "the answer has no end"


def fold(events: Iterable[Event]) -> Reply:
    """One whole reply from all the events of an answer."""
    started = Started()
    finished = Finished(Finish.STOP)
    parts: list[_Open] = []
    for event in events:
        match event:
            case Started():
                started = event
            case PartStarted():
                parts.append(_Open(event))
            case PartDelta(index, text, annotation):
                parts[index].texts.append(text)
                parts[index].annotations += [annotation] if annotation else []
            case PartFinished(index, seal):
                parts[index].seal = seal
            case _:
                finished = event
    return Reply(
        id=started.id,
        model=started.model,
        parts=tuple(part.close() for part in parts),
        finish=finished.reason,
        usage=finished.usage or started.usage,
        detail=finished.detail,
    )


class _Open:
    """A part that is being collected."""

    def __init__(self, start: PartStarted) -> None:
        self._start = start
        self.texts: list[str] = []
        self.annotations: list[Annotation] = []
        self.seal: Seal | None = None

    def close(self) -> ReplyPart:
        start = self._start
        return ReplyPart(
            kind=start.kind,
            text="".join(self.texts),
            id=start.id,
            name=start.name,
            freeform=start.freeform,
            seal=self.seal,
            annotations=tuple(self.annotations),
        )
