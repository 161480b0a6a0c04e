"""Fixtures for the whole suite: every async test runs on asyncio and on trio."""

import pytest

pytest_plugins = ["copilot_asgi.testing"]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The event loop that an async test runs on."""
    backend: str = request.param
    return backend
