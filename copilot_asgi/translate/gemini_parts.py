"""The parts of an answer as Gemini clients read them.

Rule: text goes at once, a call when it is whole. A seal travels as the signature of the part behind the thinking, for
that part is in every client's history while thoughts are not; they are shown to those who asked for them.

Source: https://ai.google.dev/gemini-api/docs/thought-signatures.
"""

from collections.abc import Mapping
from types import MappingProxyType

from copilot_asgi.translate.conversation import Conversation
from copilot_asgi.translate.events import (
    Annotation,
    Finish,
    Kind,
    PartDelta,
    PartFinished,
    PartStarted,
    Usage,
)
from copilot_asgi.translate.gemini_media import signature_of
from copilot_asgi.translate.whole_calls import Call, WholeCalls

__all__ = ["Parts", "finish_reason", "grounding", "usage_metadata"]

_Object = dict[str, object]

_REASONS: Mapping[Finish, str] = MappingProxyType(
    {
        Finish.STOP: "STOP",
        Finish.TOOL_CALLS: "STOP",
        Finish.LENGTH: "MAX_TOKENS",
        Finish.CONTEXT_FULL: "MAX_TOKENS",
        Finish.STOP_WORD: "STOP",
        Finish.FILTER: "SAFETY",
        Finish.PAUSED: "STOP",
    }
)


class Parts:
    """Turns the events between the first and the last into parts; ``begun`` says that there was one."""

    def __init__(self, conversation: Conversation) -> None:
        self.begun = False
        self.annotations: list[Annotation] = []
        self._shows_thoughts = bool(conversation.reasoning and conversation.reasoning.show)
        self._calls = WholeCalls()
        self._thoughts: dict[int, list[str]] = {}
        self._signatures: list[str] = []

    def told(self, event: PartStarted | PartDelta | PartFinished) -> list[_Object]:
        """The parts that an event completes, or brings a piece of."""
        match event:
            case PartStarted(index, kind):
                self._begin(event, index, kind)
                return []
            case PartDelta():
                self.annotations += [event.annotation] if event.annotation else []
                return [] if self._calls.add(event) else self._text(event)
            case _:
                thought = "".join(self._thoughts.pop(event.index, ()))
                self._signatures += [signature_of(event.seal, text=thought)] if event.seal else []
                return self._called(self._calls.end(event))

    def rest(self, reason: Finish) -> list[_Object]:
        """What is left at the end: calls that were not certain to be any, and a signature without a part behind it."""
        calls = self._called(self._calls.rest(reason))
        return [*calls, *(self._signed({"text": ""}) if self._signatures else [])]

    def _begin(self, event: PartStarted, index: int, kind: Kind) -> None:
        if kind is Kind.TOOL_CALL:
            self._calls.begin(event)
        elif kind is Kind.THINKING:
            self._thoughts[index] = []

    def _text(self, event: PartDelta) -> list[_Object]:
        if not event.text:
            return []
        if event.index not in self._thoughts:
            self.begun = True
            return self._signed({"text": event.text})
        self._thoughts[event.index].append(event.text)
        return [{"text": event.text, "thought": True}] if self._shows_thoughts else []

    def _called(self, calls: list[Call]) -> list[_Object]:
        self.begun = self.begun or bool(calls)
        return [
            part
            for call in calls
            for part in self._signed({"functionCall": {"id": call.id, "name": call.name, "args": call.arguments}})
        ]

    def _signed(self, part: _Object) -> list[_Object]:
        """A part with the signature that waits; of several, each but the last gets an empty thought of its own."""
        if not self._signatures:
            return [part]
        *others, last = self._signatures
        self._signatures = []
        thoughts: list[_Object] = [{"text": "", "thought": True, "thoughtSignature": each} for each in others]
        return [*thoughts, {**part, "thoughtSignature": last}]


def finish_reason(finish: Finish) -> str:
    """Why the answer ended, in Google's words; calls are an ordinary end there."""
    return _REASONS[finish]


def usage_metadata(usage: Usage) -> _Object:
    """Tokens as Google counts them: thoughts beside the answer, not within it; zeros are left out."""
    thoughts = min(usage.reasoning, usage.output)
    optional = {"cachedContentTokenCount": usage.cache_read, "thoughtsTokenCount": thoughts}
    return {
        "promptTokenCount": usage.input,
        "candidatesTokenCount": usage.output - thoughts,
        "totalTokenCount": usage.input + usage.output,
        **{name: count for name, count in optional.items() if count},
    }


def grounding(annotations: list[Annotation]) -> _Object:
    """Cited pages, where there are any."""
    chunks = [{"web": {"uri": each.url, "title": each.title}} for each in annotations]
    return {"groundingMetadata": {"groundingChunks": chunks}} if chunks else {}
