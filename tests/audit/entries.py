"""An entry to vary in tests of the audit log."""

import msgspec

from copilot_asgi.audit import Entry, Outcome

ENTRY = Entry(
    time="2026-01-02T03:04:05.678Z",
    id="exchange-1",
    caller="local",
    account="github.com/octocat",
    client="127.0.0.1",
    dialect="chat",
    model="gpt-4o",
    routed_model="gpt-4o",
    route="chat",
    stream=False,
    request_bytes=65,
    response_bytes=2,
    status=200,
    outcome=Outcome.OK,
    error=None,
    first_byte_ms=1.5,
    duration_ms=2.5,
)


def entry(**changes: object) -> Entry:
    """``ENTRY`` with some fields changed."""
    return msgspec.structs.replace(ENTRY, **changes)
