"""Messages streams on the native route: passed on as they are, up to ``message_stop``.

Rule: nothing of a message is changed; only the ``[DONE]`` that Copilot puts behind it is left out.
"""

import msgspec

from copilot_asgi.wire.stream import EventStream, Typed, redacted

__all__ = ["MessagesStream"]

_decoder = msgspec.json.Decoder(Typed)


class MessagesStream(EventStream):
    """Complete with ``message_stop``; an ``error`` event ends the stream too, but completes nothing."""

    def _event(self, name: str, data: bytes, block: bytes) -> list[bytes]:
        if data.strip() == b"[DONE]":
            return []
        kind = _decoder.decode(data).type or name
        if kind == "error":
            return self._fail(data, redacted("error", data, block))
        self._answered = True
        self.done = self.complete = kind == "message_stop"
        return [block]
