"""The pieces of a chat answer, in whatever order upstream sends them, as events in their legal order.

Rule: a piece is passed on as soon as its place is certain. What is certain only later is held: the arguments of a call
without a name, a seal that no thinking is open for, the reason to finish until nothing can follow.

Source: observed answers of Copilot; OpenAI API reference, "The chat completion chunk object".
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import StreamInterrupted
from copilot_asgi.translate.chat_flood import FloodGuard
from copilot_asgi.translate.conversation import Seal, SealOrigin
from copilot_asgi.translate.events import (
    Annotation,
    Event,
    Finish,
    Finished,
    Kind,
    PartDelta,
    PartFinished,
    PartStarted,
    Started,
    Usage,
)
from copilot_asgi.translate.ids import ToolNames
from copilot_asgi.wire.chat_shapes import ToolCall, winning_reason
from copilot_asgi.wire.chat_tools import OpenCall, OpenCalls
from copilot_asgi.wire.shallow import NOT_JSON, is_null

__all__ = ["Assembly", "read_usage"]

_FINISHES: Mapping[str, Finish] = MappingProxyType(
    {
        "length": Finish.LENGTH,
        "content_filter": Finish.FILTER,
        "tool_calls": Finish.STOP,  # whether it is calls is seen by the calls
        "function_call": Finish.STOP,
        "stop": Finish.STOP,
    }
)
_LARGEST = 2**53 - 1  # what a client in JavaScript can hold


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _AnswerDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _AnswerDetails | None = None


_usage_decoder = msgspec.json.Decoder(_Usage)


def read_usage(usage: msgspec.Raw) -> Usage | None:
    """What upstream counted; ``None`` when it counted nothing, or nothing that can be read.

    Some upstreams count thinking beside the completion and not within it, which the total gives away.
    """
    if is_null(usage):
        return None
    try:
        found = _usage_decoder.decode(usage)
    except NOT_JSON:
        return None
    prompt = found.prompt_tokens_details or _PromptDetails()
    prompted, answered = _count(found.prompt_tokens), _count(found.completion_tokens)
    reasoning = _count((found.completion_tokens_details or _AnswerDetails()).reasoning_tokens)
    if reasoning and found.total_tokens == prompted + answered + reasoning:
        answered += reasoning
    if not prompted and not answered:
        return None
    read = min(_count(prompt.cached_tokens), prompted)
    written = min(_count(prompt.cache_write_tokens), prompted - read)
    return Usage(
        input=prompted, cache_read=read, cache_write=written, output=answered, reasoning=min(reasoning, answered)
    )


def _count(given: int | None) -> int:
    return min(max(given or 0, 0), _LARGEST)


class _Call:
    """A call and the part it is, once that has begun."""

    __slots__ = ("call", "closed", "guard", "part")

    def __init__(self, call: OpenCall) -> None:
        self.call = call
        self.part: int | None = None
        self.closed = False
        self.guard = FloodGuard()


class Assembly:
    """One answer. ``usage`` is what upstream said last; ``take`` gives the events since it was last called."""

    def __init__(self, names: ToolNames) -> None:
        self.started = False
        self.usage: Usage | None = None
        self._names = names
        self._events: list[Event] = []
        self._parts = 0
        self._open: tuple[int, Kind] | None = None
        self._open_calls = OpenCalls("")
        self._calls: dict[int, _Call] = {}
        self._seal = ""
        self._reasons: list[str] = []

    def take(self) -> list[Event]:
        """The events that are certain by now."""
        events, self._events = self._events, []
        return events

    def start(self, *, id: str, model: str, seed: str) -> None:
        """Begin. ``seed`` goes into the ids of calls that upstream gave none."""
        self.started = True
        self._open_calls = OpenCalls(seed)
        self._events.append(Started(id=id, model=model))

    def text(self, kind: Kind, text: str) -> None:
        """A piece of text, refusal or thinking; not an empty one."""
        if self._open is None or self._open[1] is not kind:
            self._close()
            if kind is not Kind.THINKING:
                self._place_seal()
            self._open = (self._begin(kind), kind)
        self._events.append(PartDelta(self._open[0], text))

    def annotation(self, annotation: Annotation) -> None:
        """A source of the text that is open; elsewhere it would have no place."""
        if self._open is not None and self._open[1] is Kind.TEXT:
            self._events.append(PartDelta(self._open[0], annotation=annotation))

    def seal(self, opaque: str) -> None:
        """The seal of the thinking that is open, or of a thought nobody saw; of several the last counts."""
        self._seal = opaque

    def call(self, fragment: ToolCall, *, choice: int, position: int) -> None:
        """A fragment of a tool call. Raises ``StreamInterrupted`` when that call is over already."""
        call, begins = self._open_calls.find(fragment, choice=choice, position=position)
        if begins:
            self._calls[call.index] = _Call(call)
        self._extend(self._calls[call.index], fragment)

    def whole_call(self, call: ToolCall, *, choice: int, position: int) -> None:
        """A tool call in one piece; one that is there already is the same one told twice."""
        placed = msgspec.structs.replace(call, index=position)
        found, begins = self._open_calls.find(placed, choice=choice, position=position)
        if begins:
            self._calls[found.index] = _Call(found)
            self._extend(self._calls[found.index], call)

    def reason(self, reason: str) -> None:
        """Why a piece of the answer ended; another piece may follow."""
        self._reasons.append(reason)

    def end(self, *, announced: bool) -> None:
        """Finish. A forgotten reason is inferred when upstream ``announced`` the end of an answer that is whole.

        Raises ``StreamInterrupted`` when the answer was cut off.
        """
        if any(call.part is None and call.call.arguments for call in self._calls.values()):
            raise StreamInterrupted("GitHub Copilot sent a tool call without a name.")
        if not self._reasons and not (announced and self._is_whole()):
            raise StreamInterrupted("GitHub Copilot ended the stream before the answer was complete.")
        self._close()
        self._place_seal()
        reason = _FINISHES[winning_reason(self._reasons or ["stop"])]
        if reason is Finish.STOP and any(call.part is not None for call in self._calls.values()):
            reason = Finish.TOOL_CALLS
        self._events.append(Finished(reason, self.usage))

    def _is_whole(self) -> bool:
        return bool(self._parts or self._seal) and self._open_calls.are_whole()

    def _begin(self, kind: Kind, *, id: str = "", name: str = "") -> int:
        self._events.append(PartStarted(self._parts, kind, id=id, name=name))
        self._parts += 1
        return self._parts - 1

    def _extend(self, state: _Call, fragment: ToolCall) -> None:
        name = (fragment.function and fragment.function.name) or ""
        arguments = (fragment.function and fragment.function.arguments) or ""
        if state.closed and arguments:
            raise StreamInterrupted("GitHub Copilot went on with a tool call that was over.")
        state.guard.feed(arguments)
        if arguments:
            state.call.arguments.append(arguments)
        if state.part is None and name:
            self._begin_call(state, name)
        elif state.part is not None and arguments:
            self._events.append(PartDelta(state.part, arguments))

    def _begin_call(self, state: _Call, name: str) -> None:
        if self._open is not None:
            self._close()
        if not self._is_calling():
            self._place_seal()
        state.part = self._begin(Kind.TOOL_CALL, id=state.call.id, name=self._names.to_client(name))
        held = "".join(state.call.arguments)
        if held:
            self._events.append(PartDelta(state.part, held))

    def _is_calling(self) -> bool:
        return any(state.part is not None and not state.closed for state in self._calls.values())

    def _close(self) -> None:
        """Finish what is open: a text, or all the calls."""
        if self._open is not None:
            index, kind = self._open
            self._events.append(PartFinished(index, self._taken_seal() if kind is Kind.THINKING else None))
            self._open = None
        for state in self._calls.values():
            if state.part is not None and not state.closed:
                state.closed = True
                self._events.append(PartFinished(state.part))

    def _place_seal(self) -> None:
        seal = self._taken_seal()
        if seal is not None:
            self._events.append(PartFinished(self._begin(Kind.THINKING), seal))

    def _taken_seal(self) -> Seal | None:
        opaque, self._seal = self._seal, ""
        return Seal(SealOrigin.CHAT, opaque) if opaque else None
