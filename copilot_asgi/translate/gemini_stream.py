"""Events as what a Gemini client reads: a stream of responses, as server-sent events or as an array, or one whole.

Rule: every piece is a response of its own with the new parts only; the last one has the reason and the usage. A stream
that failed ends as valid JSON where it is an array.

Source: https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent.
"""

import msgspec

from copilot_asgi.translate.conversation import Conversation
from copilot_asgi.translate.events import Event, Finish, Finished, Reply, Started, Usage
from copilot_asgi.translate.gemini_parts import Parts, finish_reason, grounding, usage_metadata
from copilot_asgi.translate.tokens import estimate
from copilot_asgi.translate.whole_calls import unfolded
from copilot_asgi.wire.dialect import ResponseProgress
from copilot_asgi.wire.sse import encode

__all__ = ["GeminiArrayEncoder", "GeminiEncoder", "render_reply"]

_Object = dict[str, object]


class GeminiEncoder:
    """One stream of server-sent events, as ``alt=sse`` asks for.

    ``created`` is not told; ``prompt_tokens`` is an estimate, told when upstream never said how many there were.
    """

    # Google's libraries take a comment for a broken answer, and an empty line for none.
    ping = b"\n"
    progress: ResponseProgress | None = None

    def __init__(self, conversation: Conversation, *, id: str, created: int, prompt_tokens: int) -> None:  # noqa: ARG002
        self._responses = _Responses(conversation, id=id, prompt_tokens=prompt_tokens)

    def encode(self, event: Event) -> bytes:
        """``event`` on the wire; empty where the client need not be told."""
        response = self._responses.told(event)
        return b"" if response is None else encode(msgspec.json.encode(response))


class GeminiArrayEncoder:
    """One stream as a JSON array, which is what clients get that do not ask for server-sent events.

    ``created`` is not told. ``fail`` takes the place of the last event when the answer broke off.
    """

    ping = b"\n"
    progress: ResponseProgress | None = None

    def __init__(self, conversation: Conversation, *, id: str, created: int, prompt_tokens: int) -> None:  # noqa: ARG002
        self._responses = _Responses(conversation, id=id, prompt_tokens=prompt_tokens)
        self._begun = False

    def encode(self, event: Event) -> bytes:
        """``event`` on the wire; empty where the client need not be told."""
        response = self._responses.told(event)
        if response is None:
            return b""
        return self._element(msgspec.json.encode(response)) + (b"]" if isinstance(event, Finished) else b"")

    def fail(self, body: bytes) -> bytes:
        """The end of the array after a failure; ``body`` is the error as a JSON object."""
        return self._element(body) + b"]"

    def _element(self, text: bytes) -> bytes:
        start = b",\r\n" if self._begun else b"["
        self._begun = True
        return start + text


def render_reply(reply: Reply, conversation: Conversation, *, id: str, created: int) -> bytes:  # noqa: ARG001
    """The whole response; ``created`` is not told."""
    answer = _Responses(conversation, id=id, prompt_tokens=0)
    parts = [part for event in unfolded(reply) for part in answer.parts.told(event)]
    usage = reply.usage or Usage(input=estimate(conversation, model_id=conversation.model))
    return msgspec.json.encode(answer.last(Finished(reply.finish, usage=usage, detail=reply.detail), parts))


class _Responses:
    """The responses of one answer, from the events of it."""

    def __init__(self, conversation: Conversation, *, id: str, prompt_tokens: int) -> None:
        self.parts = Parts(conversation)
        self._tail: _Object = {"modelVersion": conversation.model, "responseId": id}
        self._usage = Usage(input=prompt_tokens)

    def told(self, event: Event) -> _Object | None:
        """The response for an event, where there is one."""
        match event:
            case Started():
                self._usage = event.usage or self._usage
                return None
            case Finished():
                return self.last(event, [])
            case _:
                parts = self.parts.told(event)
                return {"candidates": [_candidate(parts)], **self._tail} if parts else None

    def last(self, event: Finished, before: list[_Object]) -> _Object:
        """The response that ends the answer; ``before`` are parts that no response has told yet."""
        parts = [*before, *self.parts.rest(event.reason)]
        usage = {"usageMetadata": usage_metadata(event.usage or self._usage)}
        if event.reason is Finish.FILTER and not self.parts.begun:
            return {"promptFeedback": _blocked(event.detail), **usage, **self._tail}
        candidate = _candidate(parts or [{"text": ""}])
        candidate |= {"finishReason": finish_reason(event.reason), **grounding(self.parts.annotations)}
        if event.reason is Finish.FILTER and event.detail:
            candidate["finishMessage"] = event.detail
        return {"candidates": [candidate], **usage, **self._tail}


def _candidate(parts: list[_Object]) -> _Object:
    return {"content": {"role": "model", "parts": parts}, "index": 0}


def _blocked(detail: str) -> _Object:
    """Nothing was said at all: for Google that is a blocked prompt, which has no candidates."""
    return {"blockReason": "SAFETY", **({"blockReasonMessage": detail} if detail else {})}
