"""What goes wrong on the network, said in the project's own exceptions.

Rule: one function for each side of the response's head. Messages name the host and what to do; they repeat nothing that
a peer sent, and no address that could hold a password.
"""

import ssl
from collections.abc import Callable
from typing import TypeVar

import anyio
import httpx

from copilot_asgi.errors import (
    MalformedResponse,
    StreamInterrupted,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
)

__all__ = ["NETWORK_ERRORS", "ProxyFailed", "after_head", "before_head", "cause", "idle"]

_Error = TypeVar("_Error", bound=BaseException)

NETWORK_ERRORS = (
    httpx.TransportError,
    OSError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
)


class ProxyFailed(httpx.ProxyError):
    """The proxy that the environment variable ``variable`` names did not do its part; ``reason`` says how."""

    def __init__(self, variable: str, reason: str) -> None:
        super().__init__(f"{variable}: {reason}")
        self.variable = variable
        self.reason = reason


def before_head(error: Exception, host: str) -> UpstreamError:
    """What to raise while no head has come: nothing of an answer exists yet."""
    if isinstance(error, ProxyFailed):
        return UpstreamUnavailable(
            f"{host} could not be reached through the proxy in {error.variable}: {error.reason}. "
            f"Correct {error.variable}, or list the host in NO_PROXY.",
            sent=False,
        )
    certificate = cause(error, ssl.SSLCertVerificationError)
    if certificate is not None:
        return UpstreamUnavailable(
            f"The certificate of {host} could not be verified ({certificate.verify_message}). If your network re-signs "
            "certificates, point SSL_CERT_FILE to a file with its certificate.",
            sent=False,
        )
    return next(make(host) for kinds, make in _BEFORE_HEAD if isinstance(error, kinds))


def after_head(error: Exception, host: str) -> UpstreamError:
    """What to raise once the head has come: part of the answer may have been passed on."""
    if isinstance(error, httpx.TimeoutException):
        return idle(host)
    return StreamInterrupted(f"The answer of {host} broke off before its end.")


def idle(host: str) -> StreamInterrupted:
    """What to raise when nothing more comes: a ``StreamInterrupted`` whose status is 504."""
    error = StreamInterrupted(f"{host} stopped sending in the middle of its answer.")
    error.status = 504
    return error


_BEFORE_HEAD: tuple[tuple[tuple[type[Exception], ...], Callable[[str], UpstreamError]], ...] = (
    ((httpx.TimeoutException,), lambda host: UpstreamTimeout(f"{host} did not take the connection in time.")),
    (
        (httpx.ConnectError, httpx.ProxyError, httpx.UnsupportedProtocol),
        lambda host: UpstreamUnavailable(
            f"{host} could not be reached. Check the network; HTTPS_PROXY names a proxy where one is needed.",
            sent=False,
        ),
    ),
    (
        (httpx.LocalProtocolError,),
        lambda host: UpstreamUnavailable(f"The request to {host} could not be put into HTTP.", sent=False),
    ),
    ((httpx.ProtocolError,), lambda host: MalformedResponse(f"{host} answered with something that is not HTTP.")),
    (
        NETWORK_ERRORS,
        lambda host: UpstreamUnavailable(f"{host} closed the connection before it answered.", sent=True),
    ),
)


def cause(error: BaseException, kind: type[_Error]) -> _Error | None:
    """The exception of that kind which led to ``error``, or ``error`` itself, or ``None``."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, kind):
            return link
        link = link.__cause__ or link.__context__
    return None
