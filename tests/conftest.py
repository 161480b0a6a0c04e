"""Fixtures for the whole suite: every async test runs on asyncio and on trio."""

import pytest
from hypothesis import HealthCheck, settings

# How fast examples come depends on what else the machine does; it says nothing about the code.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

pytest_plugins = ["copilot_asgi.testing"]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The event loop that an async test runs on."""
    backend: str = request.param
    return backend
