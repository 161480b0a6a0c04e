"""An answer as ``/responses`` writes it: OpenAI's events, whose ids Copilot seals anew each time it names something.

Rule: ``output_index`` and ``call_id`` are the only stable keys. Encrypted reasoning comes with ``output_item.done``.
"""

import msgspec

from copilot_asgi.simulator.access import Object, object_of, objects, string
from copilot_asgi.simulator.completion import Completion, pieces
from copilot_asgi.simulator.script import Finish, Quirk

__all__ = ["FAMILY_QUIRKS", "error_event", "render_body", "render_stream"]

FAMILY_QUIRKS: frozenset[Quirk] = frozenset({Quirk.QUOTA_SNAPSHOTS})
FLOOD = "\n\t" * 400
STATUS = {
    Finish.LENGTH: ("incomplete", {"reason": "max_output_tokens"}),
    Finish.CONTENT_FILTER: ("incomplete", {"reason": "content_filter"}),
    Finish.ERROR: ("failed", None),
}
FAILURE: Object = {"code": "server_error", "message": "The model produced an error."}


def render_stream(answer: Completion) -> list[bytes]:
    """The events of a streamed answer."""
    return _Stream(answer).events()


def render_body(answer: Completion) -> bytes:
    """The body of an answer that is not streamed."""
    stream = _Stream(answer)
    status, reason = _status(answer)
    return msgspec.json.encode(stream.response(status, reason=reason, output=stream.output()))


def error_event(error: Object | None) -> bytes:
    """An error in the middle of a stream: flat, or nested when the fault's error has an ``error`` key."""
    given = error or {"code": "server_error", "message": "An internal error occurred.", "param": None}
    return _encode({"type": "error", "sequence_number": 0, **given})


def _status(answer: Completion) -> tuple[str, Object | None]:
    if answer.has(Quirk.FAILED):
        return "failed", None
    status, reason = STATUS.get(answer.reply.ending, ("completed", None))
    return status, dict(reason) if reason else None


def _encode(event: Object) -> bytes:
    return f"event: {event['type']}\n".encode() + b"data: " + msgspec.json.encode(event) + b"\n\n"


class _Item(msgspec.Struct, frozen=True, kw_only=True):
    """One output item: its key for ids, and its fields when it begins and when it is done."""

    key: int
    opened: Object
    done: Object


