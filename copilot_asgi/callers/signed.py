"""Callers who sign each request instead of sending a key along.

Signed is ``v1:{timestamp}:{method}:{path}?{query}:{sha256 of the body, hex}`` with HMAC-SHA256 (RFC 2104). The path is
the one that the client asked for as the server sees it: with the mount's prefix, and with ``%`` escapes decoded. The
query stands as it was sent; the ``?`` is there without one, too.

Rule: a signature is good once, for this request, within the window; every refusal took the same work.
"""

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping

from copilot_asgi.callers.replays import ReplayMemory
from copilot_asgi.errors import ConfigError, Unauthenticated
from copilot_asgi.exchange import Arrival, Caller, Headers
from copilot_asgi.secret import Secret

__all__ = ["SignedRequests", "sign"]

NAME, TIMESTAMP, SIGNATURE = b"x-signature-key", b"x-signature-timestamp", b"x-signature"

_STRANGER = Secret("whoever is not known is checked against this, and refused whatever comes out")


class SignedRequests:
    """Serves whoever signs with one of ``secrets``, which are kept by the name of the caller.

    ``window`` is how many seconds a timestamp may be off, either way; ``clock`` is unix seconds. Within the window
    ``memory`` signatures are remembered in this process, so each process (and each server) takes a signature once.
    """

    def __init__(
        self,
        secrets: Mapping[str, Secret],
        *,
        window: float = 300.0,
        clock: Callable[[], float] = time.time,
        memory: int = 100_000,
        compare: Callable[[bytes, bytes], bool] = hmac.compare_digest,
    ) -> None:
        """Raises ``ConfigError`` for a name or a secret that cannot be used."""
        for name, secret in secrets.items():
            if not secret or not name or not name.isascii() or not name.isprintable() or name != name.strip():
                raise ConfigError("secrets: every caller needs a name of printable ASCII and a secret.")
        self._secrets = dict(secrets)
        self._window = window
        self._clock = clock
        self._replays = ReplayMemory(memory)
        self._compare = compare

    async def __call__(self, arrival: Arrival) -> Caller:
        """The caller; raises ``Unauthenticated``, or ``RateLimited`` when no more signatures can be remembered."""
        name, timestamp, given = (_only(arrival.headers, header) for header in (NAME, TIMESTAMP, SIGNATURE))
        known = name in self._secrets
        expected = _signature(self._secrets[name] if known else _STRANGER, timestamp, arrival)
        # ``?`` in a path would make two requests of one signed text.
        matches = self._compare(expected.hex().encode(), given.encode("latin-1")) and "?" not in arrival.path
        if not matches or not known:
            raise Unauthenticated(
                "The signature does not fit. Sign v1:{timestamp}:{method}:{path}?{query}:{sha256 of the body} with the "
                "secret that goes with x-signature-key."
            )
        signed_at, now = _seconds(timestamp), self._clock()
        if abs(now - signed_at) > self._window:
            raise Unauthenticated("The signature is too old, or from the future. Sign anew, and check your clock.")
        self._replays.admit(expected, until=signed_at + self._window, now=now)
        return Caller(name=name)


def sign(
    secret: Secret,
    *,
    name: str,
    method: str,
    path: str,
    query: str = "",
    body: bytes = b"",
    now: float | None = None,
) -> Headers:
    """The headers with which ``name`` signs a request that is sent at once, or at ``now`` (unix seconds).

    ``path`` is the one the server sees, with the mount's prefix.
    """
    arrival = Arrival(client=None, method=method, path=path, query=query, body=body)
    timestamp = str(int(time.time() if now is None else now))
    signature = _signature(secret, timestamp, arrival).hex()
    return ((NAME, name.encode()), (TIMESTAMP, timestamp.encode()), (SIGNATURE, signature.encode()))


def _signature(secret: Secret, timestamp: str, arrival: Arrival) -> bytes:
    body = hashlib.sha256(arrival.body).hexdigest()
    text = f"v1:{timestamp}:{arrival.method}:{arrival.path}?{arrival.query}:{body}"
    return hmac.digest(secret.reveal().encode(), text.encode("utf-8", "surrogatepass"), "sha256")


def _only(headers: Headers, name: bytes) -> str:
    """The value of a header that is there once. Raises ``Unauthenticated``."""
    values = [value for key, value in headers if key == name]
    if len(values) != 1:
        raise Unauthenticated("Send x-signature-key, x-signature-timestamp and x-signature, once each.")
    return values[0].decode("latin-1").strip()


def _seconds(timestamp: str) -> float:
    if not timestamp.isascii() or not timestamp.isdecimal() or len(timestamp) > 12:
        raise Unauthenticated("x-signature-timestamp must be whole unix seconds.")
    return float(timestamp)
