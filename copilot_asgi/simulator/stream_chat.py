"""A streamed ``/chat/completions`` answer, with the habits of each family of models.

Rule: chunks come in the order opening, thoughts, text, sealed thoughts, calls, ending; a ``Quirk`` moves or bends one.
"""

import msgspec

from copilot_asgi.simulator.access import Object
from copilot_asgi.simulator.catalog import Family
from copilot_asgi.simulator.chat_parts import (
    PROMPT_FILTER,
    SAFE,
    call_ids,
    finish_reason,
    response_id,
    sealed_thought,
    thought,
    usage_fields,
)
from copilot_asgi.simulator.completion import Completion, pieces
from copilot_asgi.simulator.script import Quirk

__all__ = ["error_event", "render_stream"]

DONE = b"data: [DONE]\n\n"
FLOOD = "\n\t" * 400
ANNOTATION: Object = {
    "CodeVulnerability": [],
    "IPCodeCitations": [{"id": 1, "start_offset": 0, "end_offset": 5, "citations": {"snippet": "", "license": "MIT"}}],
}
SIDE_EVENTS: dict[Quirk, Object] = {
    Quirk.REFERENCES: {"copilot_references": [{"type": "github.file", "id": "a.txt", "data": {}, "metadata": {}}]},
    Quirk.CONFIRMATION: {
        "copilot_confirmation": {
            "type": "action",
            "title": "Go on?",
            "message": "It may take long.",
            "confirmation": {},
        }
    },
    Quirk.AGENT_ERRORS: {
        "copilot_errors": [
            {"type": "agent", "code": "failed", "message": "A tool failed.", "agent": "octo", "identifier": "1"}
        ]
    },
}


def render_stream(answer: Completion) -> list[bytes]:
    """The events of a streamed answer."""
    return _Stream(answer).events()


def error_event(error: Object | None) -> bytes:
    """An error in the middle of a stream."""
    return _event({"error": error or {"message": "upstream model provider error", "code": "internal_error"}})


def _event(value: Object) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


