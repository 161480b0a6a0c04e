"""A stand-in for GitHub and the Copilot API: one ASGI app for tests, demonstrations and development without an account.

It is built from what is known of the real service, quirks included, and shares no code with the proxy it serves.
"""

from copilot_asgi.simulator.app import Simulator
from copilot_asgi.simulator.faults import FAULTS
from copilot_asgi.simulator.ledger import Charge, Ledger
from copilot_asgi.simulator.recorder import RecordedRequest, Violation
from copilot_asgi.simulator.script import Fault, Finish, Quirk, Reply, Usage
from copilot_asgi.simulator.sender import ConnectionDropped
from copilot_asgi.simulator.settings import (
    Billing,
    Credentials,
    DirectScheme,
    Endpoints,
    ItemPairing,
    Plan,
    Quota,
    SimulatorSettings,
)

__all__ = [
    "FAULTS",
    "Billing",
    "Charge",
    "ConnectionDropped",
    "Credentials",
    "DirectScheme",
    "Endpoints",
    "Fault",
    "Finish",
    "ItemPairing",
    "Ledger",
    "Plan",
    "Quirk",
    "Quota",
    "RecordedRequest",
    "Reply",
    "Simulator",
    "SimulatorSettings",
    "Usage",
    "Violation",
]
