"""Reading Anthropic's JSON: typed, tolerant, and with the name of the place when it is not what the API describes.

Rule: ``null`` is absence, unknown keys pass, a wrong type is the client's mistake and names the field.
"""

from typing import Annotated, TypeVar

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.conversation import Loss
from copilot_asgi.wire.shallow import NOT_JSON

__all__ = ["EMPTY_OBJECT", "Cache", "Count", "Place", "compact", "is_object"]

T = TypeVar("T")

EMPTY_OBJECT = msgspec.Raw(b"{}")
Count = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
"""A number of tokens; beyond these bounds JSON's numbers are not everybody's."""

Cache = dict[str, msgspec.Raw]
"""A ``cache_control``; only whether there is one counts."""


class Place(msgspec.Struct, frozen=True):
    """Where in a request something stands; ``losses`` collects what cannot be kept, for the whole request."""

    path: str
    losses: list[Loss]

    def at(self, step: str | int) -> "Place":
        """The place below this one."""
        return Place(f"{self.path}.{step}" if self.path else str(step), self.losses)

    def read(self, decoder: msgspec.json.Decoder[T], raw: msgspec.Raw) -> T:
        """The value here. Raises ``BadRequest`` that names the place."""
        try:
            return decoder.decode(raw)
        except NOT_JSON:
            raise self.refusal("Input should be a value of the type that the API describes.") from None

    def text(self, raw: msgspec.Raw) -> bytes:
        """The JSON text of a value that nobody has decoded. Raises ``BadRequest`` when it is not UTF-8."""
        text = bytes(raw)
        try:
            text.decode()
        except UnicodeDecodeError:
            raise self.refusal("Input should be UTF-8.") from None
        return text

    def refusal(self, message: str, *, code: str = "invalid_value") -> BadRequest:
        """A refusal that names the place."""
        return BadRequest(message, code=code, param=self.path)

    def lose(self, field: str, *, matters: bool) -> None:
        """Remember that ``field`` is not carried over."""
        loss = Loss(field, matters)
        if loss not in self.losses:
            self.losses.append(loss)


def compact(text: bytes | msgspec.Raw) -> str:
    """A JSON text without the whitespace between its tokens; numbers and escapes stay as written.

    Raises one of ``NOT_JSON``.
    """
    return msgspec.json.format(bytes(text), indent=-1).decode()


def is_object(text: str) -> bool:
    """Whether ``text`` is a JSON object, all the way down."""
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (*NOT_JSON, UnicodeEncodeError):
        return False
