"""Messages answers on the native route: passed on as they are, up to ``message_stop``.

Rule: nothing of a message is changed. Left out are the ``[DONE]`` that Copilot puts behind it, and the report on
context management for clients that asked for none: some libraries break on a key whose beta they did not switch on.
"""

import msgspec

from copilot_asgi.wire.answer import check_list, read_answer
from copilot_asgi.wire.shallow import read_object
from copilot_asgi.wire.sse import encode
from copilot_asgi.wire.stream import EventStream, Typed, redacted

__all__ = ["MessagesStream", "mend_message", "taken_betas"]

# The beta flags that Copilot takes; any other is answered with 400.
_BETAS = frozenset({"interleaved-thinking-2025-05-14", "context-management-2025-06-27", "advanced-tool-use-2025-11-20"})

_REPORT = "context_management"
_NEEDLE = b'"context_management"'
_REPORTING = frozenset({"message_start", "message_delta"})

_decoder = msgspec.json.Decoder(Typed)


class MessagesStream(EventStream):
    """Complete with ``message_stop``; an ``error`` event ends the stream too, but completes nothing.

    ``context_management``: the client asked for it, and gets the report.
    """

    def __init__(self, *, context_management: bool) -> None:
        super().__init__()
        self._reports = context_management

    def _event(self, name: str, data: bytes, block: bytes) -> list[bytes]:
        if data.strip() == b"[DONE]":
            return []
        kind = _decoder.decode(data).kind(name)
        if kind == "error":
            return self._fail(data, redacted("error", data, block))
        self._answered = True
        self.done = self.complete = kind == "message_stop"
        if self._reports or kind not in _REPORTING or _NEEDLE not in data:
            return [block]
        return [encode(_without_report(data), event=kind)]


def taken_betas(asked: bytes) -> tuple[str, ...]:
    """Those of a client's ``anthropic-beta`` flags that upstream takes, in the client's order."""
    flags = [flag.strip() for flag in asked.decode("latin-1").split(",")]
    return tuple(flag for flag in flags if flag in _BETAS)


def mend_message(body: bytes, *, context_management: bool) -> bytes:
    """A whole answer, without the report when the client did not ask for ``context_management``.

    The same object when nothing is left out. Raises ``MalformedResponse`` for what is no answer, ``UpstreamStatus`` for
    an error under 200.
    """
    check_list(read_answer(body), "content")
    return body if context_management or _NEEDLE not in body else _without_report(body)


def _without_report(text: bytes) -> bytes:
    fields: dict[str, object] = {name: value for name, value in read_object(text).items() if name != _REPORT}
    message = fields.get("message")
    if isinstance(message, msgspec.Raw):
        inner = read_object(message)
        fields["message"] = {name: value for name, value in inner.items() if name != _REPORT}
    return msgspec.json.encode(fields)
