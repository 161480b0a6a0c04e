"""The little HTTP that credentials need, as protocols; the real one is the project's only door to the network.

Rule: an implementation bounds time and size itself, follows no redirects, and raises our own errors.
"""

from collections.abc import Sequence
from typing import Protocol

__all__ = ["Fetch", "FetchedResponse"]


class FetchedResponse(Protocol):
    """A whole response; header names are lower case."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The headers in the order received."""

    @property
    def body(self) -> bytes:
        """The decoded body."""


class Fetch(Protocol):
    """One bounded HTTP call."""

    async def __call__(
        self, method: str, url: str, *, headers: Sequence[tuple[bytes, bytes]], content: bytes = b""
    ) -> FetchedResponse:
        """The response, whatever its status.

        Raises ``UpstreamUnavailable``, ``UpstreamTimeout`` or ``ResponseTooLarge``.
        """
