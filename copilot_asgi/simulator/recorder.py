"""What the simulator remembers of the requests it got, for tests to read.

Rule: everything is kept, and nothing that could be used again: header values that carry credentials are masked.
"""

import re

import msgspec

from copilot_asgi.simulator.answers import Incoming

__all__ = ["RecordedRequest", "Recorder", "Violation"]

_SECRET_HEADERS = frozenset({"authorization", "cookie", "x-api-key", "api-key", "copilot-session-token"})
_SCHEME = re.compile(r"^([A-Za-z]+) ")


class RecordedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request as received; ``credential`` names the kind of token it carried, ``received_at`` is the clock's time."""

    method: str
    host: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    received_at: float
    credential: str


class Violation(msgspec.Struct, frozen=True):
    """A rule that a request broke; ``request`` is its index in ``requests``."""

    rule: str
    message: str
    request: int


class Recorder:
    """Requests in the order they came, and the rules they broke."""

    def __init__(self) -> None:
        self.requests: list[RecordedRequest] = []
        self.violations: list[Violation] = []

    def add(self, request: Incoming, *, received_at: float, credential: str) -> Incoming:
        """Remember a request; what comes back knows its own index."""
        self.requests.append(
            RecordedRequest(
                method=request.method,
                host=request.host,
                path=request.path,
                query=request.query,
                headers={name: _mask(name, value) for name, value in request.headers.items()},
                body=request.body,
                received_at=received_at,
                credential=credential,
            )
        )
        return msgspec.structs.replace(request, index=len(self.requests) - 1)

    def violation(self, request: Incoming, rule: str, message: str) -> None:
        """Note that ``request`` broke ``rule``."""
        self.violations.append(Violation(rule, message, request.index))

    def clear(self) -> None:
        """Forget everything."""
        self.requests.clear()
        self.violations.clear()


def _mask(name: str, value: str) -> str:
    if name not in _SECRET_HEADERS:
        return value
    scheme = _SCHEME.match(value)
    return f"{scheme[1]} ***" if scheme else "***"