class _Stream:
    """Builds the chunks of one answer."""

    def __init__(self, answer: Completion) -> None:
        self._answer = answer
        self._id = response_id(answer)
        self._is_gpt = answer.model.family is Family.GPT
        self._role_is_due = not answer.has(Quirk.NO_ROLE)

    def events(self) -> list[bytes]:
        """All events, ``[DONE]`` last."""
        answer = self._answer
        chunks = [*self._opening(), *self._thoughts(), *self._text(), *self._late_thoughts(), *self._calls()]
        if answer.has(Quirk.EMPTY_CHOICES):
            chunks = []
        chunks += self._ending()
        events = [_event(chunk) for chunk in chunks]
        return events if answer.has(Quirk.NO_DONE) else [*events, DONE]

    def _chunk(self, choices: list[Object], more: Object | None = None) -> Object:
        answer = self._answer
        chunk: Object = {"choices": choices, "created": answer.created, "id": self._id, "model": answer.model.backend}
        if self._is_gpt:
            chunk |= {"object": "chat.completion.chunk", "system_fingerprint": "fp_0a1b2c3d4e"}
        elif not answer.has(Quirk.NO_OBJECT):
            chunk["object"] = "chat.completion.chunk"
        if answer.has(Quirk.USAGE_NULL):
            chunk["usage"] = None
        if answer.has(Quirk.OLD_AZURE):
            del chunk["object"], chunk["model"]
        return chunk | (more or {})

    def _delta(self, delta: Object, *, index: int = 0, finish: str | None = None, more: Object | None = None) -> Object:
        if self._role_is_due:
            delta = {"role": "assistant"} | delta
            self._role_is_due = False
        choice: Object = {"index": index, "delta": delta}
        if self._answer.has(Quirk.NO_DELTA_INDEX):
            del choice["index"]
        if self._is_gpt:
            filtered = SAFE if delta.get("content") else {}
            choice |= {"content_filter_results": filtered, "finish_reason": None, "logprobs": None}
        if finish is not None:
            choice["finish_reason"] = finish
        if self._answer.has(Quirk.OLD_AZURE):
            delta.setdefault("role", None)
            choice["content_filter_offsets"] = {"check_offset": 0, "start_offset": 0, "end_offset": 1}
        return self._chunk([choice], more)

    def _opening(self) -> list[Object]:
        answer = self._answer
        chunks: list[Object] = []
        if answer.has(Quirk.FILTER_FIRST):
            empty: Object = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
            chunks.append(empty | {"prompt_filter_results": PROMPT_FILTER})
        chunks += [{"choices": None, **event} for quirk, event in SIDE_EVENTS.items() if answer.has(quirk)]
        if self._is_gpt and (answer.reply.text or not answer.reply.calls):
            chunks.append(self._delta({"content": "", "refusal": None}))
        return chunks

    def _thoughts(self) -> list[Object]:
        answer = self._answer
        if not answer.reply.reasoning or answer.has(Quirk.REASONING_LAST):
            return []
        zero: Object = {"completion_tokens": 0, "prompt_tokens": 0, "total_tokens": 0}
        more: Object | None = {"usage": zero} if answer.has(Quirk.ZERO_USAGE) else None
        deltas = [
            self._delta({"content": None, **thought(answer, piece)}, more=more)
            for piece in pieces(answer.reply.reasoning, answer.reply.size)
        ]
        if answer.has(Quirk.OPAQUE_FIRST):
            return [self._delta({"content": "", **sealed_thought(answer)}), *deltas]
        return deltas

    def _text(self) -> list[Object]:
        answer = self._answer
        deltas: list[Object] = [{"content": piece} for piece in pieces(answer.reply.text, answer.reply.size)]
        if deltas and answer.reply.reasoning and answer.has(Quirk.OPAQUE_WITH_TEXT):
            deltas[0] |= sealed_thought(answer)
        if deltas and answer.has(Quirk.ANNOTATIONS):
            deltas[-1] |= {"copilot_annotations": ANNOTATION, "annotations": ANNOTATION}
        return [self._delta(delta) for delta in deltas]

    def _late_thoughts(self) -> list[Object]:
        """The sealed reasoning, which comes alone after the text, and the readable one where that comes last."""
        answer = self._answer
        if not answer.reply.reasoning or answer.has(Quirk.OPAQUE_FIRST) or answer.has(Quirk.OPAQUE_WITH_TEXT):
            return []
        thoughts = pieces(answer.reply.reasoning, answer.reply.size) if answer.has(Quirk.REASONING_LAST) else []
        late = [self._delta({"content": None, **thought(answer, piece)}) for piece in thoughts]
        return [*late, self._delta({"content": "", **sealed_thought(answer)})]

    def _calls(self) -> list[Object]:
        answer = self._answer
        if answer.has(Quirk.FUNCTION_CALL):
            return [
                self._delta({"content": None, "function_call": {"name": name, "arguments": arguments}})
                for name, arguments in answer.reply.calls[:1]
            ]
        split = answer.has(Quirk.SPLIT_CHOICES) and bool(answer.reply.text or answer.reply.reasoning)
        apart = split and answer.has(Quirk.CHOICE_PER_CALL)
        chunks: list[Object] = []
        for number, (call_id, (name, arguments)) in enumerate(zip(call_ids(answer), answer.reply.calls, strict=True)):
            position = 0 if apart or answer.has(Quirk.SAME_CALL_INDEX) else number
            choice = 1 + number if apart else int(split)
            for fragment in self._fragments(call_id, name, arguments):
                indexed = fragment if answer.has(Quirk.NO_CALL_INDEX) else fragment | {"index": position}
                chunks.append(self._delta({"content": None, "tool_calls": [indexed]}, index=choice))
        return chunks

    def _fragments(self, call_id: str, name: str, arguments: str) -> list[Object]:
        answer = self._answer
        first: Object = {"function": {"arguments": "", "name": name}, "id": call_id, "type": "function"}
        if answer.has(Quirk.NO_CALL_TYPE):
            del first["type"]
        size = len(arguments) if answer.has(Quirk.WHOLE_ARGUMENTS) else answer.reply.size
        text = arguments[:-1] + FLOOD if answer.has(Quirk.WHITESPACE_FLOOD) else arguments
        rest: list[Object] = [{"function": {"arguments": piece}} for piece in pieces(text, size)]
        return [first, *rest]

    def _ending(self) -> list[Object]:
        answer = self._answer
        with_finish = answer.has(Quirk.USAGE_ON_FINISH) or answer.model.family is not Family.GPT
        billing: Object = {"usage": usage_fields(answer), "copilot_usage": answer.copilot_usage}
        if answer.has(Quirk.NO_USAGE):
            billing, with_finish = {}, True
        chunks: list[Object] = []
        if answer.has(Quirk.SPLIT_FINISH) and answer.reply.calls:
            chunks.append(self._delta({}, index=1, finish=finish_reason(answer)))
        if not answer.has(Quirk.NO_FINISH) and not answer.has(Quirk.EMPTY_CHOICES):
            delta: Object = {} if self._is_gpt else {"content": None}
            chunks.append(self._delta(delta, finish=finish_reason(answer), more=billing if with_finish else None))
            chunks += chunks[-1:] if answer.has(Quirk.DOUBLE_FINISH) else []
        elif billing:
            with_finish = False
        if answer.has(Quirk.METADATA_CHUNK):
            chunks.append(self._chunk([]))
        return chunks if with_finish else [*chunks, self._chunk([], billing)]
