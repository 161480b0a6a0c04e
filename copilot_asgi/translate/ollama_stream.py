"""Events as what an Ollama client reads: a stream of JSON lines, or one whole answer.

Rule: every line is an object that stands for itself; a call is one line, when it is whole. The last line counts.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

import msgspec

from copilot_asgi.translate.conversation import Conversation
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
from copilot_asgi.translate.tokens import estimate
from copilot_asgi.translate.whole_calls import Call, WholeCalls, unfolded
from copilot_asgi.wire.dialect import ResponseProgress

__all__ = [
    "OllamaEncoder",
    "OllamaGenerateEncoder",
    "render_generate_loaded",
    "render_generate_reply",
    "render_loaded",
    "render_reply",
]

_Object = dict[str, object]

_REASONS: Mapping[Finish, str] = MappingProxyType(
    {
        Finish.STOP: "stop",
        Finish.TOOL_CALLS: "stop",
        Finish.LENGTH: "length",
        Finish.CONTEXT_FULL: "length",
        Finish.STOP_WORD: "stop",
        Finish.FILTER: "content_filter",  # Ollama has no word for it, and a plain stop would hide it
        Finish.PAUSED: "stop",
    }
)
_BETWEEN_THOUGHTS = "\n\n"
# Nanoseconds. Nobody measured them, but clients divide by them.
_DURATIONS: Mapping[str, int] = MappingProxyType(
    {"total_duration": 1, "load_duration": 1, "prompt_eval_duration": 1, "eval_duration": 1}
)


class _Said(msgspec.Struct, frozen=True):
    """What one line says."""

    text: str = ""
    thinking: str = ""
    calls: tuple[Call, ...] = ()


def _message(said: _Said) -> _Object:
    """As ``/api/chat`` tells it."""
    return {"message": {"role": "assistant", "content": said.text, **_beside(said)}}


def _response(said: _Said) -> _Object:
    """As ``/api/generate`` tells it."""
    return {"response": said.text, **_beside(said)}


def _beside(said: _Said) -> _Object:
    thinking: _Object = {"thinking": said.thinking} if said.thinking else {}
    return {**thinking, **({"tool_calls": [_call(call) for call in said.calls]} if said.calls else {})}


def _call(call: Call) -> _Object:
    """The id is newer than most clients; those that know it send it back with the result."""
    return {"id": call.id, "function": {"name": call.name, "arguments": call.arguments}}


class OllamaEncoder:
    """One stream of ``/api/chat``; ``created`` is in unix seconds.

    ``prompt_tokens`` is an estimate, told when upstream never said how many there were.
    """

    progress: ResponseProgress | None = None
    _shape: Callable[[_Said], _Object] = staticmethod(_message)

    def __init__(self, conversation: Conversation, *, id: str, created: int, prompt_tokens: int) -> None:  # noqa: ARG002
        self._head = _head(conversation.model, created)
        self._usage = Usage(input=prompt_tokens)
        self._said = _Answer(conversation)

    @property
    def ping(self) -> bytes:
        """A line that says nothing: clients read each one as JSON, so an empty line would be an error."""
        return self._line(_Said())

    def encode(self, event: Event) -> bytes:
        """``event`` on the wire; empty where the client need not be told."""
        match event:
            case Started():
                self._usage = event.usage or self._usage
                return b""
            case Finished():
                rest = self._said.rest(event)
                last = _line({**self._head, **self._shape(_Said()), **_end(event.reason, event.usage or self._usage)})
                return (b"" if rest is None else self._line(rest)) + last
            case _:
                said = self._said.told(event)
                return b"" if said is None else self._line(said)

    def _line(self, said: _Said) -> bytes:
        return _line({**self._head, **self._shape(said), "done": False})


class OllamaGenerateEncoder(OllamaEncoder):
    """One stream of ``/api/generate``."""

    _shape = staticmethod(_response)


def render_reply(reply: Reply, conversation: Conversation, *, id: str, created: int) -> bytes:  # noqa: ARG001
    """The whole answer of ``/api/chat``."""
    return _whole(reply, conversation, created, _message)


def render_generate_reply(reply: Reply, conversation: Conversation, *, id: str, created: int) -> bytes:  # noqa: ARG001
    """The whole answer of ``/api/generate``."""
    return _whole(reply, conversation, created, _response)


def render_loaded(model: str, *, created: int) -> bytes:
    """The answer of ``/api/chat`` to a request that asks nothing: the model is there."""
    return msgspec.json.encode({**_head(model, created), **_message(_Said()), "done_reason": "load", "done": True})


def render_generate_loaded(model: str, *, created: int) -> bytes:
    """The answer of ``/api/generate`` to a request that asks nothing: the model is there."""
    return msgspec.json.encode({**_head(model, created), **_response(_Said()), "done_reason": "load", "done": True})


class _Answer:
    """Turns the events between the first and the last into what lines say."""

    def __init__(self, conversation: Conversation) -> None:
        reasoning = conversation.reasoning
        self._shows_thoughts = reasoning is None or reasoning.show is not False
        self._thoughts: set[int] = set()
        self._thought = -1
        self._calls = WholeCalls()
        self._begun = False

    def told(self, event: PartStarted | PartDelta | PartFinished) -> _Said | None:
        match event:
            case PartStarted(index, kind):
                if kind is Kind.TOOL_CALL:
                    self._calls.begin(event)
                elif kind is Kind.THINKING:
                    self._thoughts.add(index)
                return None
            case PartDelta():
                return None if self._calls.add(event) else self._text(event)
            case _:
                return self._called(self._calls.end(event))

    def rest(self, event: Finished) -> _Said | None:
        """What is left at the end: calls that were not certain to be any, or why nothing was said."""
        calls = self._called(self._calls.rest(event.reason))
        if event.reason is Finish.FILTER and event.detail and not self._begun:
            return _Said(text=event.detail)
        return calls

    def _text(self, event: PartDelta) -> _Said | None:
        is_thought = event.index in self._thoughts
        if not event.text or (is_thought and not self._shows_thoughts):
            return None
        if not is_thought:
            self._begun = True
            return _Said(text=event.text)
        follows = self._thought not in {-1, event.index}
        self._thought = event.index
        return _Said(thinking=_BETWEEN_THOUGHTS + event.text if follows else event.text)

    def _called(self, calls: list[Call]) -> _Said | None:
        self._begun = self._begun or bool(calls)
        return _Said(calls=tuple(calls)) if calls else None


def _whole(reply: Reply, conversation: Conversation, created: int, shape: Callable[[_Said], _Object]) -> bytes:
    answer = _Answer(conversation)
    told = [answer.told(event) for event in unfolded(reply)]
    said = [each for each in (*told, answer.rest(Finished(reply.finish, detail=reply.detail))) if each is not None]
    joined = _Said(
        text="".join(each.text for each in said),
        thinking="".join(each.thinking for each in said),
        calls=tuple(call for each in said for call in each.calls),
    )
    usage = reply.usage or Usage(input=estimate(conversation, model_id=conversation.model))
    return msgspec.json.encode({**_head(conversation.model, created), **shape(joined), **_end(reply.finish, usage)})


def _head(model: str, created: int) -> _Object:
    moment = datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z")
    return {"model": model, "created_at": moment}


def _end(finish: Finish, usage: Usage) -> _Object:
    counts = {"prompt_eval_count": usage.input, "eval_count": usage.output}
    return {"done": True, "done_reason": _REASONS[finish], **_DURATIONS, **counts}


def _line(fields: _Object) -> bytes:
    return msgspec.json.encode(fields) + b"\n"
