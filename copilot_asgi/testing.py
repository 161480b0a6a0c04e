"""Fixtures for tests of your own code: the app in front of a simulated Copilot, without a network or an account.

Put ``pytest_plugins = ["copilot_asgi.testing"]`` into your top-level ``conftest.py``. ``copilot_simulator`` is the
service (script it, make it fail, look at what it received), ``copilot_app`` an app that is signed in to it.
"""

import pytest

from copilot_asgi import CopilotApp, Secret, Settings, Upstream
from copilot_asgi.controls import Controls
from copilot_asgi.in_process import in_process_transport
from copilot_asgi.ledger.memory import MemoryLedger
from copilot_asgi.simulator import Simulator
from copilot_asgi.stores.memory import MemoryStore

__all__ = ["copilot_app", "copilot_simulator"]


@pytest.fixture
def copilot_simulator() -> Simulator:
    """GitHub and Copilot, simulated, new for each test."""
    return Simulator()


@pytest.fixture
def copilot_app(copilot_simulator: Simulator) -> CopilotApp:
    """An app that is signed in to ``copilot_simulator``; use it through ``client()`` or mount it."""
    settings = Settings(github_token=Secret(copilot_simulator.sign_in()))
    transport = in_process_transport(copilot_simulator, raise_exceptions=False)
    upstream = Upstream(settings, store=MemoryStore(), transport=transport)
    return CopilotApp(settings, upstream=upstream, controls=Controls(upstream, ledger=MemoryLedger()))
