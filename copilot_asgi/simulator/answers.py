"""What a request looks like to the simulator's routes, and what they give back.

Rule: routes are plain functions from ``Incoming`` to ``Answer``; only ``sender`` and ``app`` touch ASGI.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

import msgspec

from copilot_asgi.simulator.access import Object, decode_object

__all__ = ["Answer", "Incoming", "json_answer", "text_answer"]


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A request, read whole. Header names are lower case; repeated headers are joined by a comma."""

    method: str
    scheme: str
    host: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    index: int = 0

    def header(self, name: str) -> str:
        """The value of a header, or an empty string."""
        return self.headers.get(name, "")

    @property
    def fields(self) -> Object:
        """The body as an object, from JSON or from a form; empty when it is neither."""
        if self.header("content-type").startswith("application/x-www-form-urlencoded"):
            return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))
        return decode_object(self.body) or {}

    @property
    def authorization(self) -> tuple[str, str]:
        """Scheme in lower case and credential of the ``Authorization`` header."""
        scheme, _, credential = self.header("authorization").partition(" ")
        return scheme.lower(), credential.strip()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A response: one body, or events to stream with a pause between them."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    events: Iterable[bytes] | None = None
    pause: float = 0.0


def json_answer(value: object, *, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """``value`` as JSON."""
    content_type = ("content-type", "application/json; charset=utf-8")
    return Answer(status=status, headers=(content_type, *headers), body=msgspec.json.encode(value))


def text_answer(status: int, text: str, *, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """One line of plain text, as the gateway in front of the service answers."""
    content_type = ("content-type", "text/plain; charset=utf-8")
    return Answer(status=status, headers=(content_type, *headers), body=text.encode())