class _Stream:
    """Builds the events of one answer."""

    def __init__(self, answer: Completion) -> None:
        self._answer = answer
        self._response_key = answer.issued.new_item()
        self._items = self._all_items()
        self._events: list[bytes] = []
        self._named = 0
        self._stable: dict[int, str] = {}

    def events(self) -> list[bytes]:
        """All events in order."""
        answer = self._answer
        self._add("response.created", response=self.response("in_progress", reason=None, output=[]))
        self._add("response.in_progress", response=self.response("in_progress", reason=None, output=[]))
        for index, item in enumerate(self._items):
            self._add("response.output_item.added", output_index=index, item=self._named_item(item, item.opened))
            self._fill(index, item)
            self._add("response.output_item.done", output_index=index, item=self._named_item(item, item.done))
        status, reason = _status(answer)
        outer = "completed" if answer.has(Quirk.INNER_STATUS) else status
        self._add(
            f"response.{outer}", response=self.response(status, reason=reason, output=self.output()), **self._quota()
        )
        if answer.has(Quirk.CHAT_SHAPED_END):
            usage = {"prompt_tokens": answer.usage.prompt, "completion_tokens": answer.usage.output}
            end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage}
            self._events.append(b"data: " + msgspec.json.encode(end) + b"\n\n")
        return self._events

    def output(self) -> list[Object]:
        """All items as they are in the end, under yet other ids."""
        return [self._named_item(item, item.done) for item in self._items]

    def response(self, status: str, *, reason: Object | None, output: list[Object]) -> Object:
        """The response object in a given state."""
        answer, asked = self._answer, self._answer.request
        over = status != "in_progress"
        made: Object = {
            "id": self._id(self._response_key),
            "object": "response",
            "created_at": answer.created,
            "status": status,
            "error": FAILURE if status == "failed" else None,
            "incomplete_details": reason,
            "instructions": asked.get("instructions"),
            "max_output_tokens": asked.get("max_output_tokens"),
            "model": answer.model.backend,
            "output": output,
            "output_text": None,
            "parallel_tool_calls": asked.get("parallel_tool_calls", True),
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None} | object_of(asked.get("reasoning")),
            "safety_identifier": "0" * 64,
            "service_tier": "priority",
            "store": False,
            "temperature": 1,
            "text": {"format": {"type": "text"}, "verbosity": "medium"} | object_of(asked.get("text")),
            "tool_choice": asked.get("tool_choice", "auto"),
            "tools": [_echoed(tool) for tool in objects(asked.get("tools"))],
            "top_p": 1,
            "truncation": asked.get("truncation", "disabled"),
            "usage": self._usage() if over else None,
        }
        return made | {"copilot_usage": answer.copilot_usage} if over else made

    def _add(self, kind: str, **fields: object) -> None:
        self._events.append(_encode({"type": kind, "sequence_number": len(self._events), **fields}))

    def _quota(self) -> Object:
        shown = self._answer.has(Quirk.QUOTA_SNAPSHOTS)
        return {"copilot_quota_snapshots": self._answer.snapshots} if shown else {}

    def _usage(self) -> Object:
        usage = self._answer.usage
        return {
            "input_tokens": usage.prompt,
            "input_tokens_details": {"cached_tokens": usage.cache_read},
            "output_tokens": usage.output,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": usage.total,
        }

    def _id(self, key: int) -> str:
        """The next id of an item: another one each time, unless ids are told to be stable."""
        answer = self._answer
        if answer.has(Quirk.STABLE_IDS):
            return self._stable.setdefault(key, answer.issued.item_id(answer.login, key))
        self._named += 1
        return answer.issued.item_id(answer.login, key, event=self._named)

    def _named_item(self, item: _Item, fields: Object) -> Object:
        named = {"id": self._id(item.key)} | fields
        if "encrypted_content" in fields:
            issued = self._answer.issued
            named["encrypted_content"] = issued.blob(self._answer.login, item.key, event=self._named)
        return named

    def _all_items(self) -> list[_Item]:
        reply = self._answer.reply
        items = [self._reasoning()] if reply.reasoning else []
        if reply.text or not reply.calls:
            items.append(self._message())
        return [*items, *(self._call(name, arguments) for name, arguments in reply.calls)]

    def _reasoning(self) -> _Item:
        shown = self._answer.prompt.summary
        summary = [{"type": "summary_text", "text": self._answer.reply.reasoning}] if shown else []
        opened: Object = {"type": "reasoning", "summary": []}
        if self._answer.has(Quirk.BLOB_AT_START):
            opened["encrypted_content"] = ""
        done: Object = {"type": "reasoning", "summary": summary, "encrypted_content": ""}
        return _Item(key=self._answer.issued.new_item(), opened=opened, done=done)

    def _message(self) -> _Item:
        reply = self._answer.reply
        status, _ = _status(self._answer)
        is_refusal = reply.ending is Finish.REFUSAL
        part: Object = {"type": "refusal", "refusal": reply.text} if is_refusal else _text_part(reply.text)
        opened: Object = {"type": "message", "role": "assistant", "status": "in_progress", "content": []}
        done = opened | {"status": "completed" if status == "completed" else "incomplete", "content": [part]}
        return _Item(key=self._answer.issued.new_item(), opened=opened, done=done)

    def _call(self, name: str, arguments: str) -> _Item:
        kind, field = ("custom_tool_call", "input") if self._is_freeform(name) else ("function_call", "arguments")
        call: Object = {"type": kind, "call_id": self._answer.issued.call_id("call_"), "name": name, field: ""}
        done = call | {field: arguments, "status": "completed"}
        namespace = self._namespace(name)
        if namespace:
            done["namespace"] = namespace
        return _Item(key=self._answer.issued.new_item(), opened=call | {"status": "in_progress"}, done=done)

    def _is_freeform(self, name: str) -> bool:
        return any(tool.freeform and tool.name == name for tool in self._answer.prompt.tools)

    def _namespace(self, name: str) -> str:
        """The namespace of the tool called ``name``; only the finished item tells it."""
        for group in objects(self._answer.request.get("tools")):
            if group.get("type") == "namespace" and any(
                tool.get("name") == name for tool in objects(group.get("tools"))
            ):
                return string(group.get("name"))
        return ""

    def _fill(self, index: int, item: _Item) -> None:
        """The events between an item's beginning and its end."""
        match item.done["type"]:
            case "message":
                self._fill_message(index, item)
            case "reasoning" if item.done["summary"] and not self._answer.has(Quirk.SUMMARY_AT_END):
                self._fill_summary(index, item)
            case "function_call" | "custom_tool_call":
                self._fill_call(index, item)

    def _fill_message(self, index: int, item: _Item) -> None:
        reply = self._answer.reply
        kind, field = ("refusal", "refusal") if reply.ending is Finish.REFUSAL else ("output_text", "text")
        where: Object = {"output_index": index, "content_index": 0}
        part = objects(item.done["content"])[0]
        self._part(item, "response.content_part.added", where, part=part | {field: ""})
        for number, piece in enumerate(pieces(reply.text, reply.size)):
            extra: Object = {"obfuscation": "x" * (number % 7 + 1)} if self._answer.has(Quirk.OBFUSCATION) else {}
            self._part(item, f"response.{kind}.delta", where, delta=piece, **extra)
        self._part(item, f"response.{kind}.done", where, **{field: reply.text})
        self._part(item, "response.content_part.done", where, part=part)

    def _fill_summary(self, index: int, item: _Item) -> None:
        reply = self._answer.reply
        where: Object = {"output_index": index, "summary_index": 0}
        empty = {"type": "summary_text", "text": ""}
        self._part(item, "response.reasoning_summary_part.added", where, part=empty)
        for piece in pieces(reply.reasoning, reply.size):
            self._part(item, "response.reasoning_summary_text.delta", where, delta=piece)
        self._part(item, "response.reasoning_summary_text.done", where, text=reply.reasoning)
        self._part(item, "response.reasoning_summary_part.done", where, part=empty | {"text": reply.reasoning})

    def _fill_call(self, index: int, item: _Item) -> None:
        answer = self._answer
        is_custom = item.done["type"] == "custom_tool_call"
        kind, field = ("custom_tool_call_input", "input") if is_custom else ("function_call_arguments", "arguments")
        text = string(item.done[field])
        flooded = text[:-1] + FLOOD if answer.has(Quirk.WHITESPACE_FLOOD) else text
        sent = answer.issued.letters(len(text)) if answer.has(Quirk.SEALED_ARGUMENTS) else flooded
        for piece in pieces(sent, answer.reply.size):
            self._part(item, f"response.{kind}.delta", {"output_index": index}, delta=piece)
        self._part(item, f"response.{kind}.done", {"output_index": index}, **{field: text})

    def _part(self, item: _Item, kind: str, where: Object, **fields: object) -> None:
        self._add(kind, item_id=self._id(item.key), **where, **fields)


def _text_part(text: str) -> Object:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _echoed(tool: Object) -> Object:
    """A tool as answers repeat it: functions become strict and closed."""
    if tool.get("type") != "function":
        return tool
    return tool | {"strict": True, "parameters": object_of(tool.get("parameters")) | {"additionalProperties": False}}
