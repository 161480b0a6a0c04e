"""Copilot with one line of JSON in a site's own logging for every exchange, served or refused.

Run it:  uvicorn audit_to_logger:app --port 4141
"""

import logging

from copilot_asgi import CopilotApp
from copilot_asgi.audit.sinks import LoggerSink

audit_log = logging.getLogger("audit_log")
audit_log.setLevel(logging.INFO)
audit_log.addHandler(logging.StreamHandler())
audit_log.propagate = False

app = CopilotApp(audit=LoggerSink(audit_log))
