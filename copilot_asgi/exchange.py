"""The contract between stages: one client request and its response, typed, with ASGI's call shape.

1. ``call_next`` returns when the response is complete; a permit, a lease or a timer is a block around it.
2. A response flows through ``send``: a ``Head`` once, then pieces of body. To change it, hand ``call_next`` a wrapped
   ``send``; to refuse, raise; to answer, call ``send`` and do not call ``call_next``. Awaiting ``send`` is the
   back-pressure.
3. ``Request`` is frozen, ``Exchange`` is a record with one writer a field.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.wire.dialect import Dialect

if TYPE_CHECKING:
    from copilot_asgi.budgets import Budget
    from copilot_asgi.credentials.accounts import Account
    from copilot_asgi.credentials.credential import Credential
    from copilot_asgi.estimates import Estimate
    from copilot_asgi.limits import RateLimit
    from copilot_asgi.pricing import Usage
    from copilot_asgi.routing import Route
    from copilot_asgi.upstream.client import Opened
    from copilot_asgi.wire.stream import StreamMender
    from copilot_asgi.wire.turn import TurnFacts

__all__ = ["Arrival", "Caller", "Exchange", "Handler", "Head", "Headers", "Part", "Request", "Send", "Stage", "header"]

Headers = tuple[tuple[bytes, bytes], ...]


class Head(msgspec.Struct, frozen=True):
    """Status and headers of a response; header names are lower case."""

    status: int
    headers: Headers = ()


Part = Head | bytes
Send = Callable[[Part], Awaitable[None]]

_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_string_decoder = msgspec.json.Decoder(str)
_flag_decoder = msgspec.json.Decoder(bool | None)


def header(headers: Headers, name: bytes) -> bytes | None:
    """The value of the first header called ``name`` (lower case), or ``None``."""
    for key, value in headers:
        if key == name:
            return value
    return None


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the client asked for: the body as received and its top level, whose values stay undecoded slices of it.

    ``form`` tells apart what one dialect has two ways of, such as Ollama's chat and generate; mostly it is empty.
    """

    dialect: Dialect
    headers: Headers
    body: bytes
    fields: dict[str, msgspec.Raw]
    model: str
    stream: bool
    form: str = ""

    @classmethod
    def decode(cls, dialect: Dialect, headers: Headers, body: bytes) -> "Request":
        """Decode the top level of ``body`` only.

        Raises ``BadRequest`` when it is not a JSON object, is nested too deeply, or has no usable ``model``/``stream``.
        """
        try:
            fields = _fields_decoder.decode(body)
        except RecursionError:
            raise BadRequest("The request body is nested too deeply.") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise BadRequest(
                "The request body is not a JSON object. Send one with content-type application/json."
            ) from None
        return cls(
            dialect=dialect, headers=headers, body=body, fields=fields, model=_model(fields), stream=_stream(fields)
        )

    def replace(self, changes: Mapping[str, bytes | None]) -> "Request":
        """A copy with some top-level values replaced by the given JSON texts, or left out where the text is ``None``.

        The untouched values are copied as bytes, never decoded.
        """
        fields = dict(self.fields)
        for name, value in changes.items():
            if value is None:
                fields.pop(name, None)
            else:
                fields[name] = msgspec.Raw(value)
        return msgspec.structs.replace(
            self,
            fields=fields,
            body=msgspec.json.encode(fields),
            model=_model(fields),
            # Not every dialect says in the body whether it wants a stream.
            stream=_stream(fields) if "stream" in changes else self.stream,
        )


def _model(fields: dict[str, msgspec.Raw]) -> str:
    raw = fields.get("model")
    if raw is None:
        raise BadRequest(
            "The field 'model' is missing. GET models lists the names.", code="missing_field", param="model"
        )
    try:
        model = _string_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadRequest("The field 'model' must be a string.", code="invalid_type", param="model") from None
    if not model or len(model) > 256 or not model.isprintable():
        raise BadRequest("The field 'model' must be a short printable name.", code="invalid_value", param="model")
    return model


def _stream(fields: dict[str, msgspec.Raw]) -> bool:
    raw = fields.get("stream")
    if raw is None:
        return False
    try:
        return bool(_flag_decoder.decode(raw))
    except msgspec.DecodeError:
        raise BadRequest("The field 'stream' must be true or false.", code="invalid_type", param="stream") from None


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """How a request reached us: what an authenticator decides by.

    ``client`` is the peer's address, ``headers`` have lower-case names, ``body`` is as received. ``user`` and
    ``session`` are what the host's own middleware put into the scope, ``None`` without one.
    """

    client: str | None
    headers: Headers = ()
    method: str = "POST"
    path: str = "/"
    query: str = ""
    body: bytes = b""
    user: object = None
    session: object = None


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who is calling us, as the *identify* stage found out, and what is agreed with this caller alone.

    ``name`` is safe to log. ``admin`` may approve requests and see everybody's usage. ``models`` are patterns
    (``gpt-*``) of the models it may use, all without any. The limits hold beside those of the settings;
    ``max_concurrent`` counts model calls under way.
    """

    name: str
    admin: bool = False
    models: tuple[str, ...] = ()
    rate_limits: "tuple[RateLimit, ...]" = ()
    budgets: "tuple[Budget, ...]" = ()
    max_concurrent: int | None = None


class Exchange:
    """One client request and its response. Each field has one writer (in brackets).

    ``id``, ``received_at`` (seconds, monotonic), ``arrival``, ``dialect``, ``ended`` (by our shutting down; all edge);
    ``request`` (edge, then fallback, transform and translation); ``caller`` (identify); ``account``, ``route`` and
    ``opened``, what the running loop reaches Copilot with (route); ``admitted``, that it was counted as a request (rate
    limit); ``estimate`` of what it may cost (``estimates``, for the first that asks); ``turn`` (what upstream wants to
    know of it) and ``stream`` (how far it has come; both translation); ``credential`` (lease); ``usage`` (meter, or
    cache when nothing was used).
    """

    __slots__ = (
        "account",
        "admitted",
        "arrival",
        "caller",
        "credential",
        "dialect",
        "ended",
        "estimate",
        "id",
        "opened",
        "received_at",
        "request",
        "route",
        "stream",
        "turn",
        "usage",
    )

    def __init__(self, *, id: str, received_at: float, arrival: Arrival, request: Request) -> None:
        self.id = id
        self.received_at = received_at
        self.arrival = arrival
        self.request = request
        self.dialect = request.dialect
        self.caller: Caller | None = None
        self.route: Route | None = None
        self.turn: TurnFacts | None = None
        self.stream: StreamMender | None = None
        self.account: Account | None = None
        self.opened: Opened | None = None
        self.credential: Credential | None = None
        self.estimate: Estimate | None = None
        self.usage: Usage | None = None
        self.admitted = False
        self.ended = False


class Handler(Protocol):
    """What a stage calls next."""

    def __call__(self, exchange: Exchange, send: Send) -> Awaitable[None]:
        """Answer the exchange through ``send``; return when the response is complete."""


class Stage(Protocol):
    """One step of the pipeline: an async function, as a rule.

    One that does nothing after ``call_next`` may be a plain function that returns what that returns: then no frame of
    its own is kept for as long as the answer streams.
    """

    def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> Awaitable[None]:
        """Do this step's work around ``call_next``, or refuse by raising, or answer through ``send``."""
