"""Responses answers on the native route: passed on as they are but for ids and two counts, up to the terminal event.

Rule: a thing keeps the id under which the client first saw it. Copilot names the response and each item anew in every
event, and clients that accumulate a stream insist on one name; ``output_index`` is what tells items apart. It also
leaves out ``logprobs`` of text and the count of tokens written to the cache, which the published models require.
Nothing else is changed, and what an error event of ours must fit to is remembered.
"""

import msgspec

from copilot_asgi.errors import MalformedResponse
from copilot_asgi.wire.answer import check_list, read_answer
from copilot_asgi.wire.dialect import ResponseProgress
from copilot_asgi.wire.shallow import NULL, is_null, read_array, read_object
from copilot_asgi.wire.sse import encode
from copilot_asgi.wire.stream import EventStream, Typed, redacted

__all__ = ["ResponsesStream", "mend_response"]

_COMPLETE = frozenset({"response.completed", "response.incomplete"})
_FAILED = frozenset({"response.failed", "response.cancelled", "error"})
_TEXT = frozenset({"response.output_text.delta", "response.output_text.done"})


class _Item(msgspec.Struct):
    id: str | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens_details: _Details | None = None


class _Response(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    created_at: float | None = None
    output: list[_Item] | None = None
    usage: _Usage | None = None


class _Event(Typed):
    sequence_number: int | None = None
    output_index: int | None = None
    item_id: str | None = None
    item: _Item | None = None
    response: _Response | None = None
    logprobs: msgspec.Raw = NULL


_decoder = msgspec.json.Decoder(_Event)
_response_decoder = msgspec.json.Decoder(_Response)


class ResponsesStream(EventStream):
    """Complete with ``response.completed`` or ``response.incomplete``; a failure ends the stream too."""

    def __init__(self) -> None:
        super().__init__()
        self._number = ResponseProgress().sequence_number
        self._first: _Response | None = None
        self._item_ids: dict[int, str] = {}

    @property
    def progress(self) -> ResponseProgress:
        """Ids and numbers that the client has seen."""
        first = self._first or _Response()
        return ResponseProgress(self._number, first.id or "", first.model or "", int(first.created_at or 0))

    def _event(self, name: str, data: bytes, block: bytes) -> list[bytes]:
        if data.strip() == b"[DONE]":
            return []
        event = _decoder.decode(data)
        kind = event.kind(name)
        has_failed = kind in _FAILED
        if not has_failed:
            self._answered = True
            self._remember(event)
        pinned = self._pinned(event, data)
        if pinned is not data:
            block = encode(pinned, event=kind)
        if has_failed:
            return self._fail(data, redacted(kind, pinned, block))
        self.done = self.complete = kind in _COMPLETE
        return [block]

    def _remember(self, event: _Event) -> None:
        self._number = self._number + 1 if event.sequence_number is None else event.sequence_number
        if event.response is not None and (self._first is None or not self._first.id):
            self._first = event.response

    def _pinned(self, event: _Event, data: bytes) -> bytes:
        """``data`` itself, or the same event under the ids that the client knows."""
        changes: dict[str, object] = {}
        if event.output_index is not None and (event.item is not None or event.item_id is not None):
            changes |= self._item_changes(event, event.output_index, data)
        if event.type in _TEXT and is_null(event.logprobs):
            changes["logprobs"] = []
        if event.response is not None:
            response = self._response_changes(event.response, data)
            changes |= {"response": response} if response else {}
        return msgspec.json.encode({**read_object(data), **changes}) if changes else data

    def _item_changes(self, event: _Event, index: int, data: bytes) -> dict[str, object]:
        changes: dict[str, object] = {}
        if event.item is not None and self._differs(index, event.item.id):
            changes["item"] = {**read_object(read_object(data)["item"]), "id": self._item_ids[index]}
        if self._differs(index, event.item_id):
            changes["item_id"] = self._item_ids[index]
        return changes

    def _response_changes(self, response: _Response, data: bytes) -> dict[str, object]:
        """The whole response with what has to change in it, or nothing."""
        changes: dict[str, object] = {}
        pinned = self._first.id if self._first else ""
        if pinned and response.id and response.id != pinned:
            changes["id"] = pinned
        wrong = [index for index, item in enumerate(response.output or ()) if self._differs(index, item.id)]
        lacks = _lacks_count(response.usage)
        fields = read_object(read_object(data)["response"]) if changes or wrong or lacks else {}
        if wrong:
            output: list[object] = [*read_array(fields["output"])]
            for index in wrong:
                output[index] = {**read_object(read_array(fields["output"])[index]), "id": self._item_ids[index]}
            changes["output"] = output
        if lacks:
            changes["usage"] = _with_count(fields["usage"])
        return {**fields, **changes} if changes else {}

    def _differs(self, index: int, given: str | None) -> bool:
        """Whether an item goes by another id than the first one seen, which is remembered here."""
        return given is not None and self._item_ids.setdefault(index, given) != given


def mend_response(body: bytes) -> bytes:
    """A whole answer with the count that it may lack; the same object if it lacks nothing.

    Raises ``MalformedResponse`` for what is no answer, ``UpstreamStatus`` for an error under 200.
    """
    check_list(read_answer(body), "output")
    try:
        usage = _response_decoder.decode(body).usage
    except msgspec.ValidationError:
        raise MalformedResponse("GitHub Copilot sent an answer that cannot be read.") from None
    if not _lacks_count(usage):
        return body
    fields = read_object(body)
    return msgspec.json.encode({**fields, "usage": _with_count(fields["usage"])})


def _lacks_count(usage: _Usage | None) -> bool:
    details = None if usage is None else usage.input_tokens_details
    return usage is not None and (details is None or None in (details.cached_tokens, details.cache_write_tokens))


def _with_count(usage: msgspec.Raw) -> dict[str, object]:
    """``usage`` with both counts of cached tokens; those that upstream does not name are none."""
    fields = read_object(usage)
    given = fields.get("input_tokens_details", NULL)
    details = {} if is_null(given) else read_object(given)
    named = {name: value for name, value in details.items() if not is_null(value)}
    return {**fields, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0, **named}}
