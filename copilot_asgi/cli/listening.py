"""Where a server listens: a socket of ours, bound before any server starts, and the addresses people use for it.

Rule: a port that is taken is a clear error, not a server's traceback; port 0 becomes a real number here.
"""

import os
import socket

from copilot_asgi.errors import ConfigError, CopilotASGIError

__all__ = ["BACKLOG", "base_url", "bind", "caller_url"]

BACKLOG = 2048
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - translated, not listened on


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises ``CopilotASGIError`` when the port cannot be had, ``ConfigError`` when the host is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    name = host.strip("[]")
    try:
        socket.getaddrinfo(name or None, port, family, socket.SOCK_STREAM)
        return socket.create_server((name, port), family=family, backlog=BACKLOG)
    except (socket.gaierror, UnicodeError):
        raise ConfigError(f"host: {host} is no address of this machine. Try 127.0.0.1.") from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CopilotASGIError(
            f"Cannot listen on {host} port {port}: {reason}. Choose another with --port, or 0 for any free one."
        ) from None


def base_url(sock: socket.socket) -> str:
    """The address that the socket listens on."""
    host, port = sock.getsockname()[:2]
    return _url(host, port)


def caller_url(sock: socket.socket) -> str:
    """The address that a program on this machine uses."""
    host, port = sock.getsockname()[:2]
    return _url(WILDCARDS.get(host, host), port)


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
